"""Makes an entry of a registry of results, and reads the entries of others without trusting them.

An entry holds the digest of a bundle, metrics of every cell and class, and provenance: no image or patient ids, no
predictions, no paths. A registry is a folder of entries.
"""

from __future__ import annotations

import math
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from refers_bench import __version__
from refers_bench.analysis.bundle import environment
from refers_bench.analysis.cards import cards
from refers_bench.analysis.cells import ClassMetric, ClassMetrics, PlannedRun, Target
from refers_bench.analysis.results import Results
from refers_bench.analysis.statistics.seeds import DONE
from refers_bench.errors import Problem, UserError
from refers_bench.evaluations import Evaluation
from refers_bench.manifest.schema_errors import allowed
from refers_bench.store.plan import Cell, Plan
from refers_bench.store.scrubbing import Scrubber, roots_of

#: Largest file that is read, and largest difference of a mean that is rounding.
_LARGEST, _ROUNDING = 64 << 20, 1e-9
_Auc = Annotated[float, Field(ge=0, le=1)]
#: What a double holds exactly.
_Count = Annotated[int, Field(ge=0, le=2**53)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class ClassEntry(_Part):
    """One class on one split; see `refers_bench.analysis.cells.ClassMetric`."""

    name: str
    split: Literal["test", "val"]
    auc: _Auc | None
    n_pos: _Count
    n_neg: _Count
    undefined: str


class CellEntry(_Part):
    """One cell; see `refers_bench.store.plan.Cell`."""

    method: str
    label: str
    dataset: str
    task: str
    label_ratio: Annotated[float, Field(gt=0, le=1)]
    evaluation: Evaluation
    folds: _Count
    seed: int
    crossed: tuple[int, ...]
    synthetic: bool
    floor: bool
    selected_on: Literal["", "val", "test", "none", "unknown"]
    footnotes: tuple[str, ...]
    key: str
    state: Literal["done", "failed", "unavailable", "missing"]
    reason: str
    n_classes: _Count
    mean_auc: _Auc | None
    classes: tuple[ClassEntry, ...]

    @property
    def planned(self) -> PlannedRun:
        """As reports know a cell; its mean is computed from its classes."""
        names = set(Cell.__dataclass_fields__) & set(type(self).model_fields)
        cell = Cell(**{name: getattr(self, name) for name in names})
        metrics = ClassMetrics.of(ClassMetric(**dict(one)) for one in self.classes) if self.classes else ClassMetrics()
        return PlannedRun.of(cell, metrics, state=self.state, reason=self.reason, n_classes=self.n_classes)


class BundleEntry(_Part):
    """The archive that the entry was made from: `results bundle` writes it."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: _Count


class DatasetEntry(_Part):
    """A dataset's card, in short."""

    label: str
    source: str
    licence: str


class GitEntry(_Part):
    """The checkout that ran."""

    commit: str | None = None
    dirty: bool | None = None
    reason: str | None = None


class HardwareEntry(_Part):
    """The machine, without its name."""

    cpu: str | None = None
    cores: _Count | None = None
    memory_bytes: _Count | None = None
    platform: str | None = None


class GpuEntry(_Part):
    """The GPU."""

    name: str | None = None


class EnvironmentEntry(_Part):
    """What of jobs' provenance is published: nothing that names a machine or a user."""

    jobs: _Count
    git: GitEntry = GitEntry()
    packages: dict[str, str] = {}
    hardware: HardwareEntry = HardwareEntry()
    gpu: GpuEntry = GpuEntry()

    @classmethod
    def of(cls, provenance: Mapping[str, Any], jobs: int) -> EnvironmentEntry:
        """The part of a provenance that is published."""
        parts: dict[str, type[_Part]] = {"git": GitEntry, "hardware": HardwareEntry, "gpu": GpuEntry}
        found = {
            name: {one: (provenance.get(name) or {}).get(one) for one in part.model_fields}
            for name, part in parts.items()
        }
        return cls.model_validate({"jobs": jobs, "packages": provenance.get("packages") or {}, **found}, strict=False)


class Entry(_Part):
    """What is published of one manifest's results.

    Attributes:
        version: of this schema.
        name: of the manifest.
        title: likewise.
        written_by: program and version.
        bundle: digest of the archive.
        origin: "run", "released" or "imported".
        protocol: preset of training constants.
        limit: images of each split that were used; 0 for all.
        changes: options that changed the manifest.
        commands: how the results are made again.
        datasets: id -> card.
        environments: code, packages and machine, with the number of jobs that ran so.
        cells: metrics.
    """

    version: Literal[1]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$", max_length=200)]
    title: str
    written_by: str
    bundle: BundleEntry
    origin: Literal["run", "released", "imported"]
    protocol: str
    limit: _Count
    changes: tuple[str, ...]
    commands: tuple[str, ...]
    datasets: dict[str, DatasetEntry]
    environments: tuple[EnvironmentEntry, ...]
    cells: Annotated[tuple[CellEntry, ...], Field(min_length=1)]

    @property
    def results(self) -> Results:
        """As reports know results, with nothing in a store."""
        planned = tuple(cell.planned for cell in self.cells)
        return Results(name=self.name, plan=Plan(name=self.name), store=Path(), planned=planned)

    @property
    def file_name(self) -> str:
        """Name of its file."""
        return f"{self.name}-{self.bundle.sha256[:12]}.json"


def entry(results: Results, *, cache: Path, sha256: str, size: int, commands: Iterable[str]) -> Entry:
    """The entry of a manifest's results.

    Args:
        results: of the manifest.
        cache: folder of prepared images, whose path is replaced where it occurs.
        sha256: of its bundle.
        size: of its bundle, in bytes.
        commands: how the results are made again.

    Raises:
        UserError: no cell has a figure.
    """
    if not any(planned.run.counts for planned in results.planned):
        raise UserError(f"no cell of '{results.name}' has a figure", allowed="finished results")
    folders = {
        "results": str(results.store.parent),
        "cache": str(cache),
        "python": sys.prefix,
        "home": str(Path.home()),
    }
    scrub = Scrubber({**roots_of(results.records.values()), **folders})
    content = {
        "version": 1,
        "name": results.name,
        "title": results.plan.title,
        "written_by": f"refers-bench {__version__}",
        "bundle": {"sha256": sha256, "bytes": size},
        "origin": results.origin,
        "protocol": str((results.plan.manifest.get("protocol") or {}).get("preset", "")),
        "limit": results.limit,
        "changes": tuple(results.plan.changes),
        "commands": tuple(commands),
        "datasets": {
            name: {"label": card.label, "source": card.source, "licence": card.licence}
            for name, card in cards(results).items()
        },
        "environments": [
            EnvironmentEntry.of(one["provenance"], len(one["jobs"])).model_dump() for one in environment(results)
        ],
        "cells": tuple(_cell(one, results.imported(one.run.key)) for one in results.planned),
    }
    clean = scrub.value(content)
    # Names of rows and labels that tables compare by are left alone above; here they are published.
    clean["cells"] = [{name: _scrubbed(value, scrub) for name, value in cell.items()} for cell in clean["cells"]]
    return Entry.model_validate(clean, strict=False)


def _scrubbed(value: Any, scrub: Scrubber) -> Any:
    return scrub.text(value) if isinstance(value, str) else value


def _cell(planned: PlannedRun, imported: tuple[str, ...]) -> dict[str, Any]:
    run, target = planned.run, planned.target
    return {
        "method": planned.method,
        "label": planned.label,
        **{name: getattr(target, name) for name in Target.__dataclass_fields__},
        "seed": run.seed,
        "crossed": run.crossed,
        "synthetic": planned.synthetic,
        "floor": planned.floor,
        "selected_on": run.selected_on,
        "footnotes": (*planned.footnotes, *planned.leaks, *imported),
        "key": run.key,
        "state": run.state,
        "reason": run.reason,
        "n_classes": run.n_classes,
        "mean_auc": run.mean_auc if run.counts else None,
        "classes": [one._asdict() for one in planned.metrics],
    }


def read(folder: Path) -> tuple[Entry, ...]:
    """All entries below a folder, in the order of their paths.

    Raises:
        UserError: none, or one problem for each file that is no sound entry.
    """
    paths = sorted(path for path in folder.rglob("*.json") if not path.name.startswith("."))
    if not paths:
        raise UserError("no entry here", allowed="files that 'refers-bench results publish' wrote", path=folder)
    entries: dict[Path, Entry] = {}
    problems: list[Problem] = []
    first: dict[str, Path] = {}
    for path in paths:
        found = _read(path)
        if isinstance(found, Entry) and (same := first.setdefault(found.bundle.sha256, path)) != path:
            found = Problem(found=f"the bundle of {same} once more", allowed="one entry for each bundle", path=path)
        if isinstance(found, Problem):
            problems.append(found)
        else:
            entries[path] = found
    if problems:
        raise UserError(problems)
    return tuple(entries.values())


def _read(path: Path) -> Entry | Problem:
    """The entry of a file, or the first of what is wrong with it."""
    about = path.lstat()
    if not stat.S_ISREG(about.st_mode) or about.st_size > _LARGEST:
        return Problem(found="a link, no file, or a file of more than 64 MiB", allowed="an entry", path=path)
    try:
        found = Entry.model_validate_json(path.read_bytes())
    except OSError as error:
        return Problem(found=f"cannot read: {error.strerror}", allowed="an entry", path=path)
    except ValidationError as error:
        detail, more = error.errors()[0], error.error_count() - 1
        where = ".".join(map(str, detail["loc"])) or "the file"
        value = {"missing": "missing", "extra_forbidden": "unknown key", "json_invalid": "not JSON"}
        text = value.get(detail["type"]) or f"is {detail['input']!r}"[:80]
        rest = f" (and {more} more)" if more else ""
        return Problem(found=f"{where}: {text}{rest}", allowed=allowed(detail), path=path)
    wrong = next(_unsound(found.cells), "")
    return Problem(found=wrong, allowed="an entry as 'results publish' writes it", path=path) if wrong else found


def _unsound(cells: Sequence[CellEntry]) -> Iterator[str]:
    """What in an entry contradicts itself."""
    seen = set()
    for place, cell in enumerate(cells):
        planned, where = cell.planned, f"cells.{place}"
        if (planned.method, planned.target, cell.seed) in seen:
            yield f"{where}: a cell that stands there before"
        seen.add((planned.method, planned.target, cell.seed))
        for number, one in enumerate(cell.classes):
            if (one.auc is None) != bool(one.undefined):
                yield f"{where}.classes.{number}: an AUC, or else a reason why it is undefined, is needed"
        mean = planned.run.mean_auc if planned.run.counts else math.nan
        if cell.state != DONE and cell.classes:
            yield f"{where}: has metrics and is {cell.state}"
        same = math.isnan(mean) if cell.mean_auc is None else abs(cell.mean_auc - mean) <= _ROUNDING
        if not same:
            yield f"{where}.mean_auc: is {cell.mean_auc}, its classes give {None if math.isnan(mean) else mean}"
