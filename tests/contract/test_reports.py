"""What every report plug-in must do. New files are picked up by their name."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from explained_cells import explain
from refers_bench import plugins
from refers_bench.analysis.results import Results, from_lock, load
from refers_bench.data.imported import ImportedRun
from refers_bench.jobs.importing import publish
from refers_bench.render import html, latex, markdown, spreadsheet, structured, terminal
from refers_bench.render.figure import Figure, draw
from refers_bench.render.page import Page, Section
from refers_bench.render.table import NO_VALUE, Cell, Table
from refers_bench.reports import _page
from results_folder import Folder

REPORTS = sorted(plugins.names("report"))


def _lock(*, cells: bool) -> dict[str, object]:
    jobs = [
        {"key": f"{method}{seed}", "kind": "finetune", "name": "n", "needs": [], "spec": {}, "unavailable": ""}
        for method in ("refers", "scratch")
        for seed in (0, 1)
    ]
    where = {"dataset": "phantom", "task": "findings", "label_ratio": 1.0, "synthetic": True, "footnotes": ["note"]}
    planned = [
        {"method": method, "label": method, "seed": seed, "key": f"{method}{seed}", **where}
        for method in ("refers", "scratch")
        for seed in (0, 1)
    ]
    return {"version": 1, "name": "m", "jobs": jobs if cells else [], "cells": planned if cells else []}


@pytest.fixture(params=[False, True], ids=["empty", "planned"])
def results(request: pytest.FixtureRequest, tmp_path: Path) -> Results:
    return from_lock(_lock(cells=request.param), store=tmp_path, name="m")


@pytest.mark.parametrize("name", REPORTS)
def test_is_a_report_with_a_label(name: str) -> None:
    report = plugins.load("report", name)
    assert isinstance(report, plugins.Report) and report.label and isinstance(report.order, int)


@pytest.mark.parametrize("name", REPORTS)
def test_builds_from_anything_planned_and_renders_in_every_format(name: str, results: Results) -> None:
    for item in _page.items(results, (name,)):
        assert item.caption
        page = Page(title="t", sections=(Section(id="s", title="s", items=(item,)),))
        assert item.id in html.page(page)
        if isinstance(item, Figure):
            assert draw(item)
            continue
        assert isinstance(item, Table)
        assert latex.table(item) and markdown.table(item) and spreadsheet.table(item) and terminal.table(item)


@pytest.mark.parametrize("name", REPORTS)
def test_builds_the_same_twice(name: str, results: Results) -> None:
    assert _page.items(results, (name,)) == _page.items(results, (name,))


def test_labels_and_ids_are_distinct(results: Results) -> None:
    labels = [plugins.load("report", name).label for name in REPORTS]
    assert len(set(labels)) == len(labels)
    # `items` refuses an id that two reports take.
    assert isinstance(_page.items(results), list)


def test_private_modules_are_no_plug_ins() -> None:
    assert {"table1", "table2", "table3", "cells"} <= set(REPORTS)
    assert not any(name.startswith("_") for name in REPORTS)


LABELS = (np.arange(150)[:, None] % np.array([3, 4]) == 0).astype(np.int8)


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Results that most reports have something to say about.

    Three rows with predictions, a release beside them, a pre-training with losses, explained cells, settings that
    differ, a failed cell.
    """
    folder = Folder(tmp_path_factory.mktemp("rich"))
    rng = np.random.default_rng(0)

    def scores() -> Any:
        """Of the positive images always the same: rows that share scores."""
        drawn = np.where(LABELS == 1, np.random.default_rng(1).random((150, 2)) + 0.2, rng.random((150, 2)))
        return np.round(drawn / 2, 3).astype(np.float32)

    runs = [
        ImportedRun(
            method=method, label=method, dataset="vinbigdata_cxr", task="findings", label_ratio=1.0, seed=seed,
            classes=("Mass", "Nodule"), image_ids=tuple(f"i{n}" for n in range(150)), patient_ids=("",) * 150,
            labels_NK=LABELS, scores_NK=scores(),
        )
        for method in ("refers", "model_genesis", "transvw") for seed in range(3)
    ]  # fmt: skip
    more: dict[str, Any] = {"title": "", "results": folder.results, "command": "c"}
    publish(runs[::3], name="refers-release", origin="released", **more)
    publish(runs, name=folder.name, origin="imported", tables=("table1",), **more)
    path = folder.results / folder.name / "plan.lock.json"
    imported = load(folder.results, folder.name).lock
    folder.lock = {**imported, "jobs": list(imported["jobs"]), "cells": list(imported["cells"]), "version": 1}
    folder.lock["values"] = {
        "finetune.steps": {"value": 77, "origin": "manifest", "stated": False, "overridden": True},
        "finetune.optimizer": {"value": "sgd", "origin": "manifest", "stated": True, "overridden": True},
    }
    folder.job("pre", kind="pretrain")
    folder.done("pre", kind="pretrain", peak_mem_bytes=3 * 2**30)
    losses = {name: [1.5 / (n + 1) for n in range(1200)] for name in ("loss/total", "loss/a", "loss/b", "val/loss")}
    folder.history("pre", losses)
    folder.cell("refers", dataset="covid19_idc", task="covid19_vs_other", state="failed")
    explained = folder.cell("refers", dataset="nih_chestxray14", task="findings", aucs={"Mass": 0.7, "Hernia": None})
    path.write_text(json.dumps(folder.lock))
    explain(folder, explained, name="refers.s0", iou={"class": [0.2, 0.4, 0.6, 0.0, 0.1, 0.5]})
    return folder.load()


#: A number as people read it, and words that stand beside numbers in a cell.
NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?")
BESIDE = re.compile(
    r"\b(to|and|of|at|least|most|holds|fails|undecided|unstated|no data|images?|patients?|seeds?|s|min|h|GiB|MiB)\b"
    r"|[\s%()<>:;\u00b1\u2264\u2265]"
)


def numbers_shown(text: str) -> list[str]:
    """The numbers of a text that is numbers and little else; none of prose and names, as those of seeds are."""
    if re.fullmatch(r"seeds? [\d, ]+", text):
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


NUMERIC = ("value", "sd", "low", "high", "n", "n_2", "df", "unadjusted")


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
            n = [*cell.n, None, None][:2]
            expected = (cell.value, cell.sd, cell.low, cell.high, *n, cell.df, cell.unadjusted)
            assert [line[column] and float(line[column]) for column in NUMERIC] == [
                "" if number is None else number for number in expected
            ]
            assert [as_json[column] for column in ("value", "sd", "low", "high", "df", "unadjusted")] == [
                cell.value, cell.sd, cell.low, cell.high, cell.df, cell.unadjusted,
            ]  # fmt: skip
            assert as_json["n"] == list(cell.n) and as_json["test"] == line["test"] == cell.test
            for text in (line["text"], as_json["text"]):
                assert text != NO_VALUE and not numbers_shown(text), f"{item.id}: '{text}' stands for numbers"


def test_the_results_of_these_tests_fill_the_reports_of_numbers(rich: Results) -> None:
    """What the contract checks is there: else it would pass on empty tables."""
    filled = {name for name in REPORTS if any(cell.numbers for _, _, cell in cells_of(rich, name))}
    assert filled >= {
        "attention", "cells", "claims", "class_tests", "classes", "deviations", "failures", "integrity", "pretraining",
        "references", "runs", "significance", "table1", "test_images",
    }  # fmt: skip
