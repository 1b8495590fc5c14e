"""Makes small changes to the package, one at a time, and counts which of them the fast tests notice.

Every change runs in fresh processes in a copy of the working tree. Which tests run a line is measured once for a state
of the files (coverage.py, also in the processes that tests start); a change is then met by the tests that run its line,
those named after its module first, until one fails. A change that none of them notices has survived; `survivors.toml`
gives the reason why no user could notice it either, and a survivor without a reason ends the run with exit code 1.
"""

from __future__ import annotations

import argparse
import ast
import concurrent.futures
import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mutants as mutation
from mutants import Mutant

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
#: What every run of pytest is given: no cache and no processes of xdist's own, ids as they are.
PYTEST = (sys.executable, "-m", "pytest", "-p", "plugin", "-q", "-p", "no:cacheprovider")
FAST = ("-m", "not slow and not cluster", "--ignore=tests/architecture")
#: Share of a room's changes, and of all, that must be noticed.
ROOM, ALL = 0.90, 0.95


@dataclass(frozen=True, kw_only=True)
class Test:
    """One test: its id in pytest, and the seconds that it takes."""

    id: str
    seconds: float

    @property
    def module(self) -> str:
        """The file that holds it."""
        return self.id.partition("::")[0]


def main() -> int:
    """Draws the sample, runs it, prints the table; 1 where too few changes are noticed or a survivor has no reason."""
    options = _options()
    work = Path(options.work).resolve()
    work.mkdir(parents=True, exist_ok=True)
    drawn = mutation.sample(ROOT, options.per_room, options.seed)
    if options.rooms:
        drawn = [mutant for mutant in drawn if mutant.room in options.rooms]
    if options.ids:
        drawn = [mutant for mutant in mutation.of_package(ROOT) if mutant.id in options.ids]
    trees = [_tree(work, n) for n in range(options.workers)]
    if options.named:
        return _named(trees[0])
    lines = _lines(work, trees[0], options)
    outcomes = work / f"outcomes-{options.seed}.jsonl"
    earlier, known = _known(outcomes, options)
    waiting = [mutant for mutant in drawn if mutant.id not in known]
    print(f"{len(drawn)} changes in {len({one.room for one in drawn})} rooms; {len(waiting)} to run", flush=True)
    free, lock = list(trees), threading.Lock()

    def one(mutant: Mutant) -> None:
        with lock:
            tree = free.pop()
        try:
            first = str(earlier.get(mutant.id, {}).get("by", ""))
            found = _met(mutant, tree, _chosen(mutant, lines, options.limit, first=first), options.limit)
        finally:
            with lock:
                free.append(tree)
        with lock, outcomes.open("a") as stream:
            known[mutant.id] = found
            stream.write(json.dumps({"id": mutant.id, **found}) + "\n")
            print(f"{found['state']:9} {found['seconds']:6.1f} s  {_shown(mutant)}", flush=True)

    with concurrent.futures.ThreadPoolExecutor(options.workers) as pool:
        for done in [pool.submit(one, mutant) for mutant in waiting]:
            done.result()
    return _report(drawn, known, unreliable=_failing_anyway(trees[0], drawn, known))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--work", default=str(ROOT / "build" / "mutation"), help="where copies, measured lines and outcomes are kept"
    )
    parser.add_argument("--per-room", type=int, default=22, help="changes a room (default 22)")
    parser.add_argument("--seed", type=int, default=0, help="which sample (default 0)")
    parser.add_argument("--rooms", nargs="*", default=[], help="only these rooms")
    parser.add_argument("--ids", nargs="*", default=[], help="only these changes, drawn or not")
    parser.add_argument("--named", action="store_true", help="only the changes of named.toml, each with its own test")
    parser.add_argument(
        "--measured",
        action="store_true",
        help="keep what was measured of tests and lines, though the package has changed since",
    )
    parser.add_argument("--limit", type=float, default=240.0, help="seconds of tests a change meets at most")
    parser.add_argument("--workers", type=int, default=2, help="changes at a time")
    parser.add_argument(
        "--again", choices=("none", "survivors", "all"), default="none", help="which known outcomes are run anew"
    )
    return parser.parse_args()


def _known(
    outcomes: Path, options: argparse.Namespace
) -> tuple[dict[str, dict[str, object]], dict[str, dict[str, object]]]:
    """Outcomes of earlier runs, and those of them that still count."""
    rows = map(json.loads, outcomes.read_text().splitlines()) if outcomes.is_file() else ()
    earlier = {row.pop("id"): row for row in rows}
    if options.again == "all":
        outcomes.unlink(missing_ok=True)
        return earlier, {}
    wanted = ("killed",) if options.again == "survivors" else ("killed", "survived", "uncovered")
    return earlier, {name: row for name, row in earlier.items() if row["state"] in wanted}


def _tree(work: Path, number: int) -> Path:
    """A copy of the working tree without what git ignores."""
    tree = work / f"tree-{number}"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    wanted = {Path(name) for name in listed.stdout.splitlines() if (ROOT / name).is_file()}
    for path in [path for path in tree.rglob("*") if path.is_file() and path.suffix != ".pyc"]:
        if path.relative_to(tree) not in wanted:
            path.unlink()
    for name in wanted:
        to = tree / name
        if not to.is_file() or to.read_bytes() != (ROOT / name).read_bytes():
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to)
    return tree


def _environment(tree: Path, **more: str) -> dict[str, str]:
    shared = ROOT.parent / "shared"
    found = {
        "REFERS_BENCH_GOLDEN": shared / "golden",
        "REFERS_BENCH_GOLDEN_METHODS": shared / "golden_methods",
        "REFERS_BENCH_REAL_DATA": shared / "data",
    }
    return {
        **{name: str(folder) for name, folder in found.items()},
        # Where nothing is buffered, nobody notices what is not flushed.
        **{name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        "PYTHONPATH": os.pathsep.join(
            map(str, (tree, tree / "tests" / "mutation", tree / "tests" / "mutation" / "startup"))
        ),
        "PYTHONHASHSEED": "0",
        "OMP_NUM_THREADS": "1",
        **more,
    }


# Which tests run which lines.


def _state(tree: Path) -> dict[str, str]:
    """What decides which tests run which lines: hash of each test file, and under "" of everything that they share."""
    paths = [path for name in ("refers_bench", "tests", "manifests") for path in (tree / name).rglob("*")]
    found, shared = dict[str, str](), hashlib.sha256()
    for path in sorted(path for path in paths if path.is_file() and path.suffix != ".pyc"):
        name = path.relative_to(tree).as_posix()
        if path.match("test_*.py") and name.startswith("tests/"):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        elif not name.startswith("tests/mutation/"):
            shared.update(name.encode() + b"\0" + path.read_bytes())
    return {**found, "": shared.hexdigest()}


def _lines(work: Path, tree: Path, options: argparse.Namespace) -> dict[str, dict[int, list[Test]]]:
    """File -> line -> the tests that run it. What has changed since it was last measured is measured anew."""
    import coverage

    folder, state = work / "map", _state(tree)
    known: dict[str, str] = json.loads((folder / "done").read_text()) if (folder / "done").is_file() else {}
    if known.get("") != state[""] and not (known and options.measured):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        known = {}
    changed = sorted(name for name in state if name and known.get(name) != state[name] and "architecture" not in name)
    if changed:
        print(f"measuring which lines the tests of {len(changed)} files run", flush=True)
        subprocess.run(
            [*PYTEST, "-n", str(options.workers), *FAST, *changed],
            cwd=tree, env=_environment(tree, MUTATION_MAP=str(folder)), check=False,
        )  # fmt: skip
        whole = coverage.Coverage(data_file=str(folder / "whole"))
        if known:
            whole.load()
        whole.combine([str(path) for path in folder.glob("coverage.*")])
        whole.save()
        (folder / "done").write_text(json.dumps(state))
    data = coverage.CoverageData(basename=str(folder / "whole"))
    data.read()
    tests: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("tests-*.json"), key=lambda path: path.stat().st_mtime):
        tests |= json.loads(path.read_text())
    users: dict[str, list[Test]] = defaultdict(list)
    for name, test in tests.items():
        if test["passed"] and (tree / name.partition("::")[0]).is_file():
            for context in test["contexts"]:
                users[context].append(Test(id=name, seconds=test["seconds"]))
    lines: dict[str, dict[int, list[Test]]] = {}
    for file in data.measured_files():
        if "refers_bench" in file:
            name = file[file.index("refers_bench/") :]
            lines[name] = {
                line: list({test: None for context in contexts for test in users.get(context, ())})
                for line, contexts in data.contexts_by_lineno(file).items()
            }
    return lines


def _chosen(
    mutant: Mutant, lines: Mapping[str, Mapping[int, list[Test]]], limit: float, *, first: str = ""
) -> list[Test]:
    """The tests that run a changed line, as many as the limit holds.

    The one that noticed it before comes first, then those that are named after the changed module, then those of its
    room, then the quickest.

    What a module runs when it is imported is met by all tests that run any of its lines, are named after it or have its
    name as their parameter, or else by those that run one of a module that imports it.
    """
    ours = "/".join(("tests", "unit", *Path(mutant.path).parts[1:-1])) + "/"
    named = f"{ours}test_{Path(mutant.path).stem.lstrip('_')}"
    of_file = lines.get(mutant.path, {})
    touched = range(mutant.line, mutant.line + mutant.old.count("\n") + 1)
    found = {test for line in touched for test in of_file.get(line, ())}
    if not _inside_function(mutant):
        found = {test for tests in of_file.values() for test in tests}
        every = {test for by_line in lines.values() for tests in by_line.values() for test in tests}
        found |= {test for test in every if test.module.startswith(named) or f"[{Path(mutant.path).stem}" in test.id}
    if not found:
        stem = Path(mutant.path).stem
        for file, by_line in lines.items():
            if stem in (ROOT / file).read_text(encoding="utf-8"):
                found |= {test for tests in by_line.values() for test in tests}
    modules: dict[str, list[Test]] = defaultdict(list)
    for test in sorted(found, key=lambda test: test.id):
        modules[test.module].append(test)
    chosen = [test for test in found if test.id == first]
    seconds = sum(test.seconds for test in chosen)

    def order(module: str) -> tuple[bool, bool, float]:
        return not module.startswith(named), not module.startswith(ours), sum(test.seconds for test in modules[module])

    for module in sorted(modules, key=order):
        for test in sorted(modules[module], key=lambda test: test.seconds):
            if seconds + test.seconds > limit or test.id == first:
                continue
            chosen.append(test)
            seconds += test.seconds
    return chosen


def _inside_function(mutant: Mutant) -> bool:
    tree = ast.parse((ROOT / mutant.path).read_bytes())
    return any(
        node.body[0].lineno <= mutant.line <= (node.end_lineno or 0)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


# One change.


def _met(mutant: Mutant, tree: Path, tests: list[Test], limit: float) -> dict[str, object]:
    """What the tests say of a change: killed (and by which), survived, or met by no test."""
    if not tests:
        return {"state": "uncovered", "seconds": 0.0, "tests": 0, "by": ""}
    path, began = tree / mutant.path, time.monotonic()
    with _changed(path, mutant.applied(path.read_bytes())):
        code, out = _pytest(tree, tests, 60 + 4 * min(limit, sum(test.seconds for test in tests)))
    failed = _failed(out)
    by = failed[0] if failed else {0: "", 5: "", None: "it does not end"}.get(code, "pytest does not start")
    # 5: of the chosen tests none is there any more.
    return {
        "state": "survived" if code in (0, 5) else "killed", "seconds": round(time.monotonic() - began, 1),
        "tests": len(tests), "by": by,
    }  # fmt: skip


@contextlib.contextmanager
def _changed(path: Path, content: bytes) -> Iterator[None]:
    """A file with another content while the block lasts; afterwards it is as old as it was, for Python's caches."""
    before, times = path.read_bytes(), path.stat()
    try:
        path.write_bytes(content)
        yield
    finally:
        path.write_bytes(before)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def _failed(out: str) -> list[str]:
    """Ids of the tests that pytest's closing lines name."""
    lines = [line for line in out.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    return [line.partition(" ")[2].partition(" - ")[0] for line in lines]


def _pytest(
    tree: Path, tests: list[Test], seconds: float, *, stop: tuple[str, ...] = ("-x",), modules: Sequence[str] = ()
) -> tuple[int | None, str]:
    """Exit status and output of chosen tests in their order, or of all tests of what is named instead."""
    environment = _environment(tree, PYTHONDONTWRITEBYTECODE="1")
    if not modules:
        chosen = tree.with_suffix(".tests.json")
        chosen.write_text(json.dumps([test.id for test in tests]))
        modules = list({test.module: None for test in tests})
        environment["MUTATION_TESTS"] = str(chosen)
    process = subprocess.Popen(
        [*PYTEST, *stop, "-p", "no:xdist", "--tb=no", *modules],
        cwd=tree, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        out, _ = process.communicate(timeout=seconds)
        return process.returncode, out
    except subprocess.TimeoutExpired:
        return None, ""
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _failing_anyway(tree: Path, drawn: Iterable[Mutant], known: Mapping[str, Mapping[str, object]]) -> set[str]:
    """Of the tests that noticed a change, those that fail without one as well: what they noticed does not count."""
    killers = sorted({str(known[mutant.id]["by"]) for mutant in drawn if "::" in str(known[mutant.id]["by"])})
    if not killers:
        return set()
    print(f"the {len(killers)} tests that noticed changes run once more, on the code as it is", flush=True)
    _, out = _pytest(tree, [Test(id=name, seconds=0.0) for name in killers], 3600, stop=())
    if " passed" not in out:
        raise SystemExit(f"the tests do not run on the code as it is:\n{out[-3000:]}")
    return set(_failed(out))


def _named(tree: Path) -> int:
    """Makes each change of `named.toml`, and runs the test that is there to notice it."""
    changes = tomllib.loads((HERE / "named.toml").read_text(encoding="utf-8"))["change"]
    missed = 0
    code, out = _pytest(tree, [], 3600, modules=sorted({change["test"] for change in changes}))
    if code:
        raise SystemExit(f"these tests do not pass on the code as it is:\n{out[-3000:]}")
    for change in changes:
        path = tree / change["path"]
        source = path.read_text(encoding="utf-8")
        if source.count(change["old"]) != 1:
            raise SystemExit(f"{change['path']} does not hold this once: {change['old']!r}")
        with _changed(path, source.replace(change["old"], change["new"]).encode()):
            code, _ = _pytest(tree, [], 600, modules=[change["test"]])
        missed += code != 1
        print(f"{'noticed' if code == 1 else 'MISSED'}: {change['title']}\n    by {change['test']}", flush=True)
    print(f"{len(changes) - missed} of {len(changes)} named changes noticed")
    return int(missed > 0)


# What is said of them.


def _shown(mutant: Mutant) -> str:
    old, new = (" ".join(text.split()) for text in (mutant.old, mutant.new))
    return f"{mutant.id} {mutant.path}:{mutant.line} {mutant.place} {mutant.kind}: {old[:90]} => {new[:90]}"


def _report(drawn: Iterable[Mutant], known: Mapping[str, Mapping[str, object]], *, unreliable: set[str]) -> int:
    reasons = tomllib.loads((HERE / "survivors.toml").read_text(encoding="utf-8"))
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    bad = False
    for mutant in drawn:
        killed = known[mutant.id]["state"] == "killed" and known[mutant.id]["by"] not in unreliable
        state = "killed" if killed else "equivalent" if mutant.id in reasons else "survived"
        counts[mutant.room][state] += 1
        counts["all"][state] += 1
        if state != "killed":
            print(f"{state}: {_shown(mutant)}\n    {reasons.get(mutant.id, 'NO REASON')}")
            bad |= state == "survived"
    print(f"{'room':12} {'changes':>8} {'noticed':>8} {'share':>7} {'unnoticeable':>13} {'left':>5}")
    for room, count in counts.items():
        share = count["killed"] / count.total()
        bad |= share < (ALL if room == "all" else ROOM)
        print(
            f"{room:12} {count.total():8} {count['killed']:8} {share:7.1%} {count['equivalent']:13} {count['survived']:5}"
        )
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
