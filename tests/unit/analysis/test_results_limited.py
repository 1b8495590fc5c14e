"""No published figure stands beside results on a limited number of images, and none of the paper's claims is evaluated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from refers_bench.analysis.paper.references import references
from refers_bench.analysis.results import Results, load
from refers_bench.contracts.reports import imported_runs
from refers_bench.jobs.imports.predictions import publish
from refers_bench.reports import against_published, claims, table1


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("results")
    publish(imported_runs(), name="rich", origin="imported", tables=("table1",), title="", results=folder, command="c")
    return load(folder, "rich")


@pytest.fixture(scope="module")
def limited(whole: Results) -> Results:
    """The same, as if only some images had been used."""
    plan = replace(whole.plan, manifest={**whole.plan.manifest, "limit": 10})
    return Results(name=whole.name, plan=plan, store=whole.store, planned=whole.planned, records=whole.records)


def test_a_limit_is_that_of_the_plan(whole: Results, limited: Results) -> None:
    assert (whole.limit, limited.limit) == (0, 10)
    assert all(map(whole.as_documented, whole.targets))
    assert not any(map(limited.as_documented, limited.targets))


def test_tidy_rows_have_a_limit_only_where_there_is_one(whole: Results, limited: Results) -> None:
    assert {row["limit"] for row in limited.cell_rows()} == {row["limit"] for row in limited.metric_rows()} == {10}
    assert not any("limit" in row for row in (*whole.cell_rows(), *whole.metric_rows()))


def test_nothing_published_stands_beside_it(whole: Results, limited: Results, tmp_path: Path) -> None:
    assert list(references(whole)) and not list(references(limited))
    assert claims.build(whole) is not None and claims.build(limited) is None
    assert against_published.build(whole) is not None and against_published.build(limited) is None
    blocks = [{row.block for row in table1.REPORT.build(one).rows} for one in (whole, limited)]
    assert "published" in blocks[0] and "published" not in blocks[1]
