"""Holds a plan, its jobs and its cells as typed records, and reads them from the plan's file.

Planning writes the file (`refers_bench.plan.lock`); execution, analysis and the command line read it here.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from refers_bench import plugin_files, plugins
from refers_bench.errors import Problem, UserError
from refers_bench.evaluations import DEFAULT
from refers_bench.files import parsed_json
from refers_bench.store import plan_check, plan_file
from refers_bench.store.collection import without_collection

#: Fields of cells that came later -> their defaults.
LATER: Mapping[str, Any] = {
    "evaluation": DEFAULT,
    "folds": 0,
    "floor": False,
    "selected_on": "",
    "crossed": (),
    "leaks": (),
    "candidate": (),
}
#: Fields of plans that came later; they are lists of texts.
LATER_OF_PLAN = ("changes", "plugins")
#: What crossed seeds draw, in the order of a combination -> its words.
CROSSED: Mapping[str, str] = {"subset": "label subset", "init": "initialisation", "order": "data order"}
#: Name of a plan's file, in the manifest's folder below the results.
LOCK = "plan.lock.json"


def known_names(results: Path) -> list[str]:
    """Names of all planned manifests below a results folder."""
    return sorted(path.parent.name for path in results.glob(f"*/{LOCK}"))


@dataclass(frozen=True, kw_only=True)
class Job:
    """One unit of execution.

    Attributes:
        key: content key of `spec`.
        kind: of a recipe, see `refers_bench.jobs.entry` ("noop" in tests).
        name: for people.
        needs: keys of jobs whose results it reads.
        spec: all that decides the result.
        unavailable: why it cannot run here; '' when it can.
    """

    key: str
    kind: str
    name: str
    needs: tuple[str, ...] = ()
    spec: Mapping[str, Any] = field(default_factory=dict)
    unavailable: str = ""

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Job:
        """The job that JSON holds."""
        return cls(**{**content, "needs": tuple(content["needs"])})


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One fine-tune result a table asks for: row name x task x label ratio x seed, and the job that gives it.

    Attributes:
        method: row name.
        label: row title.
        dataset: target id.
        task: of the target.
        label_ratio: share of the training images, in (0, 1].
        seed: of label subset, order, augmentation and head; the number of a combination where seeds are crossed.
        key: of the job; other cells and manifests may share it.
        synthetic: whether procedural radiographs are involved.
        footnotes: what a table must say of it.
        best_of: name of the row it competes for; '' for none.
        evaluation: of its column, see `refers_bench.evaluations`.
        folds: of the cross-validation whose folds it joins; 0 for the dataset's own split.
        floor: whether its row is a floor: what can be reached without looking at anatomy, and no competitor.
        selected_on: of imported results, what their checkpoint was chosen on (`refers_bench.evaluations.SELECTED_ON`);
            '' for ours, whose protocol says so.
        crossed: the combination's seed of each of `CROSSED`; () where seeds are not crossed.
        leaks: what is said of test images or patients that are in training or in the source, wherever its figure is.
        candidate: of tuning: each tuned constant with its value, "finetune.learning_rate=0.01"; () where nothing is
            tuned. Of the candidates of a row, column and seed, the best on validation stands in tables.
    """

    method: str
    label: str
    dataset: str
    task: str
    label_ratio: float
    seed: int
    key: str
    synthetic: bool = False
    footnotes: tuple[str, ...] = ()
    best_of: str = ""
    evaluation: str = DEFAULT
    folds: int = 0
    floor: bool = False
    selected_on: str = ""
    crossed: tuple[int, ...] = ()
    leaks: tuple[str, ...] = ()
    candidate: tuple[str, ...] = ()

    def recorded(self) -> dict[str, Any]:
        """As the plan file holds it: fields that came later are left out at their defaults."""
        later = {name: vars(self)[name] for name in LATER if vars(self)[name] == LATER[name]}
        return {name: value for name, value in vars(self).items() if name not in later}

    @property
    def name(self) -> str:
        """As its job is called, but with this cell's own row name."""
        where = (self.method, self.dataset, self.task, self.label_ratio, self.seed)
        return cell_name(*where, evaluation=self.evaluation, folds=self.folds, candidate=self.candidate)


def cell_name(
    method: str,
    dataset: str,
    task: str,
    label_ratio: float,
    seed: int,
    *,
    evaluation: str = DEFAULT,
    folds: int = 0,
    candidate: Sequence[str] = (),
) -> str:
    """Name of a cell, and of the job that gives it."""
    marks = (*_marks(evaluation, folds), *candidate_marks(candidate))
    return ".".join([f"{method}.{dataset}.{task}.{label_ratio * 100:g}%.s{seed}", *marks])


def column_name(dataset: str, task: str, label_ratio: float, *, evaluation: str = DEFAULT, folds: int = 0) -> str:
    """Name of a column: that of its cells without their rows, seeds and candidates."""
    return ".".join([f"{dataset}.{task}.{label_ratio * 100:g}%", *_marks(evaluation, folds)])


def candidate_marks(candidate: Sequence[str]) -> list[str]:
    """What a name says of a candidate of tuning: the last part of each constant, "learning_rate=0.01"."""
    pairs = (text.partition("=") for text in candidate)
    return [f"{name.rpartition('.')[2]}={value}" for name, _, value in pairs]


def _marks(evaluation: str, folds: int) -> list[str]:
    """What a name says of an evaluation and of folds; nothing of the defaults."""
    return [*([evaluation] if evaluation != DEFAULT else []), *([f"{folds}folds"] if folds else [])]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A manifest, expanded.

    Attributes:
        name: folder below the results.
        title: of the report.
        manifest_path: as the user gave it (not part of any key).
        manifest: its content, for the record.
        jobs: each once, needed ones first.
        cells: in the manifest's order.
        values: name -> {"value", "origin", "stated", "overridden"} of every resolved constant, with "deviation" where
            there is one; a row's parameters also have "official" and "where" of their source, its constants a "source",
            {"value", "where"}, where its method has one of its own.
        roots: data-root names its jobs read, with the id each stands for.
        execution: how jobs are to run.
        tables: reports this manifest is for.
        images: key of a prepare job -> images it has, as far as known.
        changes: options of the command line that changed the manifest, as they are typed.
        plugins: absolute files and folders of plug-ins that the manifest, or the command line with it, names.
    """

    name: str
    title: str = ""
    manifest_path: str = ""
    manifest: Mapping[str, Any] = field(default_factory=dict)
    jobs: tuple[Job, ...] = ()
    cells: tuple[Cell, ...] = ()
    values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    roots: Mapping[str, str] = field(default_factory=dict)
    execution: Mapping[str, Any] = field(default_factory=dict)
    tables: tuple[str, ...] = ()
    images: Mapping[str, int] = field(default_factory=dict)
    changes: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()

    def recorded(self) -> dict[str, Any]:
        """As the plan file holds it: fields that came later are left out where they are empty."""
        return {name: value for name, value in vars(self).items() if value or name not in LATER_OF_PLAN}


def reader_of(spec: Mapping[str, Any]) -> str:
    """Id of the dataset plug-in that reads the data of a specification: that of the dataset, but for one's own images.

    Args:
        spec: with "dataset"; "reader" stands beside it where a manifest gave the data their name.
    """
    return str(spec.get("reader") or spec["dataset"])


def source_parts(spec: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """The source datasets of a discovery or pre-training, in the order of their ids: one mapping, or a list of several.

    Args:
        spec: of the job; each part has "dataset", "params" and "prepare", the key of its preparation.
    """
    source = spec["source"]
    return (source,) if isinstance(source, Mapping) else tuple(source)


def source_name(spec: Mapping[str, Any]) -> str:
    """Ids of the source datasets of a discovery or pre-training, as jobs are named by them: ``a+b``."""
    return "+".join(str(part["dataset"]) for part in source_parts(spec))


def source_task(spec: Mapping[str, Any]) -> str:
    """The task whose labels a pre-training may read; '' for none, as of several sources, whose labels differ."""
    first, *others = source_parts(spec)
    return "" if others else str(first.get("task", ""))


def last(path: Path) -> Plan | None:
    """The lock at `path`; None where there is none that this version can read."""
    try:
        return read(path)
    except UserError:
        return None


def keys(path: Path) -> set[str] | None:
    """Keys of the jobs of the lock at `path`, or None when there is none that this version can read."""
    return keys_of(held(path))


def keys_of(content: Mapping[str, Any]) -> set[str] | None:
    """Keys of the jobs of a lock's content, or None where it is no complete one."""
    try:
        return {job["key"] for job in content["jobs"]}
    except (KeyError, TypeError):
        return None


def held(path: Path) -> dict[str, Any]:
    """The content of the lock at `path`; nothing when there is none that this version can read."""
    try:
        return _content(path)
    except UserError:
        return {}


def read(path: Path) -> Plan:
    """Read a lock; its plug-ins are known from then on, as far as their files are still there.

    Raises:
        UserError: missing, not JSON, of another version, or not what `checked` accepts.
    """
    with _complete(path), without_collection():
        content = _content(path)
        _refuse(plan_check.parts(content), path)
        content = plan_file.unpacked(content)
        content.pop("version")
        jobs = tuple([Job.of(job) for job in content.pop("jobs")])
        cells = tuple([Cell(**cell | _tuples(cell)) for cell in content.pop("cells")])
        lists = {name: tuple(content.get(name, ())) for name in ("tables", *LATER_OF_PLAN)}
        plan = checked(Plan(**{**content, "jobs": jobs, "cells": cells, **lists}), path)
        plugins.use(place for path in plan.plugins if plugin_files.is_place(place := Path(path)))
        return plan


def checked(plan: Plan, path: Path) -> Plan:
    """The plan, whose jobs and cells are those of a plan; see `refers_bench.store.plan_check`.

    Args:
        plan: that was made, or read.
        path: of its file, for the error.

    Raises:
        UserError: they are not: the first thing that is wrong.
    """
    _refuse(plan_check.jobs(plan.jobs), path)
    _refuse(plan_check.cells(plan.cells, {job.key for job in plan.jobs}, levels=len(CROSSED)), path)
    return plan


def _refuse(problems: Iterator[str], path: Path) -> None:
    if found := [
        Problem(found=f"no complete plan ({text})", allowed="plan the manifest again", path=path) for text in problems
    ]:
        raise UserError(found)


def _tuples(cell: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """The lists of a cell in JSON as what they are in `Cell`."""
    return {name: tuple(cell[name]) for name in ("footnotes", "crossed", "leaks", "candidate") if name in cell}


def outline(path: Path) -> Plan:
    """The name, the title and the jobs of a lock, without specifications: a view of the progress needs no more.

    Raises:
        UserError: missing, not JSON, or of another version.
    """
    with _complete(path), without_collection():
        content = _content(path)
        _refuse(plan_check.parts(content), path)
        jobs = [
            Job(
                key=job["key"],
                kind=job["kind"],
                name=job["name"],
                needs=tuple(job["needs"]),
                unavailable=job.get("unavailable", ""),
            )
            for job in content["jobs"]
        ]
        _refuse(plan_check.jobs(jobs), path)
        return Plan(name=content["name"], title=content.get("title", ""), jobs=tuple(jobs))


@contextlib.contextmanager
def _complete(path: Path) -> Iterator[None]:
    """Raises what is missing in a file, or of another type, as a `UserError`."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"no complete plan ({error})", allowed="plan the manifest again", path=path) from error


def _content(path: Path) -> dict[str, Any]:
    """What the file holds.

    Raises:
        UserError: missing, not JSON, or of another version.
    """
    try:
        content = parsed_json(path.read_bytes(), parse_constant=_no_number)
    except FileNotFoundError as error:
        raise UserError("no plan here", allowed="'refers-bench plan MANIFEST' writes one", path=path) from error
    except json.JSONDecodeError as error:
        place: dict[str, Any] = {"path": path, "line": error.lineno, "column": error.colno}
        raise UserError(f"not JSON: {error.msg}", allowed="plan the manifest again", **place) from error
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"cannot read: {error}", allowed="a plan", path=path) from error
    if not isinstance(content, dict) or content.get("version") not in plan_file.READABLE:
        raise UserError("a plan of another version", allowed="plan the manifest again", path=path)
    return content


def _no_number(text: str) -> None:
    """Refuses NaN and infinities, which JSON does not have: no plan could be written with them again."""
    raise ValueError(f"{text} is no JSON")
