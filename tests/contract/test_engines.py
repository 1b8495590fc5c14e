"""What every engine does, wherever it runs jobs. New ones are picked up by their name."""

from __future__ import annotations

import importlib.util
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from refers_bench import plugins
from refers_bench.errors import CATEGORIES
from refers_bench.execution import coordinator, engine, engines
from refers_bench.execution.engine import Outcome, Settings, Slot
from refers_bench.plan.lock import Job
from refers_bench.store.results import ResultStore
from tiny_jobs import ENTRY, job

ENGINES = sorted(plugins.engines())
#: What makes an engine usable here: name -> fixture that skips with a reason where that is not possible.
PLACES = {"slurm": "slurm", "ray": "ray_cluster"}
#: Seconds of a job that is still running when something is done to it; a queue takes its time.
LONG_S: Mapping[str, float] = {"local": 3.0, "debug": 1.0}
#: Engines that run jobs in this process, which can neither end nor interrupt them.
IN_PROCESS = {"debug"}
#: What its section says in these tests.
SECTIONS: Mapping[str, Mapping[str, Any]] = {"slurm": {"gpus": 0, "memory": "200M"}}


class Listening:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.endings: list[tuple[str, str]] = []

    def started(self, job: Job) -> None: ...
    def ended(self, job: Job, category: str, seconds: float, message: str) -> None:
        assert 0 <= seconds < 120
        self.endings.append((job.name, category))

    def tick(self, running: Mapping[str, Mapping[str, Any]], left: Mapping[str, int]) -> None: ...


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[str]:
    """Address of a Ray of one node; skips where Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed: pip install '.[ray]'")
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 2, "num_gpus": 0, "include_dashboard": False, "object_store_memory": 80 << 20},
    )
    yield cluster.address
    cluster.shutdown()


Run = Callable[..., tuple[Outcome, Listening]]


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.cluster if name in PLACES else ()) for name in ENGINES])
def name(request: pytest.FixtureRequest) -> str:
    """The engine under test."""
    return str(request.param)


@pytest.fixture
def apart(name: str) -> None:
    """The engine runs jobs in processes of their own."""
    if name in IN_PROCESS:
        pytest.skip(f"{name} runs jobs in this process")


@pytest.fixture
def long_s(name: str) -> float:
    return LONG_S.get(name, 8.0)


@pytest.fixture
def run(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Run jobs on it."""
    section = dict(SECTIONS.get(name, {}))
    if name in PLACES:
        place = request.getfixturevalue(PLACES[name])
        if name == "ray":
            section["address"] = place

    def run(jobs: list[Job], **how: Any) -> tuple[Outcome, Listening]:
        settings = Settings(
            results=tmp_path / "results", cache=tmp_path / "cache", slots=[Slot(device="cpu")] * 2, device="cpu",
            preload=engine.PRELOAD, entry=ENTRY, **{"time_limit": 60.0, **how},
        )  # fmt: skip
        listening = Listening()
        made = engines.make(name, settings, {"executor": name, name: section})
        assert (made.name, isinstance(made.token, str), isinstance(made.queues, bool)) == (name, True, True)
        return coordinator.execute(jobs, made, settings, listening), listening

    return run


def test_jobs_run_once_after_what_they_need_and_failures_are_recorded(run: Run, name: str, tmp_path: Path) -> None:
    diary = str(tmp_path / "diary")
    first = job("first", sleep=0.3, diary=diary)
    bad = job("bad", fail="data")
    later = [job(f"later{i}", first, diary=diary) for i in range(3)]
    once = job("once", fail="bug" if name in IN_PROCESS else "kill", fail_attempts=1)
    jobs = [first, bad, *later, once, job("needs bad", bad)]
    outcome, listening = run(jobs, retries={"crash": 1, "lost": 2})
    assert sorted(outcome.done) == sorted(one.key for one in (first, *later, once))
    assert (outcome.failed, outcome.blocked, outcome.left) == ({bad.key: "data_error"}, [jobs[-1].key], [])
    begun = [
        line.split('"name": "')[1].split('"')[0] for line in Path(diary).read_text().splitlines() if "began" in line
    ]
    assert (begun[0], sorted(begun)) == ("first", ["first", "later0", "later1", "later2"])
    assert ("bad", "data_error") in listening.endings
    assert {category for _, category in listening.endings} <= set(CATEGORIES)
    failure = ResultStore(tmp_path / "results").failure(bad.key) or {}
    assert (failure["message"], failure["name"], failure["attempts"]) == ("DataError: asked for by the job", "bad", 1)
    # Nothing is left behind, and asked again it runs what has failed, alone.
    assert list((tmp_path / "results" / "work" / "claims").glob("*.json")) == []
    again, listening = run(jobs)
    assert (again.done, again.failed, listening.endings) == ([], {bad.key: "data_error"}, [("bad", "data_error")])


def test_a_job_over_its_time_ends(apart: None, run: Run) -> None:
    jobs = [job("hangs", fail="hang"), job("good")]
    outcome, _ = run(jobs, time_limit=2.0)
    assert (outcome.failed, outcome.done) == ({jobs[0].key: "timeout"}, [jobs[1].key])


def test_asked_to_stop_it_saves_and_goes_on_later(apart: None, run: Run, long_s: float, tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    jobs = [job("long", sleep=long_s, saves=True, diary=str(diary)), job("after")]
    begun = threading.Event()

    def stopping() -> bool:
        if not begun.is_set() and diary.exists():
            time.sleep(0.3)
            begun.set()
        return begun.is_set()

    outcome, _ = run(jobs, stopping=stopping, max_jobs=1)
    assert (outcome.failed, jobs[0].key in outcome.left) == ({}, True)
    outcome, _ = run(jobs)
    assert (len(outcome.done), outcome.failed) == (2, {})


def test_once_the_budget_is_spent_what_waits_is_left(run: Run, long_s: float, tmp_path: Path) -> None:
    jobs = [job(f"job{i}", sleep=long_s) for i in range(12)]
    outcome, _ = run(jobs, budget_s=0.5)
    assert (len(outcome.done) + len(outcome.left), outcome.failed) == (12, {})
    assert 1 <= len(outcome.done) <= 8, "no place of these tests has more than 8 jobs at a time"
    assert list((tmp_path / "results" / "work" / "claims").glob("*.json")) == []


FOREIGN = """
from refers_bench.execution.local import LocalEngine


class Engine(LocalEngine):
    name = "abacus"


def factory(settings, execution):
    engine = Engine(settings)
    engine.beads = execution["options"]["beads"]
    return engine
"""


@pytest.fixture
def abacus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed package with an engine."""
    (tmp_path / "abacus_engine.py").write_text(FOREIGN)
    facts = tmp_path / "abacus-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: abacus\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[refers_bench.engines]\nabacus = abacus_engine:factory\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins.engines.cache_clear()
    yield
    plugins.engines.cache_clear()


def test_an_engine_of_another_package_is_found_by_its_name(abacus: None, tmp_path: Path) -> None:
    assert list(plugins.engines()) == ["abacus", "debug", "local", "ray", "slurm"]
    settings = Settings(results=tmp_path / "results", cache=tmp_path / "cache", preload=engine.PRELOAD, entry=ENTRY)
    made: Any = engines.make("abacus", settings, {"options": {"beads": 7}}, site={"slurm": {"gpus": 1}})
    assert (made.name, made.beads) == ("abacus", 7)
    assert len(coordinator.execute([job("one")], made, settings, Listening()).done) == 1
