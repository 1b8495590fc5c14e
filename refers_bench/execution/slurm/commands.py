"""What do sbatch, squeue, scontrol, sacct and scancel say? The only module that calls them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from refers_bench.errors import UserError

#: Seconds that a command may take.
PATIENCE_S = 60.0
#: States in which a task is or will be run; in any other it has ended.
WAITING = frozenset({"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"})
ALIVE = WAITING | {"RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "RESIZING", "STAGE_OUT", "SIGNALING", "STOPPED"}
#: Slurm's number of no task: of what was cancelled before it became one.
_NO_TASK = 2**32 - 2
_FIELDS = ("JobArrayID", "State", "Reason", "RestartCnt", "NodeList", "Name")
#: Environment of a job that this process runs in, whose limits are not those of the jobs it sends, and options of the
#: user's own commands, which would win over what a script says or hide tasks.
_DROPPED = ("SLURM_", "SBATCH_", "SQUEUE_", "SCANCEL_", "SACCT_")
#: What of it says where Slurm is.
_KEPT = ("SLURM_CONF", "SLURM_CLUSTERS", "SLURM_JWT")


class CommandFailed(Exception):
    """A command of Slurm that ended with an error: its words."""

    @property
    def passing(self) -> bool:
        """Whether it may work a moment later: the controller did not answer."""
        return bool(re.search(r"nable to contact|timed out|try again|not respond|connect|Zero Bytes", str(self), re.I))

    @property
    def full(self) -> bool:
        """Whether the user may not queue more at the moment."""
        said = str(self)
        if re.search(r"(Max|Grp)Submit|MaxJobCount|job count limit|too many jobs|temporarily|queue full", said, re.I):
            return True
        # One sentence for every limit of an account; the limit itself is named before it, but not by old versions.
        return "job submit limit" in said and not re.search(r"\b(Assoc|QOS|Max)[A-Z]\w+", said)


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
        self.accounting: bool | None = None
        #: Seconds that the last look at the queue took.
        self.took_s = 0.0

    def run(self, *command: str) -> str:
        """What a command prints.

        Raises:
            CommandFailed: it ended with an error, or did not end.
        """
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_DROPPED) or name in _KEPT}
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=PATIENCE_S,
                check=False,
                env=kept,
                start_new_session=True,  # Ctrl-C is for the coordinator
            )
        except subprocess.TimeoutExpired as error:
            # While its queue is full sbatch tries for minutes, and has said so.
            said = (error.stderr or b"").decode(errors="replace").strip()
            raise CommandFailed(f"{command[0]}: timed out after {PATIENCE_S:g} s. {said}".rstrip(". ")) from error
        if done.returncode:
            raise CommandFailed((done.stderr or done.stdout).strip() or f"{command[0]}: exit status {done.returncode}")
        return done.stdout

    def check(self) -> None:
        """Nothing, where there is a Slurm to speak to.

        Raises:
            UserError: there is none.
        """
        if missing := [name for name in ("sbatch", "squeue", "scontrol", "scancel") if shutil.which(name) is None]:
            found = f"--executor slurm: this machine has no {', '.join(missing)}"
            raise UserError(found, allowed="a login node of the cluster, or another executor")
        try:
            self.run("sinfo", "--noheader", "--format=%P")
        except CommandFailed as error:
            found = f"--executor slurm: Slurm does not answer: {' '.join(str(error).split())}"
            raise UserError(found, allowed="a login node of a running cluster") from error

    def largest_array(self) -> int:
        """Tasks that an array may have."""
        found = re.search(r"^MaxArraySize\s*=\s*(\d+)", self.run("scontrol", "show", "config"), re.M)
        return max(1, int(found[1])) if found else 1000

    def submit(self, script: Path) -> str:
        """Id of the array that a script becomes.

        Raises:
            CommandFailed: it was refused.
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
        if self.accounting is False or shutil.which("sacct") is None:
            return {}
        form = "JobID,State,ExitCode,NodeList"
        try:
            text = self.run(
                "sacct", "--noheader", "--parsable2", "--allocations", f"--jobs={array}", f"--format={form}"
            )
        except CommandFailed as error:
            if "disabled" in str(error).lower():
                self.accounting = False
            return {}
        self.accounting = True
        return account_rows(text)

    def cancel(self, ids: Sequence[str]) -> None:
        """Take tasks out of the queue, and tell running ones to save and end."""
        for start in range(0, len(ids), 200):
            self.run("scancel", *ids[start : start + 200])

    def hasten(self, task: str) -> None:
        """Let a task that went back to the queue start at once: Slurm keeps it for two minutes."""
        self.run("scontrol", "update", f"JobId={task}", "StartTime=now")

    def down(self, node: str) -> str:
        """Why a node is not at work, in Slurm's words; '' when it is."""
        try:
            facts = pairs(self.run("scontrol", "--oneliner", "show", "node", node))
        except CommandFailed:
            return ""
        state = facts.get("State", "")
        # "*": it does not respond; a reason stays for a while after it has come back.
        if re.search(r"DOWN|FAIL|NOT_RESPONDING|\*|REBOOT|POWER", state):
            return f"node {node} is {state}"
        return ""


def queue_rows(text: str) -> dict[str, Row]:
    """Lines of squeue, see `Slurm.queue`."""
    rows = {}
    for line in text.splitlines():
        parts = line.split("|")
        if len(parts) < len(_FIELDS):
            continue
        one, state, reason, restarts, node, name = (part.strip() for part in parts[: len(_FIELDS)])
        rows[one] = Row(
            id=one,
            name=name,
            state=state,
            reason=reason,
            restarts=int(restarts) if restarts.isdigit() else 0,
            node=node,
        )
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
        code, ended_by = _codes(facts.get("ExitCode", ""))
        rows[one] = Row(
            id=one,
            name=facts.get("JobName", ""),
            state=facts.get("JobState", ""),
            reason=facts.get("Reason", ""),
            restarts=int(facts.get("Restarts", 0)),
            node=facts.get("BatchHost") or facts.get("NodeList", ""),
            code=code,
            signal=ended_by,
        )
    return rows


def account_rows(text: str) -> dict[str, Row]:
    """Lines of sacct: "5_0|CANCELLED by 1000|0:15|n1"."""
    rows = {}
    for line in text.splitlines():
        parts = line.split("|")
        if len(parts) < 4 or not re.fullmatch(r"\d+_\d+", parts[0]):
            continue
        state, _, by = parts[1].partition(" by ")
        code, number = _codes(parts[2])
        rows[parts[0]] = Row(id=parts[0], state=state, node=parts[3], code=code, signal=number, by=by)
    return rows


def _codes(text: str) -> tuple[int, int]:
    code, _, number = text.partition(":")
    return int(code) if code.isdigit() else 0, int(number) if number.isdigit() else 0


def id_of(name: str, rows: Mapping[str, Row]) -> str | None:
    """Id of the array of that name; None when Slurm does not know it."""
    return next((row.id.partition("_")[0] for row in rows.values() if row.name == name), None)
