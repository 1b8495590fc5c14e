"""What stands in a YAML file, and on which line and column does each value stand?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from refers_bench.errors import Problem, UserError

Loc = tuple[str | int, ...]


@dataclass(frozen=True)
class Place:
    """A value's file, 1-based line and column."""

    path: Path
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}"


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
        for end in range(len(loc), -1, -1):
            if loc[:end] in self.places:
                return self.places[loc[:end]]
        return Place(self.path, 1, 1)

    def problem(self, loc: Loc, found: str, *, allowed: str = "", nearest: str = "") -> Problem:
        """A `Problem` at a value."""
        place = self.place(loc)
        return Problem(
            found=found, allowed=allowed, nearest=nearest, path=place.path, line=place.line, column=place.column
        )


def read(path: Path) -> Document:
    """Read a YAML 1.2 file that holds one mapping; duplicate keys are refused.

    Raises:
        UserError: missing, not UTF-8, not YAML, empty, or not a mapping, with line and column.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise UserError(Problem(found="no such file", allowed="a YAML file", path=path)) from error
    except PermissionError as error:
        raise UserError(Problem(found="no permission to read", path=path)) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(Problem(found="not UTF-8 text", allowed="UTF-8", path=path, line=line, column=1)) from error
    yaml = YAML(typ="rt")
    yaml.allow_duplicate_keys = False
    try:
        content = yaml.load(text)
    except DuplicateKeyError as error:
        mark = error.problem_mark
        found = str(error.problem).splitlines()[0].partition(" with ")[0]
        problem = Problem(found=found, allowed="each key once", path=path, line=mark.line + 1, column=mark.column + 1)
        raise UserError(problem) from error
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise UserError(Problem(found=f"not YAML: {error.problem}", path=path, line=line, column=column)) from error
    except YAMLError as error:
        raise UserError(Problem(found=f"not YAML: {error}", path=path, line=1, column=1)) from error
    if not isinstance(content, CommentedMap):
        found = "an empty file" if content is None else f"a {type(content).__name__.removeprefix('Commented').lower()}"
        raise UserError(Problem(found=found, allowed="a mapping of keys to values", path=path, line=1, column=1))
    places: dict[Loc, Place] = {}
    plain = _plain(content, (), path, places)
    return Document(path, plain, places)


def _plain(node: Any, loc: Loc, path: Path, places: dict[Loc, Place]) -> Any:
    if isinstance(node, CommentedMap):
        for name in node:
            if name in node.lc.data:
                line, column = node.lc.key(name)
                places[(*loc, str(name))] = Place(path, line + 1, column + 1)
        return {str(name): _plain(value, (*loc, str(name)), path, places) for name, value in node.items()}
    if isinstance(node, CommentedSeq):
        for index in range(len(node)):
            line, column = node.lc.item(index)
            places[(*loc, index)] = Place(path, line + 1, column + 1)
        return [_plain(value, (*loc, index), path, places) for index, value in enumerate(node)]
    # ruamel's own subclasses of str, int and float keep formatting we do not need.
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node
