"""Tables by sex, age and view: groups from the index in the store, joined with predictions by image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from refers_bench.analysis.subgroups import INDEX, groups_of
from refers_bench.errors import UserError
from refers_bench.reports import subgroups

IMAGES = 240
RNG = np.random.default_rng(7)
LABELS = (RNG.random((IMAGES, 2)) < 0.4).astype(int)
SEX = np.where(np.arange(IMAGES) % 2 == 0, "M", "F")
AGE = np.where(np.arange(IMAGES) < 120, 30.0, 65.0)
VIEWS = np.where(np.arange(IMAGES) % 3 == 0, "<script>$x_1 & 50%", "PA")


def indexed(folder: Any, **columns: Any) -> None:
    """The index of the preparation of all cells, in another order than the predictions, with an image too many."""
    ids = [f"i{n:03}" for n in range(IMAGES)]
    frame = pd.DataFrame({"image_id": ids, "report": "never read", **columns})
    more = frame.iloc[:1].assign(image_id="another")
    (folder.results / "store" / ("p" * 20)).mkdir(parents=True)
    pd.concat([frame[::-1], more]).to_parquet(folder.results / "store" / ("p" * 20) / INDEX, index=False)


def predict(folder: Any, method: str) -> np.ndarray:
    scores = (LABELS * 1.5 + np.random.default_rng(len(method)).normal(size=LABELS.shape)).astype(np.float32)
    key = folder.cell(method, label=method.upper())
    folder.predict(key, LABELS, scores, of_a_patient=1)
    return scores


def auc(scores: np.ndarray, inside: np.ndarray) -> float:
    return float(100 * np.mean([roc_auc_score(LABELS[inside, k], scores[inside, k]) for k in (0, 1)]))


def test_groups_are_those_of_the_index(folder: Any) -> None:
    scores = {name: predict(folder, name) for name in ("refers", "c2l")}
    unknown = np.where(np.arange(IMAGES) < 5, None, SEX)
    indexed(folder, **{"about:sex": unknown, "about:age": AGE, "view": VIEWS})
    sex, age, view = subgroups.build(folder.load())
    assert [table.id for table in (sex, age, view)] == ["subgroups-sex", "subgroups-age", "subgroups-view"]
    assert [one.title for one in sex.columns][:2] == ["female", "male"]
    assert [one.title for one in age.columns][:2] == ["18 to 39", "60 and over"]
    assert [one.title for one in view.columns][:2] == ["<script>$x_1 & 50%", "PA"]
    for row, name in zip(sex.rows, scores, strict=True):
        expected = [auc(scores[name], np.array([one == letter for one in unknown])) for letter in "FM"]
        assert [cell.value for cell in row.cells[:2]] == pytest.approx(expected)
        assert row.cells[2].value == pytest.approx(abs(expected[0] - expected[1])) and row.cells[5].value == 2
        first, second = ("female", "male") if expected[0] > expected[1] else ("male", "female")
        assert row.cells[4].text == f"{first} \N{EN DASH} {second}"
        assert [cell.n for cell in row.cells[:2]] == [(118,), (117,)]
        low, value, high = row.cells[0].low, row.cells[0].value, row.cells[0].high
        assert low is not None and value is not None and high is not None and low < value < high
    for row, name in zip(age.rows, scores, strict=True):
        assert row.cells[0].value == pytest.approx(auc(scores[name], AGE < 40))


def test_without_an_index_or_without_columns_there_is_no_table(folder: Any) -> None:
    predict(folder, "refers")
    assert subgroups.build(folder.load()) == []
    indexed(folder, view="")
    assert subgroups.build(folder.load()) == []


def test_an_index_that_cannot_be_read_says_so(folder: Any) -> None:
    predict(folder, "refers")
    indexed(folder, view="")
    (folder.results / "store" / ("p" * 20) / INDEX).write_bytes(b"PAR1")
    with pytest.raises(UserError, match="cannot read"):
        subgroups.build(folder.load())


def test_values_as_data_sets_write_them() -> None:
    sexes = groups_of("sex", ["M", "male", " Female", "f", None, "O", ""])
    assert {name: some.tolist() for name, some in sexes.items()} == {
        "female": [False, False, True, True, False, False, False],
        "male": [True, True, False, False, False, False, False],
    }
    # The ages of some images of NIH ChestX-ray14 are 411 years and more.
    ages = groups_of("age", [0.5, 17.9, 18, 39, 40, 60, 119, 411, None, float("nan")])
    assert {name: np.flatnonzero(some).tolist() for name, some in ages.items()} == {
        "under 18": [0, 1], "18 to 39": [2, 3], "40 to 59": [4], "60 and over": [5, 6],
    }  # fmt: skip
    assert list(groups_of("view", ["PA"] * 20 + ["AP"] * 19 + [""] * 50)) == ["PA"]
