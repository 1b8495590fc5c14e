"""What does each table or figure contain? One declaration a file."""
