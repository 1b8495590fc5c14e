"""The command line in this process, and an engine of another package that ends jobs as a test says."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from command_line import Printed, printed_by
from refers_bench import plugins

#: Ends each attempt at once: the categories of a job's attempts stand in script.json, "ok" beyond them.
ENGINE = """
import contextlib, json
from pathlib import Path
from refers_bench.execution.engine import Ending
from refers_bench.files import publish_json
from refers_bench.store.context import prepared_folder
from stored_results import scored
from refers_bench.store.results import ResultStore

class Engine:
    name, token, queues, apart = "scripted", "", False, ()

    def __init__(self, settings, execution):
        self.settings, self.store, self.waiting = settings, ResultStore(settings.results), []
        self.script = json.loads(Path("script.json").read_text())
        said = {name: execution.get(name) for name in ("executor", "options")}
        said |= {name: getattr(settings, name) for name in (
            "device", "threads", "processes", "arithmetic", "time_limit", "retries", "micro_batches", "max_jobs", "budget_s",
        )}
        said |= {"preload": list(settings.preload), "slots": [slot.device for slot in settings.slots], "roots": dict(settings.roots)}
        Path("settings.json").write_text(json.dumps(said))

    @contextlib.contextmanager
    def opened(self):
        yield

    def under_way(self, jobs):
        return ()

    def room(self, kind=""):
        return 1 - len(self.waiting)

    def start(self, attempts):
        self.waiting += attempts
        with Path("started.txt").open("a") as out:
            out.writelines(f"{one.job.name} {one.number}\\n" for one in attempts)

    def wait(self, seconds):
        attempt = self.waiting.pop(0)
        job, categories = attempt.job, self.script.get(attempt.job.name, [])
        category = categories[attempt.number - 1] if attempt.number <= len(categories) else "ok"
        if category == "ok" and job.kind == "finetune":
            scored(self.store, job, strength=1.0)
        elif category == "ok":
            with self.store.publish(job.key) as stage:
                publish_json(stage / "run.json", {"key": job.key, "kind": job.kind, "name": job.name, "spec": dict(job.spec)})
            if job.kind == "prepare":
                publish_json(prepared_folder(self.settings.cache, job.key) / "meta.json", {})
        return [Ending(key=job.key, category=category, message=f"{category} as written")]

    def interrupt(self): ...
    def take_back(self): ...
"""

MANIFEST = """\
version: 1
title: A small run
protocol: {preset: smoke}
data: {phantom: {phantom: {studies: 20, size: 40}}}
source: {dataset: phantom}
methods: [refers, scratch]
targets: [{dataset: phantom, tasks: [findings], label_ratios: [50%, 100%]}]
seeds: [0]
execution: {executor: scripted}
"""


class Commands:
    """The command line, called as a user would in a folder of its own; what it printed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *arguments: str, code: int = 0) -> Printed:
        """Output and errors of a command that ends with an exit code."""
        return printed_by(*arguments, code=code)

    def manifest(self, *changes: tuple[str, str], name: str = "small") -> None:
        """Write `MANIFEST` with texts replaced."""
        text = MANIFEST
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        (self.folder / f"{name}.yaml").write_text(text)

    def script(self, **categories: Sequence[str]) -> None:
        """How the attempts at these jobs end."""
        (self.folder / "script.json").write_text(json.dumps(categories))

    def started(self) -> list[str]:
        """What was started since the last call: "NAME ATTEMPT"."""
        path = self.folder / "started.txt"
        lines = path.read_text().splitlines() if path.is_file() else []
        path.unlink(missing_ok=True)
        return lines

    def settings(self) -> Mapping[str, object]:
        """What the engine was given."""
        content: dict[str, object] = json.loads((self.folder / "settings.json").read_text())
        return content


@pytest.fixture
def cli(home: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """`Commands` in `home`, with the engine and a manifest."""
    (home / "scripted_engine.py").write_text(ENGINE)
    monkeypatch.syspath_prepend(str(home))
    known: Callable[[], dict[str, str]] = plugins.engines
    monkeypatch.setattr(plugins, "engines", lambda: {**known(), "scripted": "scripted_engine:Engine"})
    commands = Commands(home)
    commands.manifest()
    commands.script()
    return commands
