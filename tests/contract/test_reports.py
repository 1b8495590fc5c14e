"""What must every report plug-in do? New files are picked up by their name."""

from __future__ import annotations

from pathlib import Path

import pytest

from refers_bench import plugins
from refers_bench.analysis.results import Results, from_lock
from refers_bench.render import html, latex, markdown, spreadsheet, terminal
from refers_bench.render.figure import Figure, draw
from refers_bench.render.page import Page, Section
from refers_bench.render.table import Table
from refers_bench.reports import _page

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
