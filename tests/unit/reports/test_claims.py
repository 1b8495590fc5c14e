"""The table of claims: verdicts in words and numbers, counts in the caption, ends of intervals for programs."""

from __future__ import annotations

from typing import Any

import pytest

from refers_bench.analysis.paper.claims import Outcome
from refers_bench.reports import claims


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (Outcome(verdict="holds", value=2.54), "holds: 2.5"),
        (Outcome(verdict="holds", value=-0.1), "holds: -0.1"),
        (Outcome(verdict="holds", value=0.001937), "holds: 0.00194"),
        (Outcome(verdict="fails", value=-1.16, low=-1.94, high=-0.46), "fails: -1.2 (-1.9 to -0.5)"),
        (Outcome(verdict="holds", value=3.0, low=1.0), "holds: 3.0"),
        (Outcome(verdict="no data", reason="not run yet"), "no data \N{EN DASH} not run yet"),
        (Outcome(verdict="undecided"), "undecided"),
        (Outcome(verdict="fails", value=1.0, places=tuple("abcde")), "fails: 1.0, in a; b; c; d; e"),
        (Outcome(verdict="fails", value=1.0, places=tuple("abcdefg")), "fails: 1.0, in a; b; c; d; e; and 2 more"),
    ],
)
def test_an_outcome_in_words(found: Outcome, text: str) -> None:
    assert claims.text(found) == text


def test_outcomes_are_counted_in_the_order_of_the_verdicts() -> None:
    verdicts = ["no data", "holds", "undecided", "holds", "no data", "no data"]
    assert claims.counted([Outcome(verdict=one) for one in verdicts]) == "2 holds, 1 undecided, 3 no data"


def test_columns_of_evidence_and_their_cells(folder: Any) -> None:
    """REFERS at 90 and C2L at 70 over three seeds: 20 points apart where at least 7 are claimed."""
    baselines = ("model_genesis", "c2l", "context_restoration", "transvw", "imagenet")
    folder.seeds("refers", [0.90, 0.91, 0.92])
    for place, method in enumerate(baselines):
        folder.seeds(method, [0.60 + place / 50, 0.61 + place / 50, 0.63 + place / 50])
    table = claims.build(folder.load())
    assert table is not None
    assert [column.title for column in table.columns] == ["demanded", "published", "measured here"]
    assert table.caption.startswith("Claims of the paper (39). published: ")
    rows = {row.title.split(":")[0]: row for row in table.rows}
    row = rows["best_covid_t2"]
    assert row.title == (
        "best_covid_t2: On viral against bacterial pneumonia, REFERS is at least 7 points above the best baseline. "
        "(Table 1 and its discussion)"
    )
    demanded, published, here = row.cells
    assert (demanded.figure, demanded.low, demanded.high) == ("at least 7", 7, None)
    # The paper: 80.4 and, of the best baseline, 73.0.
    assert (published.figure, published.value, published.low, published.test) == (
        "holds: 7.4",
        pytest.approx(7.4),
        None,
        "",
    )
    assert here.value == pytest.approx(91 - (68 + 69 + 71) / 3) and here.figure.startswith("holds: 21.7 (")
    assert here.low is not None and 7 < here.low < 21.7 and here.test == "95 % interval over seeds"
    assert here.word == "holds"
    missing = rows["best_nih_1"].cells[2]
    assert (
        missing.figure == ("no data \N{EN DASH} not there: REFERS, nih_chestxray14 findings at 1 %")
        and missing.word == "no data"
    )


def test_results_on_none_of_the_papers_targets_have_no_claims(folder: Any) -> None:
    folder.cell("refers", dataset="phantom", task="findings")
    folder.cell("refers", synthetic=True)
    assert claims.build(folder.load()) is None
