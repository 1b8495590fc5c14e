"""A table of one's own, in one file: it runs as it is, and each part says what to replace.

What it shows now: of each row and column the class with the highest and the one with the lowest test AUC.

    refers-bench plugins check template_name.py               every format, the same bytes twice
    refers-bench report MANIFEST --plugins template_name.py   it stands on the page, beside the other tables

The name of the file is the name of the report.
"""

from __future__ import annotations

from collections.abc import Mapping

from refers_bench.analysis.results import Results
from refers_bench.plugins import Report
from refers_bench.render.table import Cell, Row, Table, columns
from refers_bench.reporting import grid


def build(results: Results) -> Table | None:
    """The table; None where there is nothing to show yet. A list of tables and figures is right, too."""
    frame = results.metrics_frame()  # one line for each method, column, seed, split and class
    if frame.empty:
        return None
    tested = frame[(frame["split"] == "test") & frame["auc"].notna()]
    titles = grid.titles(results)  # row name -> its title
    rows = []
    for target in results.targets:  # the columns of the manifest
        here = tested[(tested["dataset"] == target.dataset) & (tested["task"] == target.task)]
        here = here[(here["label_ratio"] == target.label_ratio) & (here["evaluation"] == target.evaluation)]
        for method, own in here[here["folds"] == target.folds].groupby("method", sort=False):
            means = own.groupby("class", sort=False)["auc"].mean()  # over seeds
            highest, lowest = str(means.idxmax()), str(means.idxmin())
            cells = tuple(_cell(name, dict(means)) for name in (highest, lowest))
            title = f"{grid.where(target)}: {titles[str(method)]}"
            rows.append(Row(title=title, cells=cells, keys=grid.keys(results, target, str(method))))
    if not rows:
        return None
    return Table(
        id="template-name",  # of files and anchors
        caption=f"{grid.caption_prefix(results, results.targets)}Classes with the highest and the lowest test AUC, in "
        "per cent, mean over seeds.",
        stub="Column and row",
        columns=columns("highest", "lowest"),
        rows=tuple(rows),
        notes=("Of few test images the highest and the lowest are largely chance.",),
    )


def _cell(name: str, means: Mapping[str, float]) -> Cell:
    """What people read, and the number and the word for programs."""
    value = means[name] * 100
    return Cell(text=f"{name} {value:.1f}", value=value, word=name)


REPORT = Report(label="Template title", build=build, part="classes", order=900)
