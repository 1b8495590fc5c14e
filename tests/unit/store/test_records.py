"""Files of a result are those that its record lists, or the one that asks for them is told what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from refers_bench.errors import DataError
from refers_bench.files import sha256_of
from refers_bench.jobs.record import Record
from refers_bench.store import records
from refers_bench.store.records import REMEDY
from refers_bench.store.results import ResultStore

KEY = "k" * 20


def published(results: Path, **content: str) -> ResultStore:
    """A result with these files."""
    store = ResultStore(results)
    with Record({"key": KEY, "kind": "noop", "name": "n", "spec": {}}, store).published({}) as stage:
        for name, text in content.items():
            (stage / name).write_text(text)
    return store


def test_a_record_lists_the_digest_of_every_file(tmp_path: Path) -> None:
    store = published(tmp_path, weights="w", other="o")
    record = store.record(KEY) or {}
    expected = {name: sha256_of(store.folder(KEY) / name) for name in ("other", "weights")}
    assert (record["version"], record["files"]) == (2, expected)
    assert store.file(KEY, "weights") == store.folder(KEY) / "weights"


def test_a_file_that_is_not_the_recorded_one_is_refused(tmp_path: Path) -> None:
    store = published(tmp_path, weights="w", other="o")
    path = store.folder(KEY) / "weights"
    before = sha256_of(path)
    path.write_text("v")
    found = f"changed since it was written: SHA-256 {sha256_of(path)}, recorded {before}"
    for change, message in (
        (lambda: None, f"{path}: {found}; allowed: {REMEDY}"),
        (path.unlink, f"{path}: missing; allowed: {REMEDY}"),
        (path.mkdir, f"{path}: cannot be read: Is a directory; allowed: {REMEDY}"),
    ):
        change()
        with pytest.raises(DataError) as raised:
            store.file(KEY, "weights")
        assert str(raised.value) == message
        assert store.file(KEY, "other").read_text() == "o"
    (store.folder(KEY) / "beside").write_text("")
    with pytest.raises(DataError, match="beside: no file of this result; allowed: other, weights"):
        store.file(KEY, "beside")


def test_without_digests_a_file_must_be_there(tmp_path: Path) -> None:
    store, folder = ResultStore(tmp_path), tmp_path / "store" / KEY
    with pytest.raises(DataError, match="weights: no such result; allowed: run its job first"):
        store.file(KEY, "weights")
    folder.mkdir(parents=True)
    with pytest.raises(DataError, match=r"run\.json: no such file; allowed: the file as it was written"):
        store.file(KEY, "weights")
    (folder / "run.json").write_text(json.dumps({"version": 1, "key": KEY}))
    with pytest.raises(DataError, match="weights: missing"):
        store.file(KEY, "weights")
    (folder / "weights").write_text("")
    assert store.file(KEY, "weights") == folder / "weights"


@pytest.mark.parametrize("content", ["", "{", "[]", "7", "null", '{"key": "x"}', "[" * 100_000, "\0", "\ud800"])
def test_junk_is_no_record_and_names_its_path(tmp_path: Path, content: str) -> None:
    folder = tmp_path / KEY
    folder.mkdir()
    (folder / records.RECORD).write_bytes(content.encode(errors="surrogatepass"))
    with pytest.raises(DataError) as raised:
        records.read(folder)
    (problem,) = raised.value.problems
    assert (problem.path, problem.allowed) == (folder / records.RECORD, REMEDY) and problem.found


def test_what_stands_in_the_place_of_a_record_or_a_result(tmp_path: Path) -> None:
    """A folder for the record, and a file for the folder; both count as done, so that nothing is lost under them."""
    store = ResultStore(tmp_path)
    (store.folder(KEY) / records.RECORD).mkdir(parents=True)
    with pytest.raises(DataError, match=r"run\.json: cannot read: Is a directory"):
        store.record(KEY)
    (store.root / "f").write_text("")
    with pytest.raises(DataError, match=r"f/run\.json: cannot read: Not a directory"):
        store.record("f")
    assert store.listing().done == {KEY, "f"} and store.state("f") == "done"


@pytest.mark.parametrize("junk", ["", "{", "[]"])
def test_a_failure_that_cannot_be_read_is_a_failure(tmp_path: Path, junk: str) -> None:
    store = ResultStore(tmp_path)
    store.root.mkdir()
    path = store.root / f"{KEY}.failed.json"
    path.write_text(junk)
    found: dict[str, Any] = store.failure(KEY) or {}
    assert (store.state(KEY), found["category"]) == ("failed", "unknown")
    assert found["message"].startswith(f"{path}: ")
