"""Can a name that a user chose break out of its cell, in any format?"""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from functools import cache
from html.parser import HTMLParser

import pytest

from refers_bench.analysis.cells import Target
from refers_bench.analysis.compare.bands import BandTest
from refers_bench.analysis.compare.difference import CellDifference, Difference, MeanDifference, SettingDifference
from refers_bench.analysis.compare.regression import DRIFT, Comparison, Finding
from refers_bench.analysis.statistics.equivalence import equivalence
from refers_bench.analysis.statistics.significance import Refusal
from refers_bench.render import check, difference, escape, html, latex, markdown, spreadsheet, structured, terminal
from refers_bench.render.figure import Figure, Panel, Series, draw
from refers_bench.render.page import Detail, Page, Section
from refers_bench.render.table import Cell, Column, Note, Row, Table

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7*7 }} {% raw %}",
    r"\input{/etc/passwd} $x$ & % # _ ^ ~ {}",
    "| a | b |",
    "`code` *bold* _em_ [link](http://evil) ![img](x)",
    '=HYPERLINK("http://evil")',
    "@SUM(1)",
    "\x1b[31mred\x1b[0m\x07",
    "line\nbreak\r\nand\ttab",
    "right-to-left \u202e override",
    "nul \x00 and \ud800 and \ufffe",
    "日本語 — naïve",
    "--- -- -{}-",
    "$\\frac{",
    "_leading underscore",
    "",
    "x" * 500,
]


def _table(name: str) -> Table:
    note = Note(text=name)
    return Table(
        id="t",
        caption=name,
        stub=name,
        columns=(Column(title=name, subtitle=name, group=name, notes=(note,)),),
        rows=(Row(title=name, cells=(Cell(text=name, notes=(note,), title=name, link="d"),), notes=(note,)),),
        notes=(name,),
    )


def _figure(name: str) -> Figure:
    points = Series(label=name, x=(1.0, 2.0), y=(0.0, 0.0), style="points")
    line = Series(label=name, x=(0.0, 1.0), y=(1.0, 2.0))
    return Figure(
        id="f",
        caption=name,
        alt=name,
        note=name,
        panels=(
            Panel(title=name, x_label=name, y_label=name, series=(points,), y_names=(name,), sides=(name, name)),
            Panel(title=name, x_label=name, y_label=name, series=(line, line)),
        ),
    )


def _page(name: str) -> Page:
    detail = Detail(id="d", title=name, facts=((name, name),), code=name)
    section = Section(
        id="s", title=name, remarks=(name,), items=(_table(name), _figure(name)), details=(detail,), commands=(name,)
    )
    return Page(title=name, sections=(section,))


@cache
def _harmless() -> str:
    return html.page(_page("harmless"))


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        # Where a long word may be broken is of no concern.
        if tag == "wbr":
            return
        self.tags.append(tag)
        self.attributes.update(name for name, _ in attrs)
        if tag not in ("meta", "img", "br", "link", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: repr(name)[:24])
def test_html(name: str) -> None:
    parser, harmless = _Tags(), _Tags()
    page = html.page(_page(name))
    parser.feed(page)
    harmless.feed(_harmless())
    # An empty name leaves optional parts out; no name adds any.
    if name:
        assert parser.tags == harmless.tags
    assert parser.attributes <= harmless.attributes and not parser.open
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202e]", page)
    page.encode("utf-8")


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: repr(name)[:24])
def test_svg_and_pdf(name: str) -> None:
    svg = draw(_figure(name))
    elements = list(ET.fromstring(svg).iter())
    assert not [element for element in elements if element.tag.endswith(("script", "img"))]
    # A name may be written in several lines, each an element of text: it never becomes an attribute.
    assert not [attribute for element in elements for attribute in element.attrib if attribute.startswith("on")]
    assert draw(_figure(name), format="pdf").startswith(b"%PDF")


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: repr(name)[:24])
def test_latex(name: str) -> None:
    escaped = escape.latex(name)
    # What is left after the escapes we write holds no sign that LaTeX gives a meaning to.
    rest = re.sub(
        r"\\(text[a-z]+|ldots)\{\}|\\ensuremath\{\\[A-Za-z]+\}|\\[&%$#_{}]|\{\[\}|\{\]\}|\{''\}|\{\}", "", escaped
    )
    assert not re.search(r"[\\&%$#_{}~^\n]", rest), rest
    text = latex.table(_table(name))
    found = re.findall(r"\\(begin|end)\{(\w+)\}", text)
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 1
    open_: list[str] = []
    for what, environment in found:
        assert environment in ("table", "tabular")
        if what == "begin":
            open_.append(environment)
        else:
            assert open_.pop() == environment
    assert not open_
    assert latex.document(_page(name)).count(r"\begin{document}") == 1


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: repr(name)[:24])
def test_markdown(name: str) -> None:
    lines = markdown.table(_table(name)).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 3
    for row in rows:
        assert len(re.findall(r"(?<!\\)\|", row)) == 3
    text = markdown.page(_page(name))
    outside = re.sub(r"`{3,}\n.*?\n`{3,}\n", "", text, flags=re.DOTALL)
    assert set(re.findall(r"<(/?\w+)", outside)) <= {"br", "sup", "/sup"}
    assert "](http" not in outside and "://" not in outside


def test_markdown_fence_is_longer_than_any_inside() -> None:
    assert markdown.code("```\n# free").startswith("````\n")


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: repr(name)[:24])
def test_csv(name: str) -> None:
    rows = list(csv.reader(io.StringIO(spreadsheet.table(_table(name)))))
    assert len(rows) == 2 and len(rows[1]) == len(rows[0])
    assert all(cell[:1] not in ("=", "+", "-", "@") for cell in rows[1])
    tidy = list(csv.reader(io.StringIO(spreadsheet.tidy([{"a": name, "b": -1.5, "c": None, "d": True}]))))
    assert len(tidy) == 2 and tidy[1][1:] == ["-1.5", "", "1"]


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: repr(name)[:24])
def test_terminal(name: str) -> None:
    text = terminal.table(_table(name))
    assert all(sign == "\n" or sign.isprintable() for sign in text)


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: repr(name)[:24])
def test_check_summaries(name: str) -> None:
    finding = Finding(cell=name, outcome=DRIFT, messages=(name, name))
    found = Comparison(manifest=name, tolerance=0.02, findings=(finding,), classes_compared=1, largest=0.5)
    case = ET.fromstring(check.junit(found)).find(".//testcase")
    assert case is not None and len(case) == 1
    row = check.markdown(found).splitlines()[-1]
    assert len(re.findall(r"(?<!\\)\|", row)) == 4 and "<script" not in row
    assert "\n" not in check.summary_line(found)


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: repr(name)[:24])
def test_check_summaries_of_bands(name: str) -> None:
    tests = (
        BandTest(row=name, name=name, band=0.02, source=name, found=Refusal(reason=name)),
        BandTest(row=name, name=name, band=0.02, source=name, found=equivalence([0.5, 0.6], 0.0, margin=0.02)),
        BandTest(row=name, name=name, band=0.02, source=name, found=equivalence([0.0, 0.03], 0.0, margin=0.02)),
    )
    found = Comparison(manifest=name, tolerance=0.02, findings=(), classes_compared=0, largest=0.0, tests=tests)
    root = ET.fromstring(check.junit(found))
    assert [case[0].tag for case in root.findall(".//testcase")] == ["skipped", "failure", "skipped"]
    assert (root.get("tests"), root.get("failures")) == ("3", "1")
    text = check.markdown(found)
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| ---")]
    assert len(rows) == 3 and all(len(re.findall(r"(?<!\\)\|", row)) == 4 for row in rows)
    assert "<script" not in text and "://" not in text and "\n" not in check.tests_line(found)


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: repr(name)[:24])
def test_json(name: str) -> None:
    text = structured.page(_page(name), cells=[{"method": name}], classes=[{"class": name}])
    found = json.loads(text)
    assert found["title"] == found["cells"][0]["method"] == (name if "\ud800" not in name else found["title"])
    assert found["sections"][0]["tables"][0]["rows"][0]["title"] == found["title"]
    text.encode("utf-8")


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: repr(name)[:24])
def test_differences(name: str) -> None:
    cell = CellDifference(name=name, states=("done", "failed"), same_key=False)
    other = CellDifference(
        name=name, states=("done", "done"), same_key=True, predictions="differ", largest=float("inf")
    )
    mean = MeanDifference(
        method=name, target=Target(dataset=name, task=name, label_ratio=1.0), means=(0.5, 0.6), n=(1, 1),
        seeds=Refusal(reason=name), images=None, classes={name: (None, 0.5)},
    )  # fmt: skip
    setting = SettingDifference(name=name, values=(name, None), origins=(name, ""))
    found = Difference(
        names=(name, name), only=((name,), ()), cells=(cell, other), means=(mean,), settings=(setting,),
        specifications=((name, name, name, 1),), notes=(name,),
    )  # fmt: skip
    text = difference.text(found)
    assert all(sign == "\n" or sign.isprintable() for sign in text)
    # Twelve lines for these facts, whatever is in them, and the verdict.
    assert text.count("\n") == 18 and text.splitlines()[-1].startswith("different: ")
    as_json = json.loads(difference.as_json(found))
    assert as_json["same"] is False and as_json["cells"][1]["largest_score_difference"] == "infinite"
    difference.as_json(found).encode("utf-8")


@pytest.mark.parametrize("blank", ["", " ", "\t", "\n", "\N{NO-BREAK SPACE}", "\N{IDEOGRAPHIC SPACE} \t"])
@pytest.mark.parametrize("sign", "=+-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b")
def test_no_spreadsheet_takes_a_name_for_a_formula(blank: str, sign: str) -> None:
    name = f"{blank}{sign}HYPERLINK(A1)"
    (line,) = csv.reader(spreadsheet.tidy([{"method": name}]).splitlines()[1:])
    assert line[0].startswith("'")
    (header,) = csv.reader(spreadsheet.tidy([{name: 1}]).splitlines()[:1])
    assert header[0].startswith("'")


@pytest.mark.parametrize("name", ["a=b", "covid-19", "x@y", " plain "])
def test_other_names_stand_as_they_are(name: str) -> None:
    assert spreadsheet.tidy([{"method": name}]).splitlines()[1] == name
