"""Builds the table of tests between the reference and other rows in the primary columns."""

from refers_bench.analysis.results import Results
from refers_bench.plugins import Report
from refers_bench.render.table import Table
from refers_bench.reporting import seed_tests


def build(results: Results) -> Table | None:
    """One row per column of the manifest, or per primary one; None when there is nothing to compare."""
    return seed_tests.build(results, primary=True)


REPORT = Report(label="Significance", build=build, order=20, part="significance")
