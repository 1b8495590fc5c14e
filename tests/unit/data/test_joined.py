"""Stores of several datasets, read where they lie, give the batches of one store that numpy and pandas put together."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from refers_bench.data.augment import Augment
from refers_bench.data.batches import RadiographSource, StudySource
from refers_bench.data.joined import JoinedPixels, joined
from refers_bench.data.prepare import PreparedImages
from refers_bench.data.text import ReportTokenizer
from refers_bench.data.visual_words import CropSource
from refers_bench.errors import DataError

SIDE = 6
REPORTS = ("left effusion", "right nodule", "clear lungs")


def stored(folder: Path, name: str, *, studies: int, seed: int, **columns: object) -> PreparedImages:
    """A memory-mapped store of studies with 1, 2, 3, 1, ... views, whose names are those of any other such store."""
    rng, study = np.random.default_rng(seed), [n for n in range(studies) for _ in range(n % 3 + 1)]
    pixels = rng.integers(0, 256, (len(study), SIDE, SIDE), dtype=np.uint8)
    pixels.tofile(folder / name)
    index = pd.DataFrame(
        {
            "image_id": [f"i{n}" for n in range(len(study))],
            "path": "x.png",
            "patient_id": [f"p{n}" for n in study],
            "study_id": [f"s{n}" for n in study],
            "view": "PA",
            "split": ["val" if n % 4 == 3 else "train" for n in study],
            "report": [REPORTS[n % 3] for n in study],
            **columns,
        }
    )
    mapped = np.memmap(folder / name, dtype=np.uint8, mode="r", shape=pixels.shape)
    return PreparedImages(images_NHW=mapped, index=index, meta={"digest": f"digest of {name}"})


@pytest.fixture
def stores(tmp_path: Path) -> dict[str, PreparedImages]:
    second = stored(tmp_path, "b", studies=9, seed=2, **{"t:k": pd.array([1] * 18, dtype="Int8"), "about:age": 4.0})
    return {"a": stored(tmp_path, "a", studies=5, seed=1), "b": second}


@given(st.lists(st.integers(0, 4), min_size=1, max_size=4), st.data())
def test_places_are_those_of_the_stores_end_to_end(sizes: list[int], data: st.DataObject) -> None:
    rng = np.random.default_rng(sum(sizes))
    parts = [rng.integers(0, 256, (size, 2, 2), dtype=np.uint8) for size in sizes]
    whole, pixels = np.concatenate(parts), JoinedPixels(parts)
    most = max(0, len(whole) - 1)
    places = np.array(data.draw(st.lists(st.integers(0, most), max_size=9 if len(whole) else 0)), np.int64)
    found = pixels[places]
    assert found.dtype == np.uint8 and found.flags.c_contiguous
    np.testing.assert_array_equal(found, whole[places])
    for wrong in (-1, len(whole)):
        with pytest.raises(IndexError, match=f"of {len(whole)} images"):
            pixels[np.array([*places, wrong])]


def test_images_of_two_sizes_are_refused() -> None:
    with pytest.raises(DataError, match=r"of \[\(2, 2\), \(3, 3\)\] pixels; allowed: one size for all source datasets"):
        JoinedPixels([np.zeros((1, 3, 3), np.uint8), np.zeros((1, 2, 2), np.uint8)])


def test_no_pixel_is_copied_before_it_is_asked_for(stores: dict[str, PreparedImages]) -> None:
    source = joined(stores)
    assert isinstance(source.images_NHW, JoinedPixels)
    for mapped, store in zip(source.images_NHW.stores, stores.values(), strict=True):
        assert mapped is store.images_NHW and isinstance(mapped, np.memmap)


def test_names_of_two_datasets_stay_distinct_and_the_places_fit(stores: dict[str, PreparedImages]) -> None:
    stores["a"].index.loc[0, "patient_id"] = None
    source = joined(stores)
    index = source.index
    assert source.digest == {"a": "digest of a", "b": "digest of b"}
    assert index["place"].tolist() == list(range(9 + 18)), "5 studies have 9 views, 9 have 18"
    assert index["image_id"].is_unique and index["study_id"].nunique() == 5 + 9
    assert index["study_id"].iloc[[0, 9]].tolist() == ["a/s0", "b/s0"]
    assert index["patient_id"].isna().tolist() == [True] + [False] * 26, "without a name, as before"
    assert not [name for name in index.columns if ":" in name], "classes of one dataset are not those of another"
    parts = [stores[name].images_NHW[at] for name, at in (("a", 8), ("b", 0), ("b", 17))]
    np.testing.assert_array_equal(source.images_NHW[np.array([8, 9, 26])], np.stack(parts))


def test_one_dataset_is_read_as_it_is(stores: dict[str, PreparedImages]) -> None:
    only = stores["b"]
    source = joined({"b": only})
    assert source.images_NHW is only.images_NHW and source.digest == "digest of b"
    pd.testing.assert_frame_equal(source.index.drop(columns="place"), only.index)
    assert source.index["place"].tolist() == list(range(18))


def test_batches_are_those_of_one_store_with_all_images(stores: dict[str, PreparedImages]) -> None:
    """The other store is put together by numpy and pandas; every tensor of every batch is the same bits."""
    source = joined(stores)
    pixels = np.concatenate([store.images_NHW for store in stores.values()])
    frames = [store.index[["image_id", "study_id", "report"]] for store in stores.values()]
    named = [frame.assign(study_id=f"{name}/" + frame["study_id"]) for name, frame in zip(stores, frames, strict=True)]
    rows = pd.concat(named).reset_index(drop=True)
    rows["place"] = np.arange(len(rows))
    words = ReportTokenizer.train(REPORTS, vocabulary=60)
    augment = Augment(size=SIDE, channels=1, mean=(0.5,), std=(0.25,), crop="random", scale=(0.5, 1.0))
    how = {"augment": augment, "device": torch.device("cpu"), "key": "k"}
    study = {
        "group": "study_id",
        "tokenizer": words,
        "max_tokens": 9,
        "task": "",
        "classes": (),
        "views": 2,
        "view_sampling": "paper",
        "report_flip": "paper",
        "shuffled": False,
        **how,
    }
    places, labels = rows["place"].to_numpy()[::-1], np.arange(float(len(rows)), dtype=np.float32)[:, None]
    squares = pd.DataFrame(
        {"word": range(27), "place": places, "patient_id": "p", "split": "train", "top": 0.1, "left": 0.2, "side": 0.5}
    )
    pairs = [
        (StudySource(source.images_NHW, source.index, **study), StudySource(pixels, rows, **study)),
        tuple(RadiographSource(images, places, labels, **how) for images in (source.images_NHW, pixels)),
        tuple(CropSource(images, squares, **how) for images in (source.images_NHW, pixels)),
    ]
    for several, one in pairs:
        assert len(several) == len(one) > 0
        batches = [(one.draw(step, batch_size=7), several.draw(step, batch_size=7)) for step in range(9)]
        batches += zip(one.fixed(batch_size=5), several.fixed(batch_size=5), strict=True)
        for expected, found in batches:
            for field in dataclasses.fields(expected):
                assert torch.equal(getattr(found, field.name), getattr(expected, field.name)), field.name


def test_every_image_of_the_union_is_drawn_once_an_epoch(stores: dict[str, PreparedImages]) -> None:
    """A dataset has its part by its size: of 27 images 9 and 18, whatever the batch."""
    source = joined(stores)
    still = Augment(size=SIDE, channels=1, mean=(0.0,), std=(1.0,), crop="none", flip_probability=0.0)
    images = StudySource(
        source.images_NHW,
        source.index,
        group="image_id",
        tokenizer=None,
        max_tokens=0,
        task="",
        classes=(),
        views=1,
        view_sampling="paper",
        report_flip="paper",
        shuffled=False,
        augment=still,
        device=torch.device("cpu"),
        key="k",
    )
    drawn = torch.cat([images.draw(step, batch_size=9).images_BVCHW for step in range(3)])
    found = sorted((drawn * 255).round().to(torch.uint8).numpy().reshape(27, -1).tolist())
    assert found == sorted(np.concatenate([one.images_NHW for one in stores.values()]).reshape(27, -1).tolist())
