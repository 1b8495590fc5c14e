"""Pairs the cells of two results by name, and the classes of two cells: every comparison of results begins so."""

from refers_bench.analysis.cells import ClassMetric, PlannedRun
from refers_bench.analysis.results import Results

#: What is compared; "val" is recorded in the store, but no table shows it.
SPLIT = "test"


def cells(first: Results, second: Results) -> dict[str, tuple[PlannedRun | None, PlannedRun | None]]:
    """Name -> the cells of both sides, None where a side has no such cell; those of the first side come first."""
    one, other = ({planned.name: planned for planned in results.planned} for results in (first, second))
    return {name: (one.get(name), other.get(name)) for name in {**one, **other}}


def classes(first: PlannedRun, second: PlannedRun) -> dict[str, tuple[ClassMetric | None, ClassMetric | None]]:
    """Class -> its metrics on the test images of both cells, None where a side has no such class."""
    one, other = first.metrics.by_class(SPLIT), second.metrics.by_class(SPLIT)
    return {name: (one.get(name), other.get(name)) for name in {**one, **other}}
