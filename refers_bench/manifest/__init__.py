"""The manifest: its schema, loading, and errors with line and column."""
