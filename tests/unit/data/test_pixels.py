"""Images are verified when they are first read, once, however they are asked for."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refers_bench.data import pixels as room
from refers_bench.data.cache_meta import AGAIN
from refers_bench.data.pixels import VerifiedPixels, image_digests, spans
from refers_bench.errors import DataError

COUNT, SIZE = 20, 8
IMAGES = np.random.default_rng(0).integers(0, 256, (COUNT, SIZE, SIZE), dtype=np.uint8)


def opened(path: Path, images: np.ndarray = IMAGES) -> VerifiedPixels:
    """A store whose digests are those of `IMAGES`, whatever its file holds."""
    images.tofile(path)
    digests = np.frombuffer(image_digests(IMAGES), np.uint8).reshape(COUNT, -1)
    return VerifiedPixels(path, digests_N32=digests, size=SIZE)


@pytest.mark.parametrize(
    "places",
    [3, -1, np.int64(4), slice(2, 9), slice(None), [5, 5, 1], np.array([[7, 0], [7, 19]]), np.arange(COUNT) % 3 == 0,
     np.zeros(0, np.int64)],
    ids=str,
)  # fmt: skip
def test_images_are_those_of_the_file_in_the_order_asked_for(tmp_path: Path, places: Any) -> None:
    store = opened(tmp_path / "images.u8")
    np.testing.assert_array_equal(store[places], IMAGES[places])
    np.testing.assert_array_equal(store[places], IMAGES[places])
    assert (len(store), store.shape) == (COUNT, IMAGES.shape)


def test_a_changed_image_is_refused_by_its_row_and_others_are_read(tmp_path: Path) -> None:
    damaged = IMAGES.copy()
    damaged[11, 7, 7] ^= 1
    damaged[13] = 0
    store = opened(tmp_path / "images.u8", damaged)
    for places in (11, slice(11, 12), np.array([2, 11])):
        with pytest.raises(DataError, match=r"images\.u8: image 11 \(row of the prepared index\) has another SHA-256"):
            store[places]
    with pytest.raises(DataError) as error:
        store[np.array([5, 13, 11])]
    (problem,) = error.value.problems
    assert "image 13 " in problem.found and "and 1 of those read with it" in problem.found
    assert (problem.path, problem.allowed) == (tmp_path / "images.u8", AGAIN)
    np.testing.assert_array_equal(store[np.array([2, 5])], IMAGES[[2, 5]])


def test_an_image_is_hashed_once_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, hashed, real = opened(tmp_path / "images.u8"), [], room.hashlib.sha256
    monkeypatch.setattr(room.hashlib, "sha256", lambda content: hashed.append(bytes(content)) or real(content))
    store[np.array([4, 2])]
    store[np.array([2, 9, 4])]
    store[2:5]
    assert hashed == [IMAGES[row].tobytes() for row in (4, 2, 9, 3)]


def test_threads_may_read_at_once(tmp_path: Path) -> None:
    store, found = opened(tmp_path / "images.u8"), []
    orders = [np.random.default_rng(seed).permutation(COUNT) for seed in range(8)]
    threads = [threading.Thread(target=lambda o=order: found.append((o, store[o]))) for order in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(found) == 8
    for order, images in found:
        np.testing.assert_array_equal(images, IMAGES[order])


def test_spans_cover_all_numbers() -> None:
    assert [part.tolist() for part in spans(5, 2)] == [[0, 1], [2, 3], [4]]
