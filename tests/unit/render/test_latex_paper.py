"""A table as a journal prints it: what its LaTeX says, and where it is cut."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from refers_bench.render import latex_paper
from refers_bench.render.table import DAGGER, Cell, Column, Note, Row, Table

ONE_SEED = Note(text="one seed only.")
TABLE = Table(
    id="table1",
    caption="Mean AUC of 50 % & more.",
    stub="Method",
    columns=(Column(title="1 %", subtitle="800", group="NIH"), Column(title="10 %", subtitle="8,000", group="NIH")),
    rows=(
        Row(title="REFERS", cells=(Cell(value=76.7, sd=0.31, best=True), Cell(value=80.0, notes=(ONE_SEED,)))),
        Row(
            title="P, REFERS against the best",
            cells=(Cell(text="8.35e-4", kind="p", notes=(Note(text="below 0.05", mark=DAGGER),)), Cell(text="0.023")),
            block="test",
        ),
        Row(title="REFERS (published)", cells=(Cell(value=76.7), Cell(text="< 1e-300")), block="published"),
    ),
    notes=("A remark.",),
)


def wide(*groups: tuple[str, int], rows: int = 6) -> Table:
    """A table with a group of columns per pair (title, number of columns) and figures with their spread."""
    columns = tuple(Column(title=f"{k} % of labels", group=title) for title, count in groups for k in range(count))
    cells = tuple(Cell(value=70.0 + k, sd=0.3) for k in range(len(columns)))
    return Table(
        id="t",
        caption="Wide.",
        stub="Method",
        columns=columns,
        rows=tuple(Row(title=f"Context Restoration {k}", cells=cells) for k in range(rows)),
    )


def panels(text: str) -> list[list[str]]:
    """Titles of the groups of each panel."""
    heads = [line for line in text.splitlines() if line.startswith(r" & \multicolumn")]
    return [re.findall(r"\{c\}\{(\w+)\}", line) for line in heads]


def test_figures_are_written_as_in_a_journal() -> None:
    text = latex_paper.table(TABLE)
    for part in (
        r"REFERS & \textbf{76.7}\benchsd{0.3} & 80.0\textsuperscript{a} \tabularnewline",
        r"\providecommand{\benchsd}[1]{$_{\pm #1}$}",
        r"$P$, REFERS against the best & $8.35 \times 10^{-4}$\textsuperscript{\textdagger{}} & 0.023 \tabularnewline",
        r"\textit{REFERS (published)} & 76.7 & $< 1 \times 10^{-300}$ \tabularnewline",
        r"\multicolumn{2}{c}{NIH}",
        r"\textsuperscript{a} one seed only.\par",
        "A remark.",
    ):
        assert part in text
    for rule in (r"\toprule", r"\bottomrule", r"\cmidrule(lr){2-3}"):
        assert text.count(rule) == 1
    assert text.count(r"\midrule") == 3 and "resizebox" not in text


def test_caption_and_label_are_commands_an_author_may_define() -> None:
    text = latex_paper.table(TABLE)
    assert r"\providecommand{\benchcaption}{Mean AUC of 50 \% \& more.}" in text
    assert r"\providecommand{\benchlabel}{tab:table1}" in text
    assert text.count(r"\caption{\benchcaption}\label{\benchlabel}") == 1
    # Nothing that the file defines outlives it.
    assert text.index(r"\begingroup") < text.index(r"\providecommand") and text.endswith("\\endgroup\n")


def test_without_footnotes_neither_marks_nor_remarks_are_left() -> None:
    tagged = replace(TABLE, rows=(Row(title="x", cells=(Cell(value=1.0, tag="n=2/3"), Cell()), notes=(ONE_SEED,)),))
    text = latex_paper.table(TABLE, footnotes=False) + latex_paper.table(tagged, footnotes=False)
    assert not re.search("textsuperscript|remark|one seed|below 0.05", text)
    assert "n=2/3" in text, "what stands in a cell is no footnote"


def test_nine_columns_become_panels_by_dataset() -> None:
    table = wide(("NIH", 3), ("VinBigData", 3), ("Shenzhen", 1), ("COVID", 2))
    text = latex_paper.table(table)
    assert panels(text) == [["NIH"], ["VinBigData"], ["Shenzhen", "COVID"]]
    assert text.count(r"\begin{tabular}{@{}p") + text.count(r"\begin{tabular}{@{}lccc@{}}") == 1
    # Every figure stands once in every row.
    assert [text.count(f"{70 + k}.0") for k in range(9)] == [6] * 9


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ([("A", 3)], [["A"]]),
        ([("A", 3), ("B", 1)], [["A", "B"]]),
        # Few panels of like width, not five columns and one.
        ([(name, 1) for name in "ABCDEF"], [["A", "B", "C"], ["D", "E", "F"]]),
        # A group that no panel holds is cut.
        ([("A", 7)], [["A"], ["A"]]),
    ],
)
def test_only_what_is_too_wide_is_cut(groups: list[tuple[str, int]], expected: list[list[str]]) -> None:
    assert panels(latex_paper.table(wide(*groups))) == expected


def test_what_a_page_does_not_hold_is_continued() -> None:
    text = latex_paper.table(wide(("A", 1), rows=100))
    floats = text.count(r"\begin{\benchplace}")
    assert floats >= 3 and text.count("(continued)") == text.count(r"\addtocounter{table}{-1}") == floats - 1
    assert text.count(r"\label{") == 1 and text.count("Context Restoration") == 100


def test_long_notes_stand_in_the_text() -> None:
    text = latex_paper.table(replace(TABLE, notes=("word " * 300,)))
    assert text.index("word word") > text.index(r"\end{\benchplace}")


def test_a_document_holds_every_table() -> None:
    text = latex_paper.document([TABLE, replace(TABLE, id="t2")])
    assert text.count(r"\begin{document}") == 1
    assert r"{\benchlabel}{tab:table1}" in text and r"{\benchlabel}{tab:t2}" in text


def test_a_table_without_rows_is_written() -> None:
    assert r"\bottomrule" in latex_paper.table(replace(TABLE, rows=()))
