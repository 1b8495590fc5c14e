"""Builds the table of what every method of a manifest reached on every target and label ratio."""

from refers_bench.analysis.results import Results
from refers_bench.plugins import Report
from refers_bench.render.table import Table
from refers_bench.reporting import comparisons, grid


def build(results: Results) -> Table | None:
    """Methods x (target, label ratio) of any manifest; tested as the rules say: ``refers``, else the first row."""
    if not results.planned:
        return None
    targets = results.targets
    titles = grid.titles(results)
    rows = grid.grid_rows(results, [(title, method) for method, title in titles.items()], targets)
    columns = grid.columns_of(results, targets)
    p_values, tests = comparisons.primary_rows(results, columns)
    rows += p_values
    return Table(
        id="cells",
        caption=f"{grid.caption_prefix(results, targets)}Manifest {results.name}: mean class AUC in per cent, "
        "mean ± SD over seeds; best in bold.",
        stub="Method",
        view="mean",
        columns=columns,
        rows=tuple(rows),
        notes=(*comparisons.choice_remarks(tests), *grid.unavailable_remarks(results)),
    )


REPORT = Report(label="All cells", build=build, order=10)
