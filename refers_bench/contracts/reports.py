"""Checks that a report keeps its contract: content in every format, the same bytes twice, numbers for programs.

A report that has nothing to say about the results of these tests is given others: a fixture ``rich_folder`` in the
module that imports these tests.
"""

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from refers_bench import plugins
from refers_bench.analysis.results import Results, load
from refers_bench.contracts import checked
from refers_bench.data.imported.predictions import ImportedRun
from refers_bench.jobs.imports.predictions import publish
from refers_bench.render import html, latex, markdown, spreadsheet, structured, terminal
from refers_bench.render.figure import Figure, draw
from refers_bench.render.page import Page, Section
from refers_bench.render.table import NO_VALUE, Cell, Table
from refers_bench.reporting import page as _page

REPORTS = checked.names("report")
#: Formats of tables, and of figures.
FORMATS = {Table: {"html", "tex", "md", "csv", "json", "txt"}, Figure: {"html", "tex", "md", "json", "svg"}}


def rendered(results: Results, name: str) -> dict[str, bytes]:
    """What a report writes: "id.format" -> bytes, of every item in every format; of figures in those that hold them."""
    written: dict[str, str | bytes] = {}
    for item in _page.items(results, (name,)):
        page = Page(title="t", sections=(Section(id="s", title="s", items=(item,)),))
        if isinstance(item, Figure):
            written[f"{item.id}.svg"] = svg = draw(item)
            written[f"{item.id}.html"] = html.page(page, drawing={item: svg}.__getitem__)
            written[f"{item.id}.tex"] = latex.document(page)
            written[f"{item.id}.md"] = markdown.page(page)
        else:
            written[f"{item.id}.html"] = html.page(page)
            written[f"{item.id}.tex"] = latex.table(item)
            written[f"{item.id}.md"] = markdown.table(item)
            written[f"{item.id}.csv"] = spreadsheet.table(item)
            written[f"{item.id}.txt"] = terminal.table(item)
        written[f"{item.id}.json"] = structured.page(page, cells=(), classes=())
    return {name: text if isinstance(text, bytes) else text.encode() for name, text in written.items()}


LABELS = (np.arange(150)[:, None] % np.array([3, 4]) == 0).astype(np.int8)


def imported_runs() -> list[ImportedRun]:
    """Three rows of Table 1 on two findings: three seeds at two label ratios, whose scores of positives are shared."""
    rng = np.random.default_rng(0)

    def scores() -> np.ndarray:
        drawn = np.where(LABELS == 1, np.random.default_rng(1).random((150, 2)) + 0.2, rng.random((150, 2)))
        return np.round(drawn / 2, 3).astype(np.float32)

    shared = {
        "dataset": "vinbigdata_cxr",
        "task": "findings",
        "classes": ("Mass", "Nodule"),
        "image_ids": tuple(f"i{n}" for n in range(150)),
        "patient_ids": ("",) * 150,
        "labels_NK": LABELS,
    }
    return [
        ImportedRun(method=method, label=method, label_ratio=ratio, seed=seed, scores_NK=scores(), **shared)
        for ratio in (1.0, 0.1)
        for method in ("refers", "model_genesis", "transvw")
        for seed in range(3)
    ]


@pytest.fixture(scope="module")
def rich_folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Results folder and manifest that a report has something to say about."""
    results = tmp_path_factory.mktemp("rich")
    publish(imported_runs(), name="rich", origin="imported", tables=("table1",), title="", results=results, command="c")
    return results, "rich"


@pytest.fixture(scope="module")
def rich(rich_folder: tuple[Path, str]) -> Results:
    return load(*rich_folder)


@pytest.fixture(scope="module")
def written(rich: Results) -> dict[str, dict[str, bytes]]:
    """Report -> file -> what it writes of the rich results."""
    return {name: rendered(rich, name) for name in REPORTS}


@pytest.mark.parametrize("name", REPORTS)
def test_is_a_report_with_a_label(name: str) -> None:
    report = plugins.load("report", name)
    assert isinstance(report, plugins.Report) and report.label and isinstance(report.order, int)
    assert report.part in plugins.REPORT_PARTS, f"part '{report.part}'; known: {', '.join(plugins.REPORT_PARTS)}"


@pytest.mark.parametrize("name", REPORTS)
def test_has_content_in_every_format(name: str, rich: Results, written: dict[str, dict[str, bytes]]) -> None:
    items = _page.items(rich, (name,))
    assert items, f"report '{name}' makes nothing of the results in `rich_folder`: add to these what it shows"
    for item in items:
        assert item.caption.strip()
        found = {file.removeprefix(f"{item.id}.") for file in written[name] if file.startswith(f"{item.id}.")}
        assert found == FORMATS[type(item)]
        if isinstance(item, Table):
            assert item.rows, f"table '{item.id}' of report '{name}' has no rows: add to `rich_folder` what it lists"
            shown = [cell.figure for row in item.rows for cell in row.cells if cell.figure not in ("", NO_VALUE)]
            assert shown, f"table '{item.id}' of report '{name}' has empty cells alone"
            for form, title in (("txt", item.rows[0].title), ("csv", item.rows[-1].title)):
                assert title in written[name][f"{item.id}.{form}"].decode().replace('""', '"')
            continue
        for panel in item.panels:
            assert panel.picture is not None or any(series.x for series in panel.series), f"'{item.id}' draws nothing"
        read = json.loads(written[name][f"{item.id}.json"])["sections"][0]["figures"][0]
        assert (read["id"], read["caption"]) == (item.id, item.caption) and len(read["panels"]) == len(item.panels)


@pytest.mark.parametrize("name", REPORTS)
def test_writes_the_same_bytes_of_results_that_are_loaded_again(
    name: str, again: Results, written: dict[str, dict[str, bytes]]
) -> None:
    assert rendered(again, name) == written[name]


@pytest.fixture(scope="module")
def again(rich_folder: tuple[Path, str], written: object) -> Results:
    """The rich results once more, when all reports have been written: what was computed is read back by now."""
    return load(*rich_folder)


@pytest.mark.parametrize("name", REPORTS)
def test_makes_something_or_nothing_of_one_run(name: str, tmp_path: Path) -> None:
    """One seed of one row: no standard deviation, no test, nothing to compare with."""
    publish(imported_runs()[:1], name="one", origin="imported", title="", results=tmp_path, command="c")
    for item in _page.items(load(tmp_path, "one"), (name,)):
        assert item.caption.strip()
        if isinstance(item, Table):
            cells = [cell for row in item.rows for cell in row.cells]
            assert not [cell for cell in cells if re.search(r"\b([Nn]a[Nn]|[Ii]nf|None)\b", cell.figure)]


#: A number as people read it, and words that stand beside numbers in a cell.
NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?")
BESIDE = re.compile(
    r"\b(to|and|of|at|least|most|holds|fails|undecided|unstated|no data|images?|patients?|seeds?|s|min|h|GiB|MiB)\b"
    r"|[\s%()<>:;\u00b1\u2264\u2265]"
)


def numbers_shown(text: str) -> list[str]:
    """The numbers of a text that is numbers and little else; none of prose and names, as those of seeds and commits."""
    if re.fullmatch(r"seeds? [\d, ]+|[0-9a-f]{12}", text):
        return []
    found: list[str] = NUMBER.findall(text)
    return found if found and not BESIDE.sub("", NUMBER.sub("", text)) else []


def shows(shown: str, number: float) -> bool:
    """Whether a text is a number, rounded to the digits of the text."""
    mantissa, _, exponent = shown.replace(",", "").partition("e")
    digits = len(mantissa.partition(".")[2]) - int(exponent or 0)
    return abs(float(shown.replace(",", "")) - number) <= 0.500001 * 10.0**-digits


def cells_of(results: Results, name: str) -> Iterator[tuple[Table, str, Cell]]:
    """(table, column title, cell) of one report."""
    for item in _page.items(results, (name,)):
        if isinstance(item, Table):
            for row in item.rows:
                yield from ((item, column.title, cell) for column, cell in zip(item.columns, row.cells, strict=True))


@pytest.mark.parametrize("name", REPORTS)
def test_numbers_that_are_shown_are_numbers_for_programs(name: str, rich: Results) -> None:
    """A text that is numbers comes with these, unrounded; times, which are words, in seconds."""
    for table, title, cell in cells_of(rich, name):
        for shown in numbers_shown(cell.figure):
            known = cell.word == "seconds" or any(shows(shown, number) for number in cell.numbers)
            assert known, f"{table.id}, {title}: '{cell.figure}' is no number of the cell: {cell.numbers}"
        if cell.kind == "p" and cell.numbers:
            assert cell.value is not None and cell.test and cell.n, f"{table.id}, {title}: a P-value without test and n"
        assert not numbers_shown(cell.word), f"{table.id}, {title}: numbers among the words: '{cell.word}'"


#: Numbers of a cell that CSV and JSON hold under the same names; CSV has two columns for `n`.
NUMERIC = ("value", "sd", "low", "high", "df", "unadjusted")


@pytest.mark.parametrize("name", REPORTS)
def test_csv_and_json_hold_the_numbers_and_no_display_strings(name: str, rich: Results) -> None:
    for item in _page.items(rich, (name,)):
        if not isinstance(item, Table):
            continue
        page = Page(title="t", sections=(Section(id="s", title="s", items=(item,)),))
        written = json.loads(structured.page(page, cells=(), classes=()))["sections"][0]["tables"][0]
        read = [cell for row in written["rows"] for cell in row["cells"]]
        lines = list(csv.DictReader(spreadsheet.table(item).splitlines(keepends=True)))
        cells = [cell for row in item.rows for cell in row.cells]
        for cell, line, as_json in zip(cells, lines, read, strict=True):
            numbers = {name: getattr(cell, name) for name in NUMERIC}
            n, n_2 = (*cell.n, None, None)[:2]
            for column, number in {**numbers, "n": n, "n_2": n_2}.items():
                assert (float(line[column]) if line[column] else None) == number
            assert {name: as_json[name] for name in NUMERIC} == numbers
            assert as_json["n"] == list(cell.n) and as_json["test"] == line["test"] == cell.test
            for text in (line["text"], as_json["text"]):
                assert text != NO_VALUE and not numbers_shown(text), f"{item.id}: '{text}' stands for numbers"
