"""Parses the expression of a claim, lists the figures it asks for, and computes its value.

Numbers, ``+ - * /``, ``min``, ``max``, ``mean``, ``abs`` and the figures ``auc(...)`` and ``p(...)``; nothing else is
understood, nothing is executed.
"""

from __future__ import annotations

import ast
import contextlib
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

#: Name -> numbers of positional arguments that a figure takes; a fourth one names a class.
FIGURES = {"auc": (3, 4), "p": (3,)}
#: Name -> what it makes of its arguments.
REDUCTIONS: Mapping[str, Callable[[list[float]], float]] = {
    "min": min,
    "max": max,
    "mean": lambda values: math.fsum(values) / len(values),
    "abs": lambda values: abs(values[0]),
}
_OPERATORS: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
#: A figure that an expression asks for: ("auc", row title, target, label ratio), of one class with its name at the end.
Leaf = tuple[str, str, str, float] | tuple[str, str, str, float, str]


class ExpressionError(ValueError):
    """The expression is not understood."""


def class_of(leaf: Leaf) -> str:
    """The class that a figure is about; '' for the mean over all classes."""
    return leaf[4] if len(leaf) == 5 else ""


@dataclass(frozen=True)
class Expression:
    """An expression with the values of its free names.

    Attributes:
        tree: as Python parses it.
        names: values of the free names ("target", "ratio", "finding").
        taken: parts of the tree -> what is evaluated in their place.
    """

    tree: ast.expr
    names: Mapping[str, Any]
    taken: Mapping[ast.expr, ast.expr] = field(default_factory=dict)

    def taking(self, part: ast.expr, instead: ast.expr) -> Expression:
        """The expression with another in the place of one of its parts."""
        return replace(self, taken={**self.taken, part: instead})

    def leaves(self) -> tuple[Leaf, ...]:
        """The figures the expression asks for, each once.

        Raises:
            ExpressionError: something that is not allowed.
        """
        found: dict[Leaf, float] = {}
        # With every figure at 1 a denominator may be 0; whether it is, only the figures show.
        with contextlib.suppress(ZeroDivisionError):
            self.value(lambda leaf: found.setdefault(leaf, 1.0))
        return tuple(found)

    def choice(self) -> tuple[ast.Call, str] | None:
        """The first minimum or maximum from the outside, and its name; None without any."""
        nodes: list[Any] = [self.tree]
        for node in nodes:  # grows as it is read
            match here := self._at(node):
                case ast.Call(func=ast.Name(id="min" | "max" as name)):
                    return here, name
            nodes += ast.iter_child_nodes(here)
        return None

    def value(self, figure: Callable[[Leaf], float]) -> float:
        """The value of the expression, with each figure as `figure` gives it.

        Raises:
            ExpressionError: something that is not allowed.
            ZeroDivisionError: a denominator is 0.
        """
        return self._value(self.tree, figure)

    def _at(self, node: Any) -> Any:
        while node in self.taken:
            node = self.taken[node]
        return node

    def _value(self, part: ast.expr, figure: Callable[[Leaf], float]) -> float:
        match tree := self._at(part):
            case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
                return float(number)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self._value(operand, figure)
            case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _OPERATORS:
                return _OPERATORS[type(sign)](self._value(left, figure), self._value(right, figure))
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in FIGURES:
                return figure(_leaf(name, arguments, self.names))
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in REDUCTIONS and arguments:
                return REDUCTIONS[name]([self._value(argument, figure) for argument in arguments])
        raise ExpressionError(
            f"'{ast.unparse(tree)}' is not allowed: numbers, + - * /, {', '.join(REDUCTIONS)}, "
            'auc("row", "target", ratio), auc("row", "target", ratio, "class"), p("row", "target", ratio)'
        )


def parse(text: str, names: Mapping[str, Any] | None = None) -> Expression:
    """The expression, checked.

    Args:
        text: the expression.
        names: values of the free names.

    Raises:
        ExpressionError: not an expression, or one with something that is not allowed.
    """
    try:
        found = Expression(ast.parse(text, mode="eval").body, names or {})
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ExpressionError(f"not an expression: {error}") from error
    found.leaves()
    return found


def _leaf(name: str, arguments: list[ast.expr], names: Mapping[str, Any]) -> Leaf:
    if len(arguments) not in FIGURES[name]:
        allowed = " or ".join(map(str, FIGURES[name]))
        raise ExpressionError(f"{name} takes {allowed} arguments, got {len(arguments)}")
    given = []
    for argument in arguments:
        match argument:
            case ast.Constant(value=constant):
                given.append(constant)
            case ast.Name(id=free) if free in names:
                given.append(names[free])
            case _:
                known = ", ".join(names) or "none here"
                raise ExpressionError(f"'{ast.unparse(argument)}': a text or number, or a name ({known})")
    match given:
        case [str() as row, str() as target, int() | float() as ratio]:
            return name, row, target, float(ratio)
        case [str() as row, str() as target, int() | float() as ratio, str() as finding]:
            return name, row, target, float(ratio), finding
    raise ExpressionError(
        f"{name} takes a row title, a target, a label ratio and perhaps a class, got {', '.join(map(repr, given))}"
    )
