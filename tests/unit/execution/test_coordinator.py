"""The coordinator hands over the right jobs in the right order, whatever the engine does with them."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from refers_bench import identity
from refers_bench.errors import Problem, UserError
from refers_bench.execution.coordinator import execute
from refers_bench.execution.engine import Attempt, Ending, Outcome, Refused, Settings
from refers_bench.files import making, publish_json
from refers_bench.plan.lock import Job
from refers_bench.store.leases import Leases
from refers_bench.store.results import ResultStore
from tiny_jobs import job


class Listening:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.endings: list[tuple[str, str]] = []
        self.seconds: list[float] = []

    def started(self, job: Job) -> None: ...
    def ended(self, job: Job, category: str, seconds: float, message: str) -> None:
        self.endings.append((job.name, category))
        self.seconds.append(seconds)

    def tick(self, running: Mapping[str, Mapping[str, Any]], left: Mapping[str, int]) -> None: ...


class ScriptedEngine:
    """Ends each attempt at once as the script says: job name -> category for each attempt, "ok" beyond."""

    name = "scripted"

    def __init__(self, results: Path, script: Mapping[str, Sequence[str]] | None = None, *, slots: int = 1) -> None:
        self.store, self.script, self.slots = ResultStore(results), dict(script or {}), slots
        self.token, self.queues = "", False
        self.left: list[Attempt] = []
        self.running: list[Attempt] = []
        self.started: list[tuple[str, int, int]] = []
        self.rooms: list[int] = []
        self.interrupted = self.taken_back = False
        self.interrupts = 0

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        yield

    def under_way(self, jobs: Mapping[str, Job]) -> Sequence[Attempt]:
        self.running += [attempt for attempt in self.left if attempt.job.key in jobs]
        return list(self.running)

    def room(self) -> int:
        return self.slots - len(self.running)

    def start(self, attempts: Sequence[Attempt]) -> None:
        assert len(attempts) <= self.room()
        self.started += [(one.job.name, one.number, one.micro_batches) for one in attempts]
        self.running += attempts

    def wait(self, seconds: float) -> Sequence[Ending]:
        attempt = self.running.pop(0)
        categories = self.script.get(attempt.job.name, ())
        category = "preempted" if self.interrupted else [*categories, "ok"][min(attempt.number - 1, len(categories))]
        if category == "ok":
            with self.store.publish(attempt.job.key) as stage:
                publish_json(stage / "run.json", {"key": attempt.job.key})
        return [Ending(key=attempt.job.key, category=category, message="as written")]

    def interrupt(self) -> None:
        self.interrupted = True
        self.interrupts += 1

    def take_back(self) -> None:
        self.taken_back = True


Run = Callable[..., tuple[Outcome, ScriptedEngine, Listening]]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The coordinator's time in seconds, which stands still but for what a test adds."""
    now = [0.0]
    monkeypatch.setattr("refers_bench.execution.coordinator.time.monotonic", lambda: now[0])
    return now


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run(
        jobs: Sequence[Job], script: Mapping[str, Sequence[str]] | None = None, *, engine: Mapping[str, Any] | None = None,
        slots: int = 1, **how: Any,
    ) -> tuple[Outcome, ScriptedEngine, Listening]:  # fmt: skip
        one, listening = ScriptedEngine(tmp_path, script, slots=slots), Listening()
        for name, value in (engine or {}).items():
            setattr(one, name, value)
        settings = Settings(results=tmp_path, cache=tmp_path / "cache", **how)
        outcome = execute(jobs, one, settings, listening)
        assert not Leases(tmp_path).held
        return outcome, one, listening

    return run


def names(engine: ScriptedEngine) -> list[str]:
    return [name for name, *_ in engine.started]


def test_what_others_need_comes_first_and_each_once(run: Run) -> None:
    prepare = job("prepare", kind="discover")
    pretrain = job("pretrain", prepare, kind="pretrain")
    cells = [job(f"cell{i}", prepare, pretrain, kind="finetune") for i in range(3)]
    scratch = job("scratch", prepare, kind="finetune")
    outcome, engine, _ = run([prepare, scratch, pretrain, *cells])
    assert names(engine) == ["prepare", "pretrain", "scratch", "cell0", "cell1", "cell2"]
    assert (len(outcome.done), outcome.failed, outcome.left) == (6, {}, [])
    again, engine, _ = run([prepare, scratch, pretrain, *cells])
    assert (names(engine), again.done) == ([], [])


def test_a_given_order_among_what_can_start(run: Run) -> None:
    a, b, c = job("a"), job("b"), job("c")
    needs_a = job("needs a", a)
    order = {a.key: 3.0, b.key: 2.0, c.key: 1.0, needs_a.key: 0.0}
    _, engine, _ = run([a, b, c, needs_a], order=order)
    assert names(engine) == ["c", "b", "a", "needs a"]


def test_a_failure_blocks_what_needs_it_at_any_distance(run: Run, tmp_path: Path) -> None:
    bad = job("bad")
    child = job("child", bad)
    grandchild = job("grandchild", child)
    other = job("other")
    outcome, engine, listening = run([bad, child, grandchild, other], {"bad": ["data_error"]})
    assert names(engine) == ["bad", "other"]
    assert outcome.failed == {bad.key: "data_error"}
    assert set(outcome.blocked) == {child.key, grandchild.key}
    assert ("bad", "data_error") in listening.endings
    assert (ResultStore(tmp_path).failure(bad.key) or {})["message"] == "as written"
    assert ResultStore(tmp_path).state(child.key) == "to do"


def test_an_unavailable_need_blocks(run: Run) -> None:
    missing = job("missing", unavailable="no data root")
    outcome, engine, _ = run([missing, job("child", missing), job("other")])
    assert names(engine) == ["other"]
    assert (len(outcome.blocked), outcome.failed) == (1, {})


@pytest.mark.parametrize(
    ("categories", "attempts", "failed"),
    [
        (["crash"], 2, False),
        (["crash", "crash"], 2, True),
        (["lost", "lost"], 3, False),
        (["nan"], 1, True),
        (["preempted"], None, False),
    ],
)
def test_attempts_by_category(run: Run, categories: list[str], attempts: int | None, failed: bool) -> None:
    one = job("one")
    if categories == ["preempted"]:
        # It is not counted: the script would see the first attempt for ever, so it is preempted by hand, once.
        engine_script: dict[str, list[str]] = {}
        seen: list[int] = []

        class Once(ScriptedEngine):
            def wait(self, seconds: float) -> Sequence[Ending]:
                seen.append(self.running[0].number)
                if len(seen) == 1:
                    return [Ending(key=self.running.pop(0).job.key, category="preempted")]
                return super().wait(seconds)

        outcome, engine, _ = run([one], engine_script, engine={"__class__": Once})
        assert seen == [1, 1]
    else:
        outcome, engine, _ = run([one], {"one": categories})
        assert len(engine.started) == attempts
    assert bool(outcome.failed) is failed
    assert bool(outcome.done) is not failed


def test_success_without_a_result_is_a_crash(run: Run) -> None:
    class Liar(ScriptedEngine):
        def wait(self, seconds: float) -> Sequence[Ending]:
            return [Ending(key=self.running.pop(0).job.key, category="ok")]

    one = job("one")
    outcome, _, _ = run([one], engine={"__class__": Liar}, retries={})
    assert outcome.failed == {one.key: "crash"}


def test_at_most_so_many_jobs(run: Run) -> None:
    outcome, engine, _ = run([job(str(i)) for i in range(5)], max_jobs=2, slots=4)
    assert (len(engine.started), len(outcome.done), len(outcome.left)) == (2, 2, 3)


def test_a_spent_budget_starts_nothing_more(run: Run) -> None:
    outcome, engine, _ = run([job(str(i)) for i in range(5)], budget_s=1e-9)
    assert (len(engine.started), len(outcome.done), len(outcome.left)) == (1, 1, 4)
    assert outcome.spent_s > 0
    assert not engine.taken_back, "nothing waits in a queue"
    outcome, engine, _ = run([job(str(i)) for i in range(5)], budget_s=0.0)
    assert (len(engine.started), len(outcome.left)) == (0, 4)


def test_once_asked_to_stop_what_runs_is_preempted_and_the_rest_is_left(run: Run) -> None:
    asked = iter([False, True, True, True])
    jobs = [job(str(i)) for i in range(3)]
    outcome, engine, listening = run(jobs, stopping=lambda: next(asked), slots=2)
    assert engine.interrupts == 1, "an engine may ask people what is to become of its jobs"
    assert listening.endings == [("0", "ok"), ("1", "preempted")]
    assert (outcome.failed, outcome.left) == ({}, [jobs[1].key, jobs[2].key])


# --- engines that queue ---------------------------------------------------------------------------------------------


def test_a_queueing_engine_gets_jobs_before_what_they_need_is_done(run: Run) -> None:
    a = job("a")
    b = job("b", a)
    c = job("c", b)
    handed: list[list[str]] = []

    class Queue(ScriptedEngine):
        def start(self, attempts: Sequence[Attempt]) -> None:
            handed.append([one.job.name for one in attempts])
            super().start(attempts)

    run([c, b, a], engine={"__class__": Queue, "queues": True, "token": "t"}, slots=10)
    assert [name for batch in handed for name in batch] == ["a", "b", "c"]
    assert len(handed) == 1


def test_queued_behind_a_failure_is_blocked(run: Run) -> None:
    bad = job("bad")
    child = job("child", bad)
    grandchild = job("grandchild", child)

    class Queue(ScriptedEngine):
        def wait(self, seconds: float) -> Sequence[Ending]:
            if self.running[0].job.name != "bad":
                return [Ending(key=self.running.pop(0).job.key, category="waiting")]
            return super().wait(seconds)

    outcome, engine, listening = run(
        [bad, child, grandchild], {"bad": ["nan"]}, engine={"__class__": Queue, "queues": True, "token": "t"}, slots=10
    )
    assert names(engine) == ["bad", "child", "grandchild"]
    assert (outcome.failed, set(outcome.blocked)) == ({bad.key: "nan"}, {child.key, grandchild.key})
    assert listening.endings == [("bad", "nan")]


def test_what_a_dead_coordinator_left_is_watched_and_not_started_again(run: Run) -> None:
    left, other = job("left"), job("other")
    attempt = Attempt(job=left, number=2, micro_batches=4, token="t", after="host_oom")
    outcome, engine, _ = run([left, other], engine={"left": [attempt], "token": "t2", "slots": 5})
    assert names(engine) == ["other"]
    assert len(outcome.done) == 2


def test_a_recorded_failure_is_not_tried_again_here(run: Run, tmp_path: Path) -> None:
    class Recorded(ScriptedEngine):
        def wait(self, seconds: float) -> Sequence[Ending]:
            key = self.running.pop(0).job.key
            self.store.fail(key, category="crash", record={"message": "there"})
            return [Ending(key=key, category="crash", recorded=True)]

    one = job("one")
    outcome, engine, _ = run([one], engine={"__class__": Recorded})
    assert (len(engine.started), outcome.failed) == (1, {one.key: "crash"})
    assert (ResultStore(tmp_path).failure(one.key) or {})["message"] == "there"


def test_time_in_the_queue_is_no_time_of_a_job(run: Run, clock: list[float]) -> None:
    """Neither for the budget nor for people: it counts from when the engine says that the job has begun."""
    one, two, three = job("one"), job("two"), job("three")
    said = [Ending(key=one.key, category="running"), None, None]

    class Queue(ScriptedEngine):
        def wait(self, seconds: float) -> Sequence[Ending]:
            clock[0] += 100.0
            ending = said.pop(0) if said else None
            return [ending] if ending else super().wait(seconds)

    outcome, engine, listening = run(
        [one, two, three], engine={"__class__": Queue, "queues": True, "token": "t"}, slots=2, budget_s=150.0
    )
    # One ran for 100 s after 100 s in the queue; two has run so shortly that nobody saw it begin; then three started.
    assert (names(engine), len(outcome.done)) == (["one", "two", "three"], 3)
    assert outcome.spent_s == 100.0
    assert listening.seconds == [100.0, 0.0, 0.0]


def test_what_an_engine_refuses_stays_nobodys(run: Run, tmp_path: Path) -> None:
    class Refusing(ScriptedEngine):
        def start(self, attempts: Sequence[Attempt]) -> None:
            raise UserError("no such partition")

    one = job("one")
    with pytest.raises(UserError, match="no such partition"):
        run([one], engine={"__class__": Refusing, "token": "t"})
    assert Leases(tmp_path).owner(one.key) is None


def test_what_an_engine_has_taken_before_it_refuses_stays_claimed(run: Run, tmp_path: Path) -> None:
    one, two = job("one"), job("two")

    class Refusing(ScriptedEngine):
        def start(self, attempts: Sequence[Attempt]) -> None:
            raise Refused([Problem(found="no such partition")], taken=frozenset({one.key}))

    with pytest.raises(UserError, match="no such partition"):
        run([one, two], engine={"__class__": Refusing, "token": "t"}, slots=2)
    assert [(Leases(tmp_path).owner(key) or {}).get("token") for key in (one.key, two.key)] == ["t", None]


def test_with_the_budget_spent_what_waits_in_the_queue_is_taken_back(run: Run, clock: list[float]) -> None:
    jobs = [job(str(i)) for i in range(3)]
    said = [Ending(key=jobs[0].key, category="running")]

    class Queue(ScriptedEngine):
        def wait(self, seconds: float) -> Sequence[Ending]:
            clock[0] += 10.0
            if said:
                return [said.pop()]
            if not self.taken_back:
                return []
            waiting, self.running = self.running[1:], self.running[:1]
            return [Ending(key=one.job.key, category="waiting") for one in waiting] or super().wait(seconds)

    how = {"__class__": Queue, "queues": True, "token": "t"}
    outcome, _, _ = run(jobs, engine=how, slots=3, budget_s=30.0, cost=lambda job: 2.0)
    assert (outcome.done, outcome.left) == ([jobs[0].key], [one.key for one in jobs[1:]])
    assert outcome.spent_s == 2 * 40.0  # from when it was seen to run


def test_back_in_the_queue_a_job_is_claimed_again_and_costs_nothing(
    run: Run, tmp_path: Path, clock: list[float]
) -> None:
    one = job("one")
    said = [Ending(key=one.key, category=category) for category in ("running", "queued")]
    owners: list[bool] = []

    class Queue(ScriptedEngine):
        def wait(self, seconds: float) -> Sequence[Ending]:
            clock[0] += 5.0
            if said:
                if said[0].category == "queued":  # whoever ran it has given its claim back
                    (Leases(tmp_path).folder / f"{one.key}.json").unlink()
                return [said.pop(0)]
            owners.append(bool((Leases(tmp_path).owner(one.key) or {}).get("queued")))
            return super().wait(seconds)

    outcome, _, _ = run([one], engine={"__class__": Queue, "queues": True, "token": "t"})
    assert (owners, outcome.spent_s) == ([True], 5.0)


def test_an_ending_of_an_attempt_that_others_took_over_is_ignored(run: Run) -> None:
    one = job("one")
    stray = [Ending(key="somebody's", category="crash"), Ending(key="somebody's", category="running")]

    class Stray(ScriptedEngine):
        def wait(self, seconds: float) -> Sequence[Ending]:
            return [stray.pop()] if stray else super().wait(seconds)

    outcome, _, _ = run([one], engine={"__class__": Stray, "token": "t"})
    assert (outcome.done, outcome.failed) == ([one.key], {})


def test_cancelled_is_not_tried_again(run: Run) -> None:
    outcome, engine, _ = run([job("one")], {"one": ["cancelled"]}, retries={"crash": 5, "lost": 5})
    assert (len(engine.started), list(outcome.failed.values())) == (1, ["cancelled"])


# --- others at work -------------------------------------------------------------------------------------------------


def test_a_job_of_somebody_else_is_waited_for(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = job("one"), job("two")
    claims = Leases(tmp_path)
    foreign = {**claims.me, "host": "elsewhere"}
    publish_json(claims.folder / f"{one.key}.json", foreign)
    looks = 0
    owner = Leases.owner

    def watched(self: Leases, key: str) -> dict[str, Any] | None:
        nonlocal looks
        if key == one.key:
            looks += 1
            if looks == 6:  # it publishes, and gives the claim back
                with ResultStore(tmp_path).publish(one.key) as stage:
                    publish_json(stage / "run.json", {"key": one.key})
                (claims.folder / f"{one.key}.json").unlink()
        return owner(self, key)

    monkeypatch.setattr(Leases, "owner", watched)
    monkeypatch.setattr("refers_bench.execution.coordinator.ELSEWHERE_S", 0.01)
    outcome, engine, _ = run([one, two], patience_s=1000.0)
    assert names(engine) == ["two"]
    assert set(outcome.done) == {one.key, two.key}


def test_what_fails_for_good_in_another_run_has_failed_here_too(run: Run, tmp_path: Path) -> None:
    old, new = job("old"), job("new")
    child = job("child", new)
    store = ResultStore(tmp_path)
    store.fail(old.key, category="nan", record={"message": "of an earlier run"})

    class Beside(ScriptedEngine):
        def wait(self, seconds: float) -> Sequence[Ending]:
            store.fail(new.key, category="data_error", record={"message": "there"})
            return super().wait(seconds)

    outcome, engine, _ = run([old, new, child], engine={"__class__": Beside})
    assert (names(engine), outcome.done) == (["old"], [old.key])
    assert (outcome.failed, outcome.blocked) == ({new.key: "data_error"}, [child.key])


def test_a_run_with_little_patience_leaves_what_others_do(run: Run, tmp_path: Path) -> None:
    one = job("one")
    claims = Leases(tmp_path)
    publish_json(claims.folder / f"{one.key}.json", {**claims.me, "host": "elsewhere"})
    outcome, engine, _ = run([one], patience_s=0.1)
    assert (names(engine), outcome.left) == ([], [one.key])


def test_what_a_killed_preparation_left_in_the_cache_is_removed(run: Run, tmp_path: Path) -> None:
    prepare, other = job("prepare", kind="prepare"), job("other", kind="prepare")
    folder = tmp_path / "cache" / "prepared"
    for name in (f".{prepare.key}.0a.part", f".{prepare.key}.0a.old", f".{prepare.key}.work", f".{other.key}.0a.part"):
        (folder / name).mkdir(parents=True)
    with making(folder / other.key):  # at work on it: no part of its own is there yet
        (folder / f".{other.key}.0b.part").mkdir()
        run([prepare, other], {"prepare": ["crash"] * 9, "other": ["crash"] * 9})
        left = {path.name for path in folder.iterdir()}
        assert left == {f".{prepare.key}.work", f".{other.key}.0b.part", f".{other.key}.lock"}
    (folder / prepare.key).mkdir()
    run([prepare], {"prepare": ["crash"] * 9})
    assert not (folder / f".{prepare.key}.work").exists(), "the store is there: nothing is to be resumed"


# --- leases, attempts and records, as others see them ---------------------------------------------------------------


def seen_elsewhere(results: Path, **how: Any) -> Leases:
    """Leases as a process of another host sees them."""
    claims = Leases(results, **how)
    claims.me = {**claims.me, "host": "elsewhere"}
    return claims


def test_a_long_job_stays_claimed_since_its_claim_is_renewed(run: Run, tmp_path: Path, clock: list[float]) -> None:
    """Other hosts take over a claim that nobody has renewed for two minutes; here it is renewed every 20 seconds."""
    one = job("one")
    path = tmp_path / "work" / "claims" / f"{one.key}.json"
    alive: list[bool] = []

    class Long(ScriptedEngine):
        def wait(self, seconds: float) -> Sequence[Ending]:
            clock[0] += 11.0
            alive.append(seen_elsewhere(tmp_path).owner(one.key) is not None)
            os.utime(path, (1, 1))  # the claim looks old until it is renewed
            return [] if len(alive) < 7 else super().wait(seconds)

    outcome, _, _ = run([one], engine={"__class__": Long})
    # Looks after 11, 22, 33, ... seconds; renewed at 22, 44 and 66 seconds, after the look.
    assert alive == [True, False, True, False, True, False, True]
    assert outcome.done == [one.key]


def test_another_hosts_claim_is_respected_until_it_is_stale(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("refers_bench.execution.coordinator.ELSEWHERE_S", 0.0)
    fresh, stale = job("fresh"), job("stale")
    others = seen_elsewhere(tmp_path)
    for one in (fresh, stale):
        assert others.acquire(one.key)
        age = time.time() - (40 if one is stale else 10)
        os.utime(others.folder / f"{one.key}.json", (age, age))
    outcome, engine, _ = run([fresh, stale], stale_s=30, patience_s=0.0)
    assert (names(engine), outcome.done, outcome.left) == (["stale"], [stale.key], [fresh.key])
    assert (others.owner(fresh.key) or {})["host"] == "elsewhere"


def test_a_dead_process_of_this_host_is_replaced_at_once(run: Run, tmp_path: Path) -> None:
    one, claims = job("one"), Leases(tmp_path)
    publish_json(claims.folder / f"{one.key}.json", {**claims.me, "start": "1"})
    outcome, engine, _ = run([one], patience_s=0.0)
    assert (names(engine), outcome.done) == (["one"], [one.key])
    assert [path.name for path in claims.folder.iterdir()] == [".lock"]


def test_claims_say_which_engine_runs_the_job_and_whether_it_is_queued(run: Run, tmp_path: Path) -> None:
    one = job("one")
    said: list[tuple[Any, ...]] = []

    class Looking(ScriptedEngine):
        def wait(self, seconds: float) -> Sequence[Ending]:
            claim = Leases(tmp_path).owner(one.key) or {}
            said.append((claim["engine"], claim["token"], claim["queued"]))
            return super().wait(seconds)

    run([one], engine={"__class__": Looking})
    other = job("other")
    one = other
    run([other], engine={"__class__": Looking, "token": "t", "name": "far"})
    assert said == [("scripted", "", False), ("far", "t", True)]


def test_kinds_start_in_the_order_in_which_others_wait_for_them(run: Run) -> None:
    kinds = ["noop", "finetune", "pretrain", "discover", "prepare"]
    jobs = [job(f"{kind}{i}", kind=kind) for i in range(2) for kind in kinds if kind != "prepare"]
    _, engine, _ = run(jobs)
    assert names(engine) == [f"{kind}{i}" for kind in reversed(kinds) if kind != "prepare" for i in range(2)]


@pytest.mark.parametrize(
    ("categories", "retries", "attempts", "category"),
    [
        (["crash"] * 9, {"crash": 3}, 4, "crash"),
        (["crash", "lost", "crash", "lost"], {"crash": 2, "lost": 3}, 3, "crash"),
        (["timeout"], {"crash": 5, "lost": 5}, 1, "timeout"),
        (["data_error"], {"crash": 5}, 1, "data_error"),
        (["cuda_oom"] * 9, {"cuda_oom": 9}, 4, "cuda_oom"),  # in 1, 2, 4 and 8 parts of batches of 8
        (["host_oom"] * 9, {"cuda_oom": 9, "host_oom": 2}, 3, "host_oom"),
    ],
)
def test_a_failure_is_recorded_with_the_attempts_that_it_took(
    run: Run, tmp_path: Path, categories: list[str], retries: dict[str, int], attempts: int, category: str
) -> None:
    spec = {"kind": "finetune", "name": "one", "finetune": {"batch_size": 8}}
    one = Job(key=identity.key(spec), kind="finetune", name="one", spec=spec)
    outcome, engine, listening = run([one], {"one": categories}, retries=retries)
    parts = [2**number if "oom" in category else 1 for number in range(attempts)]
    assert engine.started == [("one", number + 1, parts[number]) for number in range(attempts)]
    assert listening.endings == [("one", name) for name in categories[:attempts]]
    record = ResultStore(tmp_path).failure(one.key) or {}
    wall = record.pop("wall_s")
    assert 0 <= wall < 60
    exhausted = "; its batches are processed one example at a time already (8 parts)" if parts[-1] == 8 else ""
    assert record == {
        "version": 1, "key": one.key, "category": category, "message": f"as written{exhausted}", "name": "one",
        "kind": "finetune", "attempts": attempts, "token": "",
    }  # fmt: skip
    assert (outcome.failed, outcome.done, outcome.left) == ({one.key: category}, [], [])


def test_attempts_and_parts_of_another_coordinator_go_on_being_counted(run: Run, tmp_path: Path) -> None:
    spec = {"kind": "finetune", "name": "one", "finetune": {"batch_size": 8}}
    one = Job(key=identity.key(spec), kind="finetune", name="one", spec=spec)
    given = {one.key: Attempt(job=one, number=2, micro_batches=4, token="t", after="cuda_oom")}
    seen: list[Attempt] = []

    class Looking(ScriptedEngine):
        def start(self, attempts: Sequence[Attempt]) -> None:
            seen.extend(attempts)
            super().start(attempts)

    run([one], {"one": ["host_oom"] * 9}, engine={"__class__": Looking}, given=given, retries={"host_oom": 9})
    assert [(one.number, one.micro_batches, one.token, one.after) for one in seen] == [
        (2, 4, "t", "cuda_oom"), (3, 8, "t", "host_oom"),
    ]  # fmt: skip
    assert (ResultStore(tmp_path).failure(one.key) or {})["attempts"] == 3


def test_after_an_update_the_first_attempt_out_of_memory_goes_on_as_it_was(run: Run, tmp_path: Path) -> None:
    spec = {"kind": "finetune", "name": "one", "finetune": {"batch_size": 8}}
    one = Job(key=identity.key(spec), kind="finetune", name="one", spec=spec)
    publish_json(ResultStore(tmp_path).progress(one.key), {"step": 1})
    _, engine, _ = run([one], {"one": ["cuda_oom"] * 2}, retries={"cuda_oom": 9}, micro_batches=2)
    assert engine.started == [("one", 1, 2), ("one", 2, 2), ("one", 3, 4)]


def test_at_most_so_many_jobs_counts_further_attempts(run: Run) -> None:
    jobs = [job(str(i)) for i in range(3)]
    outcome, engine, _ = run(jobs, {"0": ["crash"]}, max_jobs=2)
    assert engine.started == [("0", 1, 1), ("0", 2, 1)]
    assert (outcome.done, outcome.left) == ([jobs[0].key], [one.key for one in jobs[1:]])
    outcome, engine, _ = run(jobs, max_jobs=0)
    assert (engine.started, outcome.left) == ([], [one.key for one in jobs[1:]])


def test_what_waits_is_told_by_kind_and_what_runs_by_name(
    run: Run, tmp_path: Path, clock: list[float], monkeypatch: Any
) -> None:
    monkeypatch.setattr("refers_bench.execution.coordinator.SHOWN", 2)
    store = ResultStore(tmp_path)
    images = job("images", kind="discover")
    cells = [job(f"cell{i}", images, kind="finetune") for i in range(4)]
    told: list[tuple[dict[str, Any], dict[str, int]]] = []

    class Telling(ScriptedEngine):
        def wait(self, seconds: float) -> Sequence[Ending]:
            clock[0] += 0.2  # views are told every quarter of a second
            for one in self.running:
                publish_json(store.progress(one.job.key), {"step": 7})
            self.waits = getattr(self, "waits", 0) + 1
            return super().wait(seconds) if self.waits in (3, 6, 7) or clock[0] > 1.5 else []

    monkeypatch.setattr(Listening, "tick", lambda self, running, left: told.append((dict(running), dict(left))))
    run([images, *cells], engine={"__class__": Telling}, slots=3)
    assert told[:3] == [
        ({"images": {"step": 7}}, {"finetune": 4}),
        ({"cell0": {"step": 7}, "cell1": {"step": 7}}, {"finetune": 1}),
        ({"cell1": {"step": 7}, "cell2": {"step": 7}}, {"finetune": 1}),
    ]


def test_killed_runs_leave_no_half_written_results(run: Run, tmp_path: Path) -> None:
    dead, living = job("dead"), job("living")
    others, root = seen_elsewhere(tmp_path), tmp_path / "store"
    assert others.acquire(living.key)
    for one in (dead, living):
        (root / f".{one.key}.0a.part").mkdir(parents=True)
        (root / f".{one.key}.0a.old").mkdir()
        work = tmp_path / "work" / one.key
        work.mkdir()
        (work / "state.safetensors").write_bytes(b"kept")
        (work / "x.part").write_bytes(b"")
    (root / f".{dead.key}.failed.json.0b.part").write_bytes(b"")
    finished = job("finished")
    with ResultStore(tmp_path).publish(finished.key) as stage:
        publish_json(stage / "run.json", {"key": finished.key})
    (tmp_path / "work" / finished.key).mkdir()
    run([finished])
    assert {path.name for path in root.iterdir()} == {
        f".{living.key}.0a.part", f".{living.key}.0a.old", finished.key,
    }  # fmt: skip
    files = {str(path.relative_to(tmp_path / "work")) for path in (tmp_path / "work").glob("*/*")}
    assert files == {
        f"{dead.key}/state.safetensors", f"{living.key}/state.safetensors", f"{living.key}/x.part",
        "claims/.lock", f"claims/{living.key}.json",
    }  # fmt: skip


def test_a_job_that_its_own_process_still_runs_is_watched_and_not_taken_from_it(run: Run, tmp_path: Path) -> None:
    one, claims = job("one"), Leases(tmp_path)
    path = claims.folder / f"{one.key}.json"
    theirs = {**claims.me, "host": "elsewhere", "token": "t", "queued": False, "engine": "far"}
    publish_json(path, theirs)
    seen: list[Any] = []

    class Looking(ScriptedEngine):
        def wait(self, seconds: float) -> Sequence[Ending]:
            seen.append(json.loads(path.read_text()))
            return super().wait(seconds)

    left = [Attempt(job=one, number=1, micro_batches=1, token="t")]
    outcome, engine, _ = run([one], engine={"__class__": Looking, "left": left, "token": "t2"}, patience_s=0.0)
    assert (outcome.done, names(engine), seen) == ([one.key], [], [theirs])


def test_what_a_job_needs_may_be_in_the_store_and_not_among_the_jobs(run: Run, tmp_path: Path) -> None:
    before, absent = job("before"), job("absent")
    with ResultStore(tmp_path).publish(before.key) as stage:
        publish_json(stage / "run.json", {"key": before.key})
    after, never = job("after", before), job("never", absent)
    outcome, engine, _ = run([after, never])
    assert (names(engine), outcome.done, outcome.left) == (["after"], [after.key], [never.key])


def test_what_waits_in_a_queue_is_told_as_waiting(
    run: Run, tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = job("one", kind="pretrain"), job("two", kind="finetune")
    said = [[], [Ending(key=one.key, category="running")], []]
    told: list[tuple[list[str], dict[str, int]]] = []

    class Queue(ScriptedEngine):
        def wait(self, seconds: float) -> Sequence[Ending]:
            clock[0] += 0.3
            return said.pop(0) if said else super().wait(seconds)

    monkeypatch.setattr(Listening, "tick", lambda self, running, left: told.append((list(running), dict(left))))
    run([one, two], engine={"__class__": Queue, "queues": True, "token": "t"}, slots=2)
    waiting = {"pretrain": 1, "finetune": 1}
    assert told == [
        ([], waiting),
        (["one"], {"finetune": 1}),
        (["one"], {"finetune": 1}),
        ([], {"finetune": 1}),
        ([], {}),
    ]


def test_what_waits_for_a_queued_job_that_cannot_run_is_blocked_with_it(run: Run) -> None:
    bad = job("bad")
    child = job("child", bad)
    grandchild = job("grandchild", child)

    class Queue(ScriptedEngine):
        def wait(self, seconds: float) -> Sequence[Ending]:
            bad, child = [self.running.pop(0).job.key for _ in range(2)]
            return [Ending(key=bad, category="nan"), Ending(key=child, category="waiting")]

    how = {"__class__": Queue, "queues": True, "token": "t"}
    outcome, engine, _ = run([bad, child, grandchild], engine=how, slots=2, patience_s=0.0)
    assert names(engine) == ["bad", "child"], "there was no room for the third"
    assert (outcome.blocked, outcome.left) == ([child.key, grandchild.key], [])


@pytest.mark.parametrize("category", ["nan", "ok"])
def test_what_has_ended_is_claimed_no_more_while_the_rest_runs(run: Run, tmp_path: Path, category: str) -> None:
    one, two = job("one"), job("two")
    owned: list[tuple[bool, bool]] = []

    class Looking(ScriptedEngine):
        def wait(self, seconds: float) -> Sequence[Ending]:
            claims = Leases(tmp_path)
            owned.append((claims.owner(one.key) is not None, claims.owner(two.key) is not None))
            return super().wait(seconds)

    run([one, two], {"one": [category]}, engine={"__class__": Looking})
    assert owned == [(True, False), (False, True)]
