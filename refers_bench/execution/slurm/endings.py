"""Names why an array task ended or was requeued, from Slurm's state and the last lines of its log."""

import re
from pathlib import Path

from refers_bench.execution.categories import of_exit
from refers_bench.execution.slurm.commands import Row
from refers_bench.execution.slurm.script import AGAIN, CANNOT_WRITE, MARK

#: Bytes of a task's log that are read.
_LOG_BYTES = 16384
#: What slurmstepd prints when a task was killed for its memory, with and without control groups.
_MEMORY = re.compile(r"^slurmstepd.*(exceeded (job |step )?memory limit|oom[-_ ]kill|out of memory)", re.I | re.M)

#: What it prints when it ends a task for a reason.
_CAUSE = re.compile(r"^slurmstepd.*CANCELLED AT \S+ DUE TO ([A-Z ]+)", re.M)


def log_tail(path: Path, *, runs: int = 1) -> str:
    """The end of a task's log; '' where there is none.

    Args:
        path: of the log.
        runs: of the task, counted from the last, that are wanted.
    """
    try:
        with path.open("rb") as log:
            size = log.seek(0, 2)
            log.seek(max(0, size - _LOG_BYTES))
            text = log.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    starts = [0, *(found.start() for found in re.finditer(f"^{MARK}", text, re.M))]
    return text[starts[-min(runs, len(starts))] :]


def category(row: Row, tail: str, *, asked: bool = False) -> tuple[str, str]:
    """Category and message of a task that has ended; ("waiting", '') when it ended normally.

    Args:
        row: as Slurm shows it.
        tail: of its log.
        asked: whether this coordinator has cancelled it.
    """
    state, where = row.state, f"Slurm task {row.id}" + (f" on {row.node}" if row.node else "")
    how = f"signal {row.signal}" if row.signal else f"exit status {row.code}"
    if state == "COMPLETED":
        return "waiting", ""
    if state == "OUT_OF_MEMORY" or (state in ("FAILED", "CANCELLED") and not asked and _MEMORY.search(tail)):
        return "host_oom", f"{where} was killed for its memory"
    if state in ("TIMEOUT", "DEADLINE"):
        return "timeout", f"{where} was over its time limit"
    if state in ("NODE_FAIL", "BOOT_FAIL"):
        return "lost", f"{where}: the node failed"
    if state == "PREEMPTED" or asked:
        return "preempted", f"{where} was preempted"
    if state == "CANCELLED":
        return "cancelled", f"{where} was cancelled by {_who(row)}"
    if row.code == AGAIN:
        return "preempted", f"{where} saved its state and could not be requeued"
    if row.code == CANNOT_WRITE:
        return "storage", f"{where}: results cannot be written"
    if not row.signal and of_exit(row.code, oom_kills=0) == "preempted":
        return "preempted", f"{where} was preempted ({how})"
    return "crash", f"{where} died with {how}"


def _who(row: Row) -> str:
    """Who cancelled a task."""
    if row.by:
        return "an administrator" if row.by == "0" else f"user {row.by}"
    return "an unknown user (Slurm knows who only where it keeps accounts)"


def last_words(tail: str) -> str:
    """The end of what a task printed, in one line."""
    printed = " ".join(tail.partition("\n")[2].split())
    return f"...{printed[-300:]}" if len(printed) > 300 else printed


def back_in_queue(row: Row, node: str, down: str, log: Path) -> tuple[str, str]:
    """Category and message of a task that Slurm has requeued.

    Args:
        row: as it is shown now.
        node: it ran on; '' for unknown.
        down: why that node is not available; '' when it is.
        log: of the task.
    """
    causes = _CAUSE.findall(log_tail(log, runs=2))
    cause = causes[-1].strip().lower() if causes else ""
    where = f"Slurm task {row.id}" + (f" on {node}" if node else "")
    if down or "node failure" in cause:
        return "lost", f"{where} is requeued: {down or 'node failure'}"
    return "preempted", f"{where} is requeued" + (f": {cause}" if cause else "")
