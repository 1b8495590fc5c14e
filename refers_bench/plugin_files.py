"""Finds plug-ins in files that are in no package, and loads them."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType

from refers_bench.errors import UserError

#: Environment variable that names files and folders of such plug-ins, separated as in PATH.
PLUGINS = "REFERS_BENCH_PLUGINS"
#: Begins the names of the modules of such files.
MODULES = "refers_bench_plugins"


def is_place(path: Path) -> bool:
    """Whether plug-ins may be looked for there: a folder or a Python file."""
    return path.is_dir() or (path.suffix == ".py" and path.is_file())


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
        found |= dict.fromkeys(sorted(path.glob("*.py")) if path.is_dir() else [path])
    return list(found)


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
            if isinstance(error, Exception) and not isinstance(error, UserError):
                found = f"cannot be loaded: {type(error).__name__}: {error}"
                raise UserError(found, path=path, line=_line(error, path)) from error
            raise
    return sys.modules[name]


def _line(error: Exception, path: Path) -> int | None:
    """The last line of a file that an error came through; None where it came through none."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return lines[-1] if lines else None


def source(place: str) -> str:
    """Identity of the text of a plug-in: what it reads may change with it.

    Args:
        place: its file, or the dotted name of its module (`refers_bench.plugins.names`).
    """
    if not place.endswith(".py"):
        spec = importlib.util.find_spec(place)
        place = (spec.origin if spec else None) or ""
    return hashlib.sha256(Path(place).read_bytes()).hexdigest()[:16] if Path(place).is_file() else ""
