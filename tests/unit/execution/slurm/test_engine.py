"""What becomes of attempts that Slurm rejects, may have accepted or holds in its queue when they are cancelled."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from refers_bench.execution.engine import Attempt, Refused, Settings
from refers_bench.execution.slurm import engine as slurm_engine
from refers_bench.execution.slurm import sending, watch
from refers_bench.execution.slurm.commands import CommandFailed, Row, Slurm
from refers_bench.execution.slurm.options import SlurmOptions
from refers_bench.plan.lock import Job
from refers_bench.store.results import ResultStore

SILENT = CommandFailed("Unable to contact slurm controller")


class Queue(Slurm):
    """Takes arrays of one task as its answers say: None for yes; shows those that it has taken."""

    def __init__(self, answers: Sequence[CommandFailed | None]) -> None:
        super().__init__()
        self.answers, self.silent = list(answers), False
        self.rows: dict[str, Row] = {}
        self.gone: list[str] = []

    def check(self) -> None: ...

    def largest_array(self) -> int:
        return 10

    def submit(self, script: Path) -> str:
        if answer := self.answers.pop(0):
            raise answer
        return self.takes(script.parent.parent.name, script.parent.name)

    def takes(self, token: str, number: str) -> str:
        one = str(len(self.rows) + 1)
        self.rows[f"{one}_0"] = Row(id=f"{one}_0", name=f"refers-bench-{token}-{number}", state="PENDING")
        return one

    def queue(self) -> dict[str, Row]:
        if self.silent:
            raise SILENT
        return self.rows

    def details(self, array: str) -> dict[str, Row]:
        return {}

    def cancel(self, ids: Sequence[str]) -> None:
        self.gone += ids
        for one in ids:
            self.rows[one] = Row(id=one, name=self.rows[one].name, state="CANCELLED")


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "PAUSE_S", 0.0)
    monkeypatch.setattr(slurm_engine, "FULL_S", 0.0)
    monkeypatch.setattr(watch, "QUEUE_S", 0.0)


def engine_on(queue: Queue, folder: Path) -> slurm_engine.SlurmEngine:
    return slurm_engine.SlurmEngine(Settings(results=folder, cache=folder), SlurmOptions(), slurm=queue)


def attempts(*names: str, token: str) -> list[Attempt]:
    """Of jobs that each wait for the one before: an array each."""
    needs = [(), *((name,) for name in names)]
    jobs = [
        Job(key=name, kind="noop", name=name, needs=need, spec={}) for name, need in zip(names, needs, strict=False)
    ]
    return [Attempt(job=job, token=token) for job in jobs]


def test_what_slurm_took_before_it_refused_stays_and_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = engine_on(Queue([None, CommandFailed("sbatch: error: invalid account")]), tmp_path)
    with pytest.raises(Refused, match="invalid account") as raised, engine.opened():
        engine.start(attempts("one", "two", token=engine.token))
    assert raised.value.taken == {"one"}
    assert "1 jobs stay on Slurm (arrays 1). The same command watches them again" in capsys.readouterr().err


@pytest.mark.parametrize("taken", [True, False])
def test_an_array_that_slurm_may_have_taken_is_looked_up_once_it_answers(tmp_path: Path, taken: bool) -> None:
    queue = Queue([None, SILENT])
    engine = engine_on(queue, tmp_path)
    with engine.opened():
        queue.silent = True
        engine.start(attempts("one", "two", "three", token=engine.token))
        assert [ending.key for ending in engine.wait(0.0)] == ["three"]
        assert (engine.room(), engine.wait(0.0)) == (0, [])
        if taken:
            queue.takes(engine.token, "1")
        queue.silent = False
        assert [ending.key for ending in engine.wait(0.0)] == ([] if taken else ["two"])
        assert engine.watcher.task_of == {"one": "1_0", **({"two": "2_0"} if taken else {})}
        assert engine.room() > 0


def test_what_waits_in_the_queue_is_taken_back_and_what_has_run_is_not(tmp_path: Path) -> None:
    queue = Queue([None, None, None])
    engine = engine_on(queue, tmp_path)
    with engine.opened():
        engine.start(attempts("runs", "was sent back", "waits", token=engine.token))
        queue.rows["1_0"] = Row(id="1_0", name=queue.rows["1_0"].name, state="RUNNING")
        queue.rows["2_0"] = Row(id="2_0", name=queue.rows["2_0"].name, state="PENDING", restarts=1)
        engine.wait(0.0)
        for _ in range(2):
            engine.take_back()
        assert queue.gone == ["3_0"]
        assert [(one.key, one.category) for one in engine.wait(0.0)] == [("waits", "waiting")]


def test_what_a_gone_coordinator_left_is_watched_again_unless_it_has_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    queue = Queue([None] * 5)
    first = engine_on(queue, tmp_path)
    names = ("never ran", "failed earlier", "has failed", "was cancelled", "of another plan")
    with first.opened():
        first.start(attempts(*names, token=first.token))
    store = ResultStore(tmp_path)
    store.fail("failed earlier", category="crash", record={"token": "of an earlier attempt"})
    store.fail("has failed", category="crash", record={"token": first.token})
    queue.rows["4_0"] = Row(id="4_0", name=queue.rows["4_0"].name, state="CANCELLED")
    capsys.readouterr()
    second = engine_on(queue, tmp_path)
    with second.opened():
        jobs = {one.job.key: one.job for one in attempts(*names[:4], token="")}
        found = second.under_way(jobs)
        assert {one.job.name: one.token for one in found} == dict.fromkeys(names[:2], first.token)
        assert capsys.readouterr().err.endswith("watching 2 jobs again that are on Slurm already (2 arrays)\n")
        assert second.under_way(jobs) == []


def test_an_array_that_slurm_never_took_hides_none_of_the_earlier_ones(tmp_path: Path) -> None:
    """A coordinator that died while it was sending."""
    queue = Queue([None, SILENT])
    first = engine_on(queue, tmp_path)
    with first.opened():
        queue.silent = True
        first.start(attempts("sent", "never sent", token=first.token))
    queue.silent = False
    second = engine_on(queue, tmp_path)
    with second.opened():
        jobs = {one.job.key: one.job for one in attempts("sent", "never sent", token="")}
        assert [one.job.name for one in second.under_way(jobs)] == ["sent"]
