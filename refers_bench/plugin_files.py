"""Finds plug-ins in files that are in no package, and loads them."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from refers_bench.errors import UserError

#: Environment variable that names files and folders of such plug-ins, separated as in PATH.
PLUGINS = "REFERS_BENCH_PLUGINS"


def files() -> list[Path]:
    """The Python files that ``REFERS_BENCH_PLUGINS`` names: files, and all those directly in folders.

    Raises:
        UserError: one of its entries is neither.
    """
    found: list[Path] = []
    for entry in filter(None, os.environ.get(PLUGINS, "").split(os.pathsep)):
        path = Path(entry).absolute()
        if (not path.is_dir() and path.suffix != ".py") or not path.exists():
            raise UserError("no folder or Python file", allowed=f"those that {PLUGINS} may name", path=path)
        found += sorted(path.glob("*.py")) if path.is_dir() else [path]
    return found


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
    name = f"refers_bench_plugins:{path}"
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
            raise
    return sys.modules[name]
