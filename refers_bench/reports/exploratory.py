"""Builds the table of tests between the reference and other rows in columns that the manifest does not call primary."""

from refers_bench.analysis.results import Results
from refers_bench.plugins import Report
from refers_bench.render.table import Table
from refers_bench.reporting import seed_tests


def build(results: Results) -> Table | None:
    """One row per column; None where every column is primary, and when there is nothing to compare."""
    return seed_tests.build(results, primary=False)


REPORT = Report(label="Exploratory tests", build=build, order=21, part="significance")
