"""People see what runs, what ended and how long the rest will take."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from refers_bench.execution.progress import LiveView, PlainView, duration, fitted, line_of, view
from refers_bench.plan.lock import Job


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59, "59 s"), (60, "1 min 00 s"), (61, "1 min 01 s"), (3599.7, "1 h 00 min"), (7380, "2 h 03 min")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_line_of_a_running_job() -> None:
    view = {"step": 3, "steps": 10, "losses": {"bce": 0.51234}, "images_per_s": 120.4}
    assert line_of("a", view) == "a: 3/10, bce 0.512, 120 images/s"
    assert line_of("a", {**view, "left_s": 61.0}) == "a: 3/10, bce 0.512, 120 images/s, 1 min 01 s left"
    assert line_of("a", {}) == "a: starting"


def job(name: str, kind: str = "finetune") -> Job:
    return Job(key=name, kind=kind, name=name)


def test_plain_lines() -> None:
    out = io.StringIO()
    view = PlainView(2, out, every_s=0)
    view.started(job("a"))
    view.tick({}, {"finetune": 2})
    view.tick({"a": {"step": 1, "steps": 2}}, {"finetune": 1})
    view.ended(job("a"), "ok", 61, "")
    view.ended(job("b"), "nan", 2, "NotFiniteLoss: loss\nsecond line")
    view.close()
    lines = out.getvalue().splitlines()
    assert lines[0] == "  running a: 1/2"
    assert lines[1] == "  1 waiting", "nothing is known yet of how long a job of that kind takes"
    assert lines[2].split() == ["[1/2]", "ok", "1", "min", "01", "s", "a"]
    assert lines[3].endswith("b  NotFiniteLoss: loss")


def test_what_a_job_came_to_stands_behind_its_name() -> None:
    out = io.StringIO()
    view = PlainView(2, out, figure=lambda job: "AUC 73.2 %" if job.name == "a" else "")
    for name, category in (("a", "ok"), ("b", "ok"), ("a", "nan")):
        view.ended(job(name), category, 1, "NotFiniteLoss: loss")
    ends = [line.split("1 s  ")[1] for line in out.getvalue().splitlines()]
    assert ends == ["a  AUC 73.2 %", "b", "a  NotFiniteLoss: loss"]


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
    # The pre-training, which was resumed, knows that 18 s are left; a cell takes 15 s, 9 s are left of the running one.
    running: dict[str, dict[str, float]] = {"long": {"step": 25, "steps": 100, "left_s": 18.0}, "c": {}}
    assert view.waiting(running, {"finetune": 3}) == "3 waiting, about 36 s left"
    # All together never takes less than one of those that run.
    running["long"]["left_s"] = 500.0
    assert view.waiting(running, {"finetune": 3}) == "3 waiting, about 8 min 20 s left"
    running["long"]["left_s"] = 18.0
    assert view.waiting(running, {"finetune": 3, "pretrain": 1}) == "4 waiting"
    # A job that takes longer than those before it takes nothing from what the others need.
    now[0] = 130.0
    assert view.waiting({"c": {}}, {"finetune": 2}) == "2 waiting, about 30 s left"
    assert view.waiting({"unknown": {}}, {}) == "0 waiting"


def test_lines_of_what_runs_come_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now, out = [50.0], io.StringIO()
    monkeypatch.setattr("refers_bench.execution.progress.time.monotonic", lambda: now[0])
    view = PlainView(3, out)
    shown = []
    for now[0] in (60.0, 79.9, 80.0, 95.0, 109.9, 110.0):
        view.tick({"a": {"step": 1, "steps": 2}}, {"finetune": 2})
        shown.append(len(out.getvalue().splitlines()))
    assert shown == [2, 2, 2, 4, 4, 4], "at once, and then every thirty seconds"
    assert out.getvalue().splitlines()[:2] == ["  running a: 1/2", "  2 waiting"]


def test_what_a_terminal_shows() -> None:
    view, out = LiveView(3), io.StringIO()
    view.close()
    view.console = Console(file=out, force_terminal=True, color_system="standard", width=100)
    view.ended(job("b"), "ok", 1, "")
    assert out.getvalue() == "[1/3] ok                1 s  b\n", "as it is, without colours"
    view.tick({"a": {"step": 1, "steps": 4}, "[c]": {}}, {"finetune": 1})
    drawn = io.StringIO()
    Console(file=drawn, force_terminal=True, color_system=None, width=100).print(view.live.get_renderable())
    head, bar, *lines = drawn.getvalue().splitlines()
    assert head.startswith("1 of 3 jobs, 1 waiting")
    assert len(bar.rstrip()) == 20, "a third of sixty"
    assert [line.rstrip() for line in lines] == ["a: 1/4", "[c]: starting"]


@pytest.mark.parametrize(("terminal", "kind"), [(True, LiveView), (False, PlainView)])
def test_a_terminal_has_a_live_view(monkeypatch: pytest.MonkeyPatch, terminal: bool, kind: type[PlainView]) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr("sys.stderr", stream)
    found = view(3)
    found.close()
    assert (type(found), found.total) == (kind, 3)


FACTS = {
    "update": "112/2000", "losses": "report_generation 4.934 study_report_consistency 3.458 total 8.392",
    "images/s": "166", "left": "12 min 15 s",
}  # fmt: skip


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (
            140,
            [
                "pretrain.refers.openi: 112/2000, report_generation 4.934 study_report_consistency 3.458 total 8.392, "
                "166 images/s, 12 min 15 s left"
            ],
        ),
        (
            119,
            [
                "pretrain.refers.openi:",
                "  112/2000, report_generation 4.934 study_report_consistency 3.458 total 8.392, 166 images/s, "
                "12 min 15 s left",
            ],
        ),
        (79, ["pretrain.refers.openi:", "  112/2000, total 8.392, 166 images/s, 12 min 15 s left"]),
        (59, ["pretrain.refers.openi:", "  112/2000, total 8.392, 166 images/s, 12 min 15 s left"]),
        (45, ["pretrain.refers.openi:", "  112/2000, 166 images/s, 12 min 15 s left"]),
        (20, ["pretrain...rs.openi:"]),
    ],
)
def test_a_running_job_fits_the_width(width: int, lines: list[str]) -> None:
    found = fitted("pretrain.refers.openi", FACTS, width)
    assert found == lines and all(len(line) <= width for line in found)
