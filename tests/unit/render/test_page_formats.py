"""Does each format say what the table says, in the same bytes every time?"""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from refers_bench.analysis.compare.regression import DRIFT, FAILED_JOBS, INCOMPLETE, SAME, Comparison, Finding
from refers_bench.render import check, escape, html, latex, markdown, spreadsheet, structured, terminal
from refers_bench.render.figure import Figure, Panel, Series, draw
from refers_bench.render.page import Page, Section
from refers_bench.render.table import DAGGER, Cell, Column, Note, Row, Table

NOTE = Note(text="n=2/3")
TABLE = Table(
    id="table1",
    caption="Mean AUC",
    stub="Method",
    columns=(Column(title="1 %", subtitle="800", group="NIH"), Column(title="10 %", subtitle="8,000", group="NIH")),
    rows=(
        Row(title="REFERS", cells=(Cell(value=76.7, sd=0.31, best=True), Cell(value=80.0, notes=(NOTE,)))),
        Row(title="P", cells=(Cell(text="8.35e-4", notes=(Note(text="sig", mark=DAGGER),)), Cell()), block="test"),
        Row(title="REFERS (published)", cells=(Cell(value=76.7), Cell(value=80.9)), block="published"),
    ),
    notes=("A remark.",),
)
FIGURE = Figure(
    id="f",
    caption="c",
    alt="a",
    panels=(Panel(title="t", x_label="x", y_label="y", series=(Series(label="s", x=(0.0, 1.0), y=(1.0, 2.0)),)),),
)
PAGE = Page(title="p", sections=(Section(id="s", title="s", items=(TABLE, FIGURE)),))


def test_a_note_stands_below_its_figure_in_every_format() -> None:
    noted = replace(FIGURE, note="The first 12 of 13 columns <b>.")
    for figure, times in ((FIGURE, 0), (noted, 1)):
        page = replace(PAGE, sections=(Section(id="s", title="s", items=(figure,)),))
        for text, sign in (
            (html.page(page), "The first 12 of 13 columns &lt;b&gt;."),
            (markdown.page(page), "The first 12 of 13 columns &lt;b&gt;."),
            (latex.document(page), "The first 12 of 13 columns"),
            (structured.page(page, cells=(), classes=()), "The first 12 of 13 columns <b>."),
        ):
            assert text.count(sign) == times


def test_latex_is_booktabs() -> None:
    text = latex.table(TABLE)
    for part in (
        r"\toprule",
        r"\multicolumn{2}{c}{NIH}",
        r"\cmidrule(lr){2-3}",
        r"REFERS & \textbf{76.7} {\scriptsize$\pm$0.3} & 80.0\textsuperscript{a} \tabularnewline",
        r"8.35e-4\textsuperscript{\textdagger{}}",
        r"\textit{REFERS (published)}",
        r"\bottomrule",
    ):
        assert part in text
    assert text.count(r"\midrule") == 3


def test_markdown_says_all() -> None:
    text = markdown.table(TABLE)
    assert "| REFERS | **76.7** ± 0.3 | 80.0<sup>a</sup> |" in text
    assert "<sup>†</sup> sig" in text and text.rstrip().endswith("A remark.")


def test_terminal_is_aligned() -> None:
    lines = terminal.table(TABLE).splitlines()
    figures = next(line for line in lines if line.startswith("REFERS "))
    head = next(line for line in lines if line.startswith("Method"))
    assert figures.index("80.0") == head.index("10 %") and "*76.7 ± 0.3" in figures
    wide = Table(id="t", caption="", columns=(Column(title="x"),), rows=(Row(title="日本", cells=(Cell(text="y"),)),))
    assert "日本  y" in terminal.table(wide)


def test_terminal_splits_wide_tables_into_parts_that_fit() -> None:
    columns = tuple(
        Column(title=f"column {n}", subtitle="x" * 12, group=f"a long group title {n // 2}") for n in range(9)
    )
    cells = tuple(Cell(text=f"cell{n}") for n in range(9))
    text = terminal.table(Table(id="t", caption="c", columns=columns, rows=(Row(title="row", cells=cells),)), width=60)
    assert max(map(len, text.splitlines())) <= 60
    assert [text.count(f"cell{n}") for n in range(9)] == [1] * 9 and text.count("\nrow ") == 3


def test_csv_keeps_the_digits() -> None:
    lines = spreadsheet.table(TABLE).splitlines()
    assert lines[1] == "ours,REFERS,NIH,1 %,800,76.7,0.31,,,,,,,,,,1,"
    assert spreadsheet.tidy([]) == ""


def test_html_is_self_contained() -> None:
    text = html.page(PAGE)
    assert "http" not in text.replace("http-equiv", "")
    script = text.split("<script>")[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert text.count("<script") == 1 and f"script-src 'sha256-{digest}'\"" in text
    assert 'src="data:image/svg+xml;base64,' in text and "<b>76.7</b>" in text


def test_a_latex_document_holds_every_item() -> None:
    items = (TABLE, replace(TABLE, id="t2", caption="Another."), FIGURE, replace(TABLE, id="t3", caption="Last."))
    sections = tuple(Section(id=name, title=name, items=items) for name in ("one", "two"))
    text = latex.document(replace(PAGE, sections=sections))
    starts = [r"\\section\*\{(one|two)\}", r"\\caption\{"]
    assert [len(re.findall(one, text)) for one in starts] == [2, 8]
    assert text.count("Another.") == text.count("Last.") == text.count(r"\includegraphics") == 2


def test_html_offers_a_choice_where_there_are_means_and_classes() -> None:
    means, classes = (replace(TABLE, id=view, view=view) for view in ("mean", "class"))
    for items, choice in (((means, classes), True), ((means, TABLE), False), ((TABLE, classes), False)):
        page = replace(PAGE, sections=(Section(id="s", title="s", items=items),))
        assert ("> means</label>" in html.page(page)) is choice


def test_html_refuses_what_a_template_misspells() -> None:
    import jinja2

    environment = html._environment()
    assert environment.undefined is jinja2.StrictUndefined and environment.autoescape is True


@pytest.mark.parametrize("suffix", ["svg", "pdf"])
def test_figures_are_the_same_bytes_in_another_process(suffix: str) -> None:
    code = (
        "import sys; from refers_bench.render.figure import *; "
        "f = Figure(id='f', caption='c', alt='a', panels=(Panel(title='t', x_label='x', y_label='y', "
        "series=(Series(label='s', x=(0.0, 1.0), y=(1.0, 2.0)),)),)); "
        f"sys.stdout.buffer.write(draw(f, format='{suffix}'))"
    )
    root = Path(__file__).resolve().parents[3]
    other = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, check=True).stdout
    assert draw(FIGURE, format=suffix) == other


def _comparison(*outcomes: str) -> Comparison:
    findings = tuple(
        Finding(cell=f"c{n}", outcome=outcome, messages=() if outcome == SAME else ("why",), seconds=1.5)
        for n, outcome in enumerate(outcomes)
    )
    return Comparison(manifest="m", tolerance=0.02, findings=findings, classes_compared=4, largest=0.01)


def test_junit_counts() -> None:
    root = ET.fromstring(check.junit(_comparison(SAME, DRIFT, INCOMPLETE, FAILED_JOBS)))
    assert (root.get("tests"), root.get("failures"), root.get("errors"), root.get("time")) == ("4", "2", "1", "6.000")
    cases = root.findall(".//testcase")
    assert [[child.tag for child in case] for case in cases] == [[], ["failure"], ["failure"], ["error"]]


def test_markdown_summary_lists_what_is_not_the_same_up_to_a_limit() -> None:
    text = check.markdown(_comparison(SAME, *[DRIFT] * 60))
    assert "| c1 | drift | why |" in text and "| c0 |" not in text and "and 10 more" in text
    assert "| cell |" not in check.markdown(_comparison(SAME))
    assert "same - every class AUC is within its tolerance" in check.summary_line(_comparison(SAME))


@pytest.mark.parametrize("render", [latex.table, markdown.table, terminal.table, spreadsheet.table])
def test_a_rendered_table_is_what_it_was(render: Callable[[Table], str], snapshot: SnapshotAssertion) -> None:
    """A change of how tables look is seen, and accepted with `pytest --snapshot-update`."""
    assert render(TABLE) == snapshot


def _svg_texts(figure: Figure) -> list[str]:
    return [
        text.strip() for element in ET.fromstring(draw(figure)).iter() for text in [element.text or ""] if text.strip()
    ]


def _lines(*labels: str, x: tuple[float, ...] = (1.0, 10.0)) -> tuple[Series, ...]:
    return tuple(Series(label=label, x=x, y=tuple(float(n) for n in range(len(x)))) for label in labels)


def test_panels_with_the_same_curves_share_one_legend() -> None:
    panels = tuple(Panel(title=t, x_label="", y_label="", series=_lines("one", "two")) for t in ("p", "q", "r"))
    texts = _svg_texts(Figure(id="f", caption="", alt="", panels=panels))
    assert (texts.count("one"), texts.count("two")) == (1, 1)
    other = Panel(title="s", x_label="", y_label="", series=_lines("two", "one"))
    texts = _svg_texts(Figure(id="f", caption="", alt="", panels=(*panels, other)))
    # The same look means another name there, so every panel has its own.
    assert (texts.count("one"), texts.count("two")) == (4, 4)


def test_a_logarithmic_axis_has_plain_numbers() -> None:
    panel = Panel(title="", x_label="", y_label="", series=_lines("one", x=(0.5, 10.0, 100.0)), x_log=True)
    texts = _svg_texts(Figure(id="f", caption="", alt="", panels=(panel,)))
    assert {"0.5", "10", "100"} <= set(texts) and not any("mathdefault" in text for text in texts)


def test_long_tables_go_on_in_further_floats() -> None:
    rows = tuple(Row(title=f"row {n}", cells=(Cell(value=1.0), Cell(value=2.0))) for n in range(100))
    text = latex.table(Table(id="t", caption="c", columns=TABLE.columns, rows=rows))
    assert text.count(r"\begin{table}") == 4 and text.count("(continued)") == 3 and text.count(r"\label{") == 1
    assert all(text.count(f"row {n} &") == 1 for n in range(100)) and text.count(r"\toprule") == 4


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("\u05e9\u05dc x", "{[}U+05E9 U+05DC{]} x"),
        ("\uff21\ufb01", "Afi"),
        ("na\u00efve \u00abx\u00bb", "na\u00efve <<x>>"),
        ("\u05d0" * 20, "{[}" + " ".join(["U+05D0"] * 12) + " and 8 more{]}"),
    ],
)
def test_signs_that_latex_lacks_are_written_out(given: str, expected: str) -> None:
    assert escape.latex(given) == expected


def test_words_are_broken_only_where_no_column_would_hold_them() -> None:
    assert html._soft("context_restoration") == "context_<wbr>restoration"
    assert html._soft("tuberculosis") == "tuberculosis" and html._soft("a <b>") == "a &lt;b&gt;"
    assert html._soft("n" * 45).count("<wbr>") == 2
    assert html._soft("n" * 45).replace("<wbr>", "") == "n" * 45
