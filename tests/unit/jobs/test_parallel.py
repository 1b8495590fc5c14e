"""A job in several processes: what they are given, what is made of how they end, and what one of them leaves.

A script plays torchrun where many ends are tried; what it was called with and what it finds is seen from its side.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import noop_jobs  # noqa: F401 - whose jobs are run here
from refers_bench.errors import DataError, Interrupted, NotFiniteLoss, UserError
from refers_bench.jobs import parallel
from refers_bench.store.context import JobContext
from refers_bench.store.results import ResultStore

JOB = {"key": "k", "kind": "noop", "name": "n", "needs": [], "spec": {"kind": "noop", "echo": 3}}


@pytest.fixture
def context(tmp_path: Path) -> JobContext:
    return JobContext(
        results=tmp_path / "results", cache=tmp_path / "cache", roots={"a": "/b"}, threads=3, accumulate=2, after="oom",
        attempt=4,
    )  # fmt: skip


@pytest.fixture
def torchrun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Plays torchrun: ``torchrun(script)``, which finds the shared folder as $folder; returns where it notes its call."""
    seen = tmp_path / "seen"
    seen.mkdir()

    def plays(script: str) -> Path:
        path = tmp_path / "python"
        head = (
            f'#!/bin/bash\nfor folder; do :; done\nprintf "%s\\n" "$@" > {seen}/arguments\nenv > {seen}/environment\n'
        )
        path.write_text(f"{head}cp $folder/job.json {seen}/job.json\nls $folder > {seen}/there\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(path))
        return seen

    return plays


def shared(context: JobContext) -> Path:
    return ResultStore(context.results).work_folder("k") / "processes"


def test_processes_are_given_the_job_and_where_it_runs(
    context: JobContext, torchrun: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    stale = shared(context)
    stale.mkdir(parents=True)
    (stale / "failure-0.json").write_text('{"error": "DataError", "message": "of an earlier attempt"}')
    (stale / "stop").touch()
    seen = torchrun("echo one; sleep 0.7; echo two")
    assert not parallel.inside()
    parallel.launched(JOB, context, processes=2)
    assert (seen / "arguments").read_text().split() == [
        "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--module", "refers_bench.jobs.parallel",
        str(stale),
    ]  # fmt: skip
    environment = dict(line.split("=", 1) for line in (seen / "environment").read_text().splitlines() if "=" in line)
    assert environment["OMP_NUM_THREADS"] == "3" and environment["PATH"] == os.environ["PATH"]
    assert environment["REFERS_BENCH_PARALLEL_JOB"] == "1" and "REFERS_BENCH_PARALLEL_JOB" not in os.environ
    there = {**dataclasses.asdict(context), "results": str(context.results), "cache": str(context.cache), "plugins": []}
    assert json.loads((seen / "job.json").read_text()) == {"job": JOB, "context": there}
    assert set((seen / "there").read_text().split()) == {"job.json", "output.txt"}
    assert capsys.readouterr().out == "one\ntwo\n"
    assert not stale.exists()


@pytest.mark.parametrize(
    ("script", "error", "message"),
    [
        ('echo \'{"error": "NotFiniteLoss", "message": "a"}\' > $folder/failure-1.json; exit 1', NotFiniteLoss, "^a$"),
        ('echo \'{"error": "DataError", "message": "a"}\' > $folder/failure-0.json; exit 1', DataError, "^a$"),
        ('echo \'{"error": "UserError", "message": "a"}\' > $folder/failure-0.json; exit 1', UserError, "^a$"),
        ('echo \'{"error": "MemoryError", "message": "a"}\' > $folder/failure-0.json; exit 1', MemoryError, "^a$"),
        ('echo \'{"error": "OutOfMemoryError", "message": "a"}\' > $folder/failure-0.json; exit 1', torch.OutOfMemoryError, "^a$"),
        ('echo \'{"error": "Interrupted", "message": "a"}\' > $folder/failure-0.json', Interrupted, "^a$"),
        ('echo \'{"error": "KeyError", "message": "a"}\' > $folder/failure-0.json; exit 1', RuntimeError, "^a$"),
        ("for n in {1..20}; do echo line $n; done; exit 7", RuntimeError,
         r"^a process of the job ended with exit code 7: line 6\n(line \d+\n){13}line 20$"),
        ("kill -9 $$", RuntimeError, "^a process of the job ended with exit code -9: $"),
    ],
)  # fmt: skip
def test_a_failure_of_a_process_is_that_of_the_job(
    script: str, error: type[Exception], message: str, context: JobContext, torchrun: Any
) -> None:
    torchrun(script)
    with pytest.raises(error, match=message) as raised:
        parallel.launched(JOB, context, processes=2)
    assert type(raised.value) is error


def test_of_several_failures_the_first_process_s_is_told(context: JobContext, torchrun: Any) -> None:
    notes = [f'echo \'{{"error": "DataError", "message": "of {n}"}}\' > $folder/failure-{n}.json' for n in (2, 0, 1)]
    torchrun("; ".join([*notes, "exit 1"]))
    with pytest.raises(DataError, match="of 0"):
        parallel.launched(JOB, context, processes=3)


def test_a_signal_to_the_worker_is_handed_on_as_a_file(context: JobContext, torchrun: Any) -> None:
    """The processes see it, save, and end without a failure of their own; the signal itself does not reach them."""
    torchrun(
        "kill -USR2 $$; touch $folder/ready; while [ ! -e $folder/stop ]; do sleep 0.05; done\n"
        'echo \'{"error": "Interrupted", "message": "saved"}\' > $folder/failure-0.json'
    )

    def warn() -> None:
        while not (shared(context) / "ready").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGUSR2)

    warner = threading.Thread(target=warn, daemon=True)
    warner.start()
    with pytest.raises(Interrupted, match="saved"):
        parallel.launched(JOB, context, processes=2)
    warner.join()


def test_more_processes_than_gpus_are_refused(
    context: JobContext, monkeypatch: pytest.MonkeyPatch, torchrun: Any
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    seen = torchrun("exit 0")
    on_gpu = dataclasses.replace(context, device="cuda")
    with pytest.raises(
        UserError, match=r"3 processes for 2 GPUs in this slot; allowed: as many GPUs as pretrain\.processes"
    ):
        parallel.launched(JOB, on_gpu, processes=3)
    assert not (seen / "arguments").exists()
    parallel.launched(JOB, on_gpu, processes=2)
    parallel.launched(JOB, context, processes=3)


@pytest.fixture
def only_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables that torchrun sets, for one process of one."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    known = {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    for name, value in known.items():
        monkeypatch.setenv(name, str(value))


@pytest.mark.parametrize(
    ("fails", "error"), [("", None), ("nan", NotFiniteLoss), ("data", DataError), ("bug", RuntimeError)]
)
def test_a_process_runs_the_recipe_and_notes_what_went_wrong(
    fails: str, error: type[Exception] | None, context: JobContext, tmp_path: Path, only_process: None
) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    there = {**dataclasses.asdict(context), "results": str(context.results), "cache": str(context.cache), "plugins": []}
    job = {**JOB, "spec": {**JOB["spec"], "fail": fails}}  # type: ignore[dict-item]
    (folder / "job.json").write_text(json.dumps({"job": job, "context": there}))
    note = folder / "failure-0.json"
    if error is None:
        assert parallel.main(folder) == 0
        record = json.loads((ResultStore(context.results).folder("k") / "run.json").read_text())
        assert (record["facts"], record["attempts"], record["provenance"]["threads"]) == ({"echo": 3}, 4, 3)
        assert not note.exists()
    else:
        with pytest.raises(error):
            parallel.main(folder)
        assert json.loads(note.read_text()) == {"error": error.__name__, "message": "asked for by the job"}
    assert not torch.distributed.is_initialized()


def test_an_interrupted_process_leaves_a_note_and_is_no_failure(
    context: JobContext, tmp_path: Path, only_process: None
) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    there = {**dataclasses.asdict(context), "results": str(context.results), "cache": str(context.cache), "plugins": []}
    job = {**JOB, "spec": {**JOB["spec"], "saves": True, "sleep": 5}}  # type: ignore[dict-item]
    (folder / "job.json").write_text(json.dumps({"job": job, "context": there}))
    progress = ResultStore(context.results).work_folder("k") / "progress.json"

    def warn() -> None:
        while not progress.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGUSR2)

    warner = threading.Thread(target=warn, daemon=True)
    warner.start()
    assert parallel.main(folder) == 0
    warner.join()
    note = json.loads((folder / "failure-0.json").read_text())
    assert note["error"] == "Interrupted" and note["message"].startswith("saved at step ")
    assert not ResultStore(context.results).folder("k").exists() and not torch.distributed.is_initialized()
