"""Keeps results, one folder for each job that is done, and records of jobs that failed."""

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refers_bench.errors import CATEGORIES, UserError
from refers_bench.files import publish_json, staged_folder, storage_errors
from refers_bench.store import records
from refers_bench.store.origin import bundle_of
from refers_bench.store.reading import read_json
from refers_bench.store.records import RECORD

__all__ = ["FAILURE", "RECORD", "Listing", "ResultStore"]

FAILURE = ".failed.json"


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Keys that were done, and keys whose last attempt had failed, at one look at the store's folder."""

    done: frozenset[str] = frozenset()
    failed: frozenset[str] = frozenset()


@dataclass(frozen=True)
class ResultStore:
    """The content-addressed results below ``<results>/store``.

    A key is done when ``<key>`` stands, a folder with its ``run.json``: it appears by one rename and never changes.
    Whatever else stands there is damaged, which shows when it is read (`records`), and is never replaced by itself.
    A failed attempt is ``<key>.failed.json`` beside it.
    """

    results: Path

    @property
    def root(self) -> Path:
        """Folder of all results."""
        return self.results / "store"

    def folder(self, key: str) -> Path:
        """Folder of one result, whether it exists or not."""
        return self.root / key

    def work_folder(self, key: str) -> Path:
        """Folder of a job's resumable state and progress, made on demand by the job."""
        return self.results / "work" / key

    def progress(self, key: str) -> Path:
        """What a running job reports of itself, at most once a second."""
        return self.work_folder(key) / "progress.json"

    def said(self, key: str) -> dict[str, Any]:
        """The last report in `progress`; empty before the first one, or where it was cut off."""
        try:
            return read_json(self.progress(key))
        except UserError:
            return {}

    def log(self, key: str) -> Path:
        """What a job printed; see `refers_bench.store.job_logs`."""
        return self.results / "logs" / f"{key}.txt"

    def record(self, key: str) -> dict[str, Any] | None:
        """``run.json`` of a finished job; None where nothing stands in its place.

        Raises:
            DataError: something stands there that is no readable record of this job.
        """
        return records.read(self.folder(key)) if self.folder(key).exists() else None

    def file(self, key: str, name: str) -> Path:
        """Path of a file of a finished job, once it is found to be what that job wrote; see `records.checked`.

        Raises:
            DataError: there is no such result or file, or it has changed.
        """
        return records.checked(self.folder(key), name)

    def bundle(self, key: str) -> str:
        """The bundle that a result was imported from, in words; '' for one that was computed here, or is not there."""
        try:
            content = (self.folder(key) / RECORD).read_bytes()
            # Most results were computed here: their records need not be parsed.
            return bundle_of(json.loads(content)) if b'"imported"' in content else ""
        except (OSError, ValueError):
            return ""

    def failure(self, key: str) -> dict[str, Any] | None:
        """Record of the last failed attempt; None where there is none. One that cannot be read says just that."""
        path = self._failure(key)
        if not path.exists():
            return None
        try:
            found = read_json(path)
        except UserError as error:
            found = {"message": str(error)}
        return {"key": key, "category": "unknown", **found}

    def failed_at(self, key: str) -> int:
        """Time of that record, in ns of the file system's clock; 0 where there is none."""
        try:
            return self._failure(key).stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def _failure(self, key: str) -> Path:
        return self.root / f"{key}{FAILURE}"

    def listing(self) -> Listing:
        """The state of every key, from one listing: a result's folder appears with its record in it.

        Raises:
            UserError: the store cannot be listed.
        """
        done, failed = set(), set()
        try:
            with contextlib.suppress(FileNotFoundError), os.scandir(self.root) as entries:
                for entry in entries:
                    if entry.name.startswith("."):  # staged, or moved aside
                        continue
                    if entry.name.endswith(FAILURE):
                        failed.add(entry.name.removesuffix(FAILURE))
                    else:
                        done.add(entry.name)
        except OSError as error:
            allowed = "the folder of all results; restore it, or name another results folder by --results"
            raise UserError(str(error.strerror), allowed=allowed, path=self.root) from error
        return Listing(done=frozenset(done), failed=frozenset(failed - done))

    def state(self, key: str) -> str:
        """State of a key: "done", "failed" or "to do"."""
        if self.folder(key).exists():
            return "done"
        return "failed" if self._failure(key).exists() else "to do"

    @contextlib.contextmanager
    def publish(self, key: str, *, replace: bool = False) -> Iterator[Path]:
        """A staged folder that becomes the result when the block ends well; it must hold ``run.json``.

        Raises:
            StorageError: disk full, read-only, or no permission.
        """
        with staged_folder(self.folder(key), replace=replace) as stage:
            yield stage
            if not (stage / RECORD).is_file():
                raise FileNotFoundError(f"a result needs its {RECORD}: {key}")
        with storage_errors(self.root):
            self._failure(key).unlink(missing_ok=True)
        shutil.rmtree(self.work_folder(key), ignore_errors=True)

    def withdraw(self, key: str) -> None:
        """Remove a result that was published by mistake; it stops to count at once."""
        old = self.root / f".{key}.{uuid.uuid4().hex}.old"
        with contextlib.suppress(FileNotFoundError):
            self.folder(key).rename(old)
            shutil.rmtree(old, ignore_errors=True)

    def fail(self, key: str, *, category: str, record: Mapping[str, Any]) -> None:
        """Record a failed attempt; it never counts as done.

        Raises:
            ValueError: `category` is not a failure category.
            StorageError: the record cannot be written.
        """
        if category not in CATEGORIES[1:]:
            raise ValueError(f"unknown failure category '{category}'; allowed: {', '.join(CATEGORIES[1:])}")
        publish_json(self._failure(key), {"version": 1, "key": key, "category": category, **record})
