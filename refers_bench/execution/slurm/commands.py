"""Calls sbatch, squeue, scontrol, sacct and scancel, and reads what they print; no other module calls them."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from refers_bench.errors import UserError

#: Seconds that a command may take.
PATIENCE_S = 60.0
#: States in which a task is or will be run; in any other it has ended.
WAITING = frozenset({"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"})
ALIVE = WAITING | {"RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "RESIZING", "STAGE_OUT", "SIGNALING", "STOPPED"}
#: Slurm's number of no task: of what was cancelled before it became one.
_NO_TASK = 2**32 - 2
_FIELDS = ("JobArrayID", "State", "Reason", "RestartCnt", "NodeList", "Name")
#: Variables that are not passed on: those of a job that this process runs in, whose limits are not those of the jobs
#: it sends, and options of the user's own commands, which would override a script or hide tasks.
_DROPPED = ("SLURM_", "SBATCH_", "SQUEUE_", "SCANCEL_", "SACCT_")
#: Those of them that locate Slurm.
_KEPT = ("SLURM_CONF", "SLURM_CLUSTERS", "SLURM_JWT")


class CommandFailed(Exception):
    """A command of Slurm ended with an error; its message is what the command printed."""

    @property
    def in_line(self) -> str:
        """The message in one line."""
        return " ".join(str(self).split())

    @property
    def passing(self) -> bool:
        """Whether it may work a moment later: the controller did not answer."""
        return bool(re.search(r"nable to contact|timed out|try again|not respond|connect|Zero Bytes", str(self), re.I))

    @property
    def full(self) -> bool:
        """Whether the user may not queue more at the moment."""
        words = str(self)
        if re.search(r"(Max|Grp)Submit|MaxJobCount|job count limit|too many jobs|temporarily|queue full", words, re.I):
            return True
        # One sentence for every limit of an account; the limit itself is named before it, but not by old versions.
        return "job submit limit" in words and not re.search(r"\b(Assoc|QOS|Max)[A-Z]\w+", words)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A task as Slurm shows it.

    Attributes:
        id: "<array job>_<task>".
        name: of its array.
        state: "RUNNING", "FAILED", ...
        reason: why it waits, or why it failed.
        restarts: how often it went back to the queue.
        node: where it runs or ran; '' for nowhere yet.
        code: exit status.
        signal: that ended it; 0 for none.
        by: who cancelled it, where that is known.
    """

    id: str
    name: str = ""
    state: str = ""
    reason: str = ""
    restarts: int = 0
    node: str = ""
    code: int = 0
    signal: int = 0
    by: str = ""


class Slurm:
    """The commands of Slurm on this machine."""

    def __init__(self) -> None:
        #: Whether Slurm keeps accounts, as far as is known.
        self.accounting = True
        #: Seconds that the last query of the queue took.
        self.took_s = 0.0

    def run(self, *argv: str) -> str:
        """What a command prints.

        Raises:
            CommandFailed: it ended with an error, or did not end.
        """
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_DROPPED) or name in _KEPT}
        try:
            # In a session of its own: Ctrl-C is for the coordinator.
            done = subprocess.run(
                argv, capture_output=True, text=True, timeout=PATIENCE_S, check=False, env=kept, start_new_session=True
            )
        except subprocess.TimeoutExpired as error:
            # While its queue is full sbatch tries for minutes, and prints so.
            printed = (error.stderr or b"").decode(errors="replace").strip()
            raise CommandFailed(f"{argv[0]}: timed out after {PATIENCE_S:g} s. {printed}".rstrip(". ")) from error
        if done.returncode:
            raise CommandFailed((done.stderr or done.stdout).strip() or f"{argv[0]}: exit status {done.returncode}")
        return done.stdout

    def check(self) -> None:
        """Check that Slurm can be used from here.

        Raises:
            UserError: it cannot.
        """
        if missing := [name for name in ("sbatch", "squeue", "scontrol", "scancel") if shutil.which(name) is None]:
            found = f"--executor slurm: this machine has no {', '.join(missing)}"
            raise UserError(found, allowed="a login node of the cluster, or another executor")
        try:
            self.run("sinfo", "--noheader", "--format=%P")
        except CommandFailed as error:
            found = f"--executor slurm: Slurm does not answer: {error.in_line}"
            raise UserError(found, allowed="a login node of a running cluster") from error

    def largest_array(self) -> int:
        """Tasks that an array may have."""
        found = re.search(r"^MaxArraySize\s*=\s*(\d+)", self.run("scontrol", "show", "config"), re.M)
        return max(1, int(found[1])) if found else 1000

    def submit(self, script: Path) -> str:
        """Id of the array that a script becomes.

        Raises:
            CommandFailed: it was rejected.
        """
        return self.run("sbatch", "--parsable", str(script)).strip().splitlines()[-1].partition(";")[0]

    def queue(self) -> dict[str, Row]:
        """This user's tasks that Slurm still knows, also ended ones, by id.

        Raises:
            CommandFailed: Slurm did not answer.
        """
        started = time.monotonic()
        form = ",".join(f"{name}:|" for name in _FIELDS)
        text = self.run("squeue", "--noheader", "--array", "--states=all", f"--user={os.getuid()}", f"--Format={form}")
        self.took_s = time.monotonic() - started
        return queue_rows(text)

    def details(self, array: str) -> dict[str, Row]:
        """Tasks of an array with how they ended, by id; those that Slurm has forgotten only where it keeps accounts."""
        try:
            rows = detail_rows(self.run("scontrol", "--oneliner", "show", "job", array))
        except CommandFailed:
            rows = {}
        return {**self._accounts(array), **rows}

    def _accounts(self, array: str) -> dict[str, Row]:
        if not self.accounting or shutil.which("sacct") is None:
            return {}
        form = ("--noheader", "--parsable2", "--allocations", "--format=JobID,State,ExitCode,NodeList")
        try:
            text = self.run("sacct", *form, f"--jobs={array}")
        except CommandFailed as error:
            self.accounting = "disabled" not in str(error).lower()
            return {}
        return account_rows(text)

    def cancel(self, ids: Sequence[str]) -> None:
        """Cancel tasks: queued ones leave the queue, running ones get a signal to save and end."""
        for start in range(0, len(ids), 200):
            self.run("scancel", *ids[start : start + 200])

    def hasten(self, task: str) -> None:
        """Let a task that went back to the queue start at once: Slurm keeps it for two minutes."""
        self.run("scontrol", "update", f"JobId={task}", "StartTime=now")

    def down(self, node: str) -> str:
        """Why a node is not available, in Slurm's words; '' when it is."""
        try:
            facts = pairs(self.run("scontrol", "--oneliner", "show", "node", node))
        except CommandFailed:
            return ""
        state = facts.get("State", "")
        # "*": it does not respond; a reason stays for a while after it has come back.
        return f"node {node} is {state}" if re.search(r"DOWN|FAIL|NOT_RESPONDING|\*|REBOOT|POWER", state) else ""


def queue_rows(text: str) -> dict[str, Row]:
    """Lines of squeue, see `Slurm.queue`."""
    rows = {}
    for line in text.splitlines():
        parts = [part.strip() for part in line.split("|")]
        if len(parts) >= len(_FIELDS):
            one, state, reason, restarts, node, name = parts[: len(_FIELDS)]
            rows[one] = Row(id=one, name=name, state=state, reason=reason, restarts=_number(restarts), node=node)
    return rows


def pairs(line: str) -> dict[str, str]:
    """Name=value pairs of a line of scontrol."""
    return dict(re.findall(r"(?:^|\s)([A-Za-z][\w:/]*)=(\S*)", line))


def detail_rows(text: str) -> dict[str, Row]:
    """Lines of ``scontrol --oneliner show job``."""
    rows = {}
    for line in text.splitlines():
        facts = pairs(line)
        number = facts.get("ArrayTaskId", "")
        if "ArrayJobId" not in facts or not number.isdigit() or int(number) >= _NO_TASK:
            continue
        one = f"{facts['ArrayJobId']}_{number}"
        name, state, reason, node = (facts.get(word, "") for word in ("JobName", "JobState", "Reason", "NodeList"))
        row = Row(id=one, name=name, state=state, reason=reason, restarts=_number(facts.get("Restarts", "")))
        rows[one] = replace(row, node=facts.get("BatchHost") or node, **_codes(facts.get("ExitCode", "")))
    return rows


def account_rows(text: str) -> dict[str, Row]:
    """Lines of sacct: "5_0|CANCELLED by 1000|0:15|n1"."""
    rows = {}
    for line in text.splitlines():
        parts = line.split("|")
        if len(parts) >= 4 and re.fullmatch(r"\d+_\d+", parts[0]):
            state, _, by = parts[1].partition(" by ")
            rows[parts[0]] = replace(Row(id=parts[0], state=state, node=parts[3], by=by), **_codes(parts[2]))
    return rows


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


def _codes(text: str) -> dict[str, Any]:
    """Exit status and signal, which Slurm writes as "137:0"."""
    code, _, number = text.partition(":")
    return {"code": _number(code), "signal": _number(number)}


def id_of(name: str, rows: Mapping[str, Row]) -> str | None:
    """Id of the array of that name; None when Slurm does not know it."""
    return next((row.id.partition("_")[0] for row in rows.values() if row.name == name), None)
