"""Plans the jobs that explain a finished cell: its attention maps, and the boxes that a threshold makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from refers_bench import identity, plugins
from refers_bench.errors import DataError, Problem, UserError, nearest
from refers_bench.manifest import packaged
from refers_bench.plan.lock import Cell, Job, Plan
from refers_bench.store.explanations import Explained
from refers_bench.store.plan import reader_of
from refers_bench.store.results import ResultStore

#: Raised when maps, or boxes and overlaps, of the same inputs would differ.
IMPL = {"attend": 1, "localise": 1}
DIGEST = "refers_bench.data.index:digest"


def cells_of(plan: Plan, patterns: Sequence[str]) -> list[Cell]:
    """Cells whose name, or whose job's name, matches a pattern; one of those that share a job.

    Raises:
        UserError: a pattern matches no cell.
    """
    names = {job.key: job.name for job in plan.jobs}
    chosen: dict[str, Cell] = {}
    for pattern in patterns:
        matching = [one for one in plan.cells if fnmatch(one.name, pattern) or fnmatch(names[one.key], pattern)]
        if not matching:
            close = nearest(pattern, [one.name for one in plan.cells])
            allowed = "names such as refers.nih_chestxray14.findings.100%.s0, with * for any part"
            raise UserError(f"--cell {pattern} matches no cell", allowed=allowed, nearest=close)
        for one in matching:
            chosen.setdefault(one.key, one)
    return list(chosen.values())


def check(plan: Plan, cells: Sequence[Cell], store: ResultStore) -> None:
    """Refuse what cannot be explained.

    Raises:
        UserError: cells that have not been run, or whose dataset has no annotated boxes.
    """
    jobs = {job.key: job for job in plan.jobs}
    problems = []
    for cell in cells:
        image = jobs[cell.key].spec.get("image", {})
        state = store.state(cell.key)
        if _dataset(reader_of(jobs[cell.key].spec)).boxes is None:
            having = [name for name in plugins.names("dataset") if _dataset(name).boxes is not None]
            found = f"{cell.name}: dataset {cell.dataset} has no annotated boxes"
            problems.append(Problem(found=found, allowed=", ".join(having)))
        elif image.get("fit", "stretch") != "stretch":
            found = f"{cell.name}: its images are cropped, and boxes are shares of whole images"
            problems.append(Problem(found=found, allowed="image.fit: stretch"))
        elif state != "done":
            job = jobs[cell.key]
            found = f"{cell.name} has no result ({job.unavailable or state})"
            allowed = f"a finished cell: refers-bench run {packaged.named(plan.manifest_path)} --only '{job.name}'"
            problems.append(Problem(found=found, allowed=allowed))
    if problems:
        raise UserError(problems)


def jobs_of(
    plan: Plan, cell: Cell, roots: Mapping[str, str], *, maps: Sequence[str], threshold: float, images: int
) -> tuple[list[Job], Explained]:
    """The jobs of one cell, needed ones first, and what a report will look for.

    Args:
        plan: holds the cell's own jobs.
        cell: finished.
        roots: data-root name -> path, under the dataset ids.
        maps: kinds of maps, of "rollout" and "class".
        threshold: cut of the stretched maps, in (0, 1).
        images: radiographs that a report shows.

    Raises:
        UserError: the annotated boxes cannot be read.
    """
    known = {job.key: job for job in plan.jobs}
    tuned = known[cell.key]
    prepare = known[tuned.spec["prepare"]]
    attend = _job(
        "attend",
        f"attend.{cell.name}",
        needs=(prepare.key,),
        cell=tuned.key,
        spec=dict(tuned.spec),
        data=dict(prepare.spec),
        boxes=_boxes_digest(prepare, roots),
    )
    localise = _job(
        "localise",
        f"localise.{cell.name}",
        needs=(prepare.key, attend.key),
        attend=attend.key,
        prepare=prepare.key,
        maps=list(maps),
        threshold=threshold,
        images=images,
    )
    explained = Explained(
        cell=cell.key,
        name=cell.name,
        attend=attend.key,
        localise=localise.key,
        maps=tuple(maps),
        threshold=threshold,
        images=images,
    )
    return [prepare, attend, localise], explained


def _job(kind: str, name: str, *, needs: tuple[str, ...], **spec: Any) -> Job:
    spec = {"kind": kind, "recipe": IMPL[kind], **spec}
    return Job(key=identity.key(spec), kind=kind, name=name, needs=needs, spec=spec)


def _dataset(name: str) -> plugins.Dataset:
    dataset: plugins.Dataset = plugins.load("dataset", name)
    return dataset


def _boxes_digest(prepare: Job, roots: Mapping[str, str]) -> str:
    """Identity of the annotated boxes; '' for phantoms, whose parameters are their identity."""
    if prepare.spec["phantom"]:
        return ""
    dataset = _dataset(reader_of(prepare.spec))
    assert dataset.boxes is not None
    root = roots.get(prepare.spec["dataset"])
    if root is None:
        found = f"data root '{prepare.spec['dataset']}' is not set"
        raise UserError(found, allowed="the folder with the annotated boxes")
    try:
        boxes = dataset.boxes(Path(root), dataset.Params(**prepare.spec["params"]))
    except DataError as error:
        raise UserError(error.problems) from error
    return str(plugins.resolve(DIGEST)(boxes))
