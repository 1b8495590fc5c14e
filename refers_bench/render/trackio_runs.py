"""Writes stored runs into a local Trackio project, which needs neither a server nor an account."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from refers_bench.analysis.tracked_runs import TrackedRun
from refers_bench.files import storage_errors
from refers_bench.render import extras


def check() -> None:
    """Refuse early.

    Raises:
        UserError: Trackio is not installed.
    """
    extras.imported("Trackio", "trackio", "trackio")


def write(folder: Path, run: TrackedRun, *, project: str) -> None:
    """Write a run into the project's database; writing again replaces it.

    Trackio has no final metrics: they are further values at the last step.

    Args:
        folder: of the database.
        run: the run.
        project: its project.

    Raises:
        UserError: Trackio is not installed.
        StorageError: the folder cannot be written.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        storage = _storage(folder)
        rows, times = run.rows(), run.times()
        last = max(rows, default=0)
        rows.setdefault(last, {}).update(run.metrics)
        storage.delete_run(project, run.name, run_id=run.key)
        storage.bulk_log(
            project,
            run.name,
            metrics_list=list(rows.values()),
            steps=list(rows),
            timestamps=[_time(times.get(step, run.end)) for step in rows],
            config={**run.params, **{f"refers_bench.{name}": text for name, text in run.tags.items()}},
            run_id=run.key,
        )


def _storage(folder: Path) -> Any:
    """Trackio's database, in a folder; it reads where that is when it is imported."""
    os.environ.update(TRACKIO_DIR=str(folder.absolute()), HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")
    (module,) = extras.imported("Trackio", "trackio", "trackio.sqlite_storage")
    module.TRACKIO_DIR = folder.absolute()
    return module.SQLiteStorage


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).isoformat()
