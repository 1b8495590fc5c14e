"""Lists the small changes to the package that its tests should notice, and draws a seeded sample of them.

A change replaces one stretch of one file by another text: a comparison is moved by one, a condition turned round, a
statement, an argument or a dictionary's entry left out, a number moved. Texts, annotations and messages stay as they
are. A change is named after its place in the code and not after a line, and the sample is drawn by a hash of this name:
other code may come and go without the sample being another one.
"""

from __future__ import annotations

import ast
import copy
import hashlib
import warnings
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

COMPARISONS: dict[type, type] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
ARITHMETIC: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult, ast.MatMult: ast.Mult,
}  # fmt: skip
#: Calls of one argument that are left out. Not `list`, `tuple` and `frozenset`: what only reads takes either.
UNWRAPPED = frozenset({"sorted", "set", "round", "abs", "reversed", "max", "min"})


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One change of one file.

    Attributes:
        path: The file, from the repository's root.
        place: Dotted name of the function or class that holds it, "" at a module's own level.
        kind: What is done, for example "comparison".
        line: Where it begins, from 1.
        start: First byte that is replaced, in the file's UTF-8.
        end: First byte after these.
        old: What stood there.
        new: What stands there now.
        nth: How many changes equal to it stand before it in the same place.
    """

    path: str
    place: str
    kind: str
    line: int
    start: int
    end: int
    old: str
    new: str
    nth: int = 0

    @property
    def id(self) -> str:
        """Eight hexadecimal digits that stay the same while the code around the change moves."""
        named = "\0".join((self.path, self.place, self.kind, self.old, self.new, str(self.nth)))
        return hashlib.sha256(named.encode()).hexdigest()[:8]

    @property
    def room(self) -> str:
        """The folder of the package that holds it; "top" for the files beside the folders."""
        parts = Path(self.path).parts
        return parts[1] if len(parts) > 2 else "top"

    def applied(self, source: bytes) -> bytes:
        """The file with the change."""
        return source[: self.start] + self.new.encode() + source[self.end :]


def of_package(root: Path) -> list[Mutant]:
    """Every change of every module below ``<root>/refers_bench``."""
    modules = sorted((root / "refers_bench").rglob("*.py"))
    return [mutant for module in modules for mutant in of_module(module, root)]


def of_module(module: Path, root: Path) -> Iterator[Mutant]:
    """Every change of a module."""
    source = module.read_bytes()
    found = _Finder(source)
    found.visit(ast.parse(source))
    counts: dict[tuple[str, ...], int] = defaultdict(int)
    path = module.relative_to(root).as_posix()
    for place, kind, node, new in found.changes:
        start, end = found.span(node)
        old = source[start:end].decode()
        if new == old:
            continue
        same = (place, kind, old, new)
        mutant = Mutant(
            path=path, place=place, kind=kind, line=node.lineno, start=start, end=end, old=old, new=new, nth=counts[same]
        )  # fmt: skip
        counts[same] += 1
        yield mutant


def compiles(mutant: Mutant, root: Path) -> bool:
    """Whether Python reads the changed file."""
    try:
        with warnings.catch_warnings(action="ignore"):
            compile(mutant.applied((root / mutant.path).read_bytes()), mutant.path, "exec")
    except SyntaxError:
        return False
    return True


def sample(root: Path, per_room: int, seed: int) -> list[Mutant]:
    """So many changes of each room, each kind in turn, at most one a line.

    Kinds take turns since a plain draw would be mostly numbers and arguments.
    """
    mutants = of_package(root)
    order = {mutant: hashlib.sha256(f"{seed} {mutant.id}".encode()).hexdigest() for mutant in mutants}
    rooms: dict[str, dict[str, list[Mutant]]] = defaultdict(lambda: defaultdict(list))
    for mutant in sorted(mutants, key=order.__getitem__):
        rooms[mutant.room][mutant.kind].append(mutant)
    drawn: list[Mutant] = []
    for room in sorted(rooms):
        waiting, lines, taken = rooms[room], set(), 0
        while taken < per_room and any(waiting.values()):
            for kind in sorted(waiting):
                while waiting[kind]:
                    mutant = waiting[kind].pop(0)
                    if (mutant.path, mutant.line) not in lines and compiles(mutant, root):
                        lines.add((mutant.path, mutant.line))
                        drawn.append(mutant)
                        taken += 1
                        break
                if taken == per_room:
                    break
    return drawn


class _Finder(ast.NodeVisitor):
    """Collects (place, kind, node to replace, new text)."""

    def __init__(self, source: bytes) -> None:
        self.changes: list[tuple[str, str, ast.expr | ast.stmt, str]] = []
        self._place: list[str] = []
        self._starts = [0]
        for line in source.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        """First byte of a node and first byte after it."""
        assert node.end_lineno is not None and node.end_col_offset is not None
        return self._starts[node.lineno - 1] + node.col_offset, self._starts[node.end_lineno - 1] + node.end_col_offset

    def _add(self, kind: str, node: ast.expr | ast.stmt, new: ast.AST | str) -> None:
        text = new if isinstance(new, str) else ast.unparse(new)
        # An expression may stand inside another one: its own brackets keep its meaning.
        if isinstance(node, ast.expr) and not isinstance(new, str) and not isinstance(new, ast.Constant | ast.Call):
            text = f"({text})"
        self.changes.append((".".join(self._place), kind, node, text))

    # What holds no behaviour: annotations, names of types, messages, formatted texts, assertions; `strict` of `zip` is
    # one.

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Positions inside formatted texts are unreliable in Python 3.11."""

    def visit_Assert(self, node: ast.Assert) -> None:
        """Assertions narrow types."""

    def visit_Raise(self, node: ast.Raise) -> None:
        """Errors' messages."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_arg(self, node: ast.arg) -> None:
        """Annotations of arguments."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._place.append(node.name)
        for default in (*node.args.defaults, *(one for one in node.args.kw_defaults if one is not None)):
            self.visit(default)
        for child in (*node.decorator_list, *node.body):
            self.visit(child)
        self._place.pop()

    visit_AsyncFunctionDef = visit_FunctionDef  # type: ignore[assignment]

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._place.append(node.name)
        for child in node.body:
            self.visit(child)
        self._place.pop()

    # Conditions.

    def _condition(self, test: ast.expr) -> None:
        if not isinstance(test, ast.Compare):
            self._add("condition", test, ast.UnaryOp(op=ast.Not(), operand=test))

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test).endswith("TYPE_CHECKING") or "__name__" in ast.unparse(node.test):
            return
        self._condition(node.test)
        if not node.orelse and isinstance(node.body[-1], ast.Raise | ast.Return | ast.Continue | ast.Break):
            self._add("guard", node, "pass")
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self._condition(node.test)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for one in node.ifs:
            self._add("filter", one, "True")
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        changed = copy.deepcopy(node)
        changed.ops[0] = COMPARISONS[type(node.ops[0])]()
        self._add("comparison", node, changed)
        if isinstance(node.ops[0], ast.Lt | ast.LtE | ast.Gt | ast.GtE):
            self._add("comparison", node, ast.UnaryOp(op=ast.Not(), operand=node))
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        self._add(
            "boolean", node, ast.BoolOp(op=ast.Or() if isinstance(node.op, ast.And) else ast.And(), values=node.values)
        )
        for at in range(len(node.values)):
            left = [value for n, value in enumerate(node.values) if n != at]
            self._add("operand", node, left[0] if len(left) == 1 else ast.BoolOp(op=node.op, values=left))
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.USub | ast.Not | ast.Invert) and not isinstance(node.operand, ast.Constant):
            self._add("sign", node, node.operand)
        self.generic_visit(node)

    # Arithmetic and numbers.

    def visit_BinOp(self, node: ast.BinOp) -> None:
        texts = any(
            isinstance(side, ast.JoinedStr) or isinstance(getattr(side, "value", 0), str)
            for side in (node.left, node.right)
        )
        if type(node.op) in ARITHMETIC and not texts:
            self._add("arithmetic", node, ast.BinOp(left=node.left, op=ARITHMETIC[type(node.op)](), right=node.right))
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._add("statement", node, "pass")
        self.visit(node.value)

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg != "strict":
            self.visit(node.value)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self._add("flag", node, str(not node.value))
        elif isinstance(node.value, int):
            self._add("number", node, str(node.value + 1))
        elif isinstance(node.value, float):
            self._add("number", node, repr(node.value * 1.5 or 1.0))

    # What is left out.

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Constant):
            return
        self._add("statement", node, "pass")
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        if isinstance(node.targets[0], ast.Attribute | ast.Subscript):
            self._add("statement", node, "pass")
        elif isinstance(node.targets[0], ast.Name) and node.targets[0].id.startswith("__"):
            return
        self.visit(node.value)

    def visit_Call(self, node: ast.Call) -> None:
        self._left_out_keyword(node)
        names = [argument for argument in node.args if not isinstance(argument, ast.Starred)]
        if len(names) >= 2 and len(names) == len(node.args) and type(names[0]) is type(names[1]):
            changed = copy.copy(node)
            changed.args = [node.args[1], node.args[0], *node.args[2:]]
            self._add("arguments", node, changed)
        if isinstance(node.func, ast.Name) and node.func.id in UNWRAPPED and len(node.args) == 1 and not node.keywords:
            self._add("call", node, node.args[0])
        if isinstance(node.func, ast.Name) and node.func.id in ("max", "min") and len(node.args) == 2:
            self._add("call", node, node.args[0])
            self._add("call", node, node.args[1])
        if isinstance(node.func, ast.Name) and node.func.id in ("any", "all"):
            changed = copy.copy(node)
            changed.func = ast.Name(id="all" if node.func.id == "any" else "any")
            self._add("call", node, changed)
        self.generic_visit(node)

    def _left_out_keyword(self, node: ast.Call) -> None:
        called = ast.unparse(node.func).rpartition(".")[2]
        if called[:1].isupper():
            return  # Most arguments of a constructor are required: without one nothing runs at all.
        for at, keyword in enumerate(node.keywords):
            if keyword.arg not in (None, "strict"):
                changed = copy.copy(node)
                changed.keywords = [one for n, one in enumerate(node.keywords) if n != at]
                self._add("keyword", node, changed)

    def visit_Dict(self, node: ast.Dict) -> None:
        for at in range(len(node.keys)):
            keys = [key for n, key in enumerate(node.keys) if n != at]
            values = [value for n, value in enumerate(node.values) if n != at]
            self._add("entry", node, ast.Dict(keys=keys, values=values))
        self.generic_visit(node)

    def _elements(self, node: ast.List | ast.Set) -> None:
        if len(node.elts) >= 2 and not isinstance(getattr(node, "ctx", None), ast.Store):
            for at in range(len(node.elts)):
                self._add("entry", node, type(node)(elts=[one for n, one in enumerate(node.elts) if n != at]))
        self.generic_visit(node)

    visit_List = _elements
    visit_Set = _elements

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if isinstance(node.slice, ast.Slice) and isinstance(node.ctx, ast.Load):
            self._add("slice", node, node.value)
        self.generic_visit(node)

    def visit_Break(self, node: ast.Break) -> None:
        self._add("loop", node, "continue")

    def visit_Continue(self, node: ast.Continue) -> None:
        self._add("loop", node, "break")
