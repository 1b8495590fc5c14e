"""Weights that differ in any byte have another digest, and an unchanged file is read once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from refers_bench.files import sha256_of
from refers_bench.manifest.roots import Roots
from refers_bench.plan import weights


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "weights.bin"
    with path.open("wb") as stream:
        stream.truncate(9_000_000)
    return path


@pytest.mark.parametrize("cached", [True, False])
def test_every_byte_counts(file: Path, tmp_path: Path, cached: bool) -> None:
    cache = tmp_path / "cache" if cached else None
    seen = {weights.digest(file, cache)}
    for place in (0, 70_001, 4_500_000, 8_999_999):
        with file.open("r+b") as stream:
            stream.seek(place)
            stream.write(b"x")
        os.utime(file, ns=(place + 1, place + 1))
        seen.add(weights.digest(file, cache))
    assert len(seen) == 5


def test_names_in_a_folder_count_and_its_place_does_not(file: Path, tmp_path: Path) -> None:
    for folder, name in (("a", "one"), ("b", "one"), ("c", "other")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).hardlink_to(file)
    a, b, c = (weights.digest(tmp_path / folder) for folder in "abc")
    assert a == b != c


def test_an_unchanged_file_is_read_once(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    monkeypatch.setattr(weights, "sha256_of", lambda path: reads.append(path) or sha256_of(path))

    def digest() -> str:
        weights._hash.cache_clear()  # as another process
        return weights.digest(file, tmp_path / "cache")

    first = digest()
    assert digest() == first
    assert len(reads) == 1
    os.utime(file)
    assert digest() == first
    assert len(reads) == 2
    for memo in (tmp_path / "cache" / "weights").iterdir():
        memo.write_text("[]")
    assert digest() == first


def test_a_cache_that_cannot_be_written_is_no_failure(file: Path) -> None:
    assert weights.digest(file, Path("/proc/nowhere")) == weights.digest(file)


def test_the_first_name_that_cannot_be_had_says_why(file: Path, tmp_path: Path) -> None:
    """Whatever comes after it: a job with one of several files is unavailable as well."""
    gone = tmp_path / "gone"
    roots = Roots(paths={"there": file, "gone": gone}, origins={"gone": "here"})
    digests, why = weights.identified(iter(("there", "gone", "never", "there")), roots, None)
    assert digests == {"there": weights.digest(file), "gone": "", "never": ""}
    assert why == f"data root 'gone' is {gone} (here), which does not exist"
    assert weights.identified(iter(("there",)), roots, None) == ({"there": weights.digest(file)}, "")
