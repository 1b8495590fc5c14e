"""Measures the package: code lines by room, import circles, longest files and functions, repeated code.

`nox -s house` prints it; the tests beside this file hold the limits.
"""

from __future__ import annotations

import ast
import copy
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: Statements in a row that count as repeated code where they stand twice, whatever names they use.
REPEATED = 3
DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One file of the package."""

    path: Path

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def name(self) -> str:
        """Dotted, without "__init__"."""
        parts = self.path.relative_to(ROOT).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def room(self) -> str:
        """Folder of the package; "top" for the files beside the folders."""
        parts = self.path.relative_to(ROOT / "refers_bench").parts
        return parts[0] if len(parts) > 1 else "top"

    @property
    def opening(self) -> str:
        """First paragraph of its docstring."""
        return (ast.get_docstring(self.tree) or "").partition("\n\n")[0]

    def code_lines(self) -> int:
        """Lines that are neither blank nor comment nor of a docstring."""
        documented = {
            line
            for node in ast.walk(self.tree)
            if isinstance(node, DOCUMENTED) and ast.get_docstring(node) is not None
            for line in range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1)
        }
        lines = enumerate(self.text.splitlines(), 1)
        return sum(
            bool(line.strip()) and not line.strip().startswith("#") and at not in documented for at, line in lines
        )

    def functions(self) -> Iterator[tuple[str, int]]:
        """(place, lines without the docstring) of each function."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                documented = len((ast.get_docstring(node) or "").splitlines())
                place = f"{self.path.relative_to(ROOT)}:{node.lineno} {node.name}"
                yield place, (node.end_lineno or 0) - node.lineno + 1 - documented

    def imports(self) -> set[str]:
        """Dotted names of all that it imports: at once, when a function is called, or for types alone."""
        found: set[str] = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found |= {node.module, *(f"{node.module}.{one.name}" for one in node.names)}
            elif isinstance(node, ast.Import):
                found |= {one.name for one in node.names}
        return found


def modules() -> list[Module]:
    """All files of the package, in order."""
    return [Module(path) for path in sorted((ROOT / "refers_bench").rglob("*.py"))]


def circles(house: list[Module]) -> list[list[str]]:
    """Groups of modules that import one another, directly or around corners (Tarjan's strongly connected components)."""
    named = {module.name: module for module in house}
    uses = {name: sorted(module.imports() & named.keys() - {name}) for name, module in named.items()}
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in uses[name]:
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(group) > 1:
                found.append(sorted(group))

    for name in uses:
        if name not in index:
            visit(name)
    return found


class _Nameless(ast.NodeTransformer):
    """Takes away what differs between copies: names, attributes' owners, texts and numbers."""

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(id="_", ctx=node.ctx)

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        return ast.Constant(value=type(node.value).__name__)


def repeated(house: list[Module]) -> list[list[str]]:
    """Places of the same `REPEATED` statements in a row, apart from names, texts and numbers."""
    places: dict[str, list[str]] = defaultdict(list)
    for module in house:
        for node in ast.walk(module.tree):
            for body in (getattr(node, "body", ()), getattr(node, "orelse", ())):
                if not isinstance(body, list) or isinstance(node, ast.Module | ast.ClassDef):
                    continue
                shapes = [ast.dump(_Nameless().visit(copy.deepcopy(statement))) for statement in body]
                for at in range(len(body) - REPEATED + 1):
                    key = "\n".join(shapes[at : at + REPEATED])
                    places[key].append(f"{module.path.relative_to(ROOT)}:{body[at].lineno}")
    return [found for found in places.values() if len(found) > 1]


def main() -> int:
    """Print what was measured."""
    house = modules()
    rooms: dict[str, list[Module]] = defaultdict(list)
    for module in house:
        rooms[module.room].append(module)
    print(f"{'room':<12} {'code lines':>10} {'files':>6}")
    for room, inside in sorted(rooms.items()):
        print(f"{room:<12} {sum(one.code_lines() for one in inside):>10} {len(inside):>6}")
    print(f"{'all':<12} {sum(one.code_lines() for one in house):>10} {len(house):>6}")
    print(f"'# fmt: skip': {sum(one.text.count('# fmt: skip') for one in house)}")
    print(f"modules that open with a question: {sum('?' in one.opening for one in house)}")
    print("import circles:", *(map(" <-> ".join, circles(house)) if circles(house) else ["none"]), sep="\n  ")
    longest = sorted(house, key=lambda one: -len(one.text.splitlines()))[:10]
    print(
        "longest files:", *(f"{len(one.text.splitlines())} {one.path.relative_to(ROOT)}" for one in longest), sep="\n  "
    )
    functions = sorted((entry for one in house for entry in one.functions()), key=lambda entry: -entry[1])[:10]
    print("longest functions:", *(f"{lines} {place}" for place, lines in functions), sep="\n  ")
    print(f"{REPEATED} statements in a row that stand twice:", *map(" = ".join, repeated(house)), sep="\n  ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
