"""What is reported of a task, whatever Slurm shows, forgets or does not answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from refers_bench.execution.engine import Attempt, Settings
from refers_bench.execution.slurm import events, watch
from refers_bench.execution.slurm import folder as slurm_folder
from refers_bench.execution.slurm.commands import CommandFailed, Row, Slurm
from refers_bench.execution.slurm.folder import Array
from refers_bench.files import publish_json
from refers_bench.plan.lock import Job
from refers_bench.store.results import ResultStore


class Showing(Slurm):
    """Shows what a test says."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[str, Row] | None = {}
        self.known: dict[str, Row] = {}
        self.hastened: list[str] = []

    def queue(self) -> dict[str, Row]:
        if self.rows is None:
            raise CommandFailed("Unable to contact slurm controller")
        return self.rows

    def details(self, array: str) -> dict[str, Row]:
        return self.known

    def down(self, node: str) -> str:
        return ""

    def hasten(self, task: str) -> None:
        self.hastened.append(task)


class Scene:
    """A task of two jobs, watched."""

    def __init__(self, folder: Path) -> None:
        self.slurm = Showing()
        self.store = ResultStore(folder)
        settings = Settings(results=folder, cache=folder)
        jobs = [Job(key=name, kind="noop", name=name, spec={"kind": "noop"}) for name in ("one", "two")]
        self.attempts = {job.key: Attempt(job=job, token="t") for job in jobs}
        made = slurm_folder.write(
            events.root(folder) / "t" / "0", token="t", tasks=[list(self.attempts.values())], settings=settings,
        )  # fmt: skip
        self.array = made.known("5")
        self.watcher = watch.Watcher(settings, self.slurm)
        self.watcher.add(self.array, 0, list(self.attempts.values()))

    def shows(self, state: str = "", **facts: Any) -> list[tuple[str, str]]:
        """What is said after a look at a queue with the task in this state; '' for none of it."""
        self.slurm.rows = (
            {"5_0": Row(**{"id": "5_0", "name": self.array.name, "state": state, **facts})} if state else {}
        )
        return self.looks()

    def looks(self) -> list[tuple[str, str]]:
        self.watcher.looked_store = self.watcher.looked_queue = 0.0
        self.watcher.look()
        endings, self.watcher.endings = self.watcher.endings, []
        return sorted((one.key, one.category) for one in endings)

    def says(self, what: str, **facts: Any) -> None:
        events.note(self.array.diary(0), what, **facts)

    def seen(self) -> list[str]:
        return [event["what"] for event in events.events(self.array.watched)]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_the_job_that_ran_is_charged_and_the_other_goes_again(scene: Scene) -> None:
    assert scene.shows("PENDING") == []
    scene.says("began", node="n1")
    scene.says("job began", key="one", name="one")
    assert scene.shows("RUNNING", node="n1") == [("one", "running")]
    assert scene.shows("RUNNING", node="n1") == []
    scene.slurm.known = {"5_0": Row(id="5_0", state="FAILED", code=137, node="n1")}
    assert scene.shows("FAILED") == [("one", "crash"), ("two", "waiting")]
    (event,) = events.events(scene.array.watched)
    assert (event["what"], event["jobs"], event["over"]) == ("crash", ["one"], True), "not the job that had not begun"
    assert (event["task"], event["state"], event["node"]) == ("5_0", "FAILED", "n1")
    assert scene.watcher.tasks == {} == scene.watcher.task_of


def test_a_task_that_never_began_a_job_is_charged_whole(scene: Scene) -> None:
    scene.array.log(0).write_text("== task 5_0 on n1, restart 0\nmodule: command not found\n")
    assert scene.shows("FAILED", code=1) == [("one", "crash"), ("two", "crash")]
    (event,) = events.events(scene.array.watched)
    assert event["message"].endswith(": module: command not found")
    assert event["jobs"] == ["one", "two"]


def test_a_task_that_ended_of_itself_leaves_what_others_do(scene: Scene) -> None:
    scene.says("began", node="n1")
    scene.says("over", done=0, failed=0, left=2)
    # The memory of one of its workers had run out, which it has recorded itself.
    assert scene.shows("OUT_OF_MEMORY") == [("one", "waiting"), ("two", "waiting")]
    assert scene.seen() == []


def test_results_and_recorded_failures_come_from_the_store(scene: Scene) -> None:
    with scene.store.publish("one") as stage:
        publish_json(stage / "run.json", {})
    scene.store.fail("two", category="nan", record={"token": "of an earlier run", "message": "m"})
    assert scene.shows("RUNNING") == [("one", "ok")]
    scene.store.fail("two", category="nan", record={"token": "t", "message": "m"})
    scene.slurm.rows = None
    assert scene.looks() == [("two", "nan")]


def test_a_result_that_is_not_seen_yet_is_waited_for(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.says("began", node="n1")
    for name in ("one", "two"):
        scene.says("job began", key=name, name=name)
        scene.says("job ended", key=name, name=name, category="ok", message="")
    scene.says("over", done=2, failed=0, left=0)
    assert scene.shows("COMPLETED") == []
    for name in ("one", "two"):
        with scene.store.publish(name) as stage:
            publish_json(stage / "run.json", {})
    assert scene.shows("COMPLETED") == [("one", "ok"), ("two", "ok")]


def test_a_result_that_never_comes_is_run_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "SETTLE_S", 0.0)
    scene.says("began", node="n1")
    scene.says("job ended", key="one", name="one", category="ok", message="")
    scene.says("over", done=1, failed=0, left=0)
    assert scene.shows("COMPLETED") == [("one", "waiting"), ("two", "waiting")]


def test_back_in_the_queue_it_starts_soon(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.says("began", node="n1")
    scene.says("job began", key="one", name="one")
    assert scene.shows("RUNNING", node="n1") == [("one", "running")]
    assert scene.shows("PENDING", restarts=1, reason="BeginTime") == [("one", "queued"), ("two", "queued")]
    assert scene.shows("PENDING", restarts=1, reason="BeginTime") == []
    assert (scene.seen(), scene.slurm.hastened) == (["preempted"], []), "its node has had no time to clear it away"
    monkeypatch.setattr(watch, "CLEAR_S", 0.0)
    assert scene.shows("PENDING", restarts=1, reason="BeginTime") == []
    assert scene.slurm.hastened == ["5_0"]
    assert scene.shows("PENDING", restarts=1, reason="Priority") == []
    scene.says("began", node="n2")
    scene.says("job began", key="one", name="one")
    assert scene.shows("RUNNING", node="n2", restarts=1) == [("one", "running")]
    assert (scene.seen(), scene.slurm.hastened) == (["preempted"], ["5_0"])
    # A coordinator that takes over does not see it a second time.
    later = watch.Watcher(scene.watcher.settings, scene.slurm)
    later.add(Array(folder=scene.array.folder, token="t", id="5"), 0, list(scene.attempts.values()))
    later.look()
    assert scene.seen() == ["preempted"]


def test_a_restart_that_slurm_failed_to_begin_is_no_crash_of_a_job(scene: Scene) -> None:
    scene.says("began", node="n1", restarts=0)
    scene.says("job began", key="one", name="one")
    scene.says("job ended", key="one", name="one", category="preempted", message="")
    scene.shows("PENDING", restarts=1)
    assert scene.shows("FAILED", restarts=1, code=1, node="n1") == [("one", "lost"), ("two", "lost")]
    assert events.events(scene.array.watched)[-1]["message"].endswith("exit status 1 before restart 1 began")


def test_a_restart_that_began_and_died_is_one(scene: Scene) -> None:
    scene.says("began", node="n1", restarts=0)
    scene.shows("PENDING", restarts=1)
    scene.says("began", node="n1", restarts=1)
    assert scene.shows("FAILED", restarts=1, code=1, node="n1") == [("one", "crash"), ("two", "crash")]


def test_a_silent_controller_ends_nothing(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    assert scene.shows("RUNNING") == []
    scene.slurm.rows = None
    assert [scene.looks() for _ in range(9)] == [[]] * 9
    assert capsys.readouterr().err.count("Slurm does not answer, its jobs go on") == 1


def test_what_is_taken_back_before_it_runs_just_waits(scene: Scene) -> None:
    assert scene.shows("PENDING") == []
    scene.watcher.cancelled.add("5_0")
    assert scene.shows("CANCELLED") == [("one", "waiting"), ("two", "waiting")]
    assert scene.seen() == []


@pytest.mark.parametrize(("state", "category"), [("PENDING", "cancelled"), ("RUNNING", "lost")])
def test_a_task_that_slurm_has_forgotten(scene: Scene, state: str, category: str) -> None:
    if state == "RUNNING":
        scene.says("began", node="n1")
    assert scene.shows(state) == []
    assert [scene.shows() for _ in range(watch.MISSES - 1)] == [[]] * (watch.MISSES - 1)
    assert scene.shows() == [("one", category), ("two", category)]


def test_another_array_of_the_same_number_is_not_ours(scene: Scene) -> None:
    assert [scene.shows("RUNNING", name="refers-bench-another-0") for _ in range(watch.MISSES - 1)] == [[], []]
    assert scene.shows("COMPLETED", name="refers-bench-another-0") == [("one", "cancelled"), ("two", "cancelled")]


def test_only_what_is_not_closed_is_watched_again(scene: Scene) -> None:
    assert [array.id for array in slurm_folder.arrays(scene.store.results)] == ["5"]
    scene.array.close()
    assert list(slurm_folder.arrays(scene.store.results)) == []
    assert [array.id for array in slurm_folder.arrays(scene.store.results, closed=True)] == ["5"]


def test_a_line_that_is_being_written_is_left_out(scene: Scene) -> None:
    scene.says("began", node="n1")
    with scene.array.diary(0).open("a") as out:
        out.write('{"what": "job be')
    assert events.diary(scene.array.diary(0)).began
    assert events.history(scene.store.results) == []
