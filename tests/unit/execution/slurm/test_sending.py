"""Which jobs share an array and a task, what they ask for, and what is sent when the queue is full or silent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from refers_bench.errors import UserError
from refers_bench.execution.engine import Attempt, Settings
from refers_bench.execution.slurm import folder, sending
from refers_bench.execution.slurm.commands import CommandFailed, Row, Slurm
from refers_bench.execution.slurm.options import Resources, options
from refers_bench.execution.slurm.script import script
from refers_bench.execution.slurm.sending import Sender
from refers_bench.execution.task import Batch
from refers_bench.plan.lock import Job


def job(name: str, *needs: str, kind: str = "finetune", processes: int = 1) -> Job:
    spec = {"kind": kind, "pretrain": {"processes": processes}} if kind == "pretrain" else {"kind": kind}
    return Job(key=name, kind=kind, name=name, needs=needs, spec=spec)


def asks(section: Mapping[str, Any], one: Job, *, side_by_side: int = 1, **how: Any) -> Resources:
    settings = Settings(results=Path(), cache=Path(), **{"threads": 2, **how})
    return options(section, side_by_side).resources(one, settings)


def words(section: Mapping[str, Any], one: Job, **how: Any) -> list[str]:
    return [line for line in asks(section, one, **how).lines() if line not in ("--nodes=1", "--ntasks=1")]


def test_what_kinds_of_jobs_ask_for() -> None:
    assert words({}, job("a")) == ["--cpus-per-task=2", "--gres=gpu:1"]
    assert words({}, job("a"), device="cpu") == ["--cpus-per-task=2"]
    assert words({"gpus": 1}, job("a"), device="cpu") == ["--cpus-per-task=2", "--gres=gpu:1"]
    assert words({"gpus": 2}, job("a", kind="prepare")) == ["--cpus-per-task=2"]
    assert words({}, job("a", kind="pretrain", processes=4)) == ["--cpus-per-task=8", "--gres=gpu:4"]
    assert words({"gpus": 0}, job("a", kind="pretrain", processes=4)) == ["--cpus-per-task=8"]
    assert words({}, job("a"), side_by_side=3) == ["--cpus-per-task=6", "--gres=gpu:1"]
    section = {
        "partition": "gpu", "qos": "long", "constraint": "a100&nvlink", "gpu_type": "a100", "memory": "16G", "cpus": 5,
        "time": 5400.0, "kinds": {"prepare": {"partition": "cpu", "qos": None, "cpus": 32, "memory": "64G"}},
    }  # fmt: skip
    assert words(section, job("a")) == [
        "--cpus-per-task=5", "--partition=gpu", "--qos=long", "--constraint=a100&nvlink", "--mem=16G", "--gres=gpu:a100:1",
        "--time=90",
    ]  # fmt: skip
    prepare = words(section, job("a", kind="prepare"))
    assert prepare == [
        "--cpus-per-task=32", "--partition=cpu", "--qos=long", "--constraint=a100&nvlink", "--mem=64G", "--time=90",
    ]  # fmt: skip


def test_only_short_jobs_share_a_task_unless_said_otherwise() -> None:
    def cells(section: Mapping[str, Any], kind: str) -> int:
        return asks(section, job("a", kind=kind)).cells

    assert [cells({"cells_per_task": 8}, kind) for kind in ("finetune", "pretrain", "prepare")] == [8, 1, 1]
    assert cells({"kinds": {"pretrain": {"cells_per_task": 2}}}, "pretrain") == 2
    assert cells({"cells_per_task": 8, "kinds": {"finetune": {"cells_per_task": 3}}}, "finetune") == 3


SILENT = CommandFailed("sbatch: error: Socket timed out on send/recv operation")
FULL = CommandFailed("sbatch: error: QOSMaxSubmitJobPerUserLimit")


class Queue(Slurm):
    """Takes arrays; or what `answers` says, one each time."""

    def __init__(self, answers: Sequence[CommandFailed | None] = ()) -> None:
        super().__init__()
        self.scripts: list[Path] = []
        #: Tasks that it may hold; None for any number.
        self.most: int | None = None
        self.answers = list(answers)
        self.rows: dict[str, Row] = {}
        self.silent = False

    def largest_array(self) -> int:
        return 3

    def submit(self, script: Path) -> str:
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer
        if self.most is not None:
            tasks = 1 + int(script.read_text().partition("--array=0-")[2].split()[0])
            if tasks > self.most:
                raise CommandFailed("sbatch: error: AssocGrpSubmitJobsLimit")
            self.most -= tasks
        self.scripts.append(script)
        return str(100 + len(self.scripts))

    def queue(self) -> dict[str, Row]:
        if self.silent:
            raise SILENT
        return self.rows


@pytest.fixture
def sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sending, "PAUSE_S", 0.0)

    def sent(
        jobs: Sequence[Job], section: Mapping[str, Any] | None = None, queue: Queue | None = None, **where: str
    ) -> Any:
        queue = queue or Queue()
        sender = Sender(Settings(results=tmp_path, cache=tmp_path), options(section or {}), queue, "t")
        attempts = [Attempt(job=one, token="t") for one in jobs]
        arrays = list(sender.send(attempts, where=where))
        return arrays, [path.read_text() for path in queue.scripts]

    return sent


def named(arrays: Any) -> list[list[list[str]]]:
    return [[[one.job.name for one in task] for task in tasks] for _, tasks in arrays]


def after(text: str) -> list[str]:
    return [line.partition("afterany:")[2] for line in text.splitlines() if "--dependency" in line]


def test_fine_tunings_wait_for_their_own_pre_training(sent: Any) -> None:
    prepare = job("prepare", kind="prepare")
    pretrain = [job(f"pretrain{i}", "prepare", kind="pretrain") for i in range(2)]
    cells = [job(f"cell{i}{k}", "prepare", f"pretrain{i}") for i in range(2) for k in range(3)]
    arrays, scripts = sent(
        [prepare, *pretrain, *cells, job("scratch", "prepare")], {"cells_per_task": 2, "throttle": 4}
    )
    assert named(arrays) == [
        [["prepare"]], [["pretrain0"], ["pretrain1"]], [["scratch"]],
        [["cell00", "cell01"], ["cell02"]], [["cell10", "cell11"], ["cell12"]],
    ]  # fmt: skip
    assert [after(text) for text in scripts] == [[], ["101_0"], ["101_0"], ["101_0:102_0"], ["101_0:102_1"]]
    assert "#SBATCH --array=0-1%4\n" in scripts[1]
    assert [array.id for array, _ in arrays] == ["101", "102", "103", "104", "105"]
    batch = Batch.read(arrays[3][0].batch(1))
    assert ([one.job for one in batch.attempts], batch.token, batch.engine) == ([cells[2]], "t", "slurm")


def test_what_is_on_slurm_already_is_waited_for_and_what_is_done_is_not(sent: Any) -> None:
    _, scripts = sent([job("cell", "running", "done")], running="55_7")
    assert after(scripts[0]) == ["55_7"]
    _, scripts = sent([job("cell", "done")])
    assert after(scripts[0]) == []


def test_large_arrays_are_split_and_many_needs_are_whole_arrays(sent: Any) -> None:
    arrays, scripts = sent([job(f"cell{i}") for i in range(7)])
    assert [len(tasks) for _, tasks in arrays] == [3, 3, 1]
    many = [f"n{i}" for i in range(60)]
    _, scripts = sent([job("all", *many)], **{name: f"{7 + i % 2}_{i}" for i, name in enumerate(many)})
    assert after(scripts[0]) == ["7:8"]


def test_a_full_queue_holds_back_the_rest(sent: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    queue = Queue([None, FULL, FULL])
    arrays, _ = sent([job(f"cell{i}") for i in range(7)], queue=queue)
    assert [(array and array.id, len(tasks)) for array, tasks in arrays] == [("101", 3), (None, 4)]
    assert [array.id for array in folder.arrays(tmp_path, closed=True)] == ["101"]
    assert capsys.readouterr().err.count("the rest is sent later: sbatch: error: QOSMaxSubmitJobPerUserLimit") == 1


def test_more_than_the_user_may_queue_is_sent_in_smaller_arrays(sent: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = Queue()
    queue.most = 2
    arrays, _ = sent([job(f"cell{i}") for i in range(7)], queue=queue)
    assert [(array and array.id, len(tasks)) for array, tasks in arrays] == [("101", 1), ("102", 1), (None, 5)]
    # What is taken is followed by twice as much, up to the largest array.
    arrays, _ = sent([job(f"cell{i}") for i in range(7)], queue=Queue([FULL]))
    assert [(array.id, len(tasks)) for array, tasks in arrays] == [("101", 1), ("102", 2), ("103", 3), ("104", 1)]
    # Slurm takes its time to refuse: the next half is for the next time, and jobs are watched in between.
    monkeypatch.setattr(sending, "SMALLER_S", -1.0)
    arrays, _ = sent([job(f"cell{i}") for i in range(7)], queue=Queue([FULL]))
    assert [(array, len(tasks)) for array, tasks in arrays] == [(None, 7)]


def test_a_silent_controller_is_asked_again_but_nothing_is_sent_twice(sent: Any) -> None:
    arrays, scripts = sent([job("cell")], queue=Queue([SILENT, SILENT]))
    assert (arrays[0][0].id, len(scripts)) == ("101", 1)
    queue = Queue([SILENT])
    queue.rows = {"9_0": Row(id="9_0", name="refers-bench-t-0", state="PENDING")}
    arrays, scripts = sent([job("cell")], queue=queue)
    assert (arrays[0][0].id, scripts) == ("9", [])
    with pytest.raises(UserError, match="Slurm refuses the jobs: sbatch: error: Socket timed out"):
        sent([job("cell")], queue=Queue([SILENT] * 99))


def test_once_something_is_sent_a_silent_controller_is_asked_later(sent: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("refers_bench.execution.slurm.sending.time.sleep", lambda seconds: pytest.fail("it waits"))
    arrays, _ = sent([job(f"cell{i}") for i in range(7)], queue=Queue([None, SILENT]))
    assert [(array and array.id, len(tasks)) for array, tasks in arrays] == [("101", 3), (None, 4)]
    arrays, _ = sent([job("cell", "running")], queue=Queue([SILENT]), running="55_7")
    assert [(array, len(tasks)) for array, tasks in arrays] == [(None, 1)]


def test_an_array_that_nobody_knows_to_be_taken_stays_and_what_comes_after_it_waits(sent: Any, tmp_path: Path) -> None:
    queue = Queue([SILENT])
    queue.silent = True
    arrays, _ = sent([job(f"cell{i}") for i in range(4)] + [job("next", "running")], queue=queue, running="55_7")
    assert [(array and array.id, len(tasks)) for array, tasks in arrays] == [("", 3), (None, 1), (None, 1)]
    assert [array.id for array in folder.arrays(tmp_path)] == [""]


def test_a_refusal_says_where_to_look(sent: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"invalid account; allowed: partition, account, .* execution\.slurm"):
        sent([job("cell")], queue=Queue([CommandFailed("sbatch: error: invalid account")]))
    assert list(folder.arrays(tmp_path)) == []


def test_script() -> None:
    section = {
        "account": "lab", "extra": ["--reservation=a course"], "container": ["apptainer", "exec", "--nv", "image.sif"],
        "setup": ["module load cuda", "export A=1"], "python": "/opt/python", "signal": 300.0,
    }  # fmt: skip
    wanted = asks(section, job("a"), threads=1)
    text = script(Path("/a b/50%/0"), name="n", tasks=5, resources=wanted, options=options(section))
    lines = text.splitlines()
    for line in (
        "#SBATCH --array=0-4", "#SBATCH --output='/a b/50%%/0/task-%a.log'", "#SBATCH --signal=B:USR2@300",
        "#SBATCH --requeue", "#SBATCH --account=lab", "#SBATCH --reservation='a course'", "module load cuda",
    ):  # fmt: skip
        assert line in lines, line
    command = "apptainer exec --nv image.sif /opt/python -P -m refers_bench.execution.slurm.task '/a b/50%/0' "
    assert f'{command}"$SLURM_ARRAY_TASK_ID" 300 &' in lines
    assert lines.index("module load cuda") < lines.index(f'{command}"$SLURM_ARRAY_TASK_ID" 300 &')
