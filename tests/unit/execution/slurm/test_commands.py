"""What Slurm's commands print is read correctly; a silent controller and a full queue are temporary errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from refers_bench.execution.slurm import commands
from refers_bench.execution.slurm.commands import CommandFailed, Row, Slurm, account_rows, detail_rows, queue_rows

QUEUE = """\
5_0|RUNNING|None|0|n1|refers-bench-aa-0|
5_1|PENDING|BeginTime|2||refers-bench-aa-0|
6_0|FAILED|JobLaunchFailure|0|n2|refers-bench-aa-1|
7|CANCELLED|Dependency|0||refers-bench-aa-2|
12|RUNNING|None|0|n1|somebody else's|
"""
DETAILS = (
    "JobId=4 ArrayJobId=2 ArrayTaskId=0 JobName=refers-bench-aa-0 UserId=root(0) JobState=FAILED Reason=NonZeroExitCode "
    "Dependency=(null) Requeue=1 Restarts=1 BatchFlag=1 ExitCode=137:0 NodeList=n1 BatchHost=n1 Command=/a/b.sh\n"
    "JobId=2 ArrayJobId=2 ArrayTaskId=1 JobName=refers-bench-aa-0 JobState=TIMEOUT Reason=TimeLimit Restarts=0 "
    "ExitCode=0:15 NodeList=n[1-2]\n"
    "JobId=9 ArrayJobId=9 ArrayTaskId=4294967294 JobName=x JobState=CANCELLED\n"
    "JobId=3 ArrayJobId=2 ArrayTaskId=2-9%4 JobName=refers-bench-aa-0 JobState=PENDING Reason=Priority Restarts=0\n"
    "JobId=8 JobName=no array JobState=RUNNING\n"
)
LIMITS = (
    "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size "
    "and/or time limits)"
)


def test_queue() -> None:
    rows = queue_rows(QUEUE)
    assert rows["5_1"] == Row(id="5_1", name="refers-bench-aa-0", state="PENDING", reason="BeginTime", restarts=2)
    assert (rows["6_0"].state, rows["6_0"].node) == ("FAILED", "n2")
    assert [commands.id_of(name, rows) for name in ("refers-bench-aa-1", "unknown")] == ["6", None]
    assert queue_rows("") == {}


def test_details() -> None:
    rows = detail_rows(DETAILS)
    assert set(rows) == {"2_0", "2_1"}
    assert rows["2_0"] == Row(
        id="2_0", name="refers-bench-aa-0", state="FAILED", reason="NonZeroExitCode", restarts=1, node="n1", code=137
    )
    assert (rows["2_1"].state, rows["2_1"].signal, rows["2_1"].node) == ("TIMEOUT", 15, "n[1-2]")
    assert (
        commands.pairs("NodeName=n1 State=DOWN* Reason=Not responding [slurm@2026-01-01T00:00:00]")["State"] == "DOWN*"
    )


def test_accounts() -> None:
    rows = account_rows("5_0|CANCELLED by 1000|0:15|n1\n5_0.batch|CANCELLED|0:15|n1\n5_1|OUT_OF_MEMORY|0:125|n2\n")
    assert rows["5_0"] == Row(id="5_0", state="CANCELLED", node="n1", signal=15, by="1000")
    assert (rows["5_1"].state, set(rows)) == ("OUT_OF_MEMORY", {"5_0", "5_1"})


@pytest.mark.parametrize(
    ("words", "passing", "full"),
    [
        ("slurm_load_jobs error: Unable to contact slurm controller (connect failure)", True, False),
        ("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", True, False),
        ("sbatch: error: QOSMaxSubmitJobPerUserLimit", False, True),
        ("sbatch: error: AssocGrpSubmitJobsLimit\n" + LIMITS, False, True),
        ("sbatch: error: QOSGrpSubmitJobsLimit\n" + LIMITS, False, True),
        ("sbatch: error: AssocMaxWallDurationPerJobLimit\n" + LIMITS, False, False),
        (LIMITS, False, True),
        ("sbatch: timed out after 60 s. sbatch: error: Slurm job queue full, sleeping and retrying", True, True),
        ("sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying.", False, True),
        ("sbatch: error: invalid partition specified: nowhere", False, False),
    ],
)
def test_errors(words: str, passing: bool, full: bool) -> None:
    assert (CommandFailed(words).passing, CommandFailed(words).full) == (passing, full)


def test_a_command_that_fails_says_why_and_is_not_told_of_our_own_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "100")
    monkeypatch.setenv("SBATCH_PARTITION", "the user's")
    monkeypatch.setenv("SLURM_CONF", "here")
    ask = "echo ${SLURM_MEM_PER_CPU:-none} ${SBATCH_PARTITION:-none} $SLURM_CONF"
    assert Slurm().run("sh", "-c", ask).split() == ["none", "none", "here"]
    with pytest.raises(CommandFailed, match=r"^why$"):
        Slurm().run("sh", "-c", "echo why >&2; exit 3")
    with pytest.raises(CommandFailed, match="exit status 3"):
        Slurm().run("sh", "-c", "exit 3")


def test_what_a_command_said_before_it_was_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "PATIENCE_S", 0.5)
    with pytest.raises(CommandFailed, match=r"^sh: timed out after 0.5 s. queue full, sleeping$") as raised:
        Slurm().run("sh", "-c", "echo queue full, sleeping >&2; exec sleep 9")
    assert (raised.value.full, raised.value.passing) == (True, True)


class Speaking(Slurm):
    """Says what it is told to."""

    def __init__(self, said: dict[str, str]) -> None:
        super().__init__()
        self.said, self.asked = said, []

    def run(self, *command: str) -> str:
        self.asked.append(command[0])
        if command[0] not in self.said:
            raise CommandFailed("Slurm accounting storage is disabled" if command[0] == "sacct" else "Invalid job id")
        return self.said[command[0]]


def test_accounts_are_asked_last_and_once_where_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: name)
    slurm = Speaking({"scontrol": DETAILS})
    assert set(slurm.details("2")) == set(slurm.details("2")) == {"2_0", "2_1"}
    assert slurm.asked == ["scontrol", "sacct", "scontrol"]
    slurm = Speaking({"sacct": "2_0|OUT_OF_MEMORY|0:9|n1\n2_5|FAILED|1:0|n1"})
    assert {one: row.state for one, row in slurm.details("2").items()} == {"2_0": "OUT_OF_MEMORY", "2_5": "FAILED"}


def test_a_node_that_is_not_at_work() -> None:
    assert Speaking({"scontrol": "NodeName=n1 State=DOWN+DRAIN Reason=test"}).down("n1") == "node n1 is DOWN+DRAIN"
    assert Speaking({"scontrol": "NodeName=n1 State=IDLE* Reason="}).down("n1") == "node n1 is IDLE*"
    assert Speaking({"scontrol": "NodeName=n1 State=MIXED"}).down("n1") == ""
    assert Speaking({}).down("n1") == ""


def test_size_of_arrays() -> None:
    assert Speaking({"scontrol": "ClusterName = x\nMaxArraySize            = 4001\n"}).largest_array() == 4001
