"""Writes stored runs as offline runs of Weights & Biases, which `wandb sync` uploads where a user wants that."""

from __future__ import annotations

import os
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from refers_bench.analysis.tracked_runs import TrackedRun
from refers_bench.files import staged_folder
from refers_bench.render import extras


def check() -> None:
    """Refuse early.

    Raises:
        UserError: W&B is not installed.
    """
    _package()


def _package() -> Any:
    os.environ["WANDB_ERROR_REPORTING"] = "false"  # errors stay here, too
    return extras.imported("Weights & Biases", "wandb", "wandb")[0]


def write(folder: Path, run: TrackedRun, *, project: str) -> Path:
    """Publish a run's folder, without contact to a server; writing again replaces it.

    The run's id is the job's key, so that uploading twice gives one run.

    Args:
        folder: of all runs.
        run: the run.
        project: its project.

    Raises:
        UserError: W&B is not installed.
        StorageError: the folder cannot be written.
    """
    wandb = _package()
    start = datetime.fromtimestamp(run.start, tz=UTC)
    final = folder / f"offline-run-{start:%Y%m%d_%H%M%S}-{run.key}"
    with tempfile.TemporaryDirectory(prefix="refers-bench-") as scratch, staged_folder(final, replace=True) as stage:
        tracked = wandb.init(
            project=project,
            name=run.name,
            id=run.key,
            dir=scratch,
            config=dict(run.params),
            tags=_tags(run),
            group=run.tags.get("method"),
            job_type=run.kind,
            settings=_settings(wandb, run),
        )
        times = run.times()
        for step, values in run.rows().items():
            tracked.log({**values, "_timestamp": times[step]}, step=step)
        tracked.summary.update({**run.metrics, **{f"refers_bench/{name}": text for name, text in run.tags.items()}})
        tracked.finish()
        made = next(Path(scratch).glob(f"wandb/offline-run-*-{run.key}"))
        # The logs beside it name this machine's folders.
        for path in (made / "files", made / f"run-{run.key}.wandb"):
            shutil.move(path, stage / path.name)
    return final


def _tags(run: TrackedRun) -> list[str]:
    """Words to filter by; W&B takes 64 signs."""
    names = ("manifest", "method", "dataset", "task")
    words = [run.tags[name][:64] for name in names if run.tags.get(name)]
    return [*dict.fromkeys([*words, *(["synthetic"] if "synthetic" in run.tags else [])])]


def _settings(wandb: Any, run: TrackedRun) -> Any:
    """Offline, silent, and with nothing of this machine: neither code, nor packages, nor host, nor measurements."""
    off = ("disable_git", "disable_code", "x_disable_meta", "x_disable_stats", "x_disable_machine_info")
    return wandb.Settings(
        **dict.fromkeys(off, True),
        mode="offline",
        console="off",
        silent=True,
        save_code=False,
        x_save_requirements=False,
        host="",
        program="",
        x_start_time=run.start or None,
    )
