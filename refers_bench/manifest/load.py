"""Reads and checks a manifest; everything that is wrong with it is reported at once, each thing with its place."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from refers_bench import plugin_files, plugins
from refers_bench.errors import Problem, UserError
from refers_bench.manifest import checks, names, packaged, protocols, schema_errors, tuning
from refers_bench.manifest.changes import Changes, changed, with_rows
from refers_bench.manifest.part import NAME
from refers_bench.manifest.schema import ManifestSchema, MethodPart, ProtocolPart
from refers_bench.manifest.yaml_text import GIVEN, STDIN, Document, Loc, Place, document_of, read

#: Of a caller that takes a manifest as it is.
NO_CHANGES = Changes()


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
        changes: options of the command line that changed it, as they are typed.
        plugins: files and folders of plug-ins that it names, or the command line with it.
        candidates: of tuning, see `refers_bench.manifest.tuning`; () where nothing is tuned.
    """

    path: Path
    name: str
    content: ManifestSchema
    document: Document
    overrides: tuple[protocols.Override, ...]
    method_overrides: Mapping[str, tuple[protocols.Override, ...]]
    changes: tuple[str, ...] = ()
    plugins: tuple[Path, ...] = ()
    candidates: tuple[tuning.Candidate, ...] = ()


def load(path: Path, changes: Changes = NO_CHANGES) -> Manifest:
    """Read and check a manifest; plug-ins that it names are known from then on.

    Args:
        path: of the file, or the bare name of one that comes with the package; `yaml_text.STDIN` for standard input.
        changes: that the command line makes.

    Raises:
        UserError: everything that is wrong with it, in the order of its lines.
    """
    path = path if path == STDIN else packaged.found(path)
    return _loaded(read(path), path, changes)


def of_values(content: Mapping[str, Any], changes: Changes = NO_CHANGES) -> Manifest:
    """Check a manifest that is given as a mapping; its paths are relative to the working folder.

    Args:
        content: with the keys of a file, and a name.
        changes: that the caller makes.

    Raises:
        UserError: everything that is wrong with it, each thing under its key.
    """
    if not content.get("name"):
        raise UserError("a mapping without 'name'", allowed="the name of its folder below the results", path=GIVEN)
    return _loaded(document_of(content), GIVEN, changes)


def _loaded(given: Document, path: Path, changes: Changes) -> Manifest:
    problems: list[Problem] = []
    document, wrong = changed(_with_includes(given, (), problems), changes)
    problems += wrong
    folders = (*_plugin_folders(document, problems), *changes.plugins)
    plugins.use(folders)
    content = dict(document.content)
    for name, (_, key) in schema_errors.BARE.items():
        if isinstance(content.get(name), list):
            content[name] = [{key: item} if isinstance(item, str) else item for item in content[name]]
    if "targets" in content:
        content["targets"] = _with_tasks(content)
    schema: ManifestSchema | None = None
    try:
        schema = ManifestSchema.model_validate(content)
    except ValidationError as error:
        problems += schema_errors.problems(error, document, ManifestSchema)
    problems += checks.problems(content, document)
    overrides, own, candidates = _constants(content, document, problems)
    name = content.get("name") or path.stem
    # A stated name that is no name at all is found by the schema.
    if isinstance(name, str) and not names.usable(name) and ("name" not in content or re.fullmatch(NAME, name)):
        allowed = f"{names.ALLOWED}; or give it a 'name'"
        problems.append(document.problem(("name",), f"the name '{name}'", allowed=allowed))
    if problems or schema is None:
        raise UserError(_in_order(problems, document.path))
    if changes.rows:
        schema, document = with_rows(schema, document, changes.rows)
    return Manifest(
        path=path,
        name=name,
        content=schema,
        document=document,
        overrides=overrides,
        method_overrides=own,
        changes=changes.words,
        plugins=folders,
        candidates=candidates,
    )


def _with_tasks(content: Mapping[str, Any]) -> Any:
    """The targets, each that names no tasks with all of its dataset."""
    targets, own = content.get("targets"), checks.own_readers(content.get("data"))
    if not isinstance(targets, list):
        return targets
    found = []
    for item in targets:
        name = item.get("dataset") if isinstance(item, dict) and "tasks" not in item else None
        reader = own.get(name, name) if isinstance(name, str) else None
        known = reader is not None and reader in plugins.names("dataset")
        found.append({**item, "tasks": list(plugins.load("dataset", str(reader)).tasks)} if known else item)
    return found


def _plugin_folders(document: Document, problems: list[Problem]) -> list[Path]:
    """Files and folders of plug-ins that the manifest names, each relative to the file where its name stands."""
    given, found = document.content.get("plugins"), []
    for i, name in enumerate(given if isinstance(given, list) else []):
        if isinstance(name, str):
            path = (document.place(("plugins", i)).path.parent / name).absolute()
            if plugin_files.is_place(path):
                found.append(path)
            else:
                problems.append(document.problem(("plugins", i), f"no folder or Python file {path}"))
    return found


def _in_order(problems: list[Problem], path: Path) -> list[Problem]:
    """Each problem once: those of the file itself first, by line and column."""
    unique = {str(problem): problem for problem in problems}
    return sorted(
        unique.values(), key=lambda one: (one.path != path, str(one.path or ""), one.line or 0, one.column or 0)
    )


def _constants(
    content: Mapping[str, Any], document: Document, problems: list[Problem]
) -> tuple[tuple[protocols.Override, ...], dict[str, tuple[protocols.Override, ...]], tuple[tuning.Candidate, ...]]:
    """Overrides of the protocol and of each row, and what is tuned; what is wrong with them goes to `problems`."""

    def known(part: ProtocolPart | MethodPart, *loc: str | int) -> tuple[protocols.Override, ...]:
        overrides, wrong = protocols.flat_overrides(part.overrides, document, (*loc, "overrides"))
        problems.extend(wrong)
        return tuple(overrides)

    protocol = checks.part_of(ProtocolPart, content.get("protocol"))
    overrides = known(protocol, "protocol") if protocol else ()
    methods = checks.parts_of(MethodPart, content.get("methods"))
    own = {method.name or method.id: known(method, "methods", i) for i, method in methods}
    every = [item for items in (overrides, *own.values()) for item in items]
    candidates, wrong = tuning.candidates(content, document, every)
    problems += wrong
    if protocol and protocol.preset not in protocols.names():
        where: Loc = ("protocol", "preset")
        problems.append(document.unknown(where, "protocol preset", protocol.preset, protocols.names()))
    elif protocol:
        # Of a wrong type or range, or that do not fit together: for the protocol, and for each row.
        targets = content.get("targets")
        ids = [item.get("dataset") for item in (targets if isinstance(targets, list) else []) if isinstance(item, dict)]
        datasets = dict.fromkeys(["", *(name for name in ids if isinstance(name, str))])
        rows = [(own[method.name or method.id], _of_encoder(method)) for _, method in methods]
        ways = [((), {}), *(row for row in rows if row[0])]
        for (extra, encoder), dataset, tried in product(ways, datasets, candidates or ((),)):
            try:
                values = [*overrides, *extra, *tried]
                protocols.resolve(protocol.preset, values, dataset=dataset, method=encoder)
            except UserError as error:
                problems.extend(error.problems)
    return overrides, own, candidates


def _of_encoder(part: MethodPart) -> dict[str, protocols.Value]:
    """Constants that travel with a row's encoder; none where its parameters are wrong, which is said elsewhere."""
    if part.id not in plugins.names("method"):
        return {}
    method: plugins.Method = plugins.load("method", part.id)
    try:
        sheet = method.sheet(method.Params(**part.params))
    except ValidationError:
        return {}
    return {name: protocols.Value(value=value, origin=source) for name, (value, source) in sheet.items()}


def _included(path: Path, chain: tuple[Path, ...], problems: list[Problem], place: Place) -> Document:
    """An included file, with its own includes."""
    if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises for a name that no file can have
        raise UserError(place.problem(f"included file {path} does not exist"))
    if path.resolve() in chain:
        names = " -> ".join(item.name for item in (*chain, path))
        raise UserError(place.problem(f"include cycle {names}"))
    return _with_includes(read(path), chain, problems)


def _with_includes(given: Document, chain: tuple[Path, ...], problems: list[Problem]) -> Document:
    """A document with its includes beneath it: mappings are merged key by key, everything else is replaced."""
    path = given.path
    document, wrong = protocols.with_dotted_overrides(given)
    problems += wrong
    includes = document.content.get("include", [])
    merged: dict[str, Any] = {}
    places: dict[Loc, Place] = {}
    for i, name in enumerate(includes if isinstance(includes, list) else []):
        here = document.place(("include", i))
        below = _included(path.parent / str(name), (*chain, path.resolve()), problems, here)
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
