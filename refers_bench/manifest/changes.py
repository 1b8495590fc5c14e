"""Changes a manifest as the command line asks: single values, a limit, other seeds, some of its rows."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from refers_bench import identity
from refers_bench.errors import Problem, UserError, nearest
from refers_bench.manifest import yaml_text
from refers_bench.manifest.checks import shown_rows
from refers_bench.manifest.protocol_schema import CONSTANTS
from refers_bench.manifest.protocols import SECTIONS
from refers_bench.manifest.schema import ManifestSchema
from refers_bench.manifest.schema_errors import BARE
from refers_bench.manifest.yaml_text import Document, Loc, Place

#: Where constants of the protocol go.
OVERRIDES: Loc = ("protocol", "overrides")
#: Where the values of tuned constants go.
TUNING = "tuning"
#: What names an entry of a list, in the order in which it is looked for.
NAMES = ("name", "id", "dataset")
#: Names that an error lists.
MOST_NEAR = 3


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What the command line changes of a manifest.

    Attributes:
        settings: of ``--set``, each KEY=VALUE.
        limit: images of each split that are used; None for all.
        seeds: that replace the manifest's; () for its own.
        rows: names of the rows that are kept; () for all.
        plugins: files and folders of further plug-ins.
    """

    settings: tuple[str, ...] = ()
    limit: int | None = None
    seeds: tuple[int, ...] = ()
    rows: tuple[str, ...] = ()
    plugins: tuple[Path, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """The options as they are typed; plug-ins are recorded apart."""
        limit = () if self.limit is None else (f"--limit {self.limit}",)
        seeds = (f"--seeds {','.join(map(str, self.seeds))}",) if self.seeds else ()
        rows = (f"--rows {','.join(self.rows)}",) if self.rows else ()
        return (*(f"--set {text}" for text in self.settings), *limit, *seeds, *rows)


def changed(document: Document, changes: Changes) -> tuple[Document, list[Problem]]:
    """The manifest with other values and seeds, each with the option as its place; and what is wrong with the options.

    Args:
        document: with all that it includes, and its overrides under dotted names.
        changes: of the command line; rows are chosen once the manifest is checked (`with_rows`).
    """
    editor = _Editor(path=document.path, content=copy.deepcopy(document.content), places=dict(document.places))
    for text in changes.settings:
        editor.setting(text)
    if changes.limit is not None:
        editor.put(("limit",), changes.limit, editor.place(f"--limit {changes.limit}"))
    if changes.seeds:
        editor.seeds(list(changes.seeds))
    return Document(document.path, editor.content, editor.places), editor.problems


@dataclass(kw_only=True)
class _Editor:
    """A copy of a manifest's values that is changed in place."""

    path: Path
    content: dict[str, Any]
    places: dict[Loc, Place]
    problems: list[Problem] = field(default_factory=list)

    def place(self, option: str) -> Place:
        return Place(self.path, None, None, option)

    def setting(self, text: str) -> None:
        """Apply one KEY=VALUE."""
        place = self.place(f"--set {text}")
        key, equals, value = text.partition("=")
        parts = key.strip().split(".")
        if not equals or not all(parts):
            self.problems.append(place.problem(f"'{text}' is not KEY=VALUE", allowed="such as finetune.steps=300"))
            return
        try:
            plain = yaml_text.value_of(value, place)
        except UserError as error:
            self.problems += error.problems
            return
        if parts[0] in SECTIONS:
            self.overridden(OVERRIDES, ".".join(parts), plain, place)
        elif parts[0] == TUNING and len(parts) > 1:
            self.overridden((TUNING,), ".".join(parts[1:]), plain, place)
        elif parts[0] == "include":
            self.problems.append(place.problem("'include' is read before anything is set", allowed="to set its values"))
        elif parts[0] in ManifestSchema.model_fields:
            self.put(tuple(parts), plain, place)
        else:
            self.problems.append(_unknown(key.strip(), place))

    def put(self, keys: Sequence[str], value: Any, place: Place) -> None:
        """Set the value at a path of keys, names and numbers of entries; mappings on the way are made."""
        node: Any = self.content
        loc: Loc = ()
        for at, part in enumerate(keys):
            if part == "overrides" and at + 1 < len(keys):
                self.overridden((*loc, part), ".".join(keys[at + 1 :]), value, place)
                return
            step: Any = self.entry(node, loc, part, place) if isinstance(node, list) else part
            if step is None:
                return
            loc = (*loc, step)
            if at + 1 == len(keys):
                node[step] = value
                self.noted(loc, place)
                return
            inside = node[step] if isinstance(node, list) else node.get(step)
            if isinstance(inside, str) and isinstance(node, list) and loc[0] in BARE:
                inside = {BARE[str(loc[0])][1]: inside}
            if not isinstance(inside, dict | list):
                inside = {}
                self.places.setdefault(loc, place)
            node[step] = inside
            node = inside

    def entry(self, entries: list[Any], loc: Loc, part: str, place: Place) -> int | None:
        """Index of the entry of a list that a number or a name stands for; None, and a problem, where there is none."""
        names = [_name_of(one) for one in entries]
        if part in names:
            return names.index(part)
        if part.isdigit() and int(part) < len(entries):
            return int(part)
        where = ".".join(map(str, loc))
        listed = ", ".join(dict.fromkeys(filter(None, names)))
        allowed = f"{listed}; or a number from 0 to {len(entries) - 1}" if listed else f"0 to {len(entries) - 1}"
        problem = place.problem(f"{where} has no entry '{part}'", allowed=allowed, nearest=nearest(part, names))
        self.problems.append(problem)
        return None

    def overridden(self, loc: Loc, name: str, value: Any, place: Place) -> None:
        """Set a constant, or a group of them, among overrides; whatever they say of it, nested or dotted, is replaced.

        Args:
            loc: of the overrides, or of what is tuned.
            name: dotted.
            value: of the constant, or a mapping of those of the group.
            place: of the option.
        """
        node: Any = self.content
        for part in loc[:-1]:
            node = node.setdefault(part, {}) if isinstance(node, dict) else node[part]
            if not isinstance(node, dict | list):
                return  # the schema says what is wrong with it
        found = node.get(loc[-1]) if isinstance(node, dict) else None
        constants = identity.dotted(value) if isinstance(value, dict) and value else {"": value}
        wanted = {".".join(filter(None, (name, inner))): one for inner, one in constants.items()}
        kept = _without(found, set(wanted)) if isinstance(found, dict) else {}
        node[loc[-1]] = {**kept, **wanted}
        self.places.setdefault(loc, place)
        for constant in wanted:
            self.noted((*loc, constant), place)

    def seeds(self, seeds: list[int]) -> None:
        """Set other seeds; a row with a pre-training for each of the manifest's seeds keeps those of the ones left."""
        before = self.content.get("seeds")
        if isinstance(before, list) and set(seeds) <= set(before):
            kept = [before.index(seed) for seed in seeds]
            for method in self.content.get("methods") or ():
                given = method.get("pretrain_seeds") if isinstance(method, dict) else None
                if isinstance(given, list) and len(given) == len(before) > 1:
                    method["pretrain_seeds"] = [given[at] for at in kept]
        self.put(("seeds",), seeds, self.place(f"--seeds {','.join(map(str, seeds))}"))

    def noted(self, loc: Loc, place: Place) -> None:
        """Remember where a value now comes from; places inside the one before are gone."""
        self.places = {at: one for at, one in self.places.items() if at[: len(loc)] != loc}
        self.places[loc] = place


def _name_of(entry: Any) -> str:
    """What an entry of a list is called; '' for nothing."""
    if isinstance(entry, str):
        return entry
    found = (entry.get(name) for name in NAMES) if isinstance(entry, dict) else ()
    return next((name for name in found if isinstance(name, str)), "")


def _without(tree: Mapping[str, Any], names: set[str], prefix: str = "") -> dict[str, Any]:
    """Nested or dotted values but those of some dotted names."""
    kept = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if name in names:
            continue
        kept[key] = _without(value, names, f"{name}.") if isinstance(value, dict) else value
    return kept


def _unknown(key: str, place: Place) -> Problem:
    """The problem of a key that is neither the manifest's nor the protocol's, with the nearest of all of them."""
    known = [*CONSTANTS, *ManifestSchema.model_fields]
    last = key.rpartition(".")[2]
    near = [name for name in known if name.rpartition(".")[2] == last][:MOST_NEAR]
    near = near or difflib.get_close_matches(key, known, n=MOST_NEAR, cutoff=0.5)
    groups = f"{', '.join(ManifestSchema.model_fields)}, and names that begin with {', '.join(SECTIONS)}"
    return place.problem(f"unknown key '{key}'", allowed=groups, nearest="', '".join(near))


# --- rows -----------------------------------------------------------------------------------------------------------


def with_rows(schema: ManifestSchema, document: Document, rows: Sequence[str]) -> tuple[ManifestSchema, Document]:
    """A checked manifest with some of its rows, and the targets that these are for.

    Args:
        schema: of the whole manifest.
        document: its values with their places.
        rows: names of rows, or of choices between rows (`best_of`).

    Raises:
        UserError: there is no such row.
    """
    known = [part.name or part.id for part in schema.methods]
    choices = [part.best_of for part in schema.methods if part.best_of]
    every = list(dict.fromkeys((*known, *choices)))
    place = Place(document.path, None, None, f"--rows {','.join(rows)}")
    missing = [name for name in rows if name not in every]
    if missing:
        raise UserError(
            [
                place.problem(f"unknown row '{name}'", allowed=", ".join(every), nearest=nearest(name, every))
                for name in missing
            ]
        )
    kept = list(_kept(schema, known, rows))
    methods = [schema.methods[at] for at in kept]
    named = (schema.analysis.reference, *schema.analysis.against) if schema.analysis else ()
    if gone := [name for name in named if name is not None and name not in shown_rows(methods)]:
        allowed = "rows with it, or --set analysis.reference or analysis.against to others"
        raise UserError(
            [place.problem(f"leaves out '{name}', which 'analysis' names", allowed=allowed) for name in gone]
        )
    wanted = {name for part in methods for name in part.targets or [one.dataset for one in schema.targets]}
    targets = [one for one in schema.targets if one.dataset in wanted]
    moved = {at: new for new, at in enumerate(kept)}
    places = {
        ("methods", moved[int(loc[1])], *loc[2:]) if loc[:1] == ("methods",) != loc else loc: found
        for loc, found in document.places.items()
        if loc[:1] != ("methods",) or len(loc) == 1 or int(loc[1]) in moved
    }
    content = {**document.content, "methods": [document.content["methods"][at] for at in kept]}
    changed = schema.model_copy(update={"methods": methods, "targets": targets})
    return changed, Document(document.path, content, places)


def _kept(schema: ManifestSchema, known: Sequence[str], rows: Sequence[str]) -> Iterator[int]:
    """Places of the rows that are kept, in the manifest's order."""
    for at, (name, part) in enumerate(zip(known, schema.methods, strict=True)):
        if name in rows or part.best_of in rows:
            yield at
