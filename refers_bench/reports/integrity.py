"""Shows what the prediction files contain that a reader should know."""

from collections.abc import Mapping

from refers_bench.analysis.integrity import KINDS, Finding, findings
from refers_bench.analysis.results import Results
from refers_bench.plugins import Report
from refers_bench.render.quantity import quantity
from refers_bench.render.table import MISSING, NO_VALUE, Cell, Row, Table, columns, words
from refers_bench.reporting import grid

COLUMNS = ("finding", "runs", "classes", "r, median", "r, lowest", "residual", "what the files contain")


def build(results: Results) -> Table | None:
    """One row per finding; None when no run has stored predictions."""
    if not results.records:
        return None
    found = findings(results)
    names = grid.titles(results)
    return Table(
        id="integrity",
        caption=f"{grid.caption_prefix(results, results.targets)}Integrity of the stored test predictions: "
        f"{quantity(len(found), 'finding')}.",
        stub="Target",
        columns=columns(*COLUMNS),
        rows=tuple(_row(one, names) for one in found),
        notes=(
            f"Looked for, in the predictions of every finished run: {'; '.join(KINDS)}.",
            "Related scores: groups in which every run is related to every other. r: Pearson's correlation. Residual: "
            "largest distance of a score from the least-squares line, in units of the last digit that the files print.",
            "These are facts about files. They say nothing about how the files came to be.",
            *grid.unread_remarks(results),
        ),
        numeric=False,
    )


def _row(one: Finding, names: Mapping[str, str]) -> Row:
    texts = (one.kind, ", ".join(names.get(run, run) for run in one.runs), ", ".join(one.classes) or NO_VALUE)
    figures: tuple[Cell, ...] = (MISSING,) * 3
    if one.closeness is not None:
        unit = "x 0.1 % of the range" if one.closeness.unit is None else f"x {one.closeness.unit:g}"
        figures = (
            Cell(value=one.closeness.median_r, decimals=6),
            Cell(value=one.closeness.lowest_r, decimals=6),
            Cell(value=one.closeness.residual, decimals=2, tag=unit),
        )
    return Row(title=grid.where(one.target), cells=(*words(*texts), *figures, *words(one.text)))


REPORT = Report(label="Integrity", build=build, order=60, part="data")
