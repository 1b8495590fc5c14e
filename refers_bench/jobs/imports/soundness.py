"""Checks results that somebody else computed: every key, record, cell and metric against what it was made from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from refers_bench import identity
from refers_bench.analysis.bundle import WHOLE
from refers_bench.analysis.cells import ClassMetric
from refers_bench.analysis.class_metrics import class_metrics
from refers_bench.analysis.predictions import FILE, UNKNOWN, read
from refers_bench.analysis.results import Results
from refers_bench.analysis.stored_metrics import read_metrics
from refers_bench.errors import CATEGORIES, Problem, UserError
from refers_bench.jobs.imports.placing import misplaced
from refers_bench.plan.graph import IMPL
from refers_bench.store import schemas

#: Kinds of jobs that a plan may hold.
KINDS = (*IMPL, "import")
#: Splits that a result has scores of, those of ours in the order of `refers_bench.jobs.cells.SCORED`.
OURS, IMPORTED = ("test", "val"), ("test",)
#: Most rows of a table; of predictions, 15 classes of 200,000 images in both splits take 6 million.
_MOST_ROWS = {"metrics": 10_000, "history": 5_000_000, "predictions": 10_000_000}
#: Largest difference of a recomputed AUC that is rounding.
_ROUNDING = 1e-9
#: Differences of one table that are reported.
_NAMED = 5
#: Fields of a record that reports read -> their types; others may be left out.
_NUMBER, _MAPPING = (int, float, type(None)), (dict, type(None))
_OF_RECORD: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("wall_s", "peak_mem_bytes", "attempts"), _NUMBER),
    **dict.fromkeys(("facts", "provenance", "origin"), _MAPPING),
    "name": (str,),
    "started": (str, type(None)),
}
_OF_PROVENANCE = ("git", "packages", "hardware", "roots", "gpu", "scheduler")


def check_tables(store: Path) -> None:
    """Refuse tables that would fill the memory, before any is read.

    Raises:
        UserError: see `refers_bench.store.schemas.refuse_large`.
    """
    for kind, rows in _MOST_ROWS.items():
        for path in sorted(store.glob(f"*/{kind}.parquet")):
            schemas.refuse_large(path, kind, rows=rows)


def check(results: Results, *, progress: Callable[[int, int], None] = lambda done, total: None) -> int:
    """Check that keys follow from specifications, cells from jobs, and metrics from predictions.

    Returns:
        How many results had their metrics computed again: all that have metrics.

    Raises:
        UserError: what does not fit what it was made from, or has nothing that it could be checked against.
    """
    problems = [Problem(found=text) for text in (*_of_jobs(results), *misplaced(results))]
    for key, record in results.records.items():
        path = results.store / key
        problems += [Problem(found=text, path=path) for text in _of_record(key, record, results)]
    for key, failure in results.failures.items():
        if failure.get("category") not in CATEGORIES[1:] or not isinstance(failure.get("message", ""), str):
            found = "a failure without a category or message as failures have them"
            problems.append(Problem(found=found, path=results.store / f"{key}.failed.json"))
    problems += [replace(one, allowed="as its record lists it") for one in results.damaged.values()]
    if problems:
        raise UserError(problems)
    whole = [key for key in results.records if results.jobs[key].kind in WHOLE]
    for place, key in enumerate(whole):
        problems += [Problem(found=text, path=results.store / key) for text in _of_tables(key, results)]
        progress(place + 1, len(whole))
    if problems:
        raise UserError(problems)
    return len(whole)


def _of_jobs(results: Results) -> Iterator[str]:
    """Jobs of unknown kinds, or whose keys do not follow from their specifications."""
    for key, job in results.jobs.items():
        if job.kind not in KINDS or job.spec.get("kind") != job.kind:
            yield f"job {job.name}: its kind is {job.kind!r}; known: {', '.join(KINDS)}"
        elif _key(job.spec) != key:
            yield f"job {job.name}: its key is not that of its specification"
        elif job.kind in WHOLE and not _names(job.spec.get("classes")):
            yield f"job {job.name}: its specification has no list of classes"


def _key(value: Any) -> str:
    """Content key of a value; '' for one that has none: NaN, or too deep."""
    try:
        return identity.key(value)
    except (TypeError, ValueError, RecursionError):
        return ""


def _names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value) and len(set(value)) == len(value) > 0


def _of_record(key: str, record: Mapping[str, Any], results: Results) -> Iterator[str]:
    """What a record says that its job in the plan does not."""
    job = results.jobs[key]
    if record.get("key") != key or record.get("kind") != job.kind or record.get("category") != "ok":
        yield f"run {key}: its record is that of {record.get('key')}, a {record.get('kind')}, {record.get('category')}"
    elif _key(record.get("spec")) != key:
        yield f"run {key}: its record has another specification than its job"
    elif not _key(record):
        yield f"run {key}: its record holds what JSON does not have"
    for name, types in _OF_RECORD.items():
        if type(record.get(name)) not in types:
            yield f"run {key}: '{name}' of its record is {record.get(name)!r:.80}"
    provenance = record.get("provenance")
    for name, value in provenance.items() if isinstance(provenance, dict) else ():
        if name in _OF_PROVENANCE and not isinstance(value, dict | None):
            yield f"run {key}: '{name}' of its provenance is no mapping"


def _of_tables(key: str, results: Results) -> Iterator[str]:
    """Classes of a result whose metrics are not those of its predictions; all of them must be there."""
    job, path = results.jobs[key], results.store / key / FILE
    splits = IMPORTED if job.kind == "import" else OURS
    if wrong := list(_of_rows(path, splits, finite=job.kind != "import")):
        yield from wrong
        return
    (stored,) = read_metrics([key], results.store)
    expected: list[ClassMetric] = []
    for split in splits:
        found = read(path, split=split, classes=job.spec["classes"])
        unscored = job.kind == "import"
        expected += class_metrics(found.labels_NK, found.scores_NK, found.classes, split=split, unscored=unscored)
    yield from _differences(job.name, stored, expected)


def _of_rows(path: Path, splits: Iterable[str], *, finite: bool) -> Iterator[str]:
    """Values that predictions do not have."""
    import pyarrow.compute as pc

    table = schemas.read_table(path, "predictions", as_dictionaries=["image_id", "patient_id", "class", "split"])
    found = pc.unique(table["split"]).to_pylist()
    if not set(found) <= set(splits):
        yield f"{FILE}: the splits {', '.join(map(repr, found))}; known: {', '.join(splits)}"
    if pc.any(pc.equal(table["label"], UNKNOWN)).as_py():
        yield f"{FILE}: labels of {UNKNOWN}; a label is 1, 0 or null"
    if finite and not (pc.all(pc.is_finite(table["logit"])).as_py() or not len(table)):
        yield f"{FILE}: scores that are not finite"


def _differences(name: str, stored: Iterable[ClassMetric], expected: Iterable[ClassMetric]) -> Iterator[str]:
    """What a table of metrics says that the predictions do not, up to `_NAMED` differences."""
    has = [(one.split, one.name, one) for one in stored]
    wants = {(one.split, one.name): one for one in expected}
    found = [f"{split}, class '{of}': its metrics have it, its predictions do not" for split, of, _ in has
             if (split, of) not in wants]  # fmt: skip
    if len({place[:2] for place in has}) < len(has):
        found.append("its metrics have a class twice")
    given = {(split, of): one for split, of, one in has}
    for (split, of), want in wants.items():
        one = given.get((split, of))
        if one is None:
            found.append(f"{split}, class '{of}': its metrics lack it")
        elif not _equal(one, want):
            found.append(f"{split}, class '{of}': its predictions give {_said(want)}, its metrics say {_said(one)}")
    yield from (f"{name}, {text}" for text in found[:_NAMED])
    if len(found) > _NAMED:
        yield f"{name}: {len(found) - _NAMED} more classes differ"


def _equal(one: ClassMetric, other: ClassMetric) -> bool:
    aucs = [math.nan if auc is None else auc for auc in (one.auc, other.auc)]
    same = one.auc is other.auc or abs(aucs[0] - aucs[1]) <= _ROUNDING  # NaN is close to nothing
    return same and (one.n_pos, one.n_neg, one.undefined) == (other.n_pos, other.n_neg, other.undefined)


def _said(one: ClassMetric) -> str:
    """A metric in words."""
    auc = f"no AUC ({one.undefined})" if one.auc is None else f"{one.auc:.6f}"
    return f"{auc} (n {one.n_pos} + {one.n_neg})"
