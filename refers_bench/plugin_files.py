"""Finds plug-ins in files that are in no package, and loads them; names the engines, which no file defines."""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import importlib.metadata
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from refers_bench.errors import DataError, Problem, UserError

#: Environment variable that names files and folders of such plug-ins, separated as in PATH.
PLUGINS = "REFERS_BENCH_PLUGINS"
#: Begins the names of the modules of such files.
MODULES = "refers_bench_plugins"


def is_place(path: Path) -> bool:
    """Whether plug-ins may be looked for there: a folder or a Python file."""
    is_file, is_folder = os.path.isfile, os.path.isdir  # Path's raise for a name that no file can have
    return is_folder(path) or (path.suffix == ".py" and is_file(path))


def places() -> list[str]:
    """Absolute paths of the files and folders that ``REFERS_BENCH_PLUGINS`` names."""
    return [str(Path(entry).absolute()) for entry in os.environ.get(PLUGINS, "").split(os.pathsep) if entry]


def add(further: Iterable[Path]) -> bool:
    """Name further files and folders, for this process and those that it starts; returns whether any is new."""
    known = places()
    new = [name for name in dict.fromkeys(str(path.absolute()) for path in further) if name not in known]
    if new:
        os.environ[PLUGINS] = os.pathsep.join([*known, *new])
    return bool(new)


def restorer() -> Callable[[], None]:
    """A function that forgets the places that were added since, and the modules of their files."""
    before = os.environ.get(PLUGINS)

    def restore() -> None:
        if os.environ.get(PLUGINS) == before:
            return
        os.environ.pop(PLUGINS)
        if before is not None:
            os.environ[PLUGINS] = before
        for name in [name for name in sys.modules if name.startswith(f"{MODULES}:")]:
            del sys.modules[name]
        if found := sys.modules.get("refers_bench.plugins"):
            found.names.cache_clear()

    return restore


def files() -> list[Path]:
    """The Python files that ``REFERS_BENCH_PLUGINS`` names: files, and all those directly in folders.

    Raises:
        UserError: one of its entries is neither.
    """
    found: dict[Path, None] = {}  # a file may be named, and its folder, too
    for path in map(Path, places()):
        if not is_place(path):
            raise UserError("no folder or Python file", allowed=f"those that {PLUGINS} may name", path=path)
        found |= dict.fromkeys(sorted(one for one in path.glob("*.py") if one.is_file()) if path.is_dir() else [path])
    return list(found)


#: Kind of plug-in -> names that several have -> where each of these is; noted as their names are looked for.
_TWICE: dict[str, dict[str, list[str]]] = {}


def firsts(kind: str, found: Mapping[str, list[str]]) -> dict[str, str]:
    """Names in their order -> the first place that has it; where others have it as well is noted for `twice`."""
    _TWICE[kind] = {name: places for name, places in found.items() if len(set(places)) > 1}
    return {name: places[0] for name, places in sorted(found.items())}


def twice(kind: str, name: str) -> str:
    """What is wrong with a name that several plug-ins of a kind have; '' where it is the name of one."""
    places = _TWICE.get(kind, {}).get(name, [])
    return f"{len(places)} {kind}s have the name '{name}': {', '.join(places)}; rename all but one" if places else ""


#: Entry-point group of engines, and the built-in ones: name -> factory, see `refers_bench.execution.engines`.
ENGINE_GROUP = "refers_bench.engines"
ENGINES: Mapping[str, str] = {
    "debug": "refers_bench.execution.debug:engine",
    "local": "refers_bench.execution.local:engine",
    "ray": "refers_bench.execution.ray.engine:engine",
    "slurm": "refers_bench.execution.slurm.engine:engine",
}


@cache
def engines() -> dict[str, str]:
    """Names of the places where jobs can run -> "module:factory" of each; nothing is imported."""
    found = {name: [factory] for name, factory in ENGINES.items()}
    for entry in importlib.metadata.entry_points(group=ENGINE_GROUP):
        found.setdefault(entry.name, []).append(entry.value)
    return firsts("engine", found)


def kind_of(path: Path, *, values: Mapping[str, str]) -> str:
    """The kind of plug-in that a file defines ("" for none), by the value that it assigns to; it is not imported.

    Args:
        path: of a Python file.
        values: kind -> name of its value.
    """
    try:
        body = ast.parse(path.read_bytes()).body
    except (SyntaxError, ValueError):  # `load` says so; until then no other plug-in is hidden by a broken one
        text = path.read_bytes().decode(errors="replace")
        return next(
            (kind for kind, value in values.items() if re.search(rf"^{value}\b\s*[:=]", text, re.MULTILINE)), ""
        )
    targets = [target for node in body if isinstance(node, ast.Assign) for target in node.targets]
    targets += [node.target for node in body if isinstance(node, ast.AnnAssign)]
    assigned = {target.id for target in targets if isinstance(target, ast.Name)}
    return next((kind for kind, value in values.items() if value in assigned), "")


#: Environment variable that has errors of plug-ins and of folders end with a traceback, for their authors.
TRACEBACK = "REFERS_BENCH_TRACEBACK"
#: The package whose own errors are bugs.
OURS = __name__.partition(".")[0]
#: Endings of the groups of entry points.
GROUPS = ("methods", "datasets", "reports", "engines")


def imported(name: str) -> ModuleType:
    """The module of that name; of the package, or of another one.

    Raises:
        UserError: it belongs to another package and cannot be imported.
    """
    try:
        return importlib.import_module(name)
    except Exception as error:
        if name.partition(".")[0] == OURS or isinstance(error, UserError):
            raise
        raise blamed(error) or UserError(f"{name} cannot be loaded: {one_line(error)}") from error


def one_line(error: BaseException) -> str:
    """An exception in one line, with its type."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")


def not_ours(error: BaseException) -> DataError | None:
    """What a user is told of an error who can mend it; None for a bug, and where tracebacks are asked for.

    Args:
        error: that nothing in this package has turned into a `UserError`.
    """
    return None if os.environ.get(TRACEBACK) else blamed(error) or of_place(error)


def blamed(error: BaseException) -> DataError | None:
    """An exception that came through a plug-in outside this package, as an error of the line it came through last.

    Args:
        error: what was raised: the plug-in's own mistake, or one that it was told of by what it called.

    Returns:
        None where no such plug-in had a part in it: it is an error of this package.
    """
    frames = [
        (str(frame.f_globals.get("__name__", "")), frame.f_code.co_filename, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    others = (f"{MODULES}:", *(f"{package}." for package in _others()))
    theirs = [frame for frame in frames if f"{frame[0]}.".startswith(others)]
    if not theirs:
        return None
    name, file, line = theirs[-1]
    plugin = Path(name.removeprefix(f"{MODULES}:")).stem if name.startswith(f"{MODULES}:") else name
    allowed = f"a plug-in without errors; {TRACEBACK}=1 shows the traceback"
    return DataError(f"plug-in '{plugin}' failed: {one_line(error)}", allowed=allowed, path=file, line=line)


def of_place(error: BaseException) -> DataError | None:
    """An error of the system about a file or folder, with its path; None for others, and for those in this package."""
    if not isinstance(error, OSError) or not isinstance(error.filename, str):
        return None
    place = Path(error.filename)
    if place.is_relative_to(Path(__file__).parent):
        return None
    allowed = f"a place that can be read, and written where something is kept; {TRACEBACK}=1 shows the traceback"
    return DataError(f"{error.strerror or error} ({type(error).__name__})", allowed=allowed, path=place)


@cache
def _others() -> frozenset[str]:
    """The packages whose entry points name plug-ins of ours."""
    entries = [entry for kind in GROUPS for entry in importlib.metadata.entry_points(group=f"{OURS}.{kind}")]
    return frozenset(entry.module.partition(".")[0] for entry in entries) - {OURS}


def module(path: Path) -> ModuleType:
    """The module of a file in no package, imported once in a process; files of one name have modules of their own."""
    name = f"{MODULES}:{path}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(sys.modules[name])
        except BaseException as error:
            del sys.modules[name]
            if isinstance(error, SyntaxError):
                raise UserError(f"this is not Python: {error}", path=path) from error
            if isinstance(error, Exception | SystemExit) and not isinstance(error, UserError):
                found = f"cannot be loaded: {one_line(error)}"
                raise UserError(found, path=path, line=_line(error, path)) from error
            raise
    return sys.modules[name]


def _line(error: BaseException, path: Path) -> int | None:
    """The last line of a file that an error came through; None where it came through none."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return lines[-1] if lines else None


#: How an annotation begins -> whether a value may be meant by it; other annotations are not looked at.
_FITS: Mapping[str, Callable[[Any], bool]] = {
    "Callable": callable,
    "Mapping": lambda value: isinstance(value, Mapping),
    "type": lambda value: isinstance(value, type),
    "bool": lambda value: isinstance(value, bool),
    "int": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "str": lambda value: isinstance(value, str),
    "None": lambda value: value is None,
}


def misfits(record: Any, value: str, place: str) -> list[Problem]:
    """Fields of a plug-in's record that are of another kind than their annotation; of one in this package, none.

    Args:
        record: a method, dataset or report.
        value: the name that its module gives it.
        place: its file, or the dotted name of its module.
    """
    found: list[Problem] = []
    if place.startswith(f"{OURS}.") or not dataclasses.is_dataclass(record):
        return found
    for field in dataclasses.fields(record):
        kinds, depth = str(field.type), -1
        while depth != len(kinds):  # what stands in brackets may hold brackets
            depth, kinds = len(kinds), re.sub(r"\[[^\[\]]*\]", "", kinds)
        tests, given = [_FITS.get(kind.strip()) for kind in kinds.split("|")], getattr(record, field.name)
        if not any(test is None or test(given) for test in tests):
            text = f"{field.name} of {value} is {given!r}"[:200]
            found.append(Problem(found=text, allowed=str(field.type), path=place))
    return found


def source(place: str) -> str:
    """Identity of the text of a plug-in: what it reads may change with it.

    Args:
        place: its file, or the dotted name of its module (`refers_bench.plugins.names`).
    """
    if not place.endswith(".py"):
        spec = importlib.util.find_spec(place)
        place = (spec.origin if spec else None) or ""
    return hashlib.sha256(Path(place).read_bytes()).hexdigest()[:16] if Path(place).is_file() else ""
