"""The tables and figures of a report: one declaration a file, found by its name."""
