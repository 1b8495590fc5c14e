"""Jobs by hand, and how they are run, for tests of the orchestration."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from refers_bench import identity
from refers_bench.plan.lock import Job

#: An orchestrator in a process that a test may kill: prints nothing, exits 0 when every job is done.
ORCHESTRATE = """
import json, sys
from pathlib import Path
from refers_bench.execution.coordinator import execute
from refers_bench.execution.engine import PRELOAD, Settings, Slot
from refers_bench.execution.engines import make
from refers_bench.execution.progress import PlainView
from refers_bench.plan.lock import Job
if __name__ == "__main__":
    jobs = [Job.of(one) for one in json.loads(Path(sys.argv[1]).read_text())]
    how = json.loads(sys.argv[3])
    slots = [Slot(device="cpu")] * how.pop("workers", 2)
    executor, section = how.pop("executor", "local"), how.pop("section", {})
    folder = Path(sys.argv[2])
    settings = Settings(
        results=folder / "results", cache=folder / "cache", slots=slots, preload=PRELOAD, device="cpu",
        **{"entry": "noop_jobs:run", **how}
    )
    engine = make(executor, settings, {executor: section})
    outcome = execute(jobs, engine, settings, PlainView(len(jobs)))
    print()  # ends a debugger's prompt
    print(json.dumps({"failed": outcome.failed, "blocked": outcome.blocked, "done": outcome.done}))
    sys.exit(0 if len(outcome.done) == len(jobs) else 4)
"""


class Orchestrator:
    """Starts `ORCHESTRATE` on jobs, with results below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[subprocess.Popen[str]] = []
        self.script = folder / "orchestrate.py"
        self.script.write_text(ORCHESTRATE)

    def start(self, jobs: Sequence[Job], **how: Any) -> subprocess.Popen[str]:
        """In the background, in its own session, so that everything it starts can be found again."""
        listed = [
            {"key": job.key, "kind": job.kind, "name": job.name, "needs": list(job.needs), "spec": dict(job.spec)}
            for job in jobs
        ]
        path = self.folder / f"jobs-{identity.key({'jobs': listed})}.json"
        path.write_text(json.dumps(listed))
        command = [sys.executable, str(self.script), str(path), str(self.folder), json.dumps(how)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.started.append(subprocess.Popen(command, **pipes, text=True, start_new_session=True))
        return self.started[-1]

    def run(self, jobs: Sequence[Job], *, typed: str = "", **how: Any) -> dict[str, Any]:
        """To the end, with what is typed meanwhile; the outcome by names instead of keys."""
        process = self.start(jobs, **how)
        out, err = process.communicate(typed, timeout=120)
        assert process.returncode in (0, 4), err
        names = {job.key: job.name for job in jobs}
        outcome = json.loads(out.splitlines()[-1])
        return {
            "failed": {names[key]: category for key, category in outcome["failed"].items()},
            "blocked": sorted(names[key] for key in outcome["blocked"]),
            "done": sorted(names[key] for key in outcome["done"]),
            "printed": err,
            "out": out,
        }


@pytest.fixture
def orchestrator(tmp_path: Path) -> Iterator[Orchestrator]:
    """An orchestrator with results below the test's own folder; nothing that it starts outlives the test."""
    made = Orchestrator(tmp_path)
    yield made
    for process in made.started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


@pytest.fixture(scope="session")
def processes_of() -> Callable[[Path], list[int]]:
    """Processes whose command line names a folder, the youngest first (Linux)."""

    def found(folder: Path) -> list[int]:
        numbers = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if str(folder).encode() in path.read_bytes():
                    numbers.append(int(path.parent.name))
            except OSError:
                continue
        return sorted((pid for pid in numbers if pid != os.getpid()), reverse=True)

    return found


def session_members(session: int) -> list[int]:
    """Live processes of a session (Linux)."""
    members = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] not in "ZX":
            members.append(int(folder.name))
    return members


@pytest.fixture(scope="session")
def kill_all() -> Callable[[subprocess.Popen[str]], list[int]]:
    """SIGKILL an orchestrator alone, wait for what it started to leave by itself; returns who did not."""

    def kill(process: subprocess.Popen[str]) -> list[int]:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        deadline = time.monotonic() + 10
        while (left := session_members(process.pid)) and time.monotonic() < deadline:
            time.sleep(0.05)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        return left

    return kill
