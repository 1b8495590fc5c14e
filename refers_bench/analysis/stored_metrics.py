"""Reads the stored metrics of results, and checks the files of results that reports read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from refers_bench.analysis.cells import NO_METRICS, ClassMetrics
from refers_bench.errors import Problem, UserError
from refers_bench.store import records

METRICS = "metrics.parquet"
#: Column of a stored metrics table and of `Results.metrics_frame` -> attribute of class metrics.
METRIC_COLUMNS = {
    "split": "splits",
    "class": "names",
    "auc": "aucs",
    "n_pos": "n_pos",
    "n_neg": "n_neg",
    "undefined": "undefined",
}
#: Files that reports read; whoever reads another one checks it himself (`ResultStore.file`).
READ = (
    *("predictions.parquet", METRICS, "history.parquet", "index.parquet"),
    *("annotated.parquet", "predicted.parquet", "overlaps.parquet", "shown.safetensors"),
)


def read_metrics(keys: Sequence[str], store: Path) -> list[ClassMetrics]:
    """The metrics of finished results, in the order of `keys`.

    Raises:
        UserError: see `refers_bench.store.schemas.read_table`.
    """
    shared: dict[Any, Any] = {}
    return [_metrics(store / key / METRICS, shared) for key in keys]


def checked_metrics(
    results: Sequence[tuple[str, Mapping[str, str], bool]], store: Path
) -> list[ClassMetrics | Problem]:
    """The metrics of finished results, or what is wrong with one of the files.

    Args:
        results: key, name -> recorded digest of the files to check, and whether it has metrics.
        store: of the results.
    """
    shared: dict[Any, Any] = {}
    found: list[ClassMetrics | Problem] = []
    for key, digests, measured in results:
        wrong = (one for name, digest in digests.items() if (one := records.problem(store / key / name, digest)))
        if (problem := next(wrong, None)) is None and measured:
            try:
                found.append(_metrics(store / key / METRICS, shared))
                continue
            except UserError as error:
                problem = replace(error.problems[0], allowed=records.REMEDY)
        found.append(problem or NO_METRICS)
    return found


def _metrics(path: Path, shared: dict[Any, Any]) -> ClassMetrics:
    """The metrics of one result.

    Args:
        path: of their table.
        shared: columns of other results: those of one target have the same classes and counts, which are kept once.
    """
    from refers_bench.store.schemas import read_table

    columns = read_table(path, "metrics").to_pydict()
    columns["undefined"] = [reason or "" for reason in columns["undefined"]]
    values = {attribute: tuple(columns[name]) for name, attribute in METRIC_COLUMNS.items()}
    alike = {name: shared.setdefault(column, column) for name, column in values.items() if name != "aucs"}
    return ClassMetrics(aucs=values["aucs"], **alike)
