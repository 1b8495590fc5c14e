"""Resolves the training constants: a preset, its parents, a target's own values, and the manifest's overrides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from refers_bench import identity
from refers_bench.errors import Problem, UserError, nearest, unknown
from refers_bench.manifest import schema_errors, yaml_text
from refers_bench.manifest.protocol_schema import CONSTANTS, ProtocolSchema, clashes, in_specifications

FOLDER = Path(__file__).parents[1] / "protocols"
SECTIONS = ("image", "network", "pretrain", "finetune", "frozen")


@dataclass(frozen=True, kw_only=True)
class Value:
    """One resolved constant.

    Attributes:
        value: a JSON value.
        origin: preset and source, or the manifest's file:line:column.
        stated: whether the paper (or, for another preset, its own source) states it.
        overridden: whether a manifest set it.
        deviation: how what we do with it differs from the source, whatever the value; '' where it does not.
    """

    value: Any
    origin: str
    stated: bool = True
    overridden: bool = False
    deviation: str = ""

    def recorded(self) -> dict[str, Any]:
        """As the plan file holds it."""
        return {name: one for name, one in asdict(self).items() if one or name != "deviation"}


@dataclass(frozen=True, kw_only=True)
class Override:
    """A value a manifest sets: dotted name, value, and where it stands."""

    name: str
    value: Any
    place: yaml_text.Place


def names() -> list[str]:
    """Names of the presets."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


@cache
def full_size(preset: str) -> bool:
    """Whether a preset's networks and images have the paper's size, so that recipes of other sources apply."""
    return bool(yaml_text.read(FOLDER / f"{preset}.yaml").content.get("full_size", False))


@cache
def _preset(name: str) -> tuple[dict[str, Value], dict[str, dict[str, Value]]]:
    """Values of a preset, and per-dataset values of its fine-tuning.

    What a preset sets in its own sections holds for every dataset: it replaces the per-dataset values of its parents,
    which were chosen beside other lengths and rates. Only its own `finetune_for` makes exceptions to it.
    """
    if name not in names():
        raise UserError(unknown("protocol preset", name, names()))
    content = dict(yaml_text.read(FOLDER / f"{name}.yaml").content)
    parent, own_special = content.pop("based_on", None), content.pop("finetune_for", {})
    for about in ("name", "title", "full_size"):
        content.pop(about, None)
    inherited, inherited_special = _preset(parent) if parent else ({}, {})
    own = _stated(name, content)
    special = {
        dataset: {key: value for key, value in entries.items() if key not in own}
        for dataset, entries in inherited_special.items()
    }
    for dataset, entries in own_special.items():
        special.setdefault(dataset, {}).update(_stated(name, {"finetune": entries}))
    return inherited | own, special


def _stated(preset: str, content: Mapping[str, Any]) -> dict[str, Value]:
    """Dotted name -> value of the constants in a preset's file, each with its source."""
    leaves: dict[str, dict[str, Any]] = {}
    for path, said in identity.flat(content):
        leaves.setdefault(".".join(path[:-1]), {})[path[-1]] = said
    return {
        name: Value(
            value=leaf["value"],
            origin=f"{preset}: {leaf['source']}",
            stated=not leaf.get("unstated", False),
            deviation=leaf.get("deviation", ""),
        )
        for name, leaf in leaves.items()
    }


def with_dotted_overrides(document: yaml_text.Document) -> tuple[yaml_text.Document, list[Problem]]:
    """The same file with the protocol's overrides under dotted names, so that includes merge constant by constant."""
    protocol = document.content.get("protocol")
    if not isinstance(protocol, dict) or not isinstance(protocol.get("overrides"), dict):
        return document, []
    tree = protocol["overrides"]
    loc: yaml_text.Loc = ("protocol", "overrides")
    flat, problems = _dotted(tree, document, loc)
    places = {**document.places, **{(*loc, item.name): item.place for item in flat}}
    content = {**document.content, "protocol": {**protocol, "overrides": {item.name: item.value for item in flat}}}
    return yaml_text.Document(document.path, content, places), problems


def _dotted(
    tree: Mapping[str, Any], document: yaml_text.Document, loc: yaml_text.Loc
) -> tuple[list[Override], list[Problem]]:
    """Leaves of nested or dotted mappings; one that is set twice is a problem."""
    found: dict[str, Override] = {}
    problems: list[Problem] = []
    for path, value in identity.flat(tree):
        if value == {}:
            continue
        name, place = ".".join(path), document.place((*loc, *path))
        if name in found:
            text = f"'{name}' is set here and in line {found[name].place.line}"
            problems.append(place.problem(text, allowed="each constant once"))
        found[name] = Override(name=name, value=value, place=place)
    return list(found.values()), problems


def flat_overrides(
    tree: Mapping[str, Any], document: yaml_text.Document, loc: yaml_text.Loc
) -> tuple[list[Override], list[Problem]]:
    """Nested or dotted overrides of a manifest -> dotted ones, and those that name no constant."""
    overrides, problems = _dotted(tree, document, loc)
    problems += [_no_constant(item) for item in overrides if item.name not in CONSTANTS]
    return [item for item in overrides if item.name in CONSTANTS], problems


def _no_constant(item: Override) -> Problem:
    """What is wrong with an override of a group of constants, or of none."""
    if inside := _inside(item.name):
        return item.place.problem(f"{item.name} is {item.value!r}", allowed=f"a mapping of {', '.join(inside)}")
    group = item.name.rpartition(".")[0]
    while group and not _inside(group):
        group = group.rpartition(".")[0]
    allowed = f"in {group}: {', '.join(_inside(group))}" if group else f"names that begin with {', '.join(SECTIONS)}"
    close = nearest(item.name, sorted(CONSTANTS))
    return item.place.problem(f"unknown constant '{item.name}'", allowed=allowed, nearest=close)


def _inside(group: str) -> list[str]:
    """Names of the constants of a group, without its own."""
    return sorted(name.removeprefix(f"{group}.") for name in CONSTANTS if name.startswith(f"{group}."))


def resolve(
    preset: str, overrides: Iterable[Override] = (), *, dataset: str = "", method: Mapping[str, Value] | None = None
) -> dict[str, Value]:
    """All constants of a preset with a manifest's overrides, for fine-tuning on `dataset`.

    Args:
        preset: name.
        overrides: later ones win; they also win over per-dataset values of the preset and over the method's.
        dataset: target id, '' for pre-training.
        method: constants that belong to a method's definition.

    Raises:
        UserError: unknown preset, or values of a wrong type or range, all at once, each with its place.
    """
    values, special = _preset(preset)
    values = {**values, **special.get(dataset, {}), **(method or {})}
    places = {}
    for item in overrides:
        values[item.name] = Value(value=item.value, origin=item.place.origin, overridden=True)
        places[item.name] = item.place
    try:
        ProtocolSchema.model_validate(_nested(values), strict=True)
    except ValidationError as error:
        raise UserError([_problem(detail, values, places, preset) for detail in error.errors()]) from error
    misfits = []
    for blamed, found, allowed in clashes({name: value.value for name, value in values.items()}):
        place = next((places[name] for name in blamed if name in places), _file(preset))
        misfits.append(place.problem(found, allowed=allowed + _still_to_change(blamed, values)))
    if misfits:
        raise UserError(misfits)
    return values


def _still_to_change(blamed: Sequence[str], values: Mapping[str, Value]) -> str:
    """Which of two constants that do not fit together nobody has set, and where it comes from; '' where both are."""
    unset = [name for name in blamed if not values[name].overridden]
    if len(blamed) != 2 or len(unset) != 1:
        return ""
    return f"; {unset[0]} is still that of {values[unset[0]].origin.partition(':')[0]}: set it, too"


def _problem(detail: Any, values: Mapping[str, Value], places: Mapping[str, yaml_text.Place], preset: str) -> Problem:
    """At the manifest's override of the constant, or in the preset's file."""
    parts = [str(part) for part in detail["loc"]]
    whole = [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
    name = next((one for one in whole if one in values), ".".join(parts))
    found = f"{name} is {detail['input']!r}" if detail["type"] != "missing" else f"{name} is missing"
    return places.get(name, _file(preset)).problem(found, allowed=schema_errors.allowed(detail))


def _file(preset: str) -> yaml_text.Place:
    return yaml_text.Place(FOLDER / f"{preset}.yaml", None, None)


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
    return _nested({name: value for name, value in values.items() if in_specifications(name, value.value)})


def resolve_sections(preset: str, *, dataset: str = "") -> dict[str, Any]:
    """`sections_of` a preset without overrides."""
    return sections_of(resolve(preset, dataset=dataset))
