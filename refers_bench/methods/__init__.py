"""One pre-training method a file, found by its name."""
