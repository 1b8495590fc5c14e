"""Declares one table or figure a file; `write` puts them on a page."""

from refers_bench.reporting.page import FORMATS, printed, write

__all__ = ["FORMATS", "printed", "write"]
