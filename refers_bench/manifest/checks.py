"""Checks what a manifest's schema cannot: that names exist, parameters fit, and nothing is asked for twice.

Each part is checked by itself, so that one wrong entry hides no other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from refers_bench import plugins
from refers_bench.errors import Problem
from refers_bench.manifest import declared, schema_errors
from refers_bench.manifest.analysis_schema import AnalysisPart, PrimaryPart
from refers_bench.manifest.part import Part
from refers_bench.manifest.schema import ROOT_NAME, DataPart, MethodPart, SourcePart, TargetPart
from refers_bench.manifest.yaml_text import Document, Loc

P = TypeVar("P", bound=Part)


def part_of(model: type[P], content: Any) -> P | None:
    """A part of the manifest, or None where the schema refuses it (which is reported elsewhere)."""
    try:
        return model.model_validate(content)
    except ValidationError:
        return None


def parts_of(model: type[P], content: Any) -> list[tuple[int, P]]:
    """Index and value of each entry of a list that the schema accepts."""
    parts = enumerate(part_of(model, item) for item in (content if isinstance(content, list) else []))
    return [(index, part) for index, part in parts if part is not None]


def sources_of(content: Any) -> list[tuple[Loc, SourcePart]]:
    """Place and value of each source dataset that the schema accepts."""
    if isinstance(content, list):
        return [(("source", i), part) for i, part in parts_of(SourcePart, content)]
    part = part_of(SourcePart, content)
    return [] if part is None else [(("source",), part)]


def problems(content: Mapping[str, Any], document: Document) -> Iterator[Problem]:
    """Everything the schema cannot see.

    Args:
        content: merged values; methods as mappings.
        document: the same with places.
    """
    checks = _Checks(
        document=document,
        sources=sources_of(content.get("source")),
        targets=parts_of(TargetPart, content.get("targets")),
        methods=parts_of(MethodPart, content.get("methods")),
        own=own_readers(content.get("data")),
    )
    seeds, methods, tables = content.get("seeds"), content.get("methods"), content.get("tables")
    yield from checks.of_methods(len(seeds) if isinstance(seeds, list) else 0)
    if isinstance(seeds, Mapping):
        yield from checks.of_crossed_seeds()
    if isinstance(methods, list) and len(checks.methods) == len(methods):
        yield from checks.of_unused_targets()
    yield from checks.of_sources()
    yield from checks.of_targets()
    yield from checks.of_folds()
    yield from checks.of_data(content.get("data"))
    if (analysis := part_of(AnalysisPart, content.get("analysis"))) is not None:
        yield from checks.of_analysis(analysis)
    known = list(plugins.names("report"))
    for i, table in enumerate(tables if isinstance(tables, list) else []):
        if isinstance(table, str) and table not in known:
            yield document.unknown(("tables", i), "report", table, known)


def shown_rows(methods: Iterable[MethodPart]) -> list[str]:
    """Names of the rows as tables show them: rows that compete for one under the name of that one."""
    return list(dict.fromkeys(part.best_of or part.name or part.id for part in methods))


def _pretrains(method: MethodPart) -> bool:
    """Whether a row pre-trains; False where its method or parameters are wrong (which is reported elsewhere)."""
    if method.id not in plugins.names("method"):
        return False
    plugin: plugins.Method = plugins.load("method", method.id)
    try:
        return plugin.pretrains(plugin.Params(**method.params))
    except ValidationError:
        return False


def own_readers(content: Any) -> dict[str, str]:
    """Name of one's own images -> the key under which they are declared, whether or not it is a reader's id."""
    parts = {name: part_of(DataPart, item) for name, item in (content if isinstance(content, dict) else {}).items()}
    return {name: next(iter(part.readers)) for name, part in parts.items() if part is not None and part.readers}


@dataclass(frozen=True, kw_only=True)
class _Checks:
    """The parts of a manifest that the schema accepts.

    Attributes:
        document: the manifest with places.
        sources: with their places.
        targets, methods: with their indices.
        own: see `_own`.
    """

    document: Document
    sources: list[tuple[Loc, SourcePart]]
    targets: list[tuple[int, TargetPart]]
    methods: list[tuple[int, MethodPart]]
    own: dict[str, str]

    def of_methods(self, seeds: int) -> Iterator[Problem]:
        rows: dict[str, int] = {}
        names = {part.name or part.id for _, part in self.methods}
        datasets = list(dict.fromkeys(target.dataset for _, target in self.targets))
        for i, method in self.methods:
            here: Loc = ("methods", i)
            yield from self.of_plugin("method", method.id, method.params, here, "id")
            row = method.name or method.id
            if row in rows:
                found = f"row name '{row}' is used by methods {rows[row] + 1} and {i + 1}"
                yield self.document.problem(here, found, allowed="a name of its own for each row")
            rows[row] = i
            if method.best_of in names:
                found = f"best_of is '{method.best_of}', which is a row itself"
                yield self.document.problem((*here, "best_of"), found, allowed="a name that no row has")
            for j, name in enumerate(method.targets or ()):
                if name not in datasets:
                    yield self.document.unknown((*here, "targets", j), "dataset among the targets", name, datasets)
            if seeds and len(method.pretrain_seeds) not in (1, seeds):
                found = f"{len(method.pretrain_seeds)} pretrain_seeds for {seeds} seeds"
                allowed = f"one, or {seeds}: one for each seed"
                yield self.document.problem((*here, "pretrain_seeds"), found, allowed=allowed)

    def of_crossed_seeds(self) -> Iterator[Problem]:
        """Rows with several pre-trainings: each would differ between combinations in more than the crossed seeds."""
        for i, method in self.methods:
            if len(method.pretrain_seeds) > 1:
                found = f"{len(method.pretrain_seeds)} pretrain_seeds with crossed seeds"
                place: Loc = ("methods", i, "pretrain_seeds")
                yield self.document.problem(place, found, allowed="one pretrain_seed, or a list of seeds")

    def of_sources(self) -> Iterator[Problem]:
        first: dict[str, Loc] = {}
        for here, source in self.sources:
            yield from self.of_dataset(source, here)
            same = first.setdefault(source.dataset, here)
            if same != here:
                found = f"sources {int(same[-1]) + 1} and {int(here[-1]) + 1} are both {source.dataset}"
                yield self.document.problem((*here, "dataset"), found, allowed="each source dataset once")
        for i, method in self.methods if len(first) > 1 else ():
            if method.id in plugins.names("method") and "labels" in plugins.load("method", method.id).needs:
                # Source datasets have classes of their own: there is no task that all of them are labelled for.
                found = f"method {method.id} is pre-trained on labels, and there are {len(first)} source datasets"
                allowed = "one source dataset, or methods that need images or reports alone"
                yield self.document.problem(("methods", i, "id"), found, allowed=allowed)
        for i, method in self.methods if "source" not in self.document.content else ():
            if _pretrains(method):
                found = f"row '{method.name or method.id}' pre-trains, and the manifest has no 'source'"
                allowed = "source: {dataset: ID}, or rows that do not pre-train"
                yield self.document.problem(("methods", i), found, allowed=allowed)

    def of_unused_targets(self) -> Iterator[Problem]:
        """Targets that every row leaves out."""
        rows = [method.targets for _, method in self.methods]
        for i, target in self.targets:
            if rows and not any(row is None or target.dataset in row for row in rows):
                found, allowed = f"no row is for {target.dataset}", "a target that a method's 'targets' names"
                yield self.document.problem(("targets", i), found, allowed=allowed)

    def of_targets(self) -> Iterator[Problem]:
        first: dict[str, int] = {}
        cells: set[tuple[Any, ...]] = set()
        for i, target in self.targets:
            name, here = target.dataset, ("targets", i)
            yield from self.of_dataset(target, here)
            if any(one.dataset == name and one.params != target.params for _, one in self.sources):
                # Another split of the same images could put test patients into pre-training.
                found = f"source and target are both {name}, with different params"
                yield self.document.problem((*here, "params"), found, allowed="the same params for both")
            same = first.setdefault(name, i)
            if target.params != dict(self.targets)[same].params:
                # Cells are told apart by dataset, task, ratio and seed.
                found = f"targets {same + 1} and {i + 1} are both {name}, with different params"
                yield self.document.problem((*here, "params"), found, allowed="one manifest for each")
            yield from self.of_subsets(target, here)
            reader = self.own.get(name, name)
            known = list(plugins.load("dataset", reader).tasks) if reader in plugins.names("dataset") else target.tasks
            for j, task in enumerate(target.tasks):
                if task not in known:
                    yield self.document.unknown((*here, "tasks", j), f"task of {name}", task, known)
                for k, ratio in enumerate(target.label_ratios):
                    asked = {(name, task, ratio, way, target.folds) for way in target.evaluation}
                    if asked & cells:
                        found = f"{name} {task} at {ratio * 100:g}% is asked for twice"
                        twice = ("tasks", j) if task in target.tasks[:j] else ("label_ratios", k)
                        yield self.document.problem((*here, *twice), found, allowed="each task and label ratio once")
                    cells |= asked

    def of_subsets(self, target: TargetPart, here: Loc) -> Iterator[Problem]:
        """Published label subsets: each at a label ratio of the target's own, that the target asks for."""
        first: dict[float, str] = {}
        for name, ratio in target.subsets.items():
            place, allowed = (*here, "subsets", name), ", ".join(f"{one * 100:g}%" for one in target.label_ratios)
            if ratio not in target.label_ratios:
                found = f"subset {name} stands for {ratio * 100:g}%, which is no label ratio of this target"
                yield self.document.problem(place, found, allowed=allowed)
            elif ratio in first:
                found = f"subsets {first[ratio]} and {name} both stand for {ratio * 100:g}%"
                yield self.document.problem(place, found, allowed="a label ratio of its own for each")
            first.setdefault(ratio, name)
        if target.subsets and target.folds:
            found = "published subsets with folds, whose training images are others"
            yield self.document.problem((*here, "subsets"), found, allowed="subsets, or folds")

    def of_folds(self) -> Iterator[Problem]:
        """Targets with folds that rows pre-train on: each of their images is a test image of some fold."""
        sources = {source.dataset for _, source in self.sources}
        for i, target in self.targets:
            if target.folds and target.dataset in sources:
                for _, method in self.methods:
                    if (method.targets is None or target.dataset in method.targets) and _pretrains(method):
                        found = f"{target.dataset} has folds, and {method.name or method.id} is pre-trained on it"
                        allowed = "no folds, another source, or rows without pre-training (by their 'targets')"
                        yield self.document.problem(("targets", i, "folds"), found, allowed=allowed)
                        break

    def of_analysis(self, analysis: AnalysisPart) -> Iterator[Problem]:
        """Rows and columns of the primary tests: each is one of the manifest's."""
        rows = shown_rows(part for _, part in self.methods)
        if analysis.reference is not None and analysis.reference not in rows:
            yield self.document.unknown(("analysis", "reference"), "row", analysis.reference, rows)
        if analysis.against and analysis.reference is None:
            found, allowed = "'against' without a 'reference'", "reference: the row that is tested against them"
            yield self.document.problem(("analysis",), found, allowed=allowed)
        for i, name in enumerate(analysis.against):
            if name not in rows:
                yield self.document.unknown(("analysis", "against", i), "row", name, rows)
            elif name == analysis.reference:
                found = f"'{name}' is the reference itself"
                yield self.document.problem(("analysis", "against", i), found, allowed="other rows")
        for i, part in enumerate(analysis.columns):
            yield from self.of_primary(part, ("analysis", "columns", i))

    def of_primary(self, part: PrimaryPart, here: Loc) -> Iterator[Problem]:
        """What is asked for of primary columns and no target has."""
        targets = [target for _, target in self.targets if target.dataset == part.dataset]
        if not targets:
            known = list(dict.fromkeys(target.dataset for _, target in self.targets))
            yield self.document.unknown((*here, "dataset"), "dataset among the targets", part.dataset, known)
            return
        for key, word in (("tasks", "task"), ("label_ratios", "label ratio"), ("evaluation", "evaluation")):
            known = list(dict.fromkeys(value for target in targets for value in getattr(target, key)))
            for j, value in enumerate(getattr(part, key)):
                if value not in known:
                    shown = [f"{one * 100:g}%" if key == "label_ratios" else str(one) for one in (value, *known)]
                    found = f"{word} among the targets of {part.dataset}"
                    yield self.document.unknown((*here, key, j), found, shown[0], shown[1:])

    def of_data(self, content: Any) -> Iterator[Problem]:
        used = {part.dataset for _, part in self.targets} | {part.dataset for _, part in self.sources}
        for name, item in (content if isinstance(content, dict) else {}).items():
            here = ("data", name)
            if name not in used:
                yield self.document.unknown(here, "dataset, or one that is not used here", name, sorted(used))
            part = part_of(DataPart, item)
            if part is None:
                continue
            given = [key for key in (*DataPart.model_fields, *part.readers) if item.get(key) is not None]
            if len(given) > 1:
                found = " and ".join(f"'{key}'" for key in given)
                yield self.document.problem(here, f"both {found}", allowed="one of them")
            if part.phantom is not None:
                model = plugins.resolve("refers_bench.data.phantoms.radiographs:PhantomParams")
                yield from self.of_params(model, part.phantom, (*here, "phantom"))
            for reader, values in part.readers.items():
                yield from self.ofown_readers(name, reader, values)

    def ofown_readers(self, name: str, reader: str, values: Any) -> Iterator[Problem]:
        """What is declared of one's own images."""
        here: Loc = ("data", name, reader)
        dataset = plugins.load("dataset", reader) if reader in plugins.names("dataset") else None
        if dataset is None or dataset.Declared is None:
            known = [*DataPart.model_fields, *declared.readers()]
            yield self.document.unknown(here, "key", reader, known)
        elif name in plugins.names("dataset") or not re.fullmatch(ROOT_NAME, name):
            found = f"the name '{name}' of one's own images"
            allowed = "lower-case letters, digits and '_', beginning with a letter, and no dataset's id"
            yield self.document.problem(here[:2], found, allowed=allowed)
        elif not isinstance(values, Mapping):
            yield self.document.problem(here, f"{reader} is {values!r}", allowed="a mapping of keys to values")
        else:
            yield from self.of_params(dataset.Declared, values, here)

    def of_dataset(self, part: SourcePart | TargetPart, loc: Loc) -> Iterator[Problem]:
        """A dataset by its id, or one's own images by their name."""
        reader = self.own.get(part.dataset)
        if reader is None:
            yield from self.of_plugin("dataset", part.dataset, part.params, loc, "dataset")
        elif part.params:
            found, allowed = f"params of '{part.dataset}'", f"its parameters in data.{part.dataset}.{reader}"
            yield self.document.problem((*loc, "params"), found, allowed=allowed)

    def of_plugin(self, kind: str, name: str, params: Mapping[str, Any], loc: Loc, key: str) -> Iterator[Problem]:
        if name not in plugins.names(kind):
            known = [*declared.datasets(), *self.own] if kind == "dataset" else list(plugins.names(kind))
            yield self.document.unknown((*loc, key), kind, name, known)
        elif kind == "dataset" and plugins.load(kind, name).Declared is not None:
            found = f"'{name}' reads one's own images, which have a name of their own"
            yield self.document.problem((*loc, key), found, allowed=f"the name in 'data: {{NAME: {{{name}: ...}}}}'")
        else:
            yield from self.of_params(plugins.load(kind, name).Params, params, (*loc, "params"))

    def of_params(self, model: type[BaseModel], params: Mapping[str, Any], loc: Loc) -> Iterator[Problem]:
        """What a plug-in's parameter model refuses."""
        try:
            model.model_validate(params)
        except ValidationError as error:
            for detail in error.errors():
                yield self.of_param(detail, model, (*loc, *detail["loc"]))

    def of_param(self, detail: Any, model: type[BaseModel], here: Loc) -> Problem:
        if detail["type"] == "extra_forbidden":
            name = str(detail["loc"][-1])
            return self.document.unknown(here, "parameter", name, sorted(model.model_fields), none="no parameter")
        name = ".".join(map(str, detail["loc"]))
        found = f"{name} is {detail['input']!r}"[:200] if name else "parameters that do not fit together"
        if detail["type"] == "missing":
            found = f"parameter '{name}' is missing"
        return self.document.problem(here, found, allowed=schema_errors.allowed(detail))
