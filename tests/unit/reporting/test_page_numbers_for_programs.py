"""CSV and JSON give every statistic unrounded, with its test, n and df: as scipy computes them from the seeds."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from refers_bench.reporting.page import write

REFERS, SCRATCH = (0.80, 0.82, 0.81), (0.60, 0.63, 0.64)
STUDENT = stats.ttest_ind(REFERS, SCRATCH)
WELCH = stats.ttest_ind(REFERS, SCRATCH, equal_var=False)


@pytest.fixture
def out(folder: Any) -> Path:
    """Two columns with the same seeds, so that Holm doubles the P-value."""
    for ratio in (1.0, 0.1):
        folder.seeds("refers", REFERS, ratio=ratio)
        folder.seeds("scratch", SCRATCH, ratio=ratio)
    folder.save()
    write(folder.results, [folder.name], ("csv", "json"))
    return Path(folder.results / folder.name / "report")


def expected() -> dict[str, dict[str, float]]:
    interval = STUDENT.confidence_interval(0.95)
    groups = {"n": 3, "n_2": 3}
    student = {**groups, "df": 4}
    return {
        "difference": {"value": 100 * (sum(REFERS) - sum(SCRATCH)) / 3},
        "95 % interval": {"low": 100 * interval.low, "high": 100 * interval.high, **student},
        "n": groups,
        "t": {"value": STUDENT.statistic},
        "df": {"value": 4},
        "P": {"value": STUDENT.pvalue, **student},
        "P, Holm": {"value": 2 * STUDENT.pvalue, "unadjusted": STUDENT.pvalue, **student},
        "Welch df": {"value": WELCH.df},
        "Welch P": {"value": WELCH.pvalue, **groups, "df": WELCH.df},
    }


def test_csv(out: Path) -> None:
    with (out / "significance.csv").open() as stream:
        lines = [line for line in csv.DictReader(stream) if line["row"].endswith("100 % of labels")]
    rows = {line["column"]: line for line in lines}
    numeric = ("value", "low", "high", "n", "n_2", "df", "unadjusted")
    for column, figures in expected().items():
        found = {name: float(rows[column][name]) for name in numeric if rows[column][name]}
        assert found == pytest.approx(figures, rel=1e-9), column
        assert rows[column]["text"] == "", column
    assert "pooled variance" in rows["P"]["test"] and "unequal variances" in rows["Welch P"]["test"]
    assert rows["P, Holm"]["test"].endswith("adjusted after Holm")
    # Power is a share, and not rounded to two digits.
    assert 0 < float(rows["power at 1 point"]["value"]) < 1 and len(rows["power at 1 point"]["value"]) > 8


def test_json(out: Path) -> None:
    tables = json.loads((out / "report.json").read_text())["sections"][0]["tables"]
    (table,) = [table for table in tables if table["id"] == "significance"]
    titles = [column["title"] for column in table["columns"]]
    cells = dict(zip(titles, table["rows"][0]["cells"], strict=True))
    for column, figures in expected().items():
        n = [int(figures[name]) for name in ("n", "n_2") if name in figures]
        wanted = {name: number for name, number in figures.items() if name not in ("n", "n_2")}
        found = {name: cells[column][name] for name in ("value", "low", "high", "df", "unadjusted")}
        assert {name: number for name, number in found.items() if number is not None} == pytest.approx(wanted), column
        assert cells[column]["n"] == n and cells[column]["text"] == "", column
