"""Are images that come twice found across splits and datasets, and told with their splits?"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from refers_bench.data.audit.id_lists import IdList, overlaps
from refers_bench.data.audit.repeats import (
    NAMED,
    across_datasets,
    across_splits,
    overlap_lines,
    pair_lines,
    pairs_record,
)
from refers_bench.data.phantoms.radiographs import PhantomParams, studies
from refers_bench.data.prepare import PreparedImages

SIDE = 96
COLUMNS = [
    "first", "first_split", "first_patient", "second", "second_split", "second_patient", "variant", "distance",
    "agreement", "confirmed",
]  # fmt: skip


def prepared(images: np.ndarray, splits: list[str], *, name: str) -> PreparedImages:
    ids = [f"{name}{i}" for i in range(len(images))]
    index = pd.DataFrame({"image_id": ids, "patient_id": [f"p{i}" for i in ids], "split": splits})
    return PreparedImages(images_NHW=images, index=index, meta={})


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.stack(
        [study.views[0].pixels_HW for study in studies(PhantomParams(studies=60, size=SIDE, views=1, seed=3))]
    )


def test_across_splits(images: np.ndarray) -> None:
    twice = np.concatenate([images, images[:3], images[3:4, :, ::-1], 255 - images[4:5], images[5:6]])
    # Copies 0..2 in test, a mirrored one in val, an inverted one in test; the last copy stays in training; one unused.
    splits = ["train"] * 60 + ["test"] * 3 + ["val", "test", "train"]
    splits[10] = ""
    store = prepared(twice, splits, name="i")
    seen: list[tuple[int, int]] = []
    found = across_splits(store, progress=lambda *at: seen.append(at))
    certain = found[found["confirmed"]]
    assert list(found.columns) == COLUMNS
    pairs = {(row.first, row.second, row.variant) for row in certain.itertuples()}
    expected = {
        ("i0", "i60", "same"),
        ("i1", "i61", "same"),
        ("i2", "i62", "same"),
        ("i3", "i63", "mirrored"),
        ("i4", "i64", "inverted"),
    }
    assert expected <= pairs
    assert {pair for pair in pairs if pair[0] in ("i5", "i10")} == set(), "inside a split, or unused"
    assert set(certain["first_split"]) == {"train"}
    assert seen[-1][0] == seen[-1][1] == 3 * (60 * 1 + 60 * 4 + 1 * 4)
    assert certain["first_patient"].iloc[0] == "p" + certain["first"].iloc[0]
    assert found["confirmed"].is_monotonic_decreasing


def test_across_datasets(images: np.ndarray) -> None:
    first = prepared(images[:40], ["train"] * 38 + ["", "test"], name="a")
    second = prepared(np.ascontiguousarray(images[30:]), ["test"] * 30, name="b")
    found = across_datasets(first, second, distance=0)
    same = found[found["distance"] == 0]
    expected = {(f"a{i}", f"b{i - 30}") for i in range(30, 40)} - {("a38", "b8")}
    assert {(row.first, row.second) for row in same.itertuples()} == expected
    assert same["agreement"].min() > 0.999


def test_nothing_found(images: np.ndarray) -> None:
    store = prepared(images[:2], ["train", "test"], name="i")
    found = across_splits(store, distance=0)
    assert len(found) == 0
    assert pairs_record(found) == {"pairs": 0, "confirmed": 0, "left_out": 0, "rows": []}
    assert list(pair_lines("splits", found)) == ["splits: 0 confirmed of 0 near-duplicate pairs"]


def test_reports(images: np.ndarray) -> None:
    store = prepared(np.concatenate([images, images]), ["train"] * 60 + ["test"] * 60, name="i")
    found = across_splits(store)
    text = list(pair_lines("splits of d", found))
    certain = int(found["confirmed"].sum())
    assert certain >= 60
    assert text[0] == f"splits of d: {certain} confirmed of {len(found)} near-duplicate pairs"
    assert text[1] == f"  train and test: {certain} confirmed of {len(found)}"
    assert "(train) = i" in text[2] and "0 bits differ, agreement 1.00" in text[2]
    assert text[-1] == f"    and {len(found) - NAMED} more in the JSON file"
    written = json.loads(json.dumps(pairs_record(found, most=5)))
    assert (written["pairs"], written["confirmed"], written["left_out"]) == (len(found), certain, len(found) - 5)
    assert set(written["rows"][0]) == set(COLUMNS)
    assert written["rows"][0]["confirmed"] is True


def test_overlaps_for_people() -> None:
    lists = [IdList(name="a", ids=tuple("abcabc")), IdList(name="b", ids=("a",)), IdList(name="c", ids=("z",))]
    text = list(overlap_lines(lists, overlaps(lists), {"a": ("a", "b", "c")}))
    assert text == [
        "list a: 6 images, 3 more than once: a, b, c", "list b: 1 images", "list c: 1 images",
        "  a and b SHARE 1 images: a", "  a and c share no image", "  b and c share no image",
    ]  # fmt: skip


def test_every_pair_is_told_with_its_splits_patients_and_doubts() -> None:
    """Noise again in other splits: unchanged, mirrored, inverted; flat images, of which nobody can be certain."""
    noise = np.random.default_rng(0).integers(0, 256, (3, 64, 64), dtype=np.uint8)
    flat = np.full((1, 64, 64), 90, np.uint8)
    pixels = np.concatenate([noise, flat, noise[:1], noise[1:2, :, ::-1], 255 - noise[2:], flat])
    store = prepared(pixels, ["train"] * 4 + ["val"] + ["test"] * 3, name="i")
    found = across_splits(store)
    expected = {
        ("i0", "train", "pi0", "i4", "val", "pi4", "same", True),
        ("i1", "train", "pi1", "i5", "test", "pi5", "mirrored", True),
        ("i2", "train", "pi2", "i6", "test", "pi6", "inverted", True),
        ("i3", "train", "pi3", "i7", "test", "pi7", "same", False),
    }
    rows = found.drop(columns=["distance", "agreement"]).itertuples(index=False)
    assert {tuple(row) for row in rows} == expected and len(found) == 4
    assert (found["distance"] == 0).all()
    assert found["agreement"].tolist() == pytest.approx([1, 1, 1, 0], abs=1e-5) and found["first"].iloc[3] == "i3"
    text = list(pair_lines("splits of d", found))
    assert text[:3] == [
        "splits of d: 3 confirmed of 4 near-duplicate pairs", "  train and test: 2 confirmed of 3",
        "  train and val: 1 confirmed of 1",
    ]  # fmt: skip
    assert sorted(text[3:6]) == [
        "    i0 (train) = i4 (val): 0 bits differ, agreement 1.00",
        "    i1 (train) = i5 (test): 0 bits differ, agreement 1.00, mirrored",
        "    i2 (train) = i6 (test): 0 bits differ, agreement 1.00, inverted",
    ]
    assert text[6:] == ["    i3 (train) = i7 (test): 0 bits differ, agreement 0.00, not confirmed"]
    written = pairs_record(found, most=3)
    assert (written["pairs"], written["confirmed"], written["left_out"]) == (4, 3, 1)
    row = next(one for one in written["rows"] if one["first"] == "i1")
    assert row == {
        "first": "i1", "first_split": "train", "first_patient": "pi1", "second": "i5", "second_split": "test",
        "second_patient": "pi5", "variant": "mirrored", "distance": 0, "agreement": 1.0, "confirmed": True,
    }  # fmt: skip


def test_shared_patients_and_long_lists_for_people() -> None:
    many = tuple(f"i{number:02d}" for number in range(12))
    lists = [
        IdList(name="a", ids=many, patients={name: f"p{name}" for name in many}),
        IdList(name="b", ids=("x",), patients={"x": "pi03"}),
        IdList(name="c", ids=many[:11], patients={}),
    ]
    assert list(overlap_lines(lists, overlaps(lists), {"a": many[:10], "b": many[:11]})) == [
        f"list a: 12 images, 10 more than once: {', '.join(many[:10])}",
        f"list b: 1 images, 11 more than once: {', '.join(many[:10])} and 1 more",
        "list c: 11 images",
        "  a and b SHARE 0 images, 1 patients: pi03",
        f"  a and c SHARE 11 images, 11 patients: {', '.join(many[:10])} and 1 more",
        "  b and c SHARE 0 images, 1 patients: pi03",
    ]
    apart = [lists[0], IdList(name="d", ids=("y",), patients={"y": "q"})]
    assert list(overlap_lines(apart, overlaps(apart), {}))[-1] == "  a and d share no image and no patient"
