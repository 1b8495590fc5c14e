"""The Parquet schemas and the results store."""
