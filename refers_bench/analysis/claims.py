"""Which statements of the paper hold on the published, the released and the reproduced figures?"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from refers_bench.analysis.expression import REDUCTIONS, ExpressionError, Leaf, leaves, parse, value
from refers_bench.analysis.published import METHODS, TARGETS, published_values
from refers_bench.errors import Problem, UserError, nearest
from refers_bench.manifest.yaml_text import read

HOLDS, FAILS, UNDECIDED = "holds", "fails", "undecided"
#: Columns of Tables 1 and 2, in the paper's order: what "all" means in a claim's ``columns``.
COLUMNS = (
    ("nih", 0.01), ("nih", 0.1), ("nih", 1.0), ("vinbigdata", 0.01), ("vinbigdata", 0.1), ("vinbigdata", 1.0),
    ("shenzhen", 1.0), ("covid-t1", 1.0), ("covid-t2", 1.0),
)  # fmt: skip
_BOUNDS = ("about", "tolerance", "at_least", "at_most", "above", "below")
_KEYS = ("id", "place", "statement", "expression", "columns", "over", "note", *_BOUNDS)
#: Row titles of P-values in the published tables.
P_ROWS = ("REFERS vs best baseline", "REFERS vs LSP (Transformer)")


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One quantitative statement.

    Attributes:
        id: name.
        place: where the paper says it.
        statement: in our words.
        tree: the expression; AUCs in per cent.
        text: the expression as written.
        columns: (target, ratio) that it is taken over; () when it names its own.
        over: "min", "max" or "mean" of the columns' values.
        low: the value must not lie below this; minus infinity for no bound.
        high: nor above this.
        strict: whether a value on a bound fails.
        note: what a reader must know.
    """

    id: str
    place: str
    statement: str
    tree: ast.expr
    text: str
    columns: tuple[tuple[str, float], ...]
    over: str
    low: float
    high: float
    strict: bool
    note: str

    @property
    def bound(self) -> str:
        """What is demanded, in words."""
        less, more = ("<", ">") if self.strict else ("at most", "at least")
        if math.isinf(self.low):
            return f"{less} {self.high:g}"
        return f"{more} {self.low:g}" if math.isinf(self.high) else f"{self.low:g} to {self.high:g}"

    def contains(self, number: float) -> bool:
        """Whether a value satisfies the claim; rounding of sums of one-decimal figures is forgiven."""
        slack = -1e-9 if self.strict else 1e-9
        return self.low - slack <= number <= self.high + slack


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure of a column of evidence: per cent for an AUC.

    Attributes:
        value: the figure.
        se: its standard error; 0 where the source gives none.
        df: degrees of freedom of `se`; infinity for a normal one.
    """

    value: float
    se: float = 0.0
    df: float = math.inf


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A claim on one column of evidence.

    Attributes:
        verdict: `HOLDS`, `FAILS` or `UNDECIDED`.
        value: of the expression; None when a figure is missing.
        low: lower end of its 95 % interval; None where there is none.
        high: upper end.
        reason: why it is undecided; ''.
    """

    verdict: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str = ""


class Missing(Exception):
    """A column of evidence lacks a figure; the message says why."""


class Evidence:
    """A column of evidence: gives figures, or raises `Missing`."""

    def figure(self, leaf: Leaf) -> Figure:
        """The figure, or `Missing`."""
        raise NotImplementedError


class Published(Evidence):
    """The figures of the paper's tables, exact as printed."""

    def figure(self, leaf: Leaf) -> Figure:
        """A printed figure."""
        kind, row, target, ratio = leaf
        statistic = {"auc": "mean_auc_percent", "p": "p_value"}[kind]
        for known in published_values():
            if (known.method, known.target, known.statistic) == (row, target, statistic) and known.label_ratio == ratio:
                return Figure(value=known.value)
        raise Missing(f"the paper prints no such figure: {row}, {target}, {ratio * 100:g} %")


def load(path: Path | None = None) -> tuple[Claim, ...]:
    """The claims of a file; of the paper when none is given.

    Raises:
        UserError: not YAML, an unknown key, an expression or name that is not understood; with line and column.
    """
    if path is None:
        with resources.as_file(resources.files("refers_bench.analysis").joinpath("claim_files/refers2022.yaml")) as own:
            return load(own)
    text = read(path)
    content = text.content
    if not isinstance(content, Mapping) or not isinstance(content.get("claims"), list):
        raise UserError(Problem(found="no list 'claims'", allowed="version, source, claims", path=path))
    found: list[Claim] = []
    problems: list[Problem] = []
    for number, entry in enumerate(content["claims"]):
        try:
            found.append(_claim(entry, {claim.id for claim in found}))
        except (ExpressionError, ValueError) as error:
            problems.append(text.problem(("claims", number), str(error)))
    if problems:
        raise UserError(problems)
    return tuple(found)


def _claim(entry: Any, taken: set[str]) -> Claim:
    if not isinstance(entry, Mapping):
        raise ValueError(f"a claim is a mapping, got {type(entry).__name__}")
    for key in entry:
        if key not in _KEYS:
            raise ValueError(f"unknown key '{key}'; allowed: {', '.join(_KEYS)}")
    if missing := [key for key in ("id", "place", "statement", "expression") if not entry.get(key)]:
        raise ValueError(f"needs {', '.join(missing)}")
    if entry["id"] in taken:
        raise ValueError(f"the id '{entry['id']}' is taken")
    columns = _columns(entry.get("columns"))
    over = str(entry.get("over", "min"))
    if over not in ("min", "max", "mean"):
        raise ValueError(f"over '{over}'; allowed: min, max, mean")
    tree = parse(str(entry["expression"]), dict(zip(("target", "ratio"), columns[0], strict=True)) if columns else {})
    for target, ratio in columns or (("", 0.0),):
        for leaf in leaves(tree, {"target": target, "ratio": ratio}):
            _check(leaf)
    low, high, strict = _bounds(entry)
    return Claim(
        id=str(entry["id"]),
        place=str(entry["place"]),
        statement=str(entry["statement"]),
        tree=tree,
        text=str(entry["expression"]),
        columns=columns,
        over=over,
        low=low,
        high=high,
        strict=strict,
        note=str(entry.get("note", "")),
    )


def _columns(given: Any) -> tuple[tuple[str, float], ...]:
    if given is None:
        return ()
    if given == "all":
        return COLUMNS
    if not isinstance(given, list) or not given:
        raise ValueError("columns: 'all', or a list of targets or [target, ratio]")
    found: list[tuple[str, float]] = []
    for one in given:
        match one:
            case [str() as target, int() | float() as ratio]:
                columns = [column for column in COLUMNS if column == (target, float(ratio))]
            case str() as target:
                columns = [column for column in COLUMNS if column[0] == target]
            case _:
                raise ValueError(f"columns: {one!r} is neither a target nor [target, ratio]")
        if not columns:
            known = tuple(dict.fromkeys(name for name, _ in COLUMNS))
            near = nearest(target, known)
            raise ValueError(
                f"columns: no column {one!r}; allowed: {', '.join(known)}{f'; near: {near}' if near else ''}"
            )
        found += columns
    return tuple(dict.fromkeys(found))


def _check(leaf: Leaf) -> None:
    kind, row, target, _ = leaf
    rows = P_ROWS if kind == "p" else tuple(METHODS)
    for given, known, what in ((row, rows, "row"), (target, tuple(TARGETS), "target")):
        if given not in known:
            near = nearest(given, known)
            raise ValueError(
                f"unknown {what} '{given}'; allowed: {', '.join(known)}{f'; near: {near}' if near else ''}"
            )


def _bounds(entry: Mapping[str, Any]) -> tuple[float, float, bool]:
    given = {key: float(entry[key]) for key in _BOUNDS if key in entry}
    if set(given) == {"about", "tolerance"}:
        return given["about"] - given["tolerance"], given["about"] + given["tolerance"], False
    if set(given) <= {"at_least", "at_most"} and given:
        return given.get("at_least", -math.inf), given.get("at_most", math.inf), False
    if set(given) <= {"above", "below"} and given:
        return given.get("above", -math.inf), given.get("below", math.inf), True
    raise ValueError("needs about and tolerance, or at_least and/or at_most, or above and/or below")


def evaluate(claim: Claim, evidence: Evidence) -> Outcome:
    """The claim on one column of evidence.

    With standard errors, 95 % intervals are propagated linearly through the expression, figures taken as independent.
    What a minimum or maximum is taken over has an interval each, whose ends it then takes: "in every column" holds
    where it holds in each, however far one of them lies below the others. The verdict is undecided where the interval
    crosses a bound.
    """
    wanted = claim.columns or (("", 0.0),)
    found: dict[Leaf, Figure] = {}
    try:
        for target, ratio in wanted:
            for leaf in leaves(claim.tree, {"target": target, "ratio": ratio}):
                found[leaf] = evidence.figure(leaf)
        centre = _total(claim, {leaf: figure.value for leaf, figure in found.items()})
    except Missing as missing:
        return Outcome(verdict=UNDECIDED, reason=str(missing))
    except ZeroDivisionError:
        return Outcome(verdict=UNDECIDED, reason="a denominator is 0")
    inside = claim.contains(centre)
    if not any(figure.se > 0 for figure in found.values()):
        return Outcome(verdict=HOLDS if inside else FAILS, value=centre)
    low, high = _interval(claim, found)
    if claim.contains(low) and claim.contains(high):
        verdict = HOLDS
    elif high < claim.low or low > claim.high:
        verdict = FAILS
    else:
        verdict = UNDECIDED
    reason = "the interval crosses a bound" if verdict == UNDECIDED else ""
    return Outcome(verdict=verdict, value=centre, low=low, high=high, reason=reason)


def _total(claim: Claim, figures: Mapping[Leaf, float]) -> float:
    columns: Iterable[tuple[str, float]] = claim.columns or (("", 0.0),)
    values = [value(claim.tree, figures.__getitem__, {"target": target, "ratio": ratio}) for target, ratio in columns]
    return REDUCTIONS[claim.over](values)


def _interval(claim: Claim, found: Mapping[Leaf, Figure]) -> tuple[float, float]:
    """The 95 % interval of the claim's value."""
    columns = claim.columns or (("", 0.0),)
    if claim.over == "mean":
        return _linear(lambda figures: _total(claim, figures), found)
    ends = [_ends(claim.tree, found, {"target": target, "ratio": ratio}) for target, ratio in columns]
    reduce = REDUCTIONS[claim.over]
    return reduce([low for low, _ in ends]), reduce([high for _, high in ends])


def _ends(tree: ast.expr, found: Mapping[Leaf, Figure], names: Mapping[str, Any]) -> tuple[float, float]:
    """The 95 % interval of an expression in one column; of a minimum or maximum in it, of each of its arguments."""
    choice = next((node for node in ast.walk(tree) if _is_choice(node)), None)
    if not isinstance(choice, ast.Call) or not isinstance(choice.func, ast.Name):
        return _linear(lambda figures: value(tree, figures.__getitem__, names), found)
    figures = {leaf: figure.value for leaf, figure in found.items()}
    here = value(choice, figures.__getitem__, names)
    step = 1e-3 * max(1.0, abs(here))
    below, above = (
        value(_replaced(tree, choice, ast.Constant(here + move)), figures.__getitem__, names) for move in (-step, step)
    )
    # Where the expression falls as the largest rises, as in "REFERS minus the best baseline", it takes the smallest.
    taken = choice.func.id if above >= below else {"min": "max", "max": "min"}[choice.func.id]
    ends = [_ends(_replaced(tree, choice, argument), found, names) for argument in choice.args]
    reduce = REDUCTIONS[taken]
    return reduce([low for low, _ in ends]), reduce([high for _, high in ends])


def _is_choice(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("min", "max")


def _replaced(tree: ast.expr, old: ast.expr, new: ast.expr) -> ast.expr:
    """The expression with another in the place of one of its parts."""

    class Replace(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> Any:
            return new if node is old else _with_children(node, self.visit)

    replaced: ast.expr = Replace().visit(tree)
    return replaced


def _with_children(node: ast.AST, change: Callable[[ast.AST], Any]) -> ast.AST:
    """A copy of a node whose children were changed; the node itself stays as it is."""
    fields = {
        name: [change(one) for one in old]
        if isinstance(old, list)
        else change(old)
        if isinstance(old, ast.AST)
        else old
        for name, old in ast.iter_fields(node)
    }
    return type(node)(**fields)


def _linear(total: Callable[[Mapping[Leaf, float]], float], found: Mapping[Leaf, Figure]) -> tuple[float, float]:
    """The 95 % interval of a smooth function of figures, by its slopes."""
    from scipy.special import stdtrit

    figures = {leaf: figure.value for leaf, figure in found.items()}
    centre = total(figures)
    # Every figure is moved by a thousandth of its error: the slope, whatever the expression.
    unsure = {leaf: figure for leaf, figure in found.items() if figure.se > 0}
    parts = [
        (total({**figures, leaf: figure.value + figure.se / 1000}) - centre) * 1000 for leaf, figure in unsure.items()
    ]
    variance = math.fsum(part**2 for part in parts)
    if not variance:
        return centre, centre
    # Welch and Satterthwaite's degrees of freedom.
    below = math.fsum(part**4 / figure.df for part, figure in zip(parts, unsure.values(), strict=True))
    quantile = float(stdtrit(variance**2 / below, 0.975)) if below else 1.959963984540054
    half = quantile * math.sqrt(variance)
    return centre - half, centre + half
