"""Stores other people's predictions as results, with a plan that says where they come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from refers_bench import identity
from refers_bench.analysis.class_metrics import class_metrics
from refers_bench.analysis.stored_metrics import METRIC_COLUMNS
from refers_bench.data.imported.predictions import ImportedRun
from refers_bench.errors import UserError
from refers_bench.jobs.record import Record
from refers_bench.plan import lock
from refers_bench.store import schemas
from refers_bench.store.results import ResultStore

#: Raised when the stored files would differ for the same source.
RECIPE = 1
#: Where results may come from, besides a run of ours.
RELEASED, IMPORTED = "released", "imported"
#: What names a cell.
CELL = ("method", "dataset", "task", "label_ratio", "seed")


def publish(
    runs: Sequence[ImportedRun],
    *,
    results: Path,
    name: str,
    title: str,
    origin: str,
    command: str,
    tables: tuple[str, ...] = (),
    unread: Sequence[str] = (),
    probabilities: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> lock.Plan:
    """Store the predictions and metrics of each run, then the plan that lists them.

    Equal predictions are one result, whatever file they came from; what is stored already is left alone.

    Args:
        runs: read by `refers_bench.data`.
        results: the results folder.
        name: of the plan.
        title: of the report.
        origin: `RELEASED` or `IMPORTED`.
        command: how the import is done again, for the report.
        tables: of the paper, to be shown however few of their cells are there.
        unread: what of the source was not read ("column notes", or a file's path), for the report.
        probabilities: whether the scores are declared probabilities; of others no range is known.
        progress: called with (done, total) after each run.

    Raises:
        UserError: a plan of that name stands there that was not imported from such a source.
    """
    path = results / name / lock.LOCK
    if path.is_file() and (found := lock.read(path).manifest.get("origin", "run")) != origin:
        raise UserError(f"a plan '{name}' of another origin: {found}", allowed="another name: --name", path=path)
    store = ResultStore(results)
    jobs: dict[str, lock.Job] = {}
    cells = []
    for number, run in enumerate(runs):
        job = _job(run, origin)
        jobs.setdefault(job.key, job)
        if store.state(job.key) != "done":
            _store(run, job, store, origin)
        which = {name: getattr(run, name) for name in CELL}
        stated: dict[str, Any] = {name: getattr(run, name) for name in ("label", "footnotes", "selected_on", "crossed")}
        cells.append(lock.Cell(**which, key=job.key, **stated))
        progress(number + 1, len(runs))
    # Left out where there is nothing to say, as in the plans of earlier imports.
    about = {name: value for name, value in (("unread", list(unread)), ("probabilities", probabilities)) if value}
    plan = lock.Plan(
        name=name,
        title=title,
        manifest={"origin": origin, "command": command, **about},
        jobs=tuple(jobs.values()),
        cells=tuple(cells),
        tables=tables,
    )
    lock.write(plan, results)
    return plan


def _job(run: ImportedRun, origin: str) -> lock.Job:
    spec = {"kind": "import", "recipe": RECIPE, "origin": origin, **{name: getattr(run, name) for name in CELL}}
    spec |= {"classes": list(run.classes), "digest": run.digest}
    return lock.Job(key=identity.key(spec), kind="import", name=run.name, spec=spec)


def _store(run: ImportedRun, job: lock.Job, store: ResultStore, origin: str) -> None:
    facts = {
        "origin": origin,
        "images": {"test": len(run.image_ids)},
        "files": dict(run.files),
        "scores_merged_in_float32": run.merged,
    }
    where = {"imported": origin, "files": dict(run.files)}
    with Record(vars(job), store).published(facts, origin=where) as stage:
        schemas.write_table(stage / "predictions.parquet", _predictions(run), "predictions")
        schemas.write_table(stage / "metrics.parquet", _metrics(run), "metrics")


def _predictions(run: ImportedRun) -> Any:
    """Rows image x class as an Arrow table, image by image."""
    import pyarrow as pa

    images, classes = run.labels_NK.shape

    def column(values: Sequence[str], codes: Any) -> Any:
        strings = pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(values, pa.string()))
        return strings.cast(pa.string())

    image = np.repeat(np.arange(images, dtype=np.int32), classes)
    patients, place = np.unique(np.array(run.patient_ids, dtype=object), return_inverse=True)
    labels = run.labels_NK.ravel()
    return pa.table(
        {
            "image_id": column(run.image_ids, image),
            "patient_id": column(patients.tolist(), place.astype(np.int32)[image]),
            "class": column(run.classes, np.tile(np.arange(classes, dtype=np.int32), images)),
            "label": pa.array(labels, pa.int8(), mask=labels < 0),
            # From a buffer: NaN stays NaN and does not become null.
            "logit": pa.array(np.ascontiguousarray(run.scores_NK).ravel(), pa.float32(), from_pandas=False),
            "split": column(["test"], np.zeros(images * classes, np.int32)),
        }
    )


def _metrics(run: ImportedRun) -> Any:
    import pyarrow as pa

    found = class_metrics(run.labels_NK, run.scores_NK, run.classes, split="test", unscored=True)
    columns = {name: list(getattr(found, attribute)) for name, attribute in METRIC_COLUMNS.items()}
    schema = schemas.SCHEMAS["metrics"]
    return pa.table([columns[name] for name in schema.names], schema=schema)
