"""A table with footnotes of columns, rows and cells, wide and long ones and prose: exact lines in every format."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from refers_bench.render import latex, markdown, spreadsheet, structured, terminal
from refers_bench.render.page import Page, Section
from refers_bench.render.table import DAGGER, Cell, Column, Note, Row, Table

OF_COLUMN, OF_ROW, OF_CELL = Note(text="of the column"), Note(text="of the row"), Note(text="of the cell")
SIGN = Note(text="P < 0.05", mark=DAGGER)
TABLE = Table(
    id="t",
    caption="A caption",
    stub="Method",
    columns=(Column(title="x", group="G", notes=(OF_COLUMN,)), Column(title="y", group="G"), Column(title="z")),
    rows=(
        Row(
            title="first",
            notes=(OF_ROW,),
            cells=(
                Cell(value=1.005, sd=0.125, decimals=2, signed=True, n=(3, 4), notes=(SIGN, OF_CELL), tag="n=2/3"),
                Cell(text="9 of 10", value=9, n=(10,), word="of the planned n", kind="text"),
                Cell(value=-2.25, low=-3.0, high=-1.5, df=4.0, test="a test", signed=True, best=True),
            ),
        ),
        Row(title="second", block="released", cells=(Cell(text="prose", kind="text"), Cell(), Cell(value=7.0))),
    ),
    notes=("A remark.",),
)
DASH = "\N{EN DASH}"


def test_footnotes_of_columns_come_first_then_row_by_row() -> None:
    assert TABLE.footnotes() == {OF_COLUMN: "a", OF_ROW: "b", OF_CELL: "c", SIGN: DAGGER}
    assert list(TABLE.footnotes().values()) == ["a", "b", "c", DAGGER]


def test_on_a_terminal() -> None:
    assert terminal.table(TABLE).splitlines() == [
        "A caption",
        "-" * 51,
        "           G",
        f"{'Method':9}  {'x [a]':24}  {'y':7}  z",
        "-" * 51,
        f"first [b]  +1.00 ± 0.12 n=2/3 [{DAGGER},c]  9 of 10  *-2.2",
        "-" * 51,
        f"{'second':9}  {'prose':24}  {DASH:7}  7.0",
        "-" * 51,
        "a of the column",
        "b of the row",
        "c of the cell",
        f"{DAGGER} P < 0.05",
        "A remark.",
    ]


def test_in_markdown() -> None:
    assert markdown.table(TABLE).splitlines() == [
        "**A caption**",
        "",
        "| Method | G<br>x<sup>a</sup> | G<br>y | z |",
        "| --- | :-: | :-: | :-: |",
        rf"| first<sup>b</sup> | \+1.00 ± 0.12 n\=2/3<sup>{DAGGER},c</sup> | 9 of 10 | **&#45;2.2** |",
        f"| second | prose | {DASH} | 7.0 |",
        "",
        "<sup>a</sup> of the column",
        "",
        "<sup>b</sup> of the row",
        "",
        "<sup>c</sup> of the cell",
        "",
        f"<sup>{DAGGER}</sup> P &lt; 0.05",
        "",
        "A remark.",
    ]
    assert "| --- | --- | --- | --- |" in markdown.table(replace(TABLE, numeric=False))


def test_in_latex() -> None:
    lines = latex.table(TABLE).splitlines()
    start = lines.index(r"\toprule")
    assert lines[start : start + 9] == [
        r"\toprule",
        r" & \multicolumn{2}{c}{G} & \multicolumn{1}{c}{} \\",
        r"\cmidrule(lr){2-3}",
        r"Method & x\textsuperscript{a} & y & z \\",
        r"\midrule",
        r"first\textsuperscript{b} & +1.00 {\scriptsize$\pm$0.12} {\scriptsize n=2/3}"
        r"\textsuperscript{\textdagger{},c} & 9 of 10 & \textbf{-2.2} \tabularnewline",
        r"\midrule",
        r"\textit{second} & prose & -- & 7.0 \tabularnewline",
        r"\bottomrule",
    ]
    notes = [line for line in lines if "footnotesize" in line]
    assert notes == [
        rf"{{\footnotesize\raggedright {text}\par}}"
        for text in (
            r"\textsuperscript{a} of the column",
            r"\textsuperscript{b} of the row",
            r"\textsuperscript{c} of the cell",
            r"\textsuperscript{\textdagger{}} P \textless{} 0.05",
            "A remark.",
        )
    ]


def test_prose_is_set_in_columns_as_wide_as_their_texts_ask() -> None:
    rows = (Row(title="r", cells=(Cell(text="a" * 100, kind="text"), Cell(text="b" * 4, kind="text"))),)
    table = Table(id="t", caption="c", columns=(Column(title="one"), Column(title="2")), rows=rows, numeric=False)
    # 17 cm in the ratio of the roots of 100 and 4, and no column below 1.8 cm.
    assert rf"\begin{{tabular}}{{lp{{{17 * 10 / 12:.1f}cm}}p{{{17 * 2 / 12:.1f}cm}}}}" in latex.table(table)
    narrow = replace(
        table, rows=(Row(title="r", cells=(Cell(text="a" * 400, kind="text"), Cell(text="b", kind="text"))),)
    )
    assert rf"p{{{17 * 20 / 21:.1f}cm}}p{{1.8cm}}" in latex.table(narrow)
    long = replace(table, rows=(replace(rows[0], title="t" * 45),))
    assert r"\begin{tabular}{p{5cm}p{" in latex.table(long)


@pytest.mark.parametrize(("columns", "stub"), [(6, "p{8cm}"), (7, "p{5cm}")])
def test_long_titles_of_rows_get_a_column_of_lines(columns: int, stub: str) -> None:
    def table(title: str) -> Table:
        heads = tuple(Column(title=str(place)) for place in range(columns))
        return Table(id="t", caption="c", columns=heads, rows=(Row(title=title, cells=(Cell(value=1.0),) * columns),))

    assert rf"\begin{{tabular}}{{l{'c' * columns}}}" in latex.table(table("t" * 44))
    assert rf"\begin{{tabular}}{{{stub}{'c' * columns}}}" in latex.table(table("t " * 23))


@pytest.mark.parametrize(("rows", "parts"), [(30, 1), (31, 2), (60, 2), (61, 3)])
def test_thirty_lines_fit_a_page(rows: int, parts: int) -> None:
    table = replace(TABLE, rows=tuple(replace(TABLE.rows[1], title=f"r{place}") for place in range(rows)))
    text = latex.table(table)
    assert text.count(r"\begin{table}") == parts and text.count(r"\addtocounter{table}{-1}") == parts - 1
    assert text.count(r"\label{tab:t}") == 1 and text.count("A caption (continued)") == parts - 1
    assert text.index("A remark.") > text.index(f"r{rows - 1}")


@pytest.mark.parametrize(("count", "inside"), [(14, True), (15, False)])
def test_more_notes_than_fit_stand_after_the_table(count: int, inside: bool) -> None:
    table = replace(TABLE, columns=TABLE.columns[2:], rows=(Row(title="r", cells=(Cell(),)),), notes=("n",) * count)
    text = latex.table(table)
    assert (text.index("raggedright n") < text.index(r"\end{table}")) == inside
    assert (r"\begingroup\parindent0pt" in text) == (not inside) and text.count("raggedright n") == count


def test_letters_of_any_language_are_readable_in_json() -> None:
    text = structured.page(Page(title="R\u00f6ntgen \u80ba", sections=()), cells=(), classes=())
    assert "R\u00f6ntgen \u80ba" in text


def test_in_csv_and_json() -> None:
    lines = spreadsheet.table(TABLE).splitlines()
    assert lines == [
        "block,row,group,column,subtitle,value,sd,low,high,n,n_2,df,unadjusted,test,text,tag,best,notes",
        "ours,first,G,x,,1.005,0.125,,,3,4,,,,,n=2/3,0,of the column; of the row; P < 0.05; of the cell",
        "ours,first,G,y,,9,,,,10,,,,,of the planned n,,0,of the row",
        "ours,first,,z,,-2.25,,-3.0,-1.5,,,4.0,,a test,,,1,of the row",
        "released,second,G,x,,,,,,,,,,,prose,,0,of the column",
        "released,second,G,y,,,,,,,,,,,,,0,",
        "released,second,,z,,7.0,,,,,,,,,,,0,",
    ]
    page = Page(title="p", sections=(Section(id="s", title="s", items=(TABLE,), remarks=("said",), commands=("do",)),))
    rows = [{"cell": "c", "synthetic": True}]
    value = json.loads(structured.page(page, cells=rows, classes=[{"class": "k"}]))
    assert (value["version"], value["title"], value["cells"], value["classes"]) == (2, "p", rows, [{"class": "k"}])
    (section,) = value["sections"]
    assert (section["title"], section["remarks"], section["commands"], section["figures"]) == (
        "s",
        ["said"],
        ["do"],
        [],
    )
    (table,) = section["tables"]
    assert table["footnotes"] == {"a": "of the column", "b": "of the row", "c": "of the cell", DAGGER: "P < 0.05"}
    assert (table["id"], table["caption"], table["stub"], table["remarks"]) == (
        "t",
        "A caption",
        "Method",
        ["A remark."],
    )
    assert [row["footnotes"] for row in table["rows"]] == [["b"], []]
    assert table["rows"][0]["cells"][0] == {
        "kind": "value",
        "text": "",
        "value": 1.005,
        "sd": 0.125,
        "low": None,
        "high": None,
        "n": [3, 4],
        "df": None,
        "unadjusted": None,
        "test": "",
        "tag": "n=2/3",
        "best": False,
        "footnotes": [DAGGER, "c"],
    }
    assert [cell["text"] for row in table["rows"] for cell in row["cells"]] == [
        "",
        "of the planned n",
        "",
        "prose",
        "",
        "",
    ]


def test_tidy_rows_write_truth_as_numbers() -> None:
    rows = [{"a": True, "b": None, "c": 0.1}, {"a": False, "b": "=x", "c": float("nan")}]
    assert spreadsheet.tidy(iter(rows)) == "a,b,c\n1,,0.1\n0,'=x,nan\n"


def test_parts_of_a_wide_table_hold_as_many_columns_as_fit() -> None:
    """A stub of 3 signs and columns of 4 with two spaces: in 15 signs two of them, in 14 one."""
    heads = tuple(Column(title=f"col{place}") for place in range(4))
    table = Table(id="t", caption="c", columns=heads, rows=(Row(title="row", cells=(Cell(text="x"),) * 4),))
    for width, parts in (
        (27, ["col0  col1  col2  col3"]),
        (26, ["col0  col1  col2", "col3"]),
        (15, ["col0  col1", "col2  col3"]),
    ):
        heads_shown = [line.strip() for line in terminal.table(table, width=width).splitlines() if "col" in line]
        assert heads_shown == parts
    one = [line.strip() for line in terminal.table(table, width=14).splitlines() if "col" in line]
    assert one == ["col0", "col1", "col2", "col3"]


def test_a_long_word_over_a_column_is_broken_and_wide_signs_take_two_columns() -> None:
    heads = (Column(title="c", group="g" * 30), Column(title="\uff21\uff22", group="\u65e5\u672c"))
    rows = (Row(title="r", cells=(Cell(text="x"), Cell(text="y"))), Row(title="\uff21", cells=(Cell(text="x"),) * 2))
    lines = terminal.table(Table(id="t", caption="c", columns=heads, rows=rows)).splitlines()
    assert lines[1:] == [
        "-" * (2 + 2 + 24 + 2 + 4),
        f"    {'g' * 24}  \u65e5\u672c",
        f"    {'g' * 6}",
        f"    {'c':24}  \uff21\uff22",
        "-" * 34,
        f"r   {'x':24}  y",
        f"\uff21  {'x':24}  x",
        "-" * 34,
    ]
