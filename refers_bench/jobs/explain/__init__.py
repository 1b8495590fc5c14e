"""Jobs that show where a network looks: attention maps, and the boxes around them."""
