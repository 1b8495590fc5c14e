"""The table of floors: the best floor, and each row's difference from it as scikit-learn and DeLong's formula have it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from refers_bench.render.table import NO_VALUE, Table
from refers_bench.reporting import comparisons, grid
from refers_bench.reports import floors
from refers_bench.reports.floors import BEST, BETTER, FLOOR, NOT_BETTER

IMAGES = 300
LABELS = (np.random.default_rng(5).random(IMAGES) < 0.4).astype(int)
#: What all rows see of an image, so that their errors are related.
COMMON = np.random.default_rng(6).normal(size=IMAGES)
WHERE = "covid19_idc: viral_vs_bacterial, 100 % of labels"


def predict(folder: Any, method: str, strength: float, *, seed: int = 0, **more: Any) -> NDArray[np.float32]:
    """Scores of a finished run on one class, with predictions in the store."""
    rng = np.random.default_rng([seed, *method.encode()])
    scores = np.asarray(LABELS * strength + COMMON + rng.normal(size=IMAGES), np.float32)
    auc = float(roc_auc_score(LABELS, scores))
    key = folder.cell(method, seed=seed, aucs={"opacity": auc}, label=method.upper(), **more)
    folder.predict(key, LABELS[:, None], scores[:, None], classes=["opacity"], of_a_patient=0)
    return scores


def wins(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """Whether each positive image scores above each negative one: the kernel of the AUC."""
    positive, negative = scores[LABELS == 1][:, None], scores[LABELS == 0][None]
    return np.asarray((positive > negative) + 0.5 * (positive == negative), float)


def delong(first: NDArray[np.float32], second: NDArray[np.float32]) -> tuple[float, float]:
    """Difference of two AUCs and its standard error, by the formula of the paper of 1988."""
    difference = wins(first) - wins(second)
    parts = [difference.mean(axis).var(ddof=1) / difference.shape[1 - axis] for axis in (0, 1)]
    return float(difference.mean()), float(np.sqrt(sum(parts)))


def built(folder: Any) -> Table:
    table = floors.build(folder.load())
    assert table is not None
    return table


def test_each_row_is_compared_with_the_best_floor(folder: Any) -> None:
    scores = {
        "refers": predict(folder, "refers", 2.0),
        "c2l": predict(folder, "c2l", 1.05),
        "metadata": predict(folder, "metadata", 0.4, floor=True),
        "pixels": predict(folder, "pixels", 1.0, floor=True),
        "worse": predict(folder, "worse", 0.2),
    }
    table = built(folder)
    order = ["pixels", "refers", "c2l", "metadata", "worse"]
    assert [row.title for row in table.rows] == [f"{WHERE}: {name.upper()}" for name in order]
    verdicts = dict(zip(order, (row.cells[4].figure for row in table.rows), strict=True))
    assert verdicts == {"pixels": BEST, "refers": BETTER, "c2l": NOT_BETTER, "metadata": FLOOR, "worse": NOT_BETTER}
    for row, name in zip(table.rows, order, strict=True):
        mean, interval, difference, ends, _ = row.cells
        auc = roc_auc_score(LABELS, scores[name])
        assert mean.value == pytest.approx(100 * auc)
        assert interval.low is not None and interval.high is not None
        assert interval.low < 100 * auc < interval.high and interval.n == (IMAGES,)
        if name == "pixels":
            assert difference.figure == ends.figure == NO_VALUE
            continue
        estimate, se = delong(scores[name], scores["pixels"])
        assert difference.value == pytest.approx(100 * estimate)
        assert difference.figure == f"{100 * estimate:+.2f}"
        expected = [100 * (estimate + sign * 1.96 * se) for sign in (-1, 1)]
        assert [ends.low, ends.high] == pytest.approx(expected, abs=0.1 * 100 * 1.96 * se), name
        assert verdicts[name] == (FLOOR if name == "metadata" else BETTER if expected[0] > 0 else NOT_BETTER)


def test_seeds_enter_as_their_mean(folder: Any) -> None:
    ours = [predict(folder, "refers", 1.5, seed=seed) for seed in range(2)]
    floor = [predict(folder, "pixels", 1.0, seed=seed, floor=True) for seed in range(2)]
    _, row = built(folder).rows
    aucs = [np.mean([roc_auc_score(LABELS, scores) for scores in several]) for several in (ours, floor)]
    assert row.cells[2].value == pytest.approx(100 * (aucs[0] - aucs[1]))


def test_a_floor_without_all_its_seeds_is_not_the_best_one(folder: Any) -> None:
    predict(folder, "refers", 1.5)
    predict(folder, "pixels", 1.2, floor=True)
    folder.cell("pixels", seed=1, state="failed", floor=True, label="PIXELS")
    predict(folder, "metadata", 0.5, floor=True)
    rows = {row.title.removeprefix(f"{WHERE}: "): row for row in built(folder).rows}
    assert list(rows) == ["METADATA", "REFERS", "PIXELS"]
    assert [row.cells[4].figure for row in rows.values()] == [BEST, BETTER, FLOOR]
    assert rows["PIXELS"].cells[0].tag and rows["PIXELS"].cells[2].figure == NO_VALUE
    (note,) = rows["PIXELS"].cells[3].notes
    assert note.text == "no interval: not all seeds are there."


def test_without_a_complete_floor_nothing_is_compared(folder: Any) -> None:
    predict(folder, "refers", 1.5)
    predict(folder, "pixels", 1.2, floor=True)
    folder.cell("pixels", seed=1, state="missing", floor=True, label="PIXELS")
    ours, floor = built(folder).rows
    assert ours.cells[4].figure == NO_VALUE and floor.cells[4].figure == FLOOR
    assert [note.text for note in ours.cells[3].notes] == ["no interval: no floor is complete."]


def test_rows_without_predictions_are_listed(folder: Any) -> None:
    folder.cell("refers", aucs={"opacity": 0.8}, label="REFERS")
    folder.cell("pixels", aucs={"opacity": 0.7}, floor=True, label="PIXELS")
    ours, floor = built(folder).rows
    assert (ours.cells[0].value, floor.cells[0].value) == (80, 70)
    assert {note.text for row in (ours, floor) for note in row.cells[1].notes} == {
        "no interval: no stored predictions."
    }
    assert ours.cells[4].figure == NO_VALUE


def test_equal_scores_leave_no_verdict(folder: Any) -> None:
    predict(folder, "pixels", 1.0, floor=True)
    key = folder.cell("refers", aucs={"opacity": 0.5}, label="REFERS")
    store = folder.results / "store"
    (twin,) = store.glob("pixels*/predictions.parquet")
    (store / key / twin.name).write_bytes(twin.read_bytes())
    _, ours = built(folder).rows
    assert ours.cells[2].value == 0 and ours.cells[4].figure == NO_VALUE
    assert [note.text for note in ours.cells[3].notes] == ["no interval: the test images leave no spread."]


def test_only_columns_with_a_floor_are_listed_and_none_without_any(folder: Any) -> None:
    predict(folder, "refers", 1.5)
    assert floors.build(folder.load()) is None
    predict(folder, "pixels", 1.0, floor=True)
    predict(folder, "refers", 1.5, ratio=0.1)
    assert [row.title for row in built(folder).rows] == [f"{WHERE}: PIXELS", f"{WHERE}: REFERS"]


def test_a_plan_says_which_rows_are_floors_and_leaves_the_word_out_of_others(folder: Any) -> None:
    predict(folder, "refers", 1.5)
    predict(folder, "pixels", 1.0, floor=True)
    results = folder.load()
    assert results.floors == {"pixels"}
    recorded = [cell.recorded() for cell in results.plan.cells]
    assert [cell.get("floor") for cell in recorded] == [None, True]
    assert json.loads(json.dumps(recorded)) == [{**cell, "footnotes": []} for cell in recorded]


def test_a_floor_is_no_competitor(folder: Any) -> None:
    """It is neither what others are compared with, nor the best of them, nor printed in bold."""
    folder.seeds("pixels", [0.9, 0.91, 0.92], floor=True)
    folder.seeds("c2l", [0.7, 0.72, 0.71])
    folder.seeds("transvw", [0.6, 0.62, 0.63])
    results = folder.load()
    assert results.reference == "c2l"
    (test,) = comparisons.against_best(results)
    assert (test.reference, test.baseline) == ("c2l", "transvw")
    rows = grid.grid_rows(results, [(method, method) for method in results.methods], results.targets)
    assert [row.cells[0].best for row in rows] == [False, True, False]


def test_floors_alone_have_a_reference(folder: Any) -> None:
    folder.seeds("pixels", [0.9, 0.91], floor=True)
    folder.seeds("metadata", [0.8, 0.81], floor=True)
    assert folder.load().reference == "pixels"
