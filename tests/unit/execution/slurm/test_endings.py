"""Each way a Slurm task may end has its category."""

from __future__ import annotations

from pathlib import Path

import pytest

from refers_bench.errors import CATEGORIES
from refers_bench.execution.slurm.commands import Row
from refers_bench.execution.slurm.endings import back_in_queue, category, last_words, log_tail

KILLED = "slurmstepd-n1: error: StepId=6.batch exceeded memory limit (385900544 > 157286400), being killed\n"


@pytest.mark.parametrize(
    ("row", "tail", "wanted", "says"),
    [
        (Row(id="5_0", state="COMPLETED"), "", "waiting", ""),
        (Row(id="5_0", state="OUT_OF_MEMORY", node="n1", signal=9), "", "host_oom", "on n1 was killed for its memory"),
        (Row(id="5_0", state="FAILED", signal=9), KILLED, "host_oom", "killed for its memory"),
        (Row(id="5_0", state="FAILED", code=137), "slurmstepd: error: Detected 1 oom_kill event in StepId=7.batch", "host_oom", ""),
        (Row(id="5_0", state="FAILED", code=137), "a line about an oom-kill of a job's own", "crash", "exit status 137"),
        (Row(id="5_0", state="FAILED", signal=9), "", "crash", "died with signal 9"),
        (Row(id="5_0", state="FAILED", code=1), "", "crash", "died with exit status 1"),
        (Row(id="5_0", state="TIMEOUT", signal=15), "", "timeout", "over its time limit"),
        (Row(id="5_0", state="DEADLINE"), "", "timeout", ""),
        (Row(id="5_0", state="NODE_FAIL", node="n2"), "", "lost", "on n2: the node failed"),
        (Row(id="5_0", state="BOOT_FAIL"), "", "lost", ""),
        (Row(id="5_0", state="PREEMPTED"), "", "preempted", ""),
        (Row(id="5_0", state="CANCELLED", by="1000"), "", "cancelled", "cancelled by user 1000"),
        (Row(id="5_0", state="CANCELLED", by="0"), "", "cancelled", "cancelled by an administrator"),
        (Row(id="5_0", state="CANCELLED"), "", "cancelled", "by an unknown user (Slurm knows who only where it keeps accounts)"),
        (Row(id="5_0", state="FAILED", code=75), "", "preempted", "could not be requeued"),
        (Row(id="5_0", state="FAILED", code=143), "", "preempted", "was preempted (exit status 143)"),
        (Row(id="5_0", state="FAILED", code=74), "", "storage", "cannot be written"),
    ],
)  # fmt: skip
def test_categories(row: Row, tail: str, wanted: str, says: str) -> None:
    found, message = category(row, tail)
    assert (found, says in message) == (wanted, True), message
    assert found in (*CATEGORIES, "waiting", "storage")


def test_what_we_cancelled_ourselves_was_preempted() -> None:
    assert category(Row(id="5_0", state="CANCELLED"), "", asked=True)[0] == "preempted"


def test_back_in_the_queue(tmp_path: Path) -> None:
    log, row = tmp_path / "log", Row(id="5_0", state="PENDING", restarts=1)
    assert back_in_queue(row, "n1", "node n1 is DOWN", log) == (
        "lost", "Slurm task 5_0 on n1 is requeued: node n1 is DOWN"
    )  # fmt: skip
    assert back_in_queue(row, "", "", log) == ("preempted", "Slurm task 5_0 is requeued")
    said = "slurmstepd-n1: error: *** JOB 7 ON n1 CANCELLED AT 2026-11-25T11:06:46 DUE TO {} ***\n"
    log.write_text("== task 5_0 on n1, restart 0\n" + said.format("JOB REQUEUE"))
    assert back_in_queue(row, "n1", "", log)[0] == "preempted"
    assert back_in_queue(row, "n1", "", log)[1].endswith("is requeued: job requeue")
    # Its next run may have begun when we look.
    log.write_text(
        "== task 5_0 on n1, restart 0\n" + said.format("NODE FAILURE, SEE SLURMCTLD LOG FOR DETAILS")
        + "== task 5_0 on n2, restart 1\n"
    )  # fmt: skip
    assert back_in_queue(row, "n1", "", log)[0] == "lost"


def test_only_the_last_run_counts(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert log_tail(log) == ""
    log.write_text(f"== task 5_0 on n1, restart 0\n{KILLED}== task 5_0 on n2, restart 1\nfine\n")
    assert log_tail(log) == "== task 5_0 on n2, restart 1\nfine\n"
    assert KILLED in log_tail(log, runs=2)
    assert KILLED in log_tail(log, runs=3)
    assert last_words("== task\n/no/such/python: not\n found") == "/no/such/python: not found"
    assert last_words("== task\n" + "x" * 1000) == "..." + "x" * 300
