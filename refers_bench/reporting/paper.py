"""Puts Tables 1 to 3 of the paper together from their declarations.

Source: Zhou et al., Nature Machine Intelligence 2022, Tables 1-3.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from refers_bench.analysis.cells import Target
from refers_bench.analysis.paper.published import TARGETS, published, row_of
from refers_bench.analysis.paper.references import release_of
from refers_bench.analysis.results import Results
from refers_bench.render.table import NO_VALUE, Cell, Column, Row, Table
from refers_bench.reporting import comparisons, grid, notes

#: Where figures that are not ours come from, for the caption.
IN_PART = "with imported figures (see the footnotes)"
SOURCES = {"released": "from the released prediction files", "imported": "from imported predictions"}
#: What is said of the block of released files.
PUBLISHED = (
    "Rows marked (published) are the paper's figures as printed; the paper prints neither SD nor figures per seed."
)
RELEASED = "Rows marked (released files) are means of the prediction files of the release: one run each."


@dataclass(frozen=True)
class PaperColumn:
    """A column of the paper.

    Attributes:
        group: title of the target.
        title: label ratio, or '' for the only one.
        subtitle: nominal number of training images.
        published: target name in the published figures; it says which dataset and task is meant.
    """

    group: str
    title: str
    subtitle: str
    published: str
    label_ratio: float = 1.0


def _ratios(group: str, published: str, images: Sequence[str]) -> tuple[PaperColumn, ...]:
    """The columns of a target with several label ratios."""
    return tuple(
        PaperColumn(group, grid.percent(ratio), f"{count} images", published, ratio)
        for ratio, count in zip((0.01, 0.1, 1.0), images, strict=True)
    )


NIH = _ratios("NIH ChestX-ray14", "nih", ("800", "8,000", "80,000"))
VINBIGDATA = _ratios("VinBigData", "vinbigdata", ("100", "1,000", "10,000"))
SHENZHEN = PaperColumn("Shenzhen", "tuberculosis", "all labels", "shenzhen")
_COVID = "COVID-19 Image Data Collection"
COVID_OTHER = PaperColumn(_COVID, "COVID-19 against other", "all labels", "covid-t1")
VIRAL_BACTERIAL = PaperColumn(_COVID, "viral against bacterial", "all labels", "covid-t2")
#: Columns of Tables 1 and 2, in the paper's order.
ALL = (*NIH, *VINBIGDATA, SHENZHEN, COVID_OTHER, VIRAL_BACTERIAL)


@dataclass(frozen=True, kw_only=True)
class PaperTable:
    """One table of the paper.

    Attributes:
        number: 1, 2 or 3.
        caption: what it shows.
        columns: in the paper's order.
        rows: titles in the published figures, in the paper's order; the first is the reference method.
        baselines: rows the reference is tested against (the best of them in each column); () for no test.
        p_title: title of the row of P-values.
        published_p: title of that row in the published figures.
        remarks: what a reader must know of this table.
    """

    number: int
    caption: str
    columns: tuple[PaperColumn, ...]
    rows: tuple[str, ...]
    baselines: tuple[str, ...] = ()
    p_title: str = ""
    published_p: str = ""
    remarks: tuple[str, ...] = ()


def find_target(results: Results, column: PaperColumn) -> Target | None:
    """The manifest's column that is meant, or None."""
    for target in results.targets:
        same = (target.dataset, target.task) == TARGETS[column.published] and not target.suffix
        if same and abs(target.label_ratio - column.label_ratio) < 1e-9:
            return target
    return None


def build(results: Results, declaration: PaperTable) -> Table | None:
    """The table, or None when the manifest does not ask for it.

    It is asked for when the manifest says so (``tables: [table1]``), or when every column of the paper is there
    and the reference method with at least one more row.
    """
    targets = [find_target(results, column) for column in declaration.columns]
    methods = [row_of(row, results.methods) for row in declaration.rows]
    covers = None not in targets and methods[0] is not None and sum(method is not None for method in methods) > 1
    if not (covers or (f"table{declaration.number}" in results.plan.tables and any(methods))):
        return None
    # Rows of the manifest that the paper does not have, below the paper's.
    others = [(title, name) for name, title in grid.titles(results).items() if name not in methods]
    lines = [*zip(declaration.rows, methods, strict=True), *others]
    rows = grid.grid_rows(results, lines, targets)
    columns = _columns(results, declaration, targets)
    tests: list[comparisons.Comparison] = []
    if declaration.baselines and methods[0] is not None:
        found = (row_of(row, results.methods) for row in declaration.baselines)
        baselines = [method for method in found if method is not None]
        tests = comparisons.against_best(results, targets, reference=methods[0], baselines=baselines)
        rows.append(comparisons.p_value_row(results, declaration.p_title, tests, columns))
    # A figure of the paper stands beside real data alone.
    real = [results.as_documented(target) if target is not None else not results.limit for target in targets]
    published = _published(declaration, real) if any(real) else []
    released = _released(results, declaration, real)
    rows += [*published, *released]
    label = f"Table {declaration.number} of the paper"
    source = SOURCES.get(results.origin, IN_PART if results.not_ours else "measured here")
    return Table(
        id=f"table{declaration.number}",
        caption=f"{grid.caption_prefix(results, targets)}{label}, {source}: {declaration.caption} "
        "Mean class AUC in per cent, mean ± SD over seeds; best in bold.",
        stub="Method",
        view="mean",
        columns=columns,
        rows=tuple(rows),
        notes=(
            *declaration.remarks,
            *comparisons.choice_remarks(tests),
            *grid.unavailable_remarks(results),
            *((PUBLISHED,) if published else ()),
            *((RELEASED,) if released else ()),
        ),
    )


def _columns(results: Results, declaration: PaperTable, targets: Sequence[Target | None]) -> tuple[Column, ...]:
    return tuple(
        Column(
            group=column.group,
            title=column.title,
            subtitle=column.subtitle,
            notes=(grid.SYNTHETIC,) if target in results.synthetic else (),
            keys=grid.keys(results, target),
        )
        for column, target in zip(declaration.columns, targets, strict=True)
    )


def _released(results: Results, declaration: PaperTable, real: Sequence[bool]) -> list[Row]:
    """Figures of the released prediction files, where they were imported and are not what the table is about."""
    release = release_of(results)
    if release is None or release is results:
        return []
    rows = []
    for row in declaration.rows:
        method = row_of(row, release.methods)
        found = [
            _files(release, method, find_target(release, column)) if beside else Cell(kind="published")
            for column, beside in zip(declaration.columns, real, strict=True)
        ]
        if any(cell.value is not None for cell in found):
            rows.append(Row(title=f"{row} (released files)", cells=tuple(found), block="released"))
    return rows


def _files(release: Results, method: str | None, target: Target | None) -> Cell:
    summary = None if method is None or target is None else release.cells.get((method, target))
    if summary is None or not summary.n:
        return Cell(kind="published")
    about = notes.of_runs(release, method, target=target, brief=True)
    return Cell(kind="published", value=summary.mean * 100, tag=notes.tag(summary), notes=about)


def _published(declaration: PaperTable, real: Sequence[bool]) -> list[Row]:
    """The paper's own figures, in a block of their own, and its P-values; none beside synthetic data."""
    lines = [(row, row, "mean_auc_percent") for row in declaration.rows]
    if declaration.published_p:
        lines.append((declaration.p_title, declaration.published_p, "p_value"))
    rows = []
    for title, method, statistic in lines:
        cells = tuple(
            _printed(declaration, method, column, statistic) if beside else Cell(kind="published")
            for column, beside in zip(declaration.columns, real, strict=True)
        )
        rows.append(Row(title=f"{title} (published)", cells=cells, block="published"))
    return rows


def _printed(declaration: PaperTable, method: str, column: PaperColumn, statistic: str) -> Cell:
    """A figure of the paper; a P-value as it is printed there."""
    where: dict[str, Any] = {"table": declaration.number, "target": column.published, "label_ratio": column.label_ratio}
    found = published(method=method, statistic=statistic, **where)
    if found is None:
        return Cell(kind="published")
    return Cell(kind="published", value=found.value, text=found.text if statistic == "p_value" else NO_VALUE)
