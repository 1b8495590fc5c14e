"""Puts Tables 1 to 3 of the paper together from their declarations.

Source: Zhou et al., Nature Machine Intelligence 2022, Tables 1-3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from refers_bench.analysis.cells import Target
from refers_bench.analysis.paper.published import TARGETS, published, row_of
from refers_bench.analysis.paper.references import release_of
from refers_bench.analysis.results import Results
from refers_bench.render.table import Cell, Column, Row, Table
from refers_bench.reporting import grid, sharing

#: What is said of the block of released files.
RELEASED = "Rows marked (released files) are means of the prediction files of the release: one run each."


@dataclass(frozen=True, kw_only=True)
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

    @property
    def dataset(self) -> str:
        """Our dataset id."""
        return TARGETS[self.published][0]

    @property
    def task(self) -> str:
        """Our task id."""
        return TARGETS[self.published][1]


@dataclass(frozen=True, kw_only=True)
class PaperRow:
    """A row of the paper: its title, and its title in the published figures, which names our rows that mean it."""

    title: str
    published: str


NIH = tuple(
    PaperColumn(
        group="NIH ChestX-ray14",
        title=grid.percent(ratio),
        subtitle=f"{count} images",
        published="nih",
        label_ratio=ratio,
    )
    for ratio, count in ((0.01, "800"), (0.1, "8,000"), (1.0, "80,000"))
)
VINBIGDATA = tuple(
    PaperColumn(
        group="VinBigData",
        title=grid.percent(ratio),
        subtitle=f"{count} images",
        published="vinbigdata",
        label_ratio=ratio,
    )
    for ratio, count in ((0.01, "100"), (0.1, "1,000"), (1.0, "10,000"))
)
SHENZHEN = PaperColumn(group="Shenzhen", title="tuberculosis", subtitle="all labels", published="shenzhen")
COVID_OTHER = PaperColumn(
    group="COVID-19 Image Data Collection", title="COVID-19 against other", subtitle="all labels", published="covid-t1"
)
VIRAL_BACTERIAL = PaperColumn(
    group="COVID-19 Image Data Collection", title="viral against bacterial", subtitle="all labels", published="covid-t2"
)
#: Columns of Tables 1 and 2, in the paper's order.
ALL = (*NIH, *VINBIGDATA, SHENZHEN, COVID_OTHER, VIRAL_BACTERIAL)


@dataclass(frozen=True, kw_only=True)
class PaperTable:
    """One table of the paper.

    Attributes:
        number: 1, 2 or 3.
        caption: what it shows.
        columns: in the paper's order.
        rows: in the paper's order; the first is the reference method.
        baselines: rows the reference is tested against (the best of them in each column); () for no test.
        p_title: title of the row of P-values.
        published_p: title of that row in the published figures.
        remarks: what a reader must know of this table.
    """

    number: int
    caption: str
    columns: tuple[PaperColumn, ...]
    rows: tuple[PaperRow, ...]
    baselines: tuple[PaperRow, ...] = ()
    p_title: str = ""
    published_p: str = ""
    remarks: tuple[str, ...] = ()


def find_target(results: Results, column: PaperColumn) -> Target | None:
    """The manifest's column that is meant, or None."""
    for target in results.targets:
        same = (target.dataset, target.task) == (column.dataset, column.task)
        if same and abs(target.label_ratio - column.label_ratio) < 1e-9:
            return target
    return None


def find_method(results: Results, row: PaperRow) -> str | None:
    """The manifest's row that is meant, or None."""
    return row_of(row.published, results.methods)


def build(results: Results, declaration: PaperTable) -> Table | None:
    """The table, or None when the manifest does not ask for it.

    It is asked for when the manifest says so (``tables: [table1]``), or when every column of the paper is there
    and the reference method with at least one more row.
    """
    targets = [find_target(results, column) for column in declaration.columns]
    methods = [find_method(results, row) for row in declaration.rows]
    covers = None not in targets and methods[0] is not None and sum(method is not None for method in methods) > 1
    if not (covers or (f"table{declaration.number}" in results.plan.tables and any(methods))):
        return None
    lines = [grid.Line(title=row.title, method=method) for row, method in zip(declaration.rows, methods, strict=True)]
    rows = grid.grid_rows(results, [*lines, *_own_lines(results, methods)], targets)
    tests = _tests(results, declaration, targets, methods[0])
    if tests and methods[0] is not None:
        rows.append(grid.test_row(results, declaration.p_title, tests, reference=methods[0]))
    rows += _published(declaration)
    released = _released(results, declaration)
    rows += released
    label = f"Table {declaration.number} of the paper"
    return Table(
        id=f"table{declaration.number}",
        caption=f"{grid.caption_prefix(results, targets)}{label}, {_source(results)}: {declaration.caption} "
        "Mean class AUC in per cent, mean ± SD over seeds; best in bold.",
        stub="Method",
        view="mean",
        columns=_columns(results, declaration, targets),
        rows=tuple(rows),
        notes=(
            *declaration.remarks,
            *grid.choice_remarks(tests),
            *grid.unavailable_remarks(results),
            "Rows marked (published) are the paper's figures as printed; "
            "the paper prints neither SD nor figures per seed.",
            *((RELEASED,) if released else ()),
        ),
    )


def _source(results: Results) -> str:
    """Where the figures come from, for the caption."""
    known = {"released": "from the released prediction files", "imported": "from imported predictions"}
    return known.get(results.origin, "measured here")


def _own_lines(results: Results, methods: Sequence[str | None]) -> list[grid.Line]:
    """Rows of the manifest that the paper does not have, below the paper's."""
    others = [name for name in results.methods if name not in methods]
    return [grid.Line(title=title, method=name) for name, title in grid.titles(results, others).items()]


def _columns(results: Results, declaration: PaperTable, targets: Sequence[Target | None]) -> tuple[Column, ...]:
    return tuple(
        Column(
            group=column.group,
            title=column.title,
            subtitle=column.subtitle,
            notes=(grid.SYNTHETIC,) if target in results.synthetic else (),
        )
        for column, target in zip(declaration.columns, targets, strict=True)
    )


def _tests(
    results: Results, declaration: PaperTable, targets: Sequence[Target | None], reference: str | None
) -> list[grid.Comparison]:
    if not declaration.baselines or reference is None:
        return []
    found = (find_method(results, row) for row in declaration.baselines)
    baselines = [method for method in found if method is not None]
    return grid.comparisons(results, targets, reference=reference, baselines=baselines)


def _released(results: Results, declaration: PaperTable) -> list[Row]:
    """Figures of the released prediction files, where they were imported and are not what the table is about."""
    release = release_of(results)
    if release is None or release is results:
        return []
    rows = []
    for row in declaration.rows:
        method = find_method(release, row)
        found = [_files(release, method, find_target(release, column)) for column in declaration.columns]
        if any(cell.value is not None for cell in found):
            rows.append(Row(title=f"{row.title} (released files)", cells=tuple(found), block="released"))
    return rows


def _files(release: Results, method: str | None, target: Target | None) -> Cell:
    summary = None if method is None or target is None else release.cells.get((method, target))
    if summary is None or not summary.n:
        return Cell(kind="published")
    notes = sharing.notes(release, method, target=target)
    return Cell(kind="published", value=summary.mean * 100, tag=grid.summary_tag(summary), notes=notes)


def _published(declaration: PaperTable) -> list[Row]:
    """The paper's own figures, in a block of their own."""
    rows = []
    for row in declaration.rows:
        cells = []
        for column in declaration.columns:
            value = published(
                table=declaration.number, method=row.published, target=column.published, label_ratio=column.label_ratio
            )
            cells.append(Cell(kind="published", value=value.value) if value else Cell(kind="published"))
        rows.append(Row(title=f"{row.title} (published)", cells=tuple(cells), block="published"))
    if declaration.published_p:
        found = [
            published(
                table=declaration.number,
                method=declaration.published_p,
                target=column.published,
                label_ratio=column.label_ratio,
                statistic="p_value",
            )
            for column in declaration.columns
        ]
        cells = [
            Cell(kind="published", text=value.text, value=value.value) if value else Cell(kind="published")
            for value in found
        ]
        rows.append(Row(title=f"{declaration.p_title} (published)", cells=tuple(cells), block="published"))
    return rows
