"""Are near-duplicates found whatever was done to them, and different radiographs left alone?"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from refers_bench.data.audit import duplicates
from refers_bench.data.audit.duplicates import (
    AGREEMENT,
    BITS,
    DISTANCE,
    WORDS,
    agreement,
    hashes,
    matches,
    near_duplicates,
    popcount,
)
from refers_bench.data.decode import decode
from refers_bench.data.phantoms.radiographs import PhantomParams, studies
from refers_bench.data.prepare import resized

COUNT = 120


@pytest.fixture(scope="module")
def store() -> np.ndarray:
    """Frontal phantoms, one a study."""
    drawn = studies(PhantomParams(studies=COUNT, size=128, views=1, seed=8))
    return np.stack([resized(study.views[0].pixels_HW, 128) for study in drawn])


def everywhere(store: np.ndarray) -> np.ndarray:
    return np.arange(len(store))


def jpeg(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=50)
    return Image.open(buffer).convert("L")


def labelled(image: Image.Image) -> Image.Image:
    pixels = np.array(image)
    side = len(pixels)
    pixels[side // 25 : side // 9, side // 25 : side // 5] = 255
    return Image.fromarray(pixels)


DISTORTIONS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "jpeg": jpeg,
    "resized": lambda image: image.resize((90, 90), Image.Resampling.BILINEAR).resize(image.size),
    "brighter": lambda image: image.point(lambda value: value * 0.6 + 60),
    "gamma": lambda image: image.point(lambda value: 255 * (value / 255) ** 1.5),
    "equalised": ImageOps.equalize,
    "labelled": labelled,
}


def distorted(store: np.ndarray, how: str) -> np.ndarray:
    return np.stack([np.asarray(DISTORTIONS[how](Image.fromarray(image))) for image in store])


def test_batches_do_not_mix_pairs_up(store: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs of one image with itself agree fully, those of different radiographs do not, in whatever batch they are."""
    others = np.array([3, 1, 7, 2, 5])
    pairs = pd.DataFrame({"a": [3, 0, 7, 4, 5], "b": others, "distance": 0, "variant": "same"})
    whole = agreement(store, store, pairs)
    monkeypatch.setattr(duplicates, "_BATCH", 2)
    np.testing.assert_allclose(agreement(store, store, pairs), whole, atol=1e-6)
    assert (whole > 0.99).tolist() == [True, False, True, False, True]


def test_popcount_equals_counting() -> None:
    words = np.random.default_rng(0).integers(0, 2**64, (7, 5), dtype=np.uint64)
    expected = np.vectorize(lambda word: bin(int(word)).count("1"))(words)
    assert (popcount(words) == expected).all()


def test_popcount_of_older_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    words = np.random.default_rng(1).integers(0, 2**64, (50, WORDS), dtype=np.uint64)
    expected = popcount(words)
    monkeypatch.delattr(np, "bitwise_count", raising=False)
    assert (popcount(words) == expected).all()


@pytest.mark.parametrize("side", [16, 17, 48, 128, 250])
def test_hash_compares_neighbouring_cells(side: int) -> None:
    rng = np.random.default_rng(side)
    images = rng.integers(0, 256, (3, side, side), dtype=np.uint8)
    edges = [np.arange(17) * side // 16] * 2
    counts = []
    for image in images:
        cells = np.array([[image[a:b, c:d].mean() for c, d in zip(edges[1][:-1], edges[1][1:], strict=True)]
                          for a, b in zip(edges[0][:-1], edges[0][1:], strict=True)])  # fmt: skip
        counts.append((np.diff(cells, axis=1) > 0).sum() + (np.diff(cells, axis=0) > 0).sum())
    found = hashes(images, places=np.arange(3))
    assert found.shape == (3, WORDS)
    assert popcount(found).sum(axis=1).tolist() == counts
    assert BITS == 2 * 16 * 15


def test_too_small_images_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 16 x 16"):
        hashes(np.zeros((1, 8, 8), np.uint8), places=np.arange(1))


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(1, 600),
    st.integers(1, 30),
    st.sampled_from([0, 1, 12, 40, 130]),
    st.integers(1, 3),
)
def test_no_pair_is_missed(seed: int, many: int, few: int, distance: int, threads: int) -> None:
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 2, (many, BITS), dtype=np.uint8)
    # Neighbours at every distance around the limit.
    b = a[rng.integers(0, many, few)] ^ (rng.random((few, BITS)) < rng.uniform(0, 0.3, (few, 1)))
    packed = [
        np.packbits(np.pad(bits.reshape(-1, WORDS, 60), ((0, 0), (0, 0), (0, 4))), axis=2).view(np.uint64)[:, :, 0]
        for bits in (a, b.astype(np.uint8))
    ]
    rows, columns, bits = matches(*packed, distance=distance, threads=threads)
    true = (a[:, None] != b[None]).sum(axis=2)
    expected = np.argwhere(true <= distance)
    assert np.stack([rows, columns], axis=1).tolist() == expected.tolist()
    assert bits.tolist() == true[true <= distance].tolist()


def test_no_images_no_pairs() -> None:
    empty = np.zeros((0, WORDS), np.uint64)
    assert [len(part) for part in matches(empty, empty)] == [0, 0, 0]
    with pytest.raises(ValueError, match="between 0 and 200 bits"):
        matches(empty, empty, distance=300)


@pytest.mark.parametrize("how", DISTORTIONS)
def test_copies_are_found_and_confirmed(how: str, store: np.ndarray) -> None:
    places = everywhere(store)
    copies = distorted(store, how)
    pairs = near_duplicates(store, copies, a_places=places, b_places=places, variants=("same",))
    found = {(int(a), int(b)) for a, b in zip(pairs["a"], pairs["b"], strict=True)}
    # Phantoms are flatter and noisier than radiographs: a few may be further from their copy than the limit.
    assert len({(i, i) for i in range(COUNT)} & found) >= 0.98 * COUNT
    own = pairs["a"] == pairs["b"]
    agreed = agreement(store, copies, pairs)
    assert agreed[own].min() > AGREEMENT
    assert agreed[own].min() > agreed[~own].max(initial=-1), "another phantom agrees better than a copy"


@pytest.mark.parametrize(("variant", "undo"), [("mirrored", lambda x: x[:, :, ::-1]), ("inverted", lambda x: 255 - x)])
def test_mirrored_and_inverted_copies(
    variant: str, undo: Callable[[np.ndarray], np.ndarray], store: np.ndarray
) -> None:
    places = everywhere(store)
    copies = np.ascontiguousarray(undo(store))
    pairs = near_duplicates(store, copies, a_places=places, b_places=places)
    own = pairs["a"] == pairs["b"]
    assert own.sum() == COUNT
    assert set(pairs["variant"][own]) == {variant}
    assert (pairs["distance"][own] == 0).all()
    assert agreement(store, copies, pairs)[own] == pytest.approx(1, abs=1e-5)
    assert not len(near_duplicates(store, copies, a_places=places[:1], b_places=places[:1], variants=("same",)))


def test_the_nearest_pair_comes_first_and_once(store: np.ndarray) -> None:
    copies = np.concatenate([distorted(store[:20], "jpeg"), store[:20]])
    pairs = near_duplicates(store, copies, a_places=np.arange(20), b_places=np.arange(40))
    assert (np.diff(pairs["distance"]) >= 0).all()
    assert len({*zip(pairs["a"].tolist(), pairs["b"].tolist(), strict=True)}) == len(pairs)
    assert (pairs["distance"][:20] == 0).all()


def test_places_point_into_the_stores(store: np.ndarray) -> None:
    some = np.array([3, 50, 7])
    pairs = near_duplicates(store, store, a_places=some, b_places=np.array([7, 90, 3]), distance=0)
    assert sorted(zip(pairs["a"].tolist(), pairs["b"].tolist(), strict=True)) == [(3, 3), (7, 7)]


def test_stores_of_different_sizes_compare(store: np.ndarray) -> None:
    smaller = np.stack([resized(image, 100) for image in store[:30]])
    pairs = near_duplicates(store, smaller, a_places=np.arange(30), b_places=np.arange(30))
    own = pairs["a"] == pairs["b"]
    assert own.sum() >= 29
    assert agreement(store, smaller, pairs)[own].min() > AGREEMENT


def test_flat_images_are_never_confirmed() -> None:
    flat = np.zeros((2, 64, 64), np.uint8)
    pairs = near_duplicates(flat, flat, a_places=np.arange(1), b_places=np.arange(1, 2), variants=("same",))
    assert len(pairs) == 1
    assert agreement(flat, flat, pairs).tolist() == [0.0]


def test_progress_counts_every_pair_of_every_variant(store: np.ndarray) -> None:
    seen: list[tuple[int, int]] = []
    near_duplicates(store, store, a_places=np.arange(100), b_places=np.arange(20), progress=lambda *at: seen.append(at))
    assert seen[-1] == (6000, 6000)
    assert all(done <= total for done, total in seen)


def test_hundred_million_pairs_take_seconds(store: np.ndarray) -> None:
    own = hashes(store, places=everywhere(store))
    noise = np.random.default_rng(0).integers(0, 2**60, (10_000, WORDS), dtype=np.uint64)
    many = own[np.arange(10_000) % COUNT] ^ noise
    begun = time.process_time()
    matches(many, many)
    assert time.process_time() - begun < 10  # 0.6 s on a quiet core


@pytest.fixture(scope="module")
def covid(real_data: Path) -> tuple[np.ndarray, list[str]]:
    names = sorted(path.name for path in (real_data / "covid-chestxray-dataset" / "images").iterdir())
    chosen = [
        name for name in names if name.startswith(("16660_", "AR-", "case_72", "353889E0", "covid-19-rapidly", "16630"))
    ]
    images = [resized(decode(real_data / "covid-chestxray-dataset" / "images" / name), 256) for name in chosen]
    return np.stack(images), chosen


def test_real_radiographs_published_twice(covid: tuple[np.ndarray, list[str]]) -> None:
    images, names = covid
    places = np.arange(len(names))
    pairs = near_duplicates(images, images, a_places=places, b_places=places)
    agreed = agreement(images, images, pairs)
    found = {
        (names[a], names[b])
        for a, b, right in zip(pairs["a"], pairs["b"], agreed >= AGREEMENT, strict=True)
        if a < b and right
    }
    assert ("16660_4_1.jpg", "covid-19-rapidly-progressive-acute-respiratory-distress-syndrome-ards-day-2.jpg") in found
    assert ("353889E0-A1E8-4F9E-A0B8-F24F36BCFBFB.jpeg", "case_72_RX-TORACE1.jpg") in found
    assert not any(one.startswith("16630") and other.startswith("16660") for one, other in found)


def test_different_real_patients_are_told_apart(real_data: Path) -> None:
    folder = real_data / "nih-chestxray14-sample" / "images"
    first: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        first.setdefault(path.name[:8], path)
    images = np.stack([resized(decode(path), 256) for path in list(first.values())[:150]])
    places = np.arange(len(images))
    pairs = near_duplicates(images, images, a_places=places, b_places=places, distance=DISTANCE)
    assert [(int(a), int(b)) for a, b in zip(pairs["a"], pairs["b"], strict=True)] == [(i, i) for i in places]


def test_variants_are_listed() -> None:
    assert list(duplicates.VARIANTS) == ["same", "mirrored", "inverted"]
