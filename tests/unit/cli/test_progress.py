"""Progress is reported once a second and at the end, and only when something has been done."""

from __future__ import annotations

import time

import pytest

from refers_bench.cli.progress import counted


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which the test moves."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_once_a_second_and_at_the_end(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    progress = counted("images")
    for done, seconds in ((1, 0.5), (20, 2.0), (25, 2.5), (25, 9.0), (30, 10.0), (30, 11.0)):
        clock[0] = 100.0 + seconds
        progress(done, 30)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "20/30 images, 10 a second, 1 s left",
        "25/30 images, 3 a second, 2 s left",
        "30/30 images, 3 a second, 0 s left",
    ]


@pytest.mark.parametrize(("conclude", "lines"), [(False, []), (True, ["3/3 probes, 6 a second, 0 s left"])])
def test_what_takes_less_than_a_second(
    clock: list[float], capsys: pytest.CaptureFixture[str], conclude: bool, lines: list[str]
) -> None:
    progress = counted("probes", conclude=conclude)
    clock[0] += 0.5
    progress(3, 3)
    assert capsys.readouterr().err.splitlines() == lines


def test_no_time_at_all(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    counted("runs", conclude=True)(2, 2)
    assert capsys.readouterr().err == "2/2 runs, 0 a second\n"
