"""Reads a YAML file as plain values, and remembers on which line and column each of them stands."""

from __future__ import annotations

import datetime
import math
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError

from refers_bench.errors import Problem, UserError
from refers_bench.errors import nearest as nearest_of
from refers_bench.files import plain_file

Loc = tuple[str | int, ...]

#: In place of the file of a manifest that is given as a mapping.
GIVEN = Path("manifest")
#: More values than any manifest needs; aliases of aliases could otherwise fill the memory.
MOST_VALUES = 100_000
#: More open brackets than any manifest needs; the time that ruamel takes for them grows with their square.
MOST_OPEN = 500

_BRACKETS = {"[": 1, "{": 1, "]": -1, "}": -1}

#: The path that stands for standard input, and what messages call it.
STDIN, STDIN_NAME = Path("-"), Path("<stdin>")


@dataclass(frozen=True)
class Place:
    """A value's file, 1-based line and column, None where they are not known; or the option or key that sets it."""

    path: Path
    line: int | None = 1
    column: int | None = 1
    option: str = ""

    def __str__(self) -> str:
        return self.option or f"{self.path}:{self.line}:{self.column}"

    @property
    def origin(self) -> str:
        """Where a value comes from, as the plan records it."""
        return self.option or f"manifest {self}"

    def problem(self, found: str, *, allowed: str = "", nearest: str = "") -> Problem:
        """A `Problem` at this place."""
        where = {"path": self.option} if self.option else {"path": self.path, "line": self.line, "column": self.column}
        return Problem(**where, found=found, allowed=allowed, nearest=nearest)


@dataclass(frozen=True)
class Document:
    """Plain values and the place of each, by its path of keys and indices.

    Attributes:
        path: the file.
        content: dicts, lists, strings, numbers, booleans, None.
        places: location of each value; of a mapping's value, where its key stands.
    """

    path: Path
    content: dict[str, Any]
    places: Mapping[Loc, Place]

    def place(self, loc: Loc) -> Place:
        """Place of a value, or of the nearest thing around it."""
        around = (loc[:end] for end in range(len(loc), -1, -1))
        return next((self.places[outer] for outer in around if outer in self.places), Place(self.path))

    def problem(self, loc: Loc, found: str, *, allowed: str = "", nearest: str = "") -> Problem:
        """A `Problem` at a value."""
        return self.place(loc).problem(found, allowed=allowed, nearest=nearest)

    def unknown(self, loc: Loc, found: str, name: str, known: list[str], *, none: str = "") -> Problem:
        """The `Problem` of a name that is not one of the known ones.

        Args:
            loc: of the name.
            found: what the name is of, before it.
            name: as given.
            known: names that are allowed, in the order in which they are listed.
            none: what to say where no name is allowed.
        """
        allowed = ", ".join(known) or none
        return self.problem(loc, f"unknown {found} '{name}'", allowed=allowed, nearest=nearest_of(name, known))


def read(path: Path) -> Document:
    """Read a YAML 1.2 file that holds one mapping; duplicate keys are refused.

    Args:
        path: of the file; `STDIN` for standard input.

    Raises:
        UserError: missing, not UTF-8, not YAML, empty, not a mapping, or with values that are no plain data,
            each with line and column.
    """
    text = _text(path)
    path = STDIN_NAME if path == STDIN else path
    content = _parsed(path, text)
    if not isinstance(content, CommentedMap):
        found = "an empty file" if content is None else f"a {type(content).__name__.removeprefix('Commented').lower()}"
        raise UserError(Place(path).problem(found, allowed="a mapping of keys to values"))
    reader = _Plain(path)
    plain = reader.value(content, ())
    if reader.problems:
        raise UserError(reader.problems)
    return Document(path, plain, reader.places)


def document_of(content: Mapping[str, Any]) -> Document:
    """A mapping that is already there as a document: its keys are the places of what is wrong with it.

    Raises:
        UserError: a value that is no plain data.
    """
    reader = _Given()
    plain = reader.value(dict(content), ())
    if reader.problems:
        raise UserError(reader.problems)
    return Document(reader.path, plain, reader.places)


def value_of(text: str, place: Place) -> Any:
    """The plain value that a text states as YAML: 3, "a", [1, 2], {a: 1}.

    Args:
        text: of the value alone.
        place: where it stands, for messages.

    Raises:
        UserError: not YAML, or no plain data.
    """
    try:
        reader = _Plain(place.path)
        value = reader.value(_parsed(place.path, text), ())
        problems: Sequence[Problem] = reader.problems
    except UserError as error:
        problems = error.problems
    if problems:
        raise UserError([place.problem(one.found, allowed=one.allowed) for one in problems])
    return value


def _text(path: Path) -> str:
    try:
        return sys.stdin.read() if path == STDIN else plain_file(path).read_text(encoding="utf-8-sig")
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise UserError("no such file", allowed="a YAML file", path=path) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(Place(path, line).problem("not UTF-8 text", allowed="UTF-8")) from error
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", path=path) from error


def _parsed(path: Path, text: str) -> Any:
    """What ruamel makes of the text: its own kinds of mappings and lists, which know lines and columns."""

    def refused(found: str, mark: Any = None, allowed: str = "") -> UserError:
        place = Place(path, mark.line + 1, mark.column + 1) if mark else Place(path)
        return UserError(place.problem(found, allowed=allowed))

    yaml = YAML(typ="rt")
    yaml.allow_duplicate_keys = False
    if any(count > MOST_OPEN for count in accumulate(_BRACKETS.get(sign, 0) for sign in text)):
        raise refused("nested too deeply")
    try:
        with warnings.catch_warnings():
            # An anchor that is defined again is legal YAML.
            warnings.simplefilter("ignore")
            return yaml.load(text)
    except DuplicateKeyError as error:
        found = str(error.problem).splitlines()[0].partition(" with ")[0]
        raise refused(found, error.problem_mark, "each key once") from error
    except MarkedYAMLError as error:
        found = " ".join(str(error.problem or error.context).split())
        mark = error.problem_mark or error.context_mark
        raise refused(f"not YAML: {found}", mark, _remedy(text, mark)) from error
    except ReaderError as error:
        before = text[: error.position]
        place = Place(path, before.count("\n") + 1, error.position - before.rfind("\n"))
        code = error.character if isinstance(error.character, int) else ord(error.character)
        raise UserError(place.problem(f"not YAML: the control character U+{code:04X}")) from error
    except (YAMLError, ValueError, TypeError) as error:
        raise refused(f"not YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise refused("nested too deeply") from error


def _remedy(text: str, mark: Any) -> str:
    """What to write instead, where a tab or the indentation of a line is wrong; '' where something else may be."""
    lines = text.splitlines()
    if mark is None or mark.line >= len(lines):
        return ""
    line = lines[mark.line]
    above = [one for one in lines[: mark.line] if one.strip() and not one.lstrip().startswith("#")]
    indents = [len(one) - len(one.lstrip(" ")) for one in (*above, line)]
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "blanks: a tab cannot indent a line of YAML"
    if mark.column <= indents[-1] and len(indents) > 1 and indents[-1] not in indents[:-1]:
        used = " or ".join(map(str, sorted(set(indents[:-1]))))
        return f"{used} blanks before it, as lines above have; it has {indents[-1]}"
    return ""


@dataclass
class _Plain:
    """Turns ruamel's values into plain ones, notes their places, and refuses what is no plain data."""

    path: Path
    places: dict[Loc, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def value(self, node: Any, loc: Loc) -> Any:
        """The plain value at `loc`."""
        if len(self.places) > MOST_VALUES:
            raise UserError(Place(self.path).problem(f"more than {MOST_VALUES} values"))
        tag = getattr(getattr(node, "tag", None), "value", None)
        if (tag and not str(tag).startswith("tag:yaml.org,2002:")) or type(node).__name__ == "TaggedScalar":
            return self.refuse(loc, f"the tag '{tag}'", "plain YAML values")
        if isinstance(node, CommentedMap):
            self.note(loc, {str(name): node.lc.key(name) for name in node if name in (node.lc.data or {})})
            return {str(name): self.value(item, (*loc, str(name))) for name, item in node.items()}
        if isinstance(node, CommentedSeq):
            self.note(loc, {at: node.lc.item(at) for at in range(len(node)) if at in (node.lc.data or {})})
            return [self.value(item, (*loc, index)) for index, item in enumerate(node)]
        return self.scalar(node, loc)

    def note(self, loc: Loc, marks: Mapping[Any, tuple[int, int]]) -> None:
        """Remember the places of the values of a mapping or list; ruamel counts from 0."""
        self.places |= {(*loc, name): Place(self.path, line + 1, column + 1) for name, (line, column) in marks.items()}

    def scalar(self, node: Any, loc: Loc) -> Any:
        """A string, number, boolean or None; ruamel's own subclasses keep formatting we do not need."""
        if isinstance(node, float) and not math.isfinite(node):
            return self.refuse(loc, f"the number {float(node)}", "finite numbers")
        if isinstance(node, datetime.date):
            # YAML 1.2 has no dates: it is the text that looks like one.
            return str(node)
        for kind in (bool, int, float, str):
            if isinstance(node, kind):
                return kind(node)
        return node if node is None else self.refuse(loc, f"a {type(node).__name__}", "plain YAML values")

    def refuse(self, loc: Loc, found: str, allowed: str) -> None:
        """Note a problem; the value becomes None."""
        here = Document(self.path, {}, self.places).problem(loc, found, allowed=allowed)
        if here not in self.problems[-1:]:
            self.problems.append(here)


@dataclass
class _Given(_Plain):
    """Reads a mapping of plain values in place of ruamel's, and notes the key of each as its place."""

    path: Path = GIVEN

    def value(self, node: Any, loc: Loc) -> Any:
        """The plain value at `loc`."""
        if len(self.places) > MOST_VALUES:
            raise UserError(Place(self.path).problem(f"more than {MOST_VALUES} values"))
        keys = "".join(f"[{part!r}]" for part in loc)
        self.places[loc] = Place(self.path, None, None, f"{self.path}{keys}")
        if isinstance(node, Mapping):
            return {str(name): self.value(item, (*loc, str(name))) for name, item in node.items()}
        if isinstance(node, list | tuple):
            return [self.value(item, (*loc, index)) for index, item in enumerate(node)]
        return self.scalar(node, loc)
