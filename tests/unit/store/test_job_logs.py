"""Does a log stay short and keep its two ends, and does a reader see every new line once?"""

from __future__ import annotations

from pathlib import Path

import pytest

from refers_bench.store import job_logs
from refers_bench.store.job_logs import FIRST, LAST, MOST, Follower, shorten, tail


def numbered(count: int) -> str:
    return "".join(f"line {number:07d}\n" for number in range(count))


def test_the_middle_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(numbered(200_000))
    size = path.stat().st_size
    assert shorten(path)
    found = path.read_text().splitlines()
    assert (found[0], found[-1]) == ("line 0000000", "line 0199999")
    (place,) = [number for number, line in enumerate(found) if "left out" in line]
    assert all(len(line) == 12 for number, line in enumerate(found) if number != place), "whole lines"
    marker = found[place]
    assert int(marker.split()[1].replace(",", "")) == size - (path.stat().st_size - len(marker) - 1)
    assert FIRST <= len("\n".join(found[:place])) < FIRST + 20
    assert LAST - 20 < len("\n".join(found[place + 1 :])) <= LAST
    assert not shorten(path)


def test_one_endless_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * (3 * MOST))
    assert shorten(path)
    assert path.stat().st_size < MOST


@pytest.mark.parametrize("size", [0, MOST])
def test_what_is_short_enough_stays(tmp_path: Path, size: int) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * size)
    assert not shorten(path)
    assert path.stat().st_size == size


def test_whoever_writes_goes_on_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("a") as writer:
        writer.write(numbered(200_000))
        writer.flush()
        shorten(path)
        writer.write("more\n")
    assert path.read_bytes().endswith(b"line 0199999\nmore\n")


def test_tail(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one\ntwo\n\xff three")
    assert tail(path, 2) == ["two", "\ufffd three"]
    assert len(tail(path, 0)) == 3
    with pytest.raises(FileNotFoundError):
        tail(tmp_path / "none", 2)


def test_a_follower_hands_out_whole_lines_once(tmp_path: Path) -> None:
    path = tmp_path / "log"
    follower = Follower(path)
    assert list(follower.new()) == []
    with path.open("a") as writer:
        for text, expected in (("one\ntw", ["one"]), ("o\n", ["two"]), ("", []), ("three\nfo", ["three"])):
            writer.write(text)
            writer.flush()
            assert list(follower.new()) == expected
    assert list(follower.new(rest=True)) == ["fo"]


def test_a_follower_says_that_a_log_was_shortened(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(numbered(200_000))
    follower = Follower(path, seen=path.stat().st_size)
    shorten(path)
    (said,) = follower.new()
    assert said.startswith(job_logs.MARK)
    with path.open("a") as writer:
        writer.write("more\n")
    assert list(follower.new()) == ["more"]
