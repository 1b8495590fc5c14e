"""Is this manifest right, and what does it ask for? All errors at once, each with its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from refers_bench import plugins
from refers_bench.errors import Problem, UserError, nearest
from refers_bench.manifest import protocols
from refers_bench.manifest.schema import ManifestSchema, MethodPart, SourcePart, TargetPart
from refers_bench.manifest.yaml_text import Document, Loc, Place, read

#: Named in the design, not in this version: a manifest may name them, their jobs are unavailable.
PLANNED = {
    "method": ("model_genesis", "c2l", "context_restoration", "transvw", "imagenet", "lsp_convnet", "checkpoint"),
    "dataset": ("mimic_cxr_jpg", "openi", "nih_chestxray14", "vinbigdata_cxr", "shenzhen_tb"),
}


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A checked manifest.

    Attributes:
        path: its file.
        name: of its folder below the results.
        content: every key, defaults filled in.
        document: merged values with their places.
        overrides: of the protocol.
        method_overrides: row name -> its own overrides.
    """

    path: Path
    name: str
    content: ManifestSchema
    document: Document
    overrides: tuple[protocols.Override, ...]
    method_overrides: Mapping[str, tuple[protocols.Override, ...]]


def available(kind: str, name: str) -> bool:
    """Whether a method or dataset exists in this version."""
    return name in plugins.names(kind)


def load(path: Path) -> Manifest:
    """Read and check a manifest.

    Raises:
        UserError: everything that is wrong with it.
    """
    document = _included(path, ())
    content = dict(document.content)
    if isinstance(content.get("methods"), list):
        content["methods"] = [{"id": item} if isinstance(item, str) else item for item in content["methods"]]
    try:
        schema = ManifestSchema.model_validate(content)
    except ValidationError as error:
        raise UserError([_schema_problem(detail, document) for detail in error.errors()]) from error
    problems: list[Problem] = []
    overrides, wrong = protocols.flat_overrides(schema.protocol.overrides, document, ("protocol", "overrides"))
    problems += wrong
    own: dict[str, tuple[protocols.Override, ...]] = {}
    for i, method in enumerate(schema.methods):
        found, wrong = protocols.flat_overrides(method.overrides, document, ("methods", i, "overrides"))
        problems += wrong
        own[method.name or method.id] = tuple(found)
    problems += _names(schema, document)
    if schema.protocol.preset not in protocols.names():
        problems.append(
            _unknown(document, ("protocol", "preset"), "protocol preset", schema.protocol.preset, protocols.names())
        )
    elif not problems:
        problems += _values(schema, overrides, own)
    if problems:
        raise UserError(problems)
    name = schema.name or path.stem
    return Manifest(
        path=path, name=name, content=schema, document=document, overrides=tuple(overrides), method_overrides=own
    )


def _values(
    schema: ManifestSchema, overrides: list[protocols.Override], own: Mapping[str, tuple[protocols.Override, ...]]
) -> list[Problem]:
    """Overrides of a wrong type or range, for the protocol and for each row."""
    problems: dict[str, Problem] = {}
    for extra in [(), *own.values()]:
        try:
            protocols.resolve(schema.protocol.preset, [*overrides, *extra])
        except UserError as error:
            problems |= {str(problem): problem for problem in error.problems}
    return list(problems.values())


def _included(path: Path, chain: tuple[Path, ...], place: Place | None = None) -> Document:
    """The file with its includes beneath it: mappings are merged key by key, everything else is replaced."""
    if path.resolve() in chain:
        where = place or Place(path, 1, 1)
        names = " -> ".join(item.name for item in (*chain, path))
        raise UserError(Problem(found=f"include cycle {names}", path=where.path, line=where.line, column=where.column))
    if place and not path.is_file():
        raise UserError(
            Problem(found=f"included file {path} does not exist", path=place.path, line=place.line, column=place.column)
        )
    document = read(path)
    includes = document.content.get("include", [])
    merged: dict[str, Any] = {}
    places: dict[Loc, Place] = {}
    if isinstance(includes, list):
        for i, name in enumerate(includes):
            below = _included(path.parent / str(name), (*chain, path.resolve()), document.place(("include", i)))
            below.content.pop("include", None)
            below.content.pop("name", None)
            merged = _merged(merged, below.content)
            places |= below.places
    return Document(path, _merged(merged, document.content), {**places, **document.places})


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(below)
    for name, value in above.items():
        old = result.get(name)
        result[name] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def _schema_problem(detail: Any, document: Document) -> Problem:
    loc: Loc = tuple(part for part in detail["loc"] if part != "[key]")
    kind, last = detail["type"], detail["loc"][-1]
    if kind == "extra_forbidden":
        known = _keys_at(loc[:-1])
        return document.problem(
            loc, f"unknown key '{last}'", allowed=", ".join(known), nearest=nearest(str(last), known)
        )
    if kind == "missing":
        return document.problem(loc[:-1], f"key '{last}' is missing", allowed=f"'{last}' must be given")
    found = f"{'.'.join(map(str, loc))} is {detail['input']!r}"
    return document.problem(loc, found[:200], allowed=detail["msg"].removeprefix("Value error, "))


def _keys_at(loc: Loc) -> list[str]:
    """Names of the fields of the part of the schema at a place."""
    model: Any = ManifestSchema
    for part in loc:
        if isinstance(model, type) and issubclass(model, BaseModel) and part in model.model_fields:
            model = model.model_fields[str(part)].annotation
        else:  # an index of a list, or a key of a mapping: its last type argument is the part's model
            model = get_args(model)[-1] if get_args(model) else model
    if isinstance(model, type) and issubclass(model, BaseModel):
        return sorted(model.model_fields)
    return []


def _unknown(document: Document, loc: Loc, kind: str, name: str, known: list[str]) -> Problem:
    return document.problem(loc, f"unknown {kind} '{name}'", allowed=", ".join(known), nearest=nearest(name, known))


def _names(schema: ManifestSchema, document: Document) -> list[Problem]:
    """Names that name nothing, and parameters that the named plug-in does not take."""
    problems: list[Problem] = []
    seen: dict[str, int] = {}
    for i, method in enumerate(schema.methods):
        problems += _plugin(document, "method", method.id, method, ("methods", i), "id")
        row = method.name or method.id
        if row in seen:
            found = f"row name '{row}' is used by methods {seen[row] + 1} and {i + 1}"
            problems.append(document.problem(("methods", i), found, allowed="a name of its own for each row"))
        seen[row] = i
    problems += _plugin(document, "dataset", schema.source.dataset, schema.source, ("source",), "dataset")
    for i, target in enumerate(schema.targets):
        problems += _plugin(document, "dataset", target.dataset, target, ("targets", i), "dataset")
        if not available("dataset", target.dataset):
            continue
        tasks = list(plugins.load("dataset", target.dataset).tasks)
        for j, task in enumerate(target.tasks):
            if task not in tasks:
                problems.append(
                    _unknown(document, ("targets", i, "tasks", j), f"task of {target.dataset}", task, tasks)
                )
    used = {schema.source.dataset, *(target.dataset for target in schema.targets)}
    for name, part in schema.data.items():
        if name not in used:
            problems.append(
                _unknown(document, ("data", name), "dataset, or one that is not used here", name, sorted(used))
            )
        if part.root and part.phantom is not None:
            problems.append(document.problem(("data", name), "both 'root' and 'phantom'", allowed="one of them"))
        if part.phantom is not None:
            model = plugins.resolve("refers_bench.data.phantoms:PhantomParams")
            problems += params_problems(model, part.phantom, document, ("data", name, "phantom"))
    known = list(plugins.names("report"))
    for i, table in enumerate(schema.tables):
        if table not in known:
            problems.append(_unknown(document, ("tables", i), "report", table, known))
    return problems


def _plugin(
    document: Document, kind: str, name: str, part: MethodPart | SourcePart | TargetPart, loc: Loc, key: str
) -> list[Problem]:
    if not available(kind, name):
        if name in PLANNED[kind]:
            return []
        known = sorted({*plugins.names(kind), *PLANNED[kind]})
        return [_unknown(document, (*loc, key), kind, name, known)]
    return params_problems(plugins.load(kind, name).Params, part.params, document, (*loc, "params"))


def params_problems(model: type[BaseModel], params: Mapping[str, Any], document: Document, loc: Loc) -> list[Problem]:
    """What a plug-in's parameter model refuses."""
    try:
        model.model_validate(params)
    except ValidationError as error:
        return [_param_problem(detail, model, document, loc) for detail in error.errors()]
    return []


def _param_problem(detail: Any, model: type[BaseModel], document: Document, loc: Loc) -> Problem:
    here = (*loc, *detail["loc"])
    if detail["type"] == "extra_forbidden":
        name, known = str(detail["loc"][-1]), sorted(model.model_fields)
        return document.problem(
            here, f"unknown parameter '{name}'", allowed=", ".join(known), nearest=nearest(name, known)
        )
    found = f"{'.'.join(map(str, detail['loc']))} is {detail['input']!r}"
    return document.problem(here, found, allowed=detail["msg"].removeprefix("Value error, "))
