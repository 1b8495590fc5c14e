"""A batch is read as it was written, and the store shows how an attempt elsewhere ended."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from refers_bench.execution.engine import Attempt, Ending, Settings
from refers_bench.execution.task import Batch, ending_in_store
from refers_bench.plan.lock import Job
from refers_bench.store.results import ResultStore

JOB = Job(key="k", kind="noop", name="a job", spec={"kind": "noop"}, needs=("n",))


def test_a_batch_is_read_as_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings(
        results=tmp_path / "results", cache=tmp_path / "cache", roots={"a": "/a"}, threads=3, processes=5,
        arithmetic="portable", time_limit=7.5, retries={"crash": 2}, stale_s=11.0, micro_batches=2, entry="a:b",
        preload=("one", "two"),
    )  # fmt: skip
    attempts = [Attempt(job=JOB, token="t", number=2, micro_batches=4, after="host_oom")]
    batch = Batch(engine="ray", token="t", device="cuda", attempts=attempts, settings=settings, side_by_side=3)
    batch.write(tmp_path / "batch.json")
    stored = json.loads((tmp_path / "batch.json").read_text())
    assert (stored["settings"]["accumulate"], stored["attempts"][0]["accumulate"]) == (2, 4), "as earlier versions"
    again = Batch.read(tmp_path / "batch.json")
    for name in ("engine", "token", "device", "side_by_side"):
        assert getattr(again, name) == getattr(batch, name), name
    (one,) = again.attempts
    assert [one.token, one.number, one.micro_batches, one.after] == ["t", 2, 4, "host_oom"]
    assert [one.job.key, one.job.kind, one.job.name, dict(one.job.spec), list(one.job.needs)] == [
        "k", "noop", "a job", {"kind": "noop"}, ["n"],
    ]  # fmt: skip
    for name in (
        "results", "cache", "roots", "threads", "processes", "arithmetic", "time_limit", "retries", "stale_s",
        "micro_batches", "entry",
    ):  # fmt: skip
        assert getattr(again.settings, name) == getattr(settings, name), name
    assert list(again.settings.preload) == ["one", "two"]


def test_how_an_attempt_elsewhere_ended(tmp_path: Path) -> None:
    store, attempt = ResultStore(tmp_path), Attempt(job=JOB, token="t")
    settings = Settings(results=tmp_path, cache=tmp_path / "cache")
    assert ending_in_store(attempt, settings) is None
    store.fail("k", category="nan", record={"message": "loss", "token": "of another"})
    assert ending_in_store(attempt, settings) is None
    store.fail("k", category="nan", record={"message": "loss", "token": "t", "step": 3})
    ending = ending_in_store(attempt, settings)
    assert ending is not None
    assert (ending.key, ending.category, ending.message, ending.recorded) == ("k", "nan", "loss", True)
    assert (ending.facts["step"], ending.facts["token"]) == (3, "t")
    assert not {"version", "key", "category", "message"} & set(ending.facts)
    with store.publish("k") as stage:
        (stage / "run.json").write_text("{}")
    assert ending_in_store(attempt, settings) == Ending(key="k", category="ok")
