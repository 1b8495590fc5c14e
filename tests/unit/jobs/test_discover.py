"""Checks from outside which radiographs visual words are found in, and that batches of crops show them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from refers_bench import plugins
from refers_bench.errors import DataError
from refers_bench.jobs import discover
from refers_bench.store.results import ResultStore

SETTINGS = {
    "words": 3, "patients": 4, "val_patients": 2, "features": 8, "feature_size": 16, "feature_steps": 4,
    "feature_batch_size": 5, "side": 0.4, "border": 0.2, "jitter": 0.25, "smallest_scale": 0.5, "largest_scale": 0.75,
}  # fmt: skip


@dataclass(frozen=True)
class Found:
    """What a discovery left: its table, the losses of the auto-encoder, and its record's facts."""

    words: pd.DataFrame
    losses: list[float]
    facts: Mapping[str, Any]


@pytest.fixture
def found(tmp_path: Path) -> Callable[..., Found]:
    """Discovers words of prepared images: ``found(images, key, **settings)``."""
    number = itertools.count()

    def run(images: Any, key: str = "words", **changes: Any) -> Found:
        context = images.context(tmp_path / str(next(number)))
        settings = plugins.load("method", "transvw").Params(**SETTINGS).model_dump() | changes
        source = {"dataset": "phantom", "params": {}, "prepare": "prepare", "task": "", "has_reports": True}
        spec = {"kind": "discover", "method": "transvw", "discovery": settings, "source": source, "recipe": 1}
        discover.run({"key": key, "kind": "discover", "name": key, "needs": [], "spec": spec}, context)
        folder = ResultStore(context.results).folder(key)
        history = pd.read_parquet(folder / "history.parquet")
        losses = history.loc[history["name"] == "loss/restoration", "value"].tolist()
        facts = json.loads((folder / "run.json").read_text())["facts"]
        return Found(pd.read_parquet(folder / "words.parquet"), losses, facts)

    return run


def inverted(images: Any, where: Any) -> Any:
    def change(pixels: np.ndarray, index: pd.DataFrame) -> None:
        pixels[where] = 255 - pixels[where]

    return images.changed(change)


def test_words_are_found_in_training_patients_and_shown_by_validation_patients(
    images: Any, found: Callable[..., Found]
) -> None:
    plain = found(images)
    words, index = plain.words, images.index
    # Of 8 training and 6 validation patients the first radiograph each.
    assert plain.facts["patients"] == {"train": 8, "val": 6} and plain.facts["words"] == 3
    assert plain.facts["dropped"] == {
        "test or unused split": len(images.rows("test")), "patient in the test split": 0
    }  # fmt: skip
    assert plain.facts["crops"] == {"train": 3 * 4 * 3, "val": 3 * 2 * 3}
    assert len(plain.losses) == plain.facts["steps"] == 4
    assert words.groupby(["word", "split"])["patient_id"].nunique().to_dict() == {
        (word, split): count for word in range(3) for split, count in (("train", 4), ("val", 2))
    }
    rows = index.iloc[words["place"]]
    assert (
        rows["split"].tolist() == words["split"].tolist()
        and rows["patient_id"].tolist() == words["patient_id"].tolist()
    )
    assert rows["image_id"].str.endswith(".0").all(), "one radiograph of each patient, the first"
    own, further = words.iloc[::3], words[words.index % 3 != 0]
    assert (own["side"] == 0.4).all() and further["side"].between(0.2, 0.3).all()
    centres = own[["top", "left"]] + 0.2
    assert ((centres >= 0.2) & (centres <= 0.8)).all(axis=None) and centres.drop_duplicates().shape == (3, 2)
    shift = further[["top", "left"]].to_numpy() - np.repeat(own[["top", "left"]].to_numpy(), 2, axis=0)
    assert (np.abs(shift) <= 0.25 * 0.4 + 1e-12).all() and np.abs(shift).max() > 0.05
    again = found(images)
    pd.testing.assert_frame_equal(again.words, words, check_exact=True)
    assert again.losses == plain.losses
    other = found(images, "other")
    assert other.losses[0] != plain.losses[0] and not other.words.equals(words)


def test_each_split_is_seen_where_it_should_be(images: Any, found: Callable[..., Found]) -> None:
    plain = found(images)
    test = found(inverted(images, images.rows("test")))
    pd.testing.assert_frame_equal(test.words, plain.words, check_exact=True)
    assert test.losses == plain.losses
    val = found(inverted(images, images.rows("val")))
    train = val.words[val.words["split"] == "train"].reset_index(drop=True)
    expected = plain.words[plain.words["split"] == "train"].reset_index(drop=True)
    pd.testing.assert_frame_equal(train, expected, check_exact=True)
    assert val.losses == plain.losses, "the auto-encoder is trained on the training split"
    assert set(val.words.loc[val.words["split"] == "val", "place"]) != set(
        plain.words.loc[plain.words["split"] == "val", "place"]
    )
    assert found(inverted(images, images.rows("train"))).losses != plain.losses


def test_lateral_views_are_passed_over_and_too_few_patients_are_refused(
    images: Any, found: Callable[..., Found]
) -> None:
    def lateral(pixels: np.ndarray, index: pd.DataFrame) -> None:
        index.loc[index["image_id"] == "train01.0", "view"] = "LATERAL"  # it has another view
        index.loc[index["image_id"] == "train00.0", "view"] = "L"  # it has none

    few = found(images.changed(lateral))
    assert few.facts["patients"] == {"train": 7, "val": 6}
    names = set(images.index["image_id"].iloc[few.words["place"]])
    assert not names & {"train00.0", "train01.0"}
    with pytest.raises(DataError, match="8 training patients with a frontal radiograph; allowed: at least 9: each"):
        found(images, words=9)
