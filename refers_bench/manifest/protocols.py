"""Which value does each training constant have, and where does it come from?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from refers_bench.errors import Problem, UserError, nearest, unknown
from refers_bench.manifest import yaml_text
from refers_bench.manifest.protocol_schema import ProtocolSchema

FOLDER = Path(__file__).parents[1] / "protocols"
SECTIONS = ("image", "network", "pretrain", "finetune")


@dataclass(frozen=True, kw_only=True)
class Value:
    """One resolved constant.

    Attributes:
        value: a JSON value.
        origin: preset and source, or the manifest's file:line:column.
        stated: whether the paper (or, for another preset, its own source) states it.
        overridden: whether a manifest set it.
    """

    value: Any
    origin: str
    stated: bool = True
    overridden: bool = False


@dataclass(frozen=True, kw_only=True)
class Override:
    """A value a manifest sets: dotted name, value, and where it stands."""

    name: str
    value: Any
    place: yaml_text.Place


def names() -> list[str]:
    """Names of the presets."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def field_names() -> list[str]:
    """Dotted names of all constants."""
    return sorted(_fields(ProtocolSchema, ""))


def _fields(model: type[BaseModel], prefix: str) -> Iterable[str]:
    for name, info in model.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _fields(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _leaves(node: Any, prefix: str = "") -> Iterable[tuple[str, Mapping[str, Any]]]:
    for name, value in node.items():
        if isinstance(value, dict) and "value" not in value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


@cache
def _preset(name: str) -> tuple[dict[str, Value], dict[str, dict[str, Value]]]:
    """Values of a preset, and per-dataset values of its fine-tuning; parents first."""
    if name not in names():
        raise UserError(unknown("protocol preset", name, names()))
    content = dict(yaml_text.read(FOLDER / f"{name}.yaml").content)
    values: dict[str, Value] = {}
    special: dict[str, dict[str, Value]] = {}
    if parent := content.pop("based_on", None):
        inherited, inherited_special = _preset(parent)
        values |= inherited
        special = {dataset: dict(entries) for dataset, entries in inherited_special.items()}

    def value_of(leaf: Mapping[str, Any]) -> Value:
        return Value(value=leaf["value"], origin=f"{name}: {leaf['source']}", stated=not leaf.get("unstated", False))

    for dataset, entries in content.pop("finetune_for", {}).items():
        special.setdefault(dataset, {}).update({f"finetune.{key}": value_of(leaf) for key, leaf in entries.items()})
    content.pop("name")
    content.pop("title")
    values |= {key: value_of(leaf) for key, leaf in _leaves(content)}
    return values, special


def flat_overrides(
    tree: Mapping[str, Any], document: yaml_text.Document, loc: yaml_text.Loc
) -> tuple[list[Override], list[Problem]]:
    """Nested or dotted overrides of a manifest -> dotted ones, and those that name no constant."""
    known = set(field_names())
    groups = {name.rpartition(".")[0] for name in known} | set(SECTIONS)
    found: list[Override] = []
    problems: list[Problem] = []

    def walk(node: Mapping[str, Any], prefix: str, where: yaml_text.Loc) -> None:
        for name, value in node.items():
            dotted, here = f"{prefix}{name}", (*where, name)
            if isinstance(value, dict) and dotted in groups:
                walk(value, f"{dotted}.", here)
            elif dotted in known:
                found.append(Override(name=dotted, value=value, place=document.place(here)))
            else:
                inside = sorted(item for item in known if item.startswith(prefix)) if prefix else sorted(known)
                close = nearest(dotted, known)
                allowed = (
                    ", ".join(item.removeprefix(prefix) for item in inside) if prefix else "see a preset in protocols/"
                )
                problems.append(document.problem(here, f"unknown constant '{dotted}'", allowed=allowed, nearest=close))

    walk(tree, "", loc)
    return found, problems


def resolve(preset: str, overrides: Iterable[Override] = (), *, dataset: str = "") -> dict[str, Value]:
    """All constants of a preset with a manifest's overrides, for fine-tuning on `dataset`.

    Args:
        preset: name.
        overrides: later ones win; they also win over per-dataset values of the preset.
        dataset: target id, '' for pre-training.

    Raises:
        UserError: unknown preset, or values of a wrong type or range, all at once, each with its place.
    """
    values, special = _preset(preset)
    values = {**values, **special.get(dataset, {})}
    places = {}
    for item in overrides:
        values[item.name] = Value(value=item.value, origin=f"manifest {item.place}", overridden=True)
        places[item.name] = item.place
    try:
        ProtocolSchema.model_validate(_nested(values), strict=True)
    except ValidationError as error:
        raise UserError([_problem(detail, values, places, preset) for detail in error.errors()]) from error
    return values


def _problem(detail: Any, values: Mapping[str, Value], places: Mapping[str, yaml_text.Place], preset: str) -> Problem:
    parts = [str(part) for part in detail["loc"]]
    name = next(
        (n for n in (".".join(parts[:end]) for end in range(len(parts), 0, -1)) if n in values), ".".join(parts)
    )
    place = places.get(name)
    return Problem(
        found=f"{name} is {detail['input']!r}" if detail["type"] != "missing" else f"{name} is missing",
        allowed=detail["msg"],
        path=place.path if place else FOLDER / f"{preset}.yaml",
        line=place.line if place else None,
        column=place.column if place else None,
    )


def _nested(values: Mapping[str, Value]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in values.items():
        *path, last = name.split(".")
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[last] = value.value
    return tree


def sections_of(values: Mapping[str, Value]) -> dict[str, Any]:
    """Resolved values as the nested sections a job's specification holds."""
    return _nested(values)


def resolve_sections(preset: str, *, dataset: str = "") -> dict[str, Any]:
    """`sections_of` a preset without overrides."""
    return sections_of(resolve(preset, dataset=dataset))
