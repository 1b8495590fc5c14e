"""Jobs that take other people's predictions and bundles into the store."""
