"""Pre-training on several source datasets, which lie where they were prepared, is that on one store of all their images."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from refers_bench import plugins
from refers_bench.errors import DataError, Interrupted
from refers_bench.jobs import discover, pretrain, setup
from refers_bench.store import schemas
from refers_bench.store.context import JobContext
from refers_bench.store.results import ResultStore

SMALL = {
    "words": 3,
    "patients": 4,
    "val_patients": 2,
    "features": 8,
    "feature_size": 16,
    "feature_steps": 4,
    "feature_batch_size": 5,
    "side": 0.4,
    "border": 0.2,
    "jitter": 0.25,
    "queue": 16,
}


@pytest.fixture
def two(images: Any, draw_images: Callable[[Mapping[str, int]], Any]) -> dict[str, Any]:
    """Two datasets whose images, studies and patients have the same names, and that differ in size and in pixels."""
    other = draw_images({"train": 5, "val": 3, "test": 2})

    def inverted(pixels: np.ndarray, index: pd.DataFrame) -> None:
        pixels[:] = 255 - pixels

    return {"one": images, "two": other.changed(inverted)}


def context(folder: Path, stores: Mapping[str, Any]) -> JobContext:
    """Where each of these is prepared under its name."""
    for name, images in stores.items():
        found = images.context(folder)
        (found.cache / "prepared" / "prepare").rename(found.cache / "prepared" / name)
    return found


def together(two: Mapping[str, Any]) -> dict[str, Any]:
    """One dataset of all images, put together by numpy and pandas."""
    named = [
        images.index.assign(**{name: f"{key}/" + images.index[name] for name in ("image_id", "patient_id", "study_id")})
        for key, images in two.items()
    ]
    index = pd.concat(named, ignore_index=True)
    return {"all": type(two["one"])(np.concatenate([images.pixels for images in two.values()]), index)}


def source_of(names: Mapping[str, Any]) -> Any:
    parts = [
        {"dataset": name, "params": {}, "prepare": name, "task": "findings", "has_reports": True} for name in names
    ]
    return parts if len(parts) > 1 else parts[0]


@pytest.fixture
def trained(tmp_path: Path, pretraining: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Pre-trains a method on stores: weights, curves and facts."""
    number = itertools.count()

    def run(method: str, stores: Mapping[str, Any], where: JobContext | None = None, **section: Any) -> dict[str, Any]:
        where = where or context(tmp_path / str(next(number)), stores)
        plugin = plugins.load("method", method)
        given = {name: value for name, value in SMALL.items() if name in plugin.Params.model_fields}
        params = plugin.Params(**given).model_dump(mode="json")
        spec = {**pretraining(method, params, **section), "source": source_of(stores)}
        store = ResultStore(where.results)
        if plugin.discovery is not None:
            found = {
                "kind": "discover",
                "method": method,
                "discovery": params,
                "source": source_of(stores),
                "recipe": 1,
            }
            discover.run({"key": "words", "kind": "discover", "name": "words", "needs": [], "spec": found}, where)
            spec |= {"discover": "words"}
        pretrain.run({"key": "k", "kind": "pretrain", "name": "k", "needs": [], "spec": spec}, where)
        curves = schemas.read(store.folder("k") / "history.parquet", "history")
        result = {
            "weights": (store.folder("k") / "checkpoint.safetensors").read_bytes(),
            "curves": curves[curves["name"] != "images_per_s"].reset_index(drop=True),
            "facts": json.loads((store.folder("k") / "run.json").read_text())["facts"],
        }
        if plugin.discovery is not None:
            result["words"] = schemas.read(store.folder("words") / "words.parquet", "words")
        return result

    return run


@pytest.mark.parametrize("method", ["refers", "c2l", "model_genesis", "context_restoration", "transvw"])
def test_two_datasets_train_as_one_of_all_their_images(
    method: str, two: dict[str, Any], trained: Callable[..., dict[str, Any]]
) -> None:
    several, one = trained(method, two, batch_size=4), trained(method, together(two), batch_size=4)
    assert several["weights"] == one["weights"]
    pd.testing.assert_frame_equal(several["curves"], one["curves"], check_exact=True)
    for fact in ("examples", "patients", "dropped", "vocabulary"):
        assert several["facts"][fact] == one["facts"][fact]
    assert several["facts"]["data_digest"] == {"one": "d", "two": "d"}
    if method == "transvw":
        pd.testing.assert_frame_equal(several["words"], one["words"], check_exact=True)
        assert {name.split("/")[0] for name in several["words"]["patient_id"]} == {"one", "two"}
    else:
        assert several["facts"]["patients"] == {"train": 8 + 5, "val": 6 + 3}


def test_each_split_of_each_dataset_is_seen_where_it_should_be(
    two: dict[str, Any], trained: Callable[..., dict[str, Any]]
) -> None:
    plain = trained("model_genesis", two)

    def with_changed(split: str) -> dict[str, Any]:
        def change(pixels: np.ndarray, index: pd.DataFrame) -> None:
            where = two["two"].rows(split)
            pixels[where] = 255 - pixels[where]

        return trained("model_genesis", {**two, "two": two["two"].changed(change)})

    def of(found: dict[str, Any], split: str) -> pd.DataFrame:
        return found["curves"][found["curves"]["name"].str.startswith(split)].reset_index(drop=True)

    test, val, train = (with_changed(split) for split in ("test", "val", "train"))
    assert test["weights"] == plain["weights"] and test["curves"].equals(plain["curves"])
    assert val["weights"] == plain["weights"] and of(val, "loss/").equals(of(plain, "loss/"))
    assert not of(val, "val/").equals(of(plain, "val/")), "validation looks at both datasets"
    assert train["weights"] != plain["weights"]


def test_a_patient_of_one_dataset_is_not_that_of_the_same_name_in_another(
    two: dict[str, Any], trained: Callable[..., dict[str, Any]]
) -> None:
    """One who is in the test split of his own dataset is left out; one of his name elsewhere is not."""

    def moved(pixels: np.ndarray, index: pd.DataFrame) -> None:
        index.loc[index["split"] == "test", "patient_id"] = "p.train00"

    facts = trained("model_genesis", {**two, "two": two["two"].changed(moved)})["facts"]
    assert facts["dropped"]["patient in the test split"] == 1, "the view of study train00 of the second dataset"
    assert facts["patients"] == {"train": 8 + 4, "val": 6 + 3}


def test_interrupted_and_resumed_gives_the_bytes_of_an_uninterrupted_run(
    two: dict[str, Any], trained: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained("context_restoration", two, steps=7)
    where, asked = context(tmp_path / "interrupted", two), itertools.count(1)
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(setup.interruption, "preempted", lambda work, signalled: lambda: next(asked) >= 4)
        trained("context_restoration", two, where, steps=7)
    assert ResultStore(where.results).state("k") == "to do"
    resumed = trained("context_restoration", two, where, steps=7)
    assert 0 < resumed["facts"]["resumed_from"] < 7
    assert resumed["weights"] == whole["weights"]


def test_no_training_image_in_any_of_them(two: dict[str, Any], trained: Callable[..., dict[str, Any]]) -> None:
    def emptied(pixels: np.ndarray, index: pd.DataFrame) -> None:
        index["report"] = None

    silent = {name: images.changed(emptied) for name, images in two.items()}
    with pytest.raises(DataError, match=r"no training study of 'one\+two' has what 'refers' needs \(reports\)"):
        trained("refers", silent)
