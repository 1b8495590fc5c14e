"""A running job is shown with what is known of it, and with nothing else."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from refers_bench.execution.watching import Pace, columns, hopeless, line, summary, table
from refers_bench.plan.lock import Job
from refers_bench.plan.running import Running

OWNER = {"host": "login1", "pid": 7, "engine": "slurm"}
GPU = {"name": "A GPU", "mem_bytes": 12 << 30, "total_bytes": 80 << 30, "utilisation_percent": 93}
VIEW = {
    "step": 120, "steps": 3000, "losses": {"bce": 0.51234}, "images_per_s": 812.3, "left_s": 185.0, "host": "node3",
    "pid": 12, "device": "cuda", "peak_mem_bytes": 3 << 30, "gpu": GPU, "time": 0.0,
}  # fmt: skip


def run(view: dict[str, object], *, silent: float | None = 1.0, name: str = "a", **owner: object) -> Running:
    job = Job(key=name, kind="finetune", name=name)
    return Running(job=job, owner={**OWNER, **owner}, view=view, silent_s=silent if view else None)


def test_a_job_on_a_gpu() -> None:
    assert line(run(VIEW)) == (
        "a: 120/3000, bce 0.512, 812 images/s, 3 min 05 s left, 12.0 of 80.0 GiB, GPU 93 % busy, "
        "node3, A GPU, slurm, process 12"
    )


def test_what_is_not_known_is_not_shown() -> None:
    text = line(
        run({"step": 1, "steps": 2, "losses": {}, "images_per_s": 0, "device": "cpu", "peak_mem_bytes": 1 << 29})
    )
    assert text == "a: 1/2, 0.5 GiB, login1, cpu, slurm, process 7"
    gpu = {name: value for name, value in GPU.items() if name != "utilisation_percent"}
    assert "busy" not in line(run({**VIEW, "gpu": gpu}))
    assert columns(run({**VIEW, "gpu": gpu}))["GPU"] == ""


def test_a_job_that_has_said_nothing_yet() -> None:
    assert line(run({})) == "a: login1, slurm, process 7, starting"
    assert line(run({}, queued=True)).endswith("is queued by process 7 on login1 (slurm)")


def test_a_silent_job(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.mktime((2026, 1, 2, 12, 10, 0, 0, 0, -1))
    monkeypatch.setattr("refers_bench.execution.watching.time.time", lambda: now)
    assert line(run(VIEW, silent=300.0)).endswith("silent for 5 min 00 s, since 12:05:00")
    assert "silent" not in line(run(VIEW, silent=30.0))


def test_a_table_shows_names_as_they_are_and_no_empty_columns() -> None:
    out = io.StringIO()
    view = {"step": 1, "steps": 2, "device": "cpu"}
    Console(file=out, width=160).print(table([run(view, name="[red]a"), run({}, name="b")]))
    assert "[red]a" in out.getvalue()
    head = out.getvalue().splitlines()[0].split()
    assert head == ["job", "update", "where"]
    assert "starting" in out.getvalue()


def test_time_left_at_the_pace_seen() -> None:
    pace = Pace(10, 100.0)
    assert pace.left(12, 30, 200.0) == "", "two endings are no pace"
    assert pace.left(14, 30, 200.0) == "about 6 min 40 s left at this rate"
    assert pace.left(30, 30, 200.0) == ""


def test_what_can_still_come() -> None:
    def job(name: str, *needs: str) -> Job:
        return Job(key=name, kind="noop", name=name, needs=needs)

    jobs = [
        job("done"),
        job("bad"),
        job("child", "bad"),
        job("grandchild", "child"),
        job("free", "done"),
        job("absent"),
    ]
    states = {
        "done": "done", "bad": "failed", "child": "to do", "grandchild": "to do", "free": "to do",
        "absent": "unavailable",
    }  # fmt: skip
    assert hopeless(jobs, states) == {"bad", "child", "grandchild", "absent"}
    assert summary(states) == "1 of 6 done, 1 failed, 3 to do, 1 unavailable"
