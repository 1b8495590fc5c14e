"""Whatever stands where a stored file belongs: each command says path and remedy, without a traceback, and the rest goes on."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from command_line import Ended, command
from finished_plan import MANIFEST, finish
from refers_bench.plan.lock import LOCK, Plan
from refers_bench.store.leases import Leases
from refers_bench.store.results import ResultStore
from tiny_jobs import job

FILES = {"small.yaml": MANIFEST, "other.yaml": MANIFEST}
#: The cell that something is done to, and one that stays as it is.
CELL, OTHER = "scratch.phantom.findings.100%.s0", "model_genesis.phantom.findings.100%.s1"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Plan]:
    """A folder with the results and cache of a finished plan."""
    place = tmp_path_factory.mktemp("finished")
    (place / "small.yaml").write_text(MANIFEST)
    how = ["--results", str(place / "results"), "--cache", str(place / "cache"), "plan"]
    for name in ("small", "other"):
        (place / f"{name}.yaml").write_text(MANIFEST)
        assert command(*how, str(place / f"{name}.yaml")).code == 0
    return place, finish(place / "results", place / "cache", "small")


class Odd:
    """Commands on a copy of the finished results."""

    def __init__(self, home: Path, finished: tuple[Path, Plan]) -> None:
        place, self.plan = finished
        self.results, self.whole, self.cache = home / "results", place / "results", place / "cache"
        shutil.copytree(self.whole, self.results)
        self.store = ResultStore(self.results)
        keys = {job.name: job.key for job in self.plan.jobs}
        self.key, self.folder = keys[CELL], self.store.folder(keys[CELL])
        self.other = keys[OTHER]

    def __call__(self, *arguments: str) -> Ended:
        return command("--results", str(self.results), "--cache", str(self.cache), *arguments)


@pytest.fixture
def odd(home: Path, finished: tuple[Path, Plan]) -> Odd:
    return Odd(home, finished)


def cut(path: Path, share: float = 0.5) -> None:
    """Truncate a file."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def folder_for_file(path: Path) -> None:
    path.unlink()
    path.mkdir()


def file_for_folder(path: Path) -> None:
    shutil.rmtree(path)
    path.write_text("")


def flip(path: Path) -> None:
    """Change one byte in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


#: What happens to the result of a cell -> how, and the path that must be named.
RESULT: dict[str, tuple[Callable[[Path], Any], str]] = {
    "an empty record": (lambda folder: (folder / "run.json").write_text(""), "run.json"),
    "a record of junk": (lambda folder: (folder / "run.json").write_bytes(b"\xff\0{"), "run.json"),
    "a record of another type": (lambda folder: (folder / "run.json").write_text("[1]"), "run.json"),
    "an empty object as record": (lambda folder: (folder / "run.json").write_text("{}"), "run.json"),
    "a folder as record": (lambda folder: folder_for_file(folder / "run.json"), "run.json"),
    "no record": (lambda folder: (folder / "run.json").unlink(), "run.json"),
    "truncated metrics": (lambda folder: cut(folder / "metrics.parquet"), "metrics.parquet"),
    "truncated predictions": (lambda folder: cut(folder / "predictions.parquet"), "predictions.parquet"),
    "one byte of the predictions": (lambda folder: flip(folder / "predictions.parquet"), "predictions.parquet"),
    "no predictions": (lambda folder: (folder / "predictions.parquet").unlink(), "predictions.parquet"),
    "a folder as predictions": (lambda folder: folder_for_file(folder / "predictions.parquet"), "predictions.parquet"),
    "a file for the folder": (file_for_folder, ""),
    "an empty folder": (lambda folder: [path.unlink() for path in folder.iterdir()], "run.json"),
}


def named(odd: Odd, ended: Ended, name: str) -> None:
    """What a command said: path and remedy on one line, of the one result that is damaged."""
    lines = [line for line in (ended.out + ended.err).splitlines() if "results fsck --repair" in line]
    assert len(lines) == 1 and f"{odd.folder / name}: " in lines[0].replace(
        "/run.json: cannot read: Not a dir", ": "
    ), lines


@pytest.mark.parametrize(("happens", "name"), RESULT.values(), ids=RESULT)
def test_a_damaged_result_is_named_by_all_and_the_other_cells_stay(
    odd: Odd, happens: Callable[[Path], Any], name: str
) -> None:
    happens(odd.folder)
    ran = odd("run", "small.yaml", "--no-report")
    named(odd, ran, name)
    assert ran.code == 1 and "0 of 6 jobs to run" in ran.err
    report = odd("report", "small", "--format", "csv")
    named(odd, report, name)
    assert report.code == 1
    cells = (odd.results / "small" / "report" / "tidy-cells.csv").read_text()
    assert cells.count(",done,") == 3 and cells.count(",failed,") == 1
    checked = odd("results", "fsck")
    named(odd, checked, name)
    assert checked.code == 1
    assert checked.out.splitlines()[-2:] == [
        "6 results checked, 1 damaged, 0 written before digests were kept",
        "1 folder of the cache checked, 0 damaged",
    ]
    bundle = odd("results", "bundle", "small")
    named(odd, bundle, name)
    assert bundle.code == 2 and not Path("small.tar.gz").exists()
    compared = odd("results", "diff", "small", str(odd.whole / "small"))
    named(odd, compared, name)
    assert compared.code == 5
    for quick in (["plan", "small.yaml", "--no-write"], ["status"], ["logs", CELL]):
        assert odd(*quick).code == 0, quick


def test_repair_marks_as_not_done_and_loses_nothing(odd: Odd) -> None:
    before = {path.name: path.read_bytes() for path in odd.folder.iterdir()}
    flip(odd.folder / "predictions.parquet")
    repaired = odd("results", "fsck", "small", "--repair")
    assert repaired.code == 1 and f"moved: {odd.folder} to " in repaired.out
    (aside,) = odd.store.root.glob(".*.damaged")
    assert {path.name for path in aside.iterdir()} == set(before)
    assert odd("results", "fsck").code == 0 and odd("report", "small", "--format", "csv").code == 0
    dry = odd("run", "small.yaml", "--dry-run").out.splitlines()
    assert [line.split() for line in dry if line.startswith("to do")] == [["to", "do", "finetune", CELL]]


def test_what_another_job_reads_is_checked_by_fsck(odd: Odd) -> None:
    (pretrained,) = (job.key for job in odd.plan.jobs if job.kind == "pretrain")
    flip(odd.store.folder(pretrained) / "checkpoint.safetensors")
    assert odd("report", "small", "--format", "csv").code == 0, "no report reads it"
    checked = odd("results", "fsck", "small")
    assert checked.code == 1 and f"{pretrained}/checkpoint.safetensors: changed since it was written" in checked.out
    assert odd("results", "fsck", "nosuch").code == 2


#: What happens to the file of a plan.
PLAN: dict[str, Callable[[Path], Any]] = {
    "empty": lambda path: path.write_text(""),
    "truncated": cut,
    "junk": lambda path: path.write_bytes(b"\xff\0{"),
    "of another type": lambda path: path.write_text("[1]"),
    "without jobs": lambda path: path.write_text('{"version": 2}'),
    "a folder": folder_for_file,
}


@pytest.mark.parametrize("happens", PLAN.values(), ids=PLAN)
def test_a_plan_that_cannot_be_read_is_named_and_other_plans_stay(odd: Odd, happens: Callable[[Path], Any]) -> None:
    path = odd.results / "other" / LOCK
    happens(path)
    for arguments in (
        ["report", "other"], ["results", "bundle", "other"], ["results", "diff", "other", "small"], ["results", "fsck", "other"],
        ["status", "other"],
    ):  # fmt: skip
        ended = odd(*arguments)
        assert ended.code == 2 and f"error: {path}" in ended.err and "; allowed: " in ended.err, (arguments, ended)
    status = odd("status")
    assert status.code == 2 and f"{path}" in status.err and "small: " in status.out
    report = odd("report", "--format", "csv")
    assert report.code == 1 and f"{path}" in report.err
    assert (odd.results / "report" / "tidy-cells.csv").read_text().count(",done,") == 4
    assert odd("logs", CELL).out == f"printed by {CELL}\n"
    assert odd("run", "small.yaml", "--no-report").code == 0 == odd("results", "fsck").code
    again = odd("plan", "other.yaml")
    assert again.code == (2 if path.is_dir() else 0) and "Traceback" not in again.err


def lease(**content: Any) -> Callable[[Path], Any]:
    return lambda path: path.write_text(json.dumps(content))


def of_the_future(path: Path) -> None:
    """A lease of another machine, whose clock was wrong, or which somebody has dated."""
    lease(host="elsewhere", pid=1, start="1", token="", queued=False, engine="local")(path)
    ahead = time.time() + 10**6
    os.utime(path, (ahead, ahead))


LEASES: dict[str, Callable[[Path], Any]] = {
    "empty": lambda path: path.write_text(""),
    "junk": lambda path: path.write_bytes(b"\xff\0{"),
    "of another type": lambda path: path.write_text("[1]"),
    "without fields": lease(),
    "with fields of other types": lease(host=1, pid="x", start={}),
    "of this host, with a pid of junk": lease(host=os.uname().nodename, pid="../1", start="1"),
    "dated in the future": of_the_future,
    "a folder": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("happens", LEASES.values(), ids=LEASES)
def test_a_lease_of_nobody_holds_nothing_up(odd: Odd, happens: Callable[[Path], Any]) -> None:
    """What is done stays done; what is left is seen as to do by all, and a run takes it."""
    shutil.rmtree(odd.folder)
    path = odd.results / "work" / "claims" / f"{odd.key}.json"
    path.parent.mkdir(parents=True)
    happens(path)
    counted = odd("plan", "small.yaml", "--no-write")
    assert counted.code == 0 and "running" in counted.out and " 1 " in counted.out
    status = odd("status", "small")
    assert status.code == 0 and "running scratch" not in status.out
    assert odd("logs", CELL).code == 0
    leases = Leases(odd.results)
    leases.sweep()  # as every run does first
    assert leases.owner(odd.key) is None and leases.acquire(odd.key) and leases.owner(odd.key)


#: Something else in the results folder, and who minds: command -> exit code.
AROUND: dict[str, tuple[Callable[[Odd], Any], str, dict[str, int]]] = {
    "a file for the store": (
        lambda odd: file_for_folder(odd.store.root), "store",
        {"run small.yaml": 2, "plan small.yaml": 2, "status": 2, "report": 2, "results fsck": 2, "results bundle small": 2},
    ),
    "a folder for a failure": (
        lambda odd: [shutil.rmtree(odd.folder), (odd.store.root / f"{odd.key}.failed.json").mkdir()], ".failed.json",
        {"results fsck": 1, "status --failed": 0, "report small --format csv": 0, f"logs {CELL}": 0},
    ),
    "a failure of junk": (
        lambda odd: [shutil.rmtree(odd.folder), (odd.store.root / f"{odd.key}.failed.json").write_text("[")],
        ".failed.json",
        {"results fsck": 1, "status --failed": 0, "report small --format csv": 0, f"logs {CELL}": 0},
    ),
    "a folder for a log": (
        lambda odd: folder_for_file(odd.store.log(odd.key)), "logs",
        {f"logs {CELL}": 2, "status": 0, "report small --format csv": 0},
    ),
    "a file for the statistics": (
        lambda odd: (odd.results / "statistics").write_text(""), "", {"report small --format csv": 0, "status": 0},
    ),
    "a list of explanations of junk": (
        lambda odd: (odd.results / "small" / "explain.lock.json").write_text("[]"), "explain.lock.json",
        {"report small --format csv": 2, "results fsck small": 2, "status": 0},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("happens", "name", "commands"), AROUND.values(), ids=AROUND)
def test_what_else_stands_in_the_results_folder(
    odd: Odd, happens: Callable[[Odd], Any], name: str, commands: dict[str, int]
) -> None:
    happens(odd)
    for line, code in commands.items():
        ended = odd(*line.split())
        assert ended.code == code, (line, ended)
        if code:
            said = [one for one in (ended.out + ended.err).splitlines() if name in one and "checking" not in one]
            assert said and "; allowed: " in said[0], (line, ended)


def test_results_that_are_deleted_while_jobs_run(orchestrator: Any, tmp_path: Path) -> None:
    """Jobs that run go on and publish where the folder was; leases are made again."""
    jobs = [job(f"{number}", sleep=0.7) for number in range(4)]
    process = orchestrator.start(jobs, workers=1, retries={})
    store = ResultStore(tmp_path / "results")
    while len(store.listing().done) < 2 and process.poll() is None:
        time.sleep(0.02)
    shutil.rmtree(tmp_path / "results", ignore_errors=True)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and "Traceback" not in err, err
    assert len(json.loads(out.splitlines()[-1])["done"]) == 4 and store.listing().done
