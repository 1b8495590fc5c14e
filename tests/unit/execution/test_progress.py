"""Does a person see what runs, what ended and how long it will take?"""

from __future__ import annotations

import io

import pytest

from refers_bench.execution.progress import LiveView, PlainView, duration, line_of
from refers_bench.plan.lock import Job


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59, "59 s"), (60, "1 min 00 s"), (61, "1 min 01 s"), (3599.7, "1 h 00 min"), (7380, "2 h 03 min")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_line_of_a_running_job() -> None:
    view = {"step": 3, "steps": 10, "losses": {"bce": 0.51234}, "images_per_s": 120.4}
    assert line_of("a", view) == "a: 3/10 bce 0.512, 120 images/s"
    assert line_of("a", {**view, "left_s": 61.0}) == "a: 3/10 bce 0.512, 120 images/s, 1 min 01 s left"
    assert line_of("a", {}) == "a: starting"


def job(name: str, kind: str = "finetune") -> Job:
    return Job(key=name, kind=kind, name=name)


def test_plain_lines() -> None:
    out = io.StringIO()
    view = PlainView(2, out, every_s=0)
    view.started(job("a"))
    view.tick({"a": {"step": 1, "steps": 2}}, {"finetune": 1})
    view.ended(job("a"), "ok", 61, "")
    view.ended(job("b"), "nan", 2, "NotFiniteLoss: loss\nsecond line")
    view.close()
    lines = out.getvalue().splitlines()
    assert lines[0] == "  running a: 1/2 "
    assert lines[1] == "  1 waiting", "nothing is known yet of how long a job of that kind takes"
    assert lines[2].split() == ["[1/2]", "ok", "1", "min", "01", "s", "a"]
    assert lines[3].endswith("b  NotFiniteLoss: loss")


def test_live_view_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    view = LiveView(1)
    view.console.file = io.StringIO()
    view.tick({"a": {"step": 1, "steps": 2}}, {})
    view.ended(job("[red]a"), "ok", 1, "")
    assert "[red]a" in view.console.file.getvalue(), "names are text, not markup"
    view.close()


def test_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("refers_bench.execution.progress.time.monotonic", lambda: now[0])
    view = PlainView(9, io.StringIO())
    view.ended(job("a"), "ok", 10, "")
    view.ended(job("b"), "ok", 20, "")
    now[0] = 100.0
    view.started(job("long", "pretrain"))
    view.started(job("c"))
    now[0] = 106.0
    # A quarter of the pre-training took 6 s, so 18 s are left; a cell takes 15 s, 9 s are left of the running one.
    running = {"long": {"step": 25, "steps": 100}, "c": {}}
    assert view.waiting(running, {"finetune": 3}) == "3 waiting, about 36 s left"
    assert view.waiting(running, {"finetune": 3, "pretrain": 1}) == "4 waiting"
    # A job that takes longer than those before it takes nothing from what the others need.
    now[0] = 130.0
    assert view.waiting({"c": {}}, {"finetune": 2}) == "2 waiting, about 30 s left"
    assert view.waiting({"unknown": {}}, {}) == "0 waiting"
