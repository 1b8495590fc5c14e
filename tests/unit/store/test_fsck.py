"""Every kind of damage of a stored result is found, and what is moved aside is not lost and counts for nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from refers_bench import identity
from refers_bench.jobs.record import Record
from refers_bench.store import fsck, schemas
from refers_bench.store.results import ResultStore

METRICS = pd.DataFrame({"class": ["a"], "auc": [0.5], "n_pos": [1], "n_neg": [1], "undefined": [""], "split": ["test"]})
PREDICTIONS = pd.DataFrame(
    {"image_id": ["i"], "patient_id": ["p"], "class": ["a"], "label": pd.array([1], "Int8"),
     "logit": pd.array([0.5], "float32"), "split": ["test"]}
)  # fmt: skip


def cell(store: ResultStore, seed: int = 0) -> Path:
    """A finished cell; its folder."""
    spec = {"kind": "finetune", "seed": seed}
    key = identity.key(spec)
    with Record({"key": key, "kind": "finetune", "name": f"s{seed}", "spec": spec}, store).published({}) as stage:
        schemas.write(stage / "metrics.parquet", METRICS, "metrics")
        schemas.write(stage / "predictions.parquet", PREDICTIONS, "predictions")
        (stage / "subset.json").write_text("{}")
    return store.folder(key)


def edited(**change: Any) -> Callable[[Path], None]:
    """Changes the record."""

    def edit(folder: Path) -> None:
        path = folder / "run.json"
        content = {**json.loads(path.read_text()), **change}
        path.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))

    return edit


def flipped(name: str) -> Callable[[Path], None]:
    """Flips one bit of a file."""

    def flip(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)

    return flip


def unlisted(name: str) -> Callable[[Path], None]:
    """Takes a file and its digest away."""

    def take(folder: Path) -> None:
        (folder / name).unlink()
        files = json.loads((folder / "run.json").read_text())["files"]
        edited(files={one: digest for one, digest in files.items() if one != name})(folder)

    return take


def to_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("")


DAMAGE: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    "a flipped bit": (flipped("predictions.parquet"), "predictions.parquet", "changed since it was written"),
    "of a small file": (flipped("subset.json"), "subset.json", "changed since it was written"),
    "a missing file": (lambda folder: (folder / "metrics.parquet").unlink(), "metrics.parquet", "missing"),
    "one that was never listed": (unlisted("predictions.parquet"), "run.json", "lists no predictions.parquet"),
    "an empty record": (lambda folder: (folder / "run.json").write_text(""), "run.json", "cannot read"),
    "no record": (lambda folder: (folder / "run.json").unlink(), "run.json", "no such file"),
    "another specification": (edited(spec={"kind": "finetune", "seed": 7}), "run.json", "is that of another job"),
    "another key": (edited(key="0" * 20), "run.json", "the record of '00000000000000000000'"),
    "an incomplete record": (edited(facts=None), "run.json", "no 'facts' in this record"),
    "a file for the folder": (to_file, "", "a file instead of a folder"),
}


@pytest.mark.parametrize(("damage", "name", "found"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_found_and_moved_aside(tmp_path: Path, damage: Callable[[Path], Any], name: str, found: str) -> None:
    store = ResultStore(tmp_path)
    folder, other = cell(store), cell(store, 1)
    assert [one for one in fsck.check(store, None) if one.problems or one.extra] == []
    damage(folder)
    results = fsck.check(store, None)
    assert len(results) == 2 and all(one.digests for one in results)
    (broken,) = [one for one in results if one.problems]
    assert [str(problem).partition(": ")[0] for problem in broken.problems] == [str(folder / name)]
    assert found in str(broken.problems[0]) and "results fsck --repair" in str(broken.problems[0])
    ((moved, aside),) = fsck.move_aside(store, results)
    assert moved == folder and aside.exists() and not folder.exists()
    assert (store.listing().done, store.state(folder.name)) == ({other.name}, "to do")
    assert [one.key for one in fsck.check(store, None) if not one.problems] == [other.name]


def test_a_file_beside_those_of_the_job_is_moved_alone(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    folder = cell(store)
    (folder / "notes.txt").write_text("mine")
    (folder / ".nfs0001").write_text("the file system's")
    results = fsck.check(store, None)
    assert [str(problem.path) for problem in results[0].extra] == [str(folder / "notes.txt")]
    assert results[0].problems == ()
    ((_, aside),) = fsck.move_aside(store, results)
    assert aside.read_text() == "mine" and store.state(folder.name) == "done"
    assert fsck.check(store, None)[0].extra == ()


def test_results_of_before_digests_are_checked_as_far_as_possible(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    folder = cell(store)
    edited(version=1, files=None)(folder)
    (sound,) = fsck.check(store, None)
    assert (sound.digests, sound.problems, sound.extra) == (False, (), ())
    (folder / "predictions.parquet").unlink()
    (folder / "subset.json").write_text("{")
    (folder / "metrics.parquet").write_bytes((folder / "metrics.parquet").read_bytes()[:-9])
    (found,) = fsck.check(store, None)
    assert [Path(str(problem.path)).name for problem in found.problems] == [
        "predictions.parquet", "metrics.parquet", "subset.json",
    ]  # fmt: skip


def test_a_failure_that_cannot_be_read_is_moved_aside(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    store.fail("f" * 20, category="nan", record={})
    assert fsck.check(store, None)[0].problems == ()
    path = store.root / f"{'f' * 20}.failed.json"
    path.write_text("{")
    results = fsck.check(store, None)
    assert [problem.path for one in results for problem in one.problems] == [path]
    fsck.move_aside(store, results)
    assert store.state("f" * 20) == "to do"


def test_only_what_is_asked_for_is_checked_and_progress_is_reported(tmp_path: Path) -> None:
    store, told = ResultStore(tmp_path), list[tuple[int, int]]()
    keys = [cell(store, seed).name for seed in range(3)]
    found = fsck.check(store, [*keys[:2], "not done"], progress=lambda done, total: told.append((done, total)))
    assert sorted(one.key for one in found) == sorted(keys[:2]) and told == [(1, 2), (2, 2)]
