"""Runs commands again and again in one folder each, and lets the n-th write operation fail or kill them.

The operations are counted by `write_faults.c`, which is loaded into this program with LD_PRELOAD. Each command runs in a
process forked from one that has imported what it needs, so that a point takes a second.
"""

from __future__ import annotations

import gc
import hashlib
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_suffix(".c")
#: Ways in which an operation fails: see `write_faults.c`.
HOW = ("kill", "eio", "full")
#: Seconds for a command to end.
LIMIT_S = 120.0
#: Imported by commands when they need them.
LATER = ("refers_bench.cli.run", "refers_bench.analysis.results", "refers_bench.execution.debug")
#: What is equal to the last byte, whatever happened before.
SAME = ("predictions.parquet", "metrics.parquet", "index.parquet", ".safetensors", ".u8", "subset.json")


def compiler() -> str | None:
    """The C compiler of this machine, where there is one that makes libraries for LD_PRELOAD."""
    return shutil.which("gcc") or shutil.which("cc") if sys.platform == "linux" else None


def built(folder: Path) -> Path:
    """The library, compiled into a folder."""
    library = folder / f"write_faults{sysconfig.get_config_var('SHLIB_SUFFIX')}"
    command = [str(compiler()), "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"]
    subprocess.run(command, check=True)
    return library


def outcomes(
    library: Path,
    folder: Path,
    commands: Sequence[Sequence[str]],
    points: Callable[[Mapping[str, Any]], Sequence[tuple[int, str]]],
    files: Mapping[str, str],
    checks: Sequence[Sequence[str]] = (),
) -> Iterator[dict[str, Any]]:
    """What became of the commands with a fault at each point.

    Args:
        library: of `built`.
        folder: gets a folder for each point.
        commands: arguments of ``refers-bench``, run one after the other until one fails.
        points: chooses, once the undisturbed run is known: number of the operation that fails, and how.
        files: names and content, written into each folder first.
        checks: further commands that are to end well once those have completed again.

    Yields:
        First the undisturbed run, with `operations`: what was done, in order. Then for each point the exit status of
        the last command (negative for a signal) and what it `printed`, its `operation`, what stood in the store that
        was `broken`, exit status and output of the same commands `again`, and names of files that are then `different`.
    """  # fmt: skip
    job = {"folder": str(folder), "commands": commands, "files": files, "checks": checks}
    environment = {**os.environ, "LD_PRELOAD": str(library), "OMP_NUM_THREADS": "1"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, __file__, json.dumps(job)], env=environment, **pipes, text=True) as driver:
        assert driver.stdin is not None and driver.stdout is not None
        whole = json.loads(driver.stdout.readline())
        yield whole
        with driver.stdin as asked:
            asked.write(json.dumps(points(whole)))
        for line in driver.stdout:
            yield json.loads(line)
        assert driver.wait() == 0


# --- the program ----------------------------------------------------------------------------------------------------


def main(job: Mapping[str, Any]) -> None:
    """Run all points, and print what became of them."""
    from refers_bench.execution.engine import HEAVY, PRELOAD, TEXT
    from refers_bench.jobs.entry import RECIPES

    for module in (*PRELOAD, *HEAVY, *TEXT, *(recipe.partition(":")[0] for recipe in RECIPES.values()), *LATER):
        importlib.import_module(module)
    gc.freeze()
    folder, commands = Path(job["folder"]), job["commands"]
    whole = folder / "whole"
    first = _ran(whole, commands, job["files"])
    wanted = _content(whole)
    print(json.dumps({**first, "operations": _log(whole)}), flush=True)
    for number, how in json.load(sys.stdin):
        place = folder / f"{number}-{how}"
        found = _ran(place, commands, job["files"], number, how)
        operations = _log(place)
        found |= {"point": [number, how], "operation": next((o for o in operations if o.startswith(f"{number} ")), "")}
        found["broken"] = _broken(place)
        again = _ran(place, [*commands, *job["checks"]], {})
        content = _content(place)
        names = sorted({name for name in wanted | content if wanted.get(name) != content.get(name)})
        print(json.dumps({**found, "again": again, "different": names}), flush=True)
        shutil.rmtree(place)


def _ran(place: Path, commands: Any, files: Mapping[str, str], number: int = 0, how: str = "") -> dict[str, Any]:
    """Run the commands in their folder; exit status of the last, what it printed, and seconds."""
    (place / "home").mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (place / "home" / name).write_text(content)
    (place / "counter").write_bytes(bytes(8))
    (place / "log").unlink(missing_ok=True)
    since, status, printed = time.monotonic(), 0, ""
    for arguments in commands:
        child = os.fork()
        if child == 0:
            _command(place, arguments, number, how)
        status, printed = _waited(child), (place / "printed").read_text(errors="replace")
        if status:
            break
    return {"status": status, "printed": printed, "seconds": time.monotonic() - since}


def _command(place: Path, arguments: Sequence[str], number: int, how: str) -> None:
    """In a process of its own: one command, with its fault."""
    from refers_bench.cli import main

    os.setpgid(0, 0)
    os.chdir(place / "home")
    printed = os.open(place / "printed", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(printed, stream)
    os.environ |= {
        "XDG_CACHE_HOME": str(place / "root" / "cache"), "XDG_CONFIG_HOME": str(place / "config"),
        "REFERS_BENCH_RESULTS": str(place / "root" / "results"), "WRITE_FAULTS_ROOT": str(place / "root"),
        "WRITE_FAULTS_COUNTER": str(place / "counter"), "WRITE_FAULTS_LOG": str(place / "log"),
        "WRITE_FAULTS_AT": str(number), "WRITE_FAULTS_HOW": how,
    }  # fmt: skip
    status = 1
    try:
        main(list(arguments))
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    except Exception:  # noqa: BLE001 - what a user would see of a bug
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _waited(child: int) -> int:
    """Exit status; negative for a signal. A command that does not end is killed."""
    until = time.monotonic() + LIMIT_S
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.killpg(child, signal.SIGABRT)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _log(place: Path) -> list[str]:
    lines = (place / "log").read_text().splitlines() if (place / "log").exists() else []
    return [re.sub(r"^(\d+) \d+ ", r"\1 ", re.sub(r"[0-9a-f]{32}", "*", line)) for line in lines]


def _store(place: Path) -> list[Path]:
    """Files of results that a reader sees."""
    found = []
    for room in (place / "root" / "results" / "store", place / "root" / "cache"):
        paths = room.rglob("*") if room.is_dir() else []
        hidden = lambda path, room=room: any(part.startswith(".") for part in path.relative_to(room).parts)
        found += sorted(path for path in paths if path.is_file() and not hidden(path))
    return found


def _broken(place: Path) -> list[str]:
    """Results without their record, and files that cannot be read."""
    import pyarrow.parquet as pq

    wrong = []
    for path in _store(place):
        try:
            if path.suffix == ".json":
                json.loads(path.read_text())
            elif path.suffix == ".parquet":
                pq.read_table(path)
        except (OSError, ValueError) as error:
            wrong.append(f"{path.relative_to(place)}: {error}")
    results = place / "root" / "results" / "store"
    for folder in results.iterdir() if results.is_dir() else ():
        if folder.is_dir() and not folder.name.startswith(".") and not (folder / "run.json").is_file():
            wrong.append(f"{folder.name}: no record")
    return wrong


def _content(place: Path) -> dict[str, str]:
    """Digest of what is to be equal; of all other files, their names."""
    found = {}
    for path in _store(place):
        content = path.read_bytes() if path.name.endswith(SAME) else b""
        found[str(path.relative_to(place / "root"))] = hashlib.sha256(content).hexdigest()
    for path in (place / "root").rglob("*"):
        if (path.suffix in (".part", ".old") and "store" in path.parts) or (
            path.parent.name == "claims" and path.suffix == ".json"
        ):
            found[f"left over: {re.sub('[0-9a-f]{32}', '*', path.name)}"] = ""
    return found


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
