"""Jobs reach their recipe, and no-op jobs publish or fail as asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

import noop_jobs
from refers_bench.errors import DataError, NotFiniteLoss, UserError
from refers_bench.jobs import entry
from refers_bench.store.context import JobContext
from refers_bench.store.results import ResultStore
from tiny_jobs import sent_job

job = partial(sent_job, kind="noop")


def context(folder: Path) -> JobContext:
    return JobContext(results=folder / "results", cache=folder / "cache")


def test_publishes_a_record(tmp_path: Path) -> None:
    one = job(echo="hello")
    noop_jobs.run(one, context(tmp_path))
    record = json.loads((tmp_path / "results" / "store" / one["key"] / "run.json").read_text())
    assert (record["category"], record["kind"], record["facts"]) == ("ok", "noop", {"echo": "hello"})
    assert record["peak_mem_bytes"] > 1_000_000
    assert {"git", "packages", "hardware", "threads", "roots"} <= set(record["provenance"])
    assert ResultStore(tmp_path / "results").state(one["key"]) == "done"


@pytest.mark.parametrize(
    ("fail", "error"),
    [("memory", MemoryError), ("nan", NotFiniteLoss), ("data", DataError), ("bug", RuntimeError), ("else", ValueError)],
)
def test_fails_as_asked(tmp_path: Path, fail: str, error: type[BaseException]) -> None:
    one = job(fail=fail)
    with pytest.raises(error):
        noop_jobs.run(one, context(tmp_path))
    assert not (tmp_path / "results" / "store" / one["key"]).exists()


def test_fails_only_the_first_attempts(tmp_path: Path) -> None:
    one = job(fail="bug", fail_attempts=2)
    for _ in range(2):
        with pytest.raises(RuntimeError):
            noop_jobs.run(one, context(tmp_path))
    noop_jobs.run(one, context(tmp_path))
    assert ResultStore(tmp_path / "results").state(one["key"]) == "done"


@pytest.mark.parametrize(("fail", "status"), [("exit", 13), ("kill", -9)])
def test_dies_as_asked_without_importing_torch(tmp_path: Path, fail: str, status: int) -> None:
    code = (
        "import sys, json, pathlib\nimport noop_jobs\n"
        "from refers_bench.store.context import JobContext\n"
        "assert 'torch' not in sys.modules\n"
        "noop_jobs.run(json.loads(sys.argv[1]), JobContext(results=pathlib.Path(sys.argv[2]), cache=pathlib.Path('c')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(job(fail=fail)), str(tmp_path)], env=dict(os.environ), check=False
    )
    assert done.returncode == status


def test_unknown_kind(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown kind of job 'pretain'.*did you mean 'pretrain'"):
        entry.run({**job(), "kind": "pretain"}, context(tmp_path))
