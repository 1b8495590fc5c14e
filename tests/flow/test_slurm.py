"""On a real Slurm, every way a task can end is noticed and recorded in time, the rest runs, and nothing runs twice."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from refers_bench.errors import UserError
from refers_bench.execution.coordinator import execute
from refers_bench.execution.engine import PRELOAD, Outcome, Settings
from refers_bench.execution.engines import make
from refers_bench.execution.progress import PlainView
from refers_bench.execution.slurm import events as slurm_events
from refers_bench.execution.slurm import folder as slurm_folder
from refers_bench.plan.lock import Job
from refers_bench.store.leases import Leases
from refers_bench.store.results import ResultStore
from tiny_jobs import ENTRY, job

pytestmark = pytest.mark.cluster

#: Seconds within which an event must be recorded.
IN_TIME_S = 15.0
SECTION = {"gpus": 0, "memory": "150M"}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def until(what: Callable[[], Any], seconds: float = 60.0) -> Any:
    """The first true value; fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < deadline, f"nothing after {seconds} s"
        time.sleep(0.1)
    return value


class Lab:
    """Jobs on Slurm that leave a line when they begin and end."""

    def __init__(self, folder: Path, slurm: Any, orchestrator: Any) -> None:
        self.folder, self.slurm, self.orchestrator = folder, slurm, orchestrator
        self.results = folder / "results"
        self.store = ResultStore(self.results)
        self.diary = folder / "diary"
        self.latency: dict[str, float] = {}
        self.processes: list[subprocess.Popen[str]] = []

    def job(self, name: str, *needs: Job, **spec: Any) -> Job:
        return job(name, *needs, diary=str(self.diary), **spec)

    def start(self, jobs: list[Job], **how: Any) -> subprocess.Popen[str]:
        self.processes.append(self.orchestrator.start(jobs, **{"executor": "slurm", "section": SECTION, **how}))
        return self.processes[-1]

    def counts(self, what: str) -> Counter[str]:
        return Counter(line["name"] for line in lines(self.diary) if line["what"] == what)

    def began(self, name: str, times: int = 1) -> None:
        until(lambda: self.counts("began")[name] >= times)

    def task_of(self, name: str) -> tuple[str, dict[str, Any]]:
        """Slurm's id of the task that a job began in last, and what that task wrote of its begin."""
        found = []
        for array in slurm_folder.arrays(self.results, closed=True):
            for path in array.folder.glob("task-*.jsonl"):
                events = slurm_events.events(path)
                for event in events:
                    if event["what"] == "began":
                        begin = event
                    elif event["what"] == "job began" and event["name"] == name:
                        number = path.stem.rpartition("-")[2]
                        found.append((event["time"], array.task_id(int(number)), begin))
        _, task, begin = max(found, key=lambda one: one[0])
        return task, begin

    def seen(self, name: str, category: str, since: float) -> dict[str, Any]:
        """What a coordinator wrote down about a job's task since then; notes how long that took."""

        def event() -> Any:
            return [
                one for one in slurm_events.history(self.results)
                if one["what"] == category and name in one["jobs"] and one["time"] >= since
            ]  # fmt: skip

        (first, *_) = until(event)
        self.latency[f"{name}: {category}"] = first["time"] - since
        return dict(first)

    def watched_by(self, process: subprocess.Popen[str]) -> bool:
        """Whether a coordinator has taken over arrays of another one."""
        claims = [json.loads(path.read_text()) for path in (self.results / "work" / "claims").glob("slurm-*.json")]
        return sum(claim["pid"] == process.pid for claim in claims) > 1

    def interruptions(self) -> Counter[str]:
        """How often each job was stopped from outside, as coordinators wrote down."""
        return Counter(name for event in slurm_events.history(self.results) for name in event["jobs"])

    def here(self, jobs: list[Job], *, section: Mapping[str, Any] | None = None, **how: Any) -> Outcome:
        """The coordinator in this process."""
        settings = Settings(
            results=self.results,
            cache=self.folder / "cache",
            device="cpu",
            preload=PRELOAD,
            entry=ENTRY,
            **{"time_limit": 60.0, **how},
        )
        engine = make("slurm", settings, {"slurm": {**SECTION, **(section or {})}})
        return execute(jobs, engine, settings, PlainView(len(jobs)))

    def queue(self) -> list[str]:
        """Ids of tasks that wait or run."""
        return self.slurm.ask("squeue", "--noheader", "--array", "--format=%i").split()

    def finished(self, process: subprocess.Popen[str], jobs: list[Job]) -> dict[str, str]:
        """Wait for a coordinator; the failed jobs with their categories."""
        out, err = process.communicate(timeout=180)
        assert process.returncode in (0, 4), err
        names = {one.key: one.name for one in jobs}
        return {names[key]: category for key, category in json.loads(out.splitlines()[-1])["failed"].items()}


@pytest.fixture
def lab(tmp_path: Path, slurm: Any, orchestrator: Any) -> Iterator[Lab]:
    lab = Lab(tmp_path, slurm, orchestrator)
    yield lab
    for process in lab.processes:
        if process.poll() is None:
            process.kill()
            process.communicate()


@pytest.mark.slow
def test_every_ending_is_recorded_in_time_and_the_rest_goes_on(
    lab: Lab, kill_all: Callable[..., list[int]], record_property: Callable[[str, object], None]
) -> None:
    # Each takes longer than all that happens before its own turn.
    killed = lab.job("killed", sleep=20, saves=True)
    greedy = lab.job("greedy", sleep=20, allocate_mb=500)
    requeued = lab.job("requeued", sleep=30, saves=True)
    lost = lab.job("lost", sleep=60, saves=True)
    slow = lab.job("slow", fail="hang")
    good = [lab.job(f"good{i}", sleep=1) for i in range(4)]
    after = [lab.job("after killed", killed), lab.job("after greedy", greedy), lab.job("after all", *good)]
    jobs = [killed, greedy, requeued, lost, slow, *good, *after]
    first = lab.start(jobs, time_limit=75.0, retries={"crash": 1})
    since = time.time()

    # Over its memory: Slurm kills the whole task.
    lab.began("greedy")
    began = next(line["time"] for line in lines(lab.diary) if line["name"] == "greedy")
    lab.seen("greedy", "host_oom", began)

    # SIGKILL of the task, from outside.
    lab.began("killed")
    task, begin = lab.task_of("killed")
    since = time.time()
    os.kill(begin["pid"], signal.SIGKILL)
    assert lab.seen("killed", "crash", since)["task"] == task
    until(lambda: lab.counts("began")["killed"] == 2)

    # Sent back to the queue by an administrator.
    lab.began("requeued")
    task, _ = lab.task_of("requeued")
    since = time.time()
    lab.slurm.ask("scontrol", "requeue", task)
    assert lab.seen("requeued", "preempted", since)["task"] == task

    # The coordinator dies; a node is set down; another coordinator takes over and says what happened meanwhile.
    assert kill_all(first) == []
    lab.began("lost")
    task, begin = lab.task_of("lost")
    second = lab.start(jobs, time_limit=75.0, retries={"crash": 1})
    until(lambda: lab.watched_by(second))
    since = time.time()
    lab.slurm.ask("scontrol", "update", f"NodeName={begin['node']}", "State=DOWN", "Reason=test")
    lab.seen("lost", "lost", since)

    assert lab.finished(second, jobs) == {"greedy": "host_oom", "slow": "timeout"}
    # Nothing ran twice: whoever began again had been stopped, and each ended well once.
    assert lab.counts("ended") == {one.name: 1 for one in jobs if one.name not in ("greedy", "slow", "after greedy")}
    stopped = lab.interruptions() + Counter({"slow": 1})
    assert lab.counts("began") == lab.counts("ended") + stopped
    failure = lab.store.failure(greedy.key) or {}
    assert (failure["slurm"]["state"], failure["attempts"]) == ("FAILED", 1)
    assert [event["what"] for event in failure["slurm"]["events"]] == ["host_oom"]
    for name, seconds in lab.latency.items():
        record_property(name, round(seconds, 2))
    print(lab.latency)
    assert max(lab.latency.values()) < IN_TIME_S, lab.latency


@pytest.mark.slow
def test_time_limits_of_tasks(lab: Lab, record_property: Callable[[str, object], None]) -> None:
    """A job that saves goes on over several limits, one that cannot get on has failed, one that is deaf is killed."""
    long = lab.job("long", sleep=35, saves=True)
    stuck = lab.job("stuck", sleep=300)
    deaf = lab.job("deaf", sleep=300, deaf=True)
    jobs = [long, stuck, deaf, lab.job("after long", long)]
    process = lab.start(jobs, section={**SECTION, "time": 60.0, "signal": 40.0})
    lab.began("deaf")
    task, _ = lab.task_of("deaf")
    facts = until(
        lambda: "JobState=TIMEOUT" in (said := lab.slurm.ask("scontrol", "-o", "show", "job", task)) and said, 150
    )
    ended = time.mktime(time.strptime(facts.partition("EndTime=")[2].split()[0], "%Y-%m-%dT%H:%M:%S"))
    lab.seen("deaf", "timeout", ended)
    assert lab.finished(process, jobs) == {"stuck": "timeout", "deaf": "timeout"}
    failure = lab.store.failure(stuck.key) or {}
    assert failure["message"].startswith("got no further between two time limits")
    record = lab.store.record(long.key) or {}
    assert record["provenance"]["scheduler"]["restarts"] >= 1
    assert lab.counts("began")["stuck"] == 2
    assert lab.counts("began")["long"] == 1 + record["provenance"]["scheduler"]["restarts"]
    assert lab.counts("ended") == {"long": 1, "after long": 1}
    record_property("deaf: timeout", round(lab.latency["deaf: timeout"], 2))
    assert max(lab.latency.values()) < IN_TIME_S, lab.latency


def test_cells_share_tasks_and_tasks_have_gpus_of_their_own(lab: Lab) -> None:
    cells = [lab.job(f"cell{i}", sleep=1.5) for i in range(8)]
    outcome = lab.here(cells, section={"gpus": 1, "cells_per_task": 2})
    assert len(outcome.done) == 8
    begun = [line for line in lines(lab.diary) if line["what"] == "began"]
    assert len(begun) == 8
    tasks = {(line["node"], line["gpus"], line["slurm"], line["pid"]) for line in begun}
    assert len(tasks) == 4, "a worker does not live over the cells of its task"
    # Two nodes of two GPUs: whoever ran at the same time had another one.
    at_once = {(node, gpu) for node, gpu, _, _ in tasks}
    assert at_once == {("n1", "0"), ("n1", "1"), ("n2", "0"), ("n2", "1")}
    (array,) = slurm_folder.arrays(lab.results, closed=True)
    assert sorted(path.name for path in array.folder.glob("task-*.log")) == [f"task-{i}.log" for i in range(4)]


@pytest.mark.slow
def test_a_task_that_dies_takes_one_cell_with_it(lab: Lab) -> None:
    cells = [lab.job(f"cell{i}", sleep=2) for i in range(3)]
    process = lab.start(cells, section={**SECTION, "cells_per_task": 3}, retries={})
    lab.began("cell1")
    since = time.time()
    os.kill(lab.task_of("cell1")[1]["pid"], signal.SIGKILL)
    assert lab.seen("cell1", "crash", since)["jobs"] == ["cell1"]
    assert lab.finished(process, cells) == {"cell1": "crash"}
    assert lab.counts("began") == {"cell0": 1, "cell1": 1, "cell2": 1}


def test_a_coordinator_that_died_while_sending_is_found_by_name(lab: Lab, kill_all: Callable[..., list[int]]) -> None:
    jobs = [lab.job(f"job{i}", sleep=5) for i in range(3)]
    jobs.append(lab.job("last", jobs[0]))
    assert (first := lab.start(jobs)) and lab.began("job2") is None
    # A second coordinator leaves to a live one what that has sent.
    second = lab.start(jobs)
    time.sleep(1)
    assert kill_all(first) == []
    for array in slurm_folder.arrays(lab.results):
        (array.folder / "id").unlink()
    third = lab.start(jobs)
    assert lab.finished(third, jobs) == {}
    assert lab.finished(second, jobs) == {}
    assert lab.counts("began") == lab.counts("ended") == {one.name: 1 for one in jobs}
    assert list(slurm_folder.arrays(lab.results)) == []
    assert list((lab.results / "work" / "claims").glob("*.json")) == []


def test_two_orchestrators_on_one_store(lab: Lab) -> None:
    """One runs jobs here, one on Slurm."""
    # Slurm's coordinator queues all that is free at once, so the local one, a job at a time, must have begun before it.
    jobs = [lab.job(f"job{i}", sleep=1.5) for i in range(16)]
    jobs += [lab.job(f"next{i}", jobs[i], sleep=0.2) for i in range(4)]
    here = lab.start(jobs, executor="local", workers=1)
    until(lambda: lines(lab.diary))
    slurm = lab.start(jobs, section={**SECTION, "cells_per_task": 1})
    assert (lab.finished(here, jobs), lab.finished(slurm, jobs)) == ({}, {})
    assert lab.counts("began") == lab.counts("ended") == {one.name: 1 for one in jobs}
    where = Counter("slurm" if line["node"] else "here" for line in lines(lab.diary))
    assert min(where["slurm"], where["here"]) > 0, where
    assert list((lab.results / "work" / "claims").glob("*.json")) == []


def test_a_claim_of_a_dead_coordinator_elsewhere_is_taken_over_in_its_time(lab: Lab) -> None:
    """Its host does not tell whether it lives: the claim counts as long as it is renewed, and no longer."""
    jobs, stale = [lab.job("claimed"), lab.job("free")], 8.0  # a worker may take seconds to start
    claims = Leases(lab.results)
    claim = {**claims.me, "host": "another", "token": "its own", "queued": True, "engine": "slurm"}
    (claims.folder / f"{jobs[0].key}.json").write_text(json.dumps(claim))
    since = time.time()
    process = lab.start(jobs, executor="local", stale_s=stale)
    assert lab.finished(process, jobs) == {}
    begun = {line["name"]: line["time"] - since for line in lines(lab.diary) if line["what"] == "began"}
    assert begun["free"] < stale <= begun["claimed"] < stale + 4


@pytest.mark.parametrize("answer", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_interrupted_it_asks_whether_to_cancel(lab: Lab, answer: bool, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = [lab.job(f"job{i}", sleep=6, saves=True) for i in range(2)]
    jobs.append(lab.job("after", jobs[0]))
    asked = []

    def cancel(question: str) -> bool:
        asked.append(question)
        return answer

    def stopping() -> bool:
        if lab.counts("began").total() == 2:
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        lab.here(jobs, cancel=cancel, stopping=stopping)
    assert asked == ["3 jobs are queued or run on Slurm. Cancel them?"]
    if answer:
        until(lambda: not lab.queue())
        assert lab.counts("ended").total() == 0
    else:
        assert len(lab.queue()) == 3
        assert "The same command watches them again; scancel" in capsys.readouterr().err
    assert len(lab.here(jobs).done) == 3
    assert lab.counts("ended") == {one.name: 1 for one in jobs}
    assert lab.counts("began")["after"] == 1
    assert lab.counts("began").total() == (5 if answer else 3), "what was saved is gone on with, what runs is left"


@pytest.mark.slow
def test_cancelled_by_somebody_else_is_not_put_back_until_asked_again(lab: Lab) -> None:
    first = lab.job("first", sleep=4)
    jobs = [first, lab.job("waits", first), lab.job("good")]
    process = lab.start(jobs)
    lab.began("first")
    (array,) = (one for one in slurm_folder.arrays(lab.results) if '"waits"' in (one.folder / "array.json").read_text())
    since = time.time()
    lab.slurm.ask("scancel", array.task_id(0))
    event = lab.seen("waits", "cancelled", since)
    assert event["message"].endswith("was cancelled by an unknown user (Slurm knows who only where it keeps accounts)")
    assert lab.finished(process, jobs) == {"waits": "cancelled"}
    assert lab.counts("began") == {"first": 1, "good": 1}
    assert len(lab.here(jobs).done) == 1


def test_what_slurm_refuses_is_a_user_error(lab: Lab) -> None:
    with pytest.raises(UserError, match=r"Slurm refuses the jobs: .*invalid partition.*; allowed: partition, account"):
        lab.here([lab.job("one")], section={"partition": "nowhere"})
    assert (lab.queue(), lab.counts("began").total()) == ([], 0)
    assert list((lab.results / "work" / "claims").glob("*.json")) == []


def test_an_environment_that_does_not_work_says_so(lab: Lab) -> None:
    job = lab.job("one")
    outcome = lab.here([job], section={"python": "/no/such/python"}, retries={})
    assert outcome.failed == {job.key: "crash"}
    failure = lab.store.failure(job.key) or {}
    assert "exit status 127" in failure["message"] and "/no/such/python: No such file" in failure["message"]


@pytest.mark.parametrize(("typed", "answer"), [("y\n", "True"), ("n\n", "False"), ("\n", "False"), ("\x03", "False")])
def test_the_question_is_asked_on_a_terminal(typed: str, answer: str) -> None:
    """Another Ctrl-C leaves; without a terminal nobody is asked."""
    ask = [sys.executable, "-c", "from refers_bench.cli.executors import confirmed; print(confirmed('Cancel them?'))"]
    assert (
        subprocess.run(ask, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False).stdout == "False\n"
    )
    child, terminal = pty.fork()
    if not child:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background processes ignore it
        os.execv(ask[0], ask)
    shown = ""

    def read(what: tuple[str, ...], again: bytes = b"") -> None:
        nonlocal shown
        deadline = time.monotonic() + 30
        while not shown.rstrip().endswith(what):
            assert time.monotonic() < deadline, shown
            if select.select([terminal], [], [], 2)[0]:
                shown += os.read(terminal, 1024).decode()
            elif again:
                os.write(terminal, again)

    try:
        read(("[y/N]:",))
        os.write(terminal, typed.encode())
        # Python does not notice a Ctrl-C between its prompt and its waiting for input; a person presses it again.
        read(("True", "False"), again=typed.encode() if typed == "\x03" else b"")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(terminal)
    assert shown.rstrip().endswith(answer), shown


@pytest.mark.slow
def test_the_smoke_manifest_gives_the_bytes_of_a_local_run(
    slurm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site.yaml").write_text("slurm: {gpus: 1, cpus: 2, memory: 3500M, cells_per_task: 6}\n")
    monkeypatch.setenv("REFERS_BENCH_CONFIG", str(tmp_path / "site.yaml"))
    manifest = Path(__file__).parents[2] / "manifests" / "smoke.yaml"

    def run(executor: str) -> dict[str, str]:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / executor))
        results = tmp_path / executor / "results"
        done = subprocess.run(
            [
                sys.executable, "-m", "refers_bench", "--results", str(results), "run", str(manifest), "--no-report",
                "--device", "cpu", "--executor", executor,
            ],
            capture_output=True, text=True, timeout=1500, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        kept = ("predictions.parquet", "metrics.parquet", "subset.json", "checkpoint.safetensors", "index.parquet")
        files = [path for path in (results / "store").glob("*/*") if path.name in kept]
        return {str(path.relative_to(results)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    assert run("slurm") == run("local")
    results = tmp_path / "slurm" / "results"
    given = Counter(
        (event["node"], event["gpus"])
        for array in slurm_folder.arrays(results, closed=True)
        for path in array.folder.glob("task-*.jsonl")
        for event in slurm_events.events(path) if event["what"] == "began"
    )  # fmt: skip
    # Preparing takes no GPU, everything else one of its node.
    assert {gpus for _, gpus in given} == {"", "0"} | ({"1"} if any(gpus == "1" for _, gpus in given) else set())
    assert {node for node, gpus in given if gpus} == {"n1", "n2"}
    assert slurm_events.history(results) == []
