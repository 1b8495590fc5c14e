"""Features are computed once, resume to the same bytes, and are refused when their bytes change."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from refers_bench.data.cache_meta import AGAIN, META, set_aside
from refers_bench.data.features import FEATURES, CachedFeatures, cache, damage, stored
from refers_bench.errors import DataError
from refers_bench.files import publish_json, read_json

COUNT, CHUNK = 150, 16
VALUES = np.random.default_rng(0).normal(size=(COUNT, 7)).astype(np.float32)


def write(folder: Path, computed: Callable[[np.ndarray], np.ndarray] = VALUES.__getitem__, **how: object) -> None:
    cache(
        computed, count=COUNT, chunk=CHUNK, folder=folder, work=folder.with_suffix(".work"), about={"encoder": {}},
        **how,  # type: ignore[arg-type]
    )  # fmt: skip


def dies_at(chunk: int) -> Callable[[np.ndarray], np.ndarray]:
    def computed(places: np.ndarray) -> np.ndarray:
        if places[0] == chunk * CHUNK:
            os.kill(os.getpid(), signal.SIGKILL)
        return VALUES[places]

    return computed


@pytest.mark.parametrize("chunk", [0, 6, 9])
def test_a_killed_computation_resumes_to_the_same_bytes(tmp_path: Path, chunk: int) -> None:
    write(tmp_path / "whole")
    child = os.fork()
    if child == 0:
        write(tmp_path / "resumed", dies_at(chunk))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert not (tmp_path / "resumed").exists()
    asked: list[int] = []
    write(tmp_path / "resumed", lambda places: asked.extend(places) or VALUES[places])  # type: ignore[func-returns-value]
    assert asked == list(range(chunk * CHUNK, COUNT)), "finished chunks are not computed again"
    for name in (FEATURES, "meta.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "resumed" / name).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["resumed", "whole"]


def test_what_is_there_is_neither_computed_nor_written_again(tmp_path: Path) -> None:
    write(tmp_path / "a")
    write(tmp_path / "a", lambda places: pytest.fail("computed"))
    found = CachedFeatures.open(tmp_path / "a").verified()
    np.testing.assert_array_equal(found.features, VALUES.astype(np.float16))
    np.testing.assert_array_equal(found.rows(np.array([3, 149])), VALUES[[3, 149]].astype(np.float16))
    assert (found.rows(np.array([0])).dtype, found.meta["shape"]) == (np.float32, [COUNT, 7])


def test_tokens_keep_their_shape_and_progress_is_reported(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    tokens = np.arange(COUNT * 6, dtype=np.float32).reshape(COUNT, 3, 2)
    write(tmp_path / "a", tokens.__getitem__, progress=lambda done, total: seen.append((done, total)))
    np.testing.assert_array_equal(CachedFeatures.open(tmp_path / "a").features, tokens.astype(np.float16))
    assert (seen[0], seen[-1], len(seen)) == ((0, COUNT), (COUNT, COUNT), 11)


def test_changed_and_missing_bytes_are_refused(tmp_path: Path) -> None:
    again = "delete the folder"
    with pytest.raises(DataError, match="no cached features here"):
        CachedFeatures.open(tmp_path / "a")
    write(tmp_path / "a")
    path = tmp_path / "a" / FEATURES
    content = bytearray(path.read_bytes())
    content[1234] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"features.f16: SHA-256 .* bytes have changed; allowed: {again}"):
        CachedFeatures.open(tmp_path / "a").verified()
    path.write_bytes(content[:-2])
    with pytest.raises(DataError, match=rf"2098 bytes for 2100, which \(150, 7\) in float16 take; allowed: {again}"):
        CachedFeatures.open(tmp_path / "a")
    path.unlink()
    with pytest.raises(DataError, match="0 bytes for 2100"):
        CachedFeatures.open(tmp_path / "a")


def test_damage_is_found_and_features_that_were_set_aside_are_computed_again(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    assert damage(folder) == []
    write(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert damage(folder) == []
    flipped = bytearray(before[FEATURES])
    flipped[-1] ^= 1
    for name, content in ((FEATURES, bytes(flipped)), (FEATURES, b""), (META, b""), (META, before[META][:40])):
        (folder / name).write_bytes(content)
        (problem,) = damage(folder)
        assert (problem.path, problem.allowed) == (folder / name, AGAIN)
        set_aside(folder)
        assert damage(folder) == []
        write(folder)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("shape", [150.0, 7]),
        ("shape", [-150, -7]),
        ("shape", "150 7"),
        ("dtype", "float32"),
        ("version", 2),
        ("digest", 1),
    ],
)
def test_a_meta_that_does_not_describe_features_is_refused(tmp_path: Path, key: str, value: object) -> None:
    write(tmp_path / "a")
    publish_json(tmp_path / "a" / META, {**read_json(tmp_path / "a" / META), key: value})
    with pytest.raises(DataError, match=rf"meta\.json: damaged: {key}.*; allowed: delete the folder"):
        CachedFeatures.open(tmp_path / "a")


@pytest.mark.parametrize(("value", "shown"), [(70000.0, "70000"), (-7e4, "-70000"), (np.nan, "nan"), (np.inf, "inf")])
def test_values_that_float16_cannot_hold_are_named(value: float, shown: str) -> None:
    values = np.full((4, 3), 65504.0, np.float32)
    assert np.isfinite(stored(values)).all()
    values[2, 1] = value
    with pytest.raises(DataError, match=rf"a feature of image 12 .* is {shown}; allowed: finite values within 65504"):
        stored(values, first=10)
