"""Do the names in a manifest name something, do their parameters fit, and is nothing asked for twice?

Each part is checked by itself, so that one wrong entry hides no other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from refers_bench import plugins
from refers_bench.errors import Problem, nearest
from refers_bench.manifest.part import Part
from refers_bench.manifest.schema import DataPart, MethodPart, SourcePart, TargetPart
from refers_bench.manifest.yaml_text import Document, Loc

#: Folders below the results that are no manifest's.
RESERVED = ("store", "work", "logs", "probes", "published", "report")

P = TypeVar("P", bound=Part)


def available(kind: str, name: str) -> bool:
    """Whether there is a method or dataset of that name."""
    return name in plugins.names(kind)


def part_of(model: type[P], content: Any) -> P | None:
    """A part of the manifest, or None where the schema refuses it (which is reported elsewhere)."""
    try:
        return model.model_validate(content)
    except ValidationError:
        return None


def parts_of(model: type[P], content: Any) -> Iterator[tuple[int, P]]:
    """Index and value of each entry of a list that the schema accepts."""
    for index, item in enumerate(content if isinstance(content, list) else []):
        part = part_of(model, item)
        if part is not None:
            yield index, part


def problems(content: Mapping[str, Any], document: Document) -> Iterator[Problem]:
    """Everything the schema cannot see.

    Args:
        content: merged values; methods as mappings.
        document: the same with places.
    """
    seeds = content.get("seeds")
    targets = list(parts_of(TargetPart, content.get("targets")))
    datasets = list(dict.fromkeys(target.dataset for _, target in targets))
    yield from _methods(content.get("methods"), document, len(seeds) if isinstance(seeds, list) else 0, datasets)
    yield from _unused(content.get("methods"), targets, document)
    source = part_of(SourcePart, content.get("source"))
    if source is not None:
        yield from _plugin(document, "dataset", source.dataset, source.params, ("source",), "dataset")
    yield from _targets(targets, source, document)
    used = {source.dataset} if source else set()
    yield from _data(content.get("data"), used | {target.dataset for _, target in targets}, document)
    known = list(plugins.names("report"))
    tables = content.get("tables")
    for i, table in enumerate(tables if isinstance(tables, list) else []):
        if isinstance(table, str) and table not in known:
            yield unknown(document, ("tables", i), "report", table, known)


def unknown(document: Document, loc: Loc, kind: str, name: str, known: list[str]) -> Problem:
    """The `Problem` of a name that is none of the known ones."""
    return document.problem(loc, f"unknown {kind} '{name}'", allowed=", ".join(known), nearest=nearest(name, known))


def _methods(content: Any, document: Document, seeds: int, datasets: list[str]) -> Iterator[Problem]:
    rows: dict[str, int] = {}
    parts = list(parts_of(MethodPart, content))
    names = {part.name or part.id for _, part in parts}
    for i, method in parts:
        yield from _plugin(document, "method", method.id, method.params, ("methods", i), "id")
        row = method.name or method.id
        if row in rows:
            found = f"row name '{row}' is used by methods {rows[row] + 1} and {i + 1}"
            yield document.problem(("methods", i), found, allowed="a name of its own for each row")
        rows[row] = i
        if method.best_of in names:
            found = f"best_of is '{method.best_of}', which is a row itself"
            yield document.problem(("methods", i, "best_of"), found, allowed="a name that no row has")
        for j, dataset in enumerate(method.targets or ()):
            if dataset not in datasets:
                yield unknown(document, ("methods", i, "targets", j), "dataset among the targets", dataset, datasets)
        if seeds and len(method.pretrain_seeds) not in (1, seeds):
            found = f"{len(method.pretrain_seeds)} pretrain_seeds for {seeds} seeds"
            where: Loc = ("methods", i, "pretrain_seeds")
            yield document.problem(where, found, allowed=f"one, or {seeds}: one for each seed")


def _unused(methods: Any, targets: list[tuple[int, TargetPart]], document: Document) -> Iterator[Problem]:
    """Targets that every row leaves out."""
    rows = [method.targets for _, method in parts_of(MethodPart, methods)]
    if not rows or len(rows) < len(methods) or None in rows:
        return
    wanted = {dataset for row in rows for dataset in row or ()}
    for i, target in targets:
        if target.dataset not in wanted:
            found = f"no row is for {target.dataset}"
            yield document.problem(("targets", i), found, allowed="a target that a method's 'targets' names")


def _targets(targets: list[tuple[int, TargetPart]], source: SourcePart | None, document: Document) -> Iterator[Problem]:
    first: dict[str, int] = {}
    cells: dict[tuple[str, str, float], int] = {}
    for i, target in targets:
        yield from _plugin(document, "dataset", target.dataset, target.params, ("targets", i), "dataset")
        if source and target.dataset == source.dataset and target.params != source.params:
            # Another split of the same images could put test patients into pre-training.
            found = f"source and target are both {target.dataset}, with different params"
            yield document.problem(("targets", i, "params"), found, allowed="the same params for both")
        same = first.setdefault(target.dataset, i)
        if target.params != dict(targets)[same].params:
            # Cells are told apart by dataset, task, ratio and seed.
            found = f"targets {same + 1} and {i + 1} are both {target.dataset}, with different params"
            yield document.problem(("targets", i, "params"), found, allowed="one manifest for each")
        known = list(plugins.load("dataset", target.dataset).tasks) if available("dataset", target.dataset) else None
        for j, task in enumerate(target.tasks):
            if known is not None and task not in known:
                yield unknown(document, ("targets", i, "tasks", j), f"task of {target.dataset}", task, known)
        for j, task in enumerate(target.tasks):
            for k, ratio in enumerate(target.label_ratios):
                if (target.dataset, task, ratio) in cells:
                    found = f"{target.dataset} {task} at {ratio * 100:g}% is asked for twice"
                    twice = ("tasks", j) if task in target.tasks[:j] else ("label_ratios", k)
                    yield document.problem(("targets", i, *twice), found, allowed="each task and label ratio once")
                cells[target.dataset, task, ratio] = i


def _data(content: Any, used: set[str], document: Document) -> Iterator[Problem]:
    for name, item in (content if isinstance(content, dict) else {}).items():
        if name not in used:
            yield unknown(document, ("data", name), "dataset, or one that is not used here", name, sorted(used))
        part = part_of(DataPart, item)
        if part is None:
            continue
        if part.root and part.phantom is not None:
            yield document.problem(("data", name), "both 'root' and 'phantom'", allowed="one of them")
        if part.phantom is not None:
            model = plugins.resolve("refers_bench.data.phantoms.radiographs:PhantomParams")
            yield from params_problems(model, part.phantom, document, ("data", name, "phantom"))


def _plugin(
    document: Document, kind: str, name: str, params: Mapping[str, Any], loc: Loc, key: str
) -> Iterator[Problem]:
    if available(kind, name):
        yield from params_problems(plugins.load(kind, name).Params, params, document, (*loc, "params"))
    else:
        yield unknown(document, (*loc, key), kind, name, list(plugins.names(kind)))


def params_problems(model: type[BaseModel], params: Mapping[str, Any], document: Document, loc: Loc) -> list[Problem]:
    """What a plug-in's parameter model refuses."""
    try:
        model.model_validate(params)
    except ValidationError as error:
        return [_param_problem(detail, model, document, loc) for detail in error.errors()]
    return []


def _param_problem(detail: Any, model: type[BaseModel], document: Document, loc: Loc) -> Problem:
    here = (*loc, *detail["loc"])
    known = sorted(model.model_fields)
    if detail["type"] == "extra_forbidden":
        name = str(detail["loc"][-1])
        allowed = ", ".join(known) or "no parameter"
        return document.problem(here, f"unknown parameter '{name}'", allowed=allowed, nearest=nearest(name, known))
    name = ".".join(map(str, detail["loc"]))
    found = f"parameter '{name}' is missing" if detail["type"] == "missing" else f"{name} is {detail['input']!r}"[:200]
    if not name:
        found = "parameters that do not fit together"
    return document.problem(here, found, allowed=detail["msg"].removeprefix("Value error, "))
