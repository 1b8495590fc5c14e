"""One dataset a file, found by its name."""
