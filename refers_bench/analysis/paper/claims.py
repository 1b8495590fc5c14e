"""Reads the statements of a paper from YAML and decides which of them hold on a column of evidence."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from refers_bench import plugins
from refers_bench.analysis.paper.expression import REDUCTIONS, Expression, Leaf, class_of, parse
from refers_bench.analysis.paper.figures import Evidence, Figure, Missing, Undecidable
from refers_bench.analysis.paper.propagation import ALPHA, Limits, limits, linear, reduced, shared
from refers_bench.analysis.paper.published import METHODS, TARGETS, published_values
from refers_bench.errors import Problem, UserError, nearest
from refers_bench.manifest.yaml_text import read

HOLDS, FAILS, UNDECIDED, NO_DATA = "holds", "fails", "undecided", "no data"
#: In the order in which they are counted.
VERDICTS = (HOLDS, FAILS, UNDECIDED, NO_DATA)
#: Columns of Tables 1 and 2, in the paper's order: what "all" means in a claim's ``columns``.
COLUMNS = (*product(("nih", "vinbigdata"), (0.01, 0.1, 1.0)), *product(("shenzhen", "covid-t1", "covid-t2"), (1.0,)))
#: The claims that come with the package.
OF_THE_PAPER = Path(__file__).with_name("claim_files") / "refers2022.yaml"
_BOUNDS = ("about", "tolerance", "at_least", "at_most", "above", "below")
_Text = Annotated[str, Field(min_length=1)]
#: Row titles of P-values in the published tables.
P_ROWS = ("REFERS vs best baseline", "REFERS vs LSP (Transformer)")


def _classes(given: Any) -> tuple[str, ...]:
    if not isinstance(given, list) or not given or not all(isinstance(one, str) for one in given):
        raise ValueError("classes: a list of class names")
    return tuple(dict.fromkeys(given))


def _columns(given: Any) -> tuple[tuple[str, float], ...]:
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
            raise ValueError(f"columns: no column {one!r}{_allowed(target, dict(COLUMNS))}")
        found += columns
    return tuple(dict.fromkeys(found))


def _check(leaf: Leaf) -> None:
    kind, row, target = leaf[:3]
    rows = P_ROWS if kind == "p" else tuple(METHODS)
    checks: list[tuple[str, Sequence[str], str]] = [(row, rows, "row"), (target, tuple(TARGETS), "target")]
    if (finding := class_of(leaf)) and target in TARGETS:
        dataset, task = TARGETS[target]
        checks.append((finding, plugins.load("dataset", dataset).tasks[task].classes, f"class of {target}"))
    for given, known, what in checks:
        if given not in known:
            raise ValueError(f"unknown {what} '{given}'{_allowed(given, known)}")


def _allowed(given: str, known: Iterable[str]) -> str:
    """The end of an error message: the known names, and the one nearest to what was given."""
    near = nearest(given, known)
    return f"; allowed: {', '.join(known)}{f'; near: {near}' if near else ''}"


class Claim(BaseModel):
    """One quantitative statement, as the file has it.

    Attributes:
        id: name.
        place: where in the paper.
        statement: in our words.
        text: the expression as written; AUCs in per cent.
        columns: (target, ratio) that it is taken over; () when it names its own.
        classes: class names that it is taken over, in each column; () when it names its own, or none.
        over: how the values in all columns and classes become one.
        note: what a reader must know.
        about, tolerance, at_least, at_most, above, below: what is demanded of the value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)

    id: _Text
    place: _Text
    statement: _Text
    text: _Text = Field(alias="expression")
    columns: Annotated[tuple[tuple[str, float], ...], BeforeValidator(_columns)] = ()
    classes: Annotated[tuple[str, ...], BeforeValidator(_classes)] = ()
    over: Literal["min", "max", "mean"] = "min"
    note: str = ""
    about: float | None = None
    tolerance: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None
    below: float | None = None

    @model_validator(mode="after")
    def _understood(self) -> Claim:
        """The bounds fit each other, and every figure that the expression asks for can be there."""
        _ = self.bounds
        for leaf in dict.fromkeys(leaf for place in self.places for leaf in self.at(place).leaves()):
            _check(leaf)
        return self

    @cached_property
    def _expression(self) -> Expression:
        return parse(self.text, self.places[0])

    def at(self, place: Mapping[str, Any]) -> Expression:
        """The expression in one of `places`."""
        return replace(self._expression, names=place)

    @cached_property
    def places(self) -> tuple[Mapping[str, Any], ...]:
        """Values of the expression's free names in every column and class that it is taken over."""
        columns = [{"target": target, "ratio": ratio} for target, ratio in self.columns] or [{}]
        classes = [{"finding": finding} for finding in self.classes] or [{}]
        return tuple({**column, **finding} for column, finding in product(columns, classes))

    @cached_property
    def bounds(self) -> tuple[float, float, bool]:
        """(low, high, strict): the value must lie between them; where strict, on neither of them."""
        given = {name: bound for name in _BOUNDS if (bound := getattr(self, name)) is not None}
        if set(given) == {"about", "tolerance"}:
            return given["about"] - given["tolerance"], given["about"] + given["tolerance"], False
        if set(given) <= {"at_least", "at_most"} and given:
            return given.get("at_least", -math.inf), given.get("at_most", math.inf), False
        if set(given) <= {"above", "below"} and given:
            return given.get("above", -math.inf), given.get("below", math.inf), True
        raise ValueError("needs about and tolerance, or at_least and/or at_most, or above and/or below")

    @property
    def bound(self) -> str:
        """What is demanded, in words."""
        low, high, strict = self.bounds
        less, more = ("<", ">") if strict else ("at most", "at least")
        if math.isinf(low):
            return f"{less} {high:g}"
        return f"{more} {low:g}" if math.isinf(high) else f"{low:g} to {high:g}"

    @property
    def _slack(self) -> float:
        """Rounding of sums of one-decimal figures that is forgiven."""
        return -1e-9 if self.bounds[2] else 1e-9

    def too_low(self, number: float) -> bool:
        """Whether a value lies below what is demanded."""
        return number < self.bounds[0] - self._slack

    def too_high(self, number: float) -> bool:
        """Whether a value lies above what is demanded."""
        return number > self.bounds[1] + self._slack

    def contains(self, number: float) -> bool:
        """Whether a value satisfies the claim."""
        return not self.too_low(number) and not self.too_high(number)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A claim on one column of evidence.

    Attributes:
        verdict: one of `VERDICTS`.
        value: of the expression; None when a figure that it needs is missing.
        low: lower end of its 95 % interval; None where there is none.
        high: upper end.
        reason: why it is undecided or without data; ''.
        places: columns and classes that refute it after Holm's correction over all of them; () for a claim that holds
            or that is not about several.
    """

    verdict: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str = ""
    places: tuple[str, ...] = ()


class Published(Evidence):
    """The figures of the paper's tables, exact as printed."""

    def figure(self, leaf: Leaf) -> Figure:
        """A printed figure."""
        kind, row, target, ratio = leaf[:4]
        if finding := class_of(leaf):
            raise Missing(f"no published AUC of one class is recorded here: {finding}")
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
    text = read(OF_THE_PAPER if path is None else path)
    content = text.content
    if not isinstance(content, Mapping) or not isinstance(content.get("claims"), list):
        raise UserError("no list 'claims'", allowed="version, source, claims", path=path)
    found: list[Claim] = []
    problems: list[Problem] = []
    for number, entry in enumerate(content["claims"]):
        try:
            claim = Claim.model_validate(entry)
            if any(claim.id == other.id for other in found):
                problems.append(text.problem(("claims", number), f"the id '{claim.id}' is taken"))
            found.append(claim)
        except ValidationError as error:
            problems += [text.problem(("claims", number), _said(detail)) for detail in error.errors()]
    if problems:
        raise UserError(problems)
    return tuple(found)


def _said(detail: ErrorDetails) -> str:
    """What does not fit the schema, as an error message."""
    key = ".".join(map(str, detail["loc"]))
    match detail["type"]:
        case "model_type":
            return f"a claim is a mapping, got {type(detail['input']).__name__}"
        case "extra_forbidden":
            known = (field.alias or name for name, field in Claim.model_fields.items())
            return f"unknown key '{key}'; allowed: {', '.join(known)}"
        case "missing" | "string_too_short":
            return f"needs {key}"
        case "value_error":
            return detail["msg"].removeprefix("Value error, ")
    return f"{key} {detail['input']!r}: {detail['msg']}"


def evaluate(claim: Claim, evidence: Evidence) -> Outcome:
    """The claim on one column of evidence.

    The expression has a 95 % interval, from the errors that the evidence gives for its figures together: of figures
    that share seeds or test images, that of their difference. A claim about several columns or classes ("the highest
    in every column") holds where it holds in each of them at the uncorrected level, an intersection-union test. It
    fails where at least one of them refutes it at the level that Holm's procedure leaves for so many: one in nine
    columns is below a bound by chance more often than one in one (see `propagation` for both).
    It is undecided where the interval crosses a bound, and without data where a figure is missing and those that are
    there do not refute it. A mean over columns takes the best baseline of each as it was found.
    """
    found: dict[Leaf, Figure] = {}
    here: list[Mapping[str, Any]] = []
    absent: list[Missing] = []
    for place in claim.places:
        try:
            found |= {leaf: evidence.figure(leaf) for leaf in claim.at(place).leaves()}
            here.append(place)
        except Missing as missing:
            absent.append(missing)
    lacking = UNDECIDED if all(isinstance(one, Undecidable) for one in absent) else NO_DATA
    if absent and (claim.over == "mean" or not here):
        return Outcome(verdict=lacking, reason=_why(absent))
    try:
        centre = _total(claim, here, {leaf: figure.value for leaf, figure in found.items()})
        low, high = _interval(claim, here, found, evidence)
        if absent:
            # What is missing may lie further out on one side.
            low, high = (-math.inf, high) if claim.over == "min" else (low, math.inf)
        fails = claim.too_low(high) or claim.too_high(low)
        refuting = _refuting(claim, here, found, evidence) if fails else ()
    except Missing as missing:
        return Outcome(verdict=UNDECIDED, reason=str(missing))
    except ZeroDivisionError:
        return Outcome(verdict=UNDECIDED, reason="a denominator is 0")
    ends = (low, high) if not absent and any(figure.se > 0 for figure in found.values()) else (None, None)
    if fails:
        return Outcome(verdict=FAILS, value=centre, low=ends[0], high=ends[1], reason=_why(absent), places=refuting)
    if absent:
        return Outcome(verdict=lacking, reason=_why(absent))
    verdict = HOLDS if claim.contains(low) and claim.contains(high) else UNDECIDED
    reason = "the interval crosses a bound" if verdict == UNDECIDED else ""
    return Outcome(verdict=verdict, value=centre, low=ends[0], high=ends[1], reason=reason)


def _why(absent: Sequence[Missing]) -> str:
    """The first reason, of those without data first, and how many there are."""
    reasons = list(dict.fromkeys(str(one) for one in sorted(absent, key=lambda one: isinstance(one, Undecidable))))
    return "".join(reasons[:1]) + (f"; and {len(reasons) - 1} more" if len(reasons) > 1 else "")


def _total(claim: Claim, places: Sequence[Mapping[str, Any]], figures: Mapping[Leaf, float]) -> float:
    return REDUCTIONS[claim.over]([claim.at(place).value(figures.__getitem__) for place in places])


def _interval(
    claim: Claim, places: Sequence[Mapping[str, Any]], found: Mapping[Leaf, Figure], evidence: Evidence
) -> Limits:
    """The 95 % interval of the claim's value, in the places that have figures."""
    if claim.over == "mean":
        tails = (ALPHA, ALPHA)
        return linear(lambda figures: _total(claim, places, figures), found, evidence, tails=tails)
    tails = shared((ALPHA, ALPHA), over=claim.over, count=len(claim.places))
    return reduced([limits(claim.at(place), found, evidence, tails=tails) for place in places], over=claim.over)


def _refuting(
    claim: Claim, places: Sequence[Mapping[str, Any]], found: Mapping[Leaf, Figure], evidence: Evidence
) -> tuple[str, ...]:
    """Names of the places that refute a claim about all of them, by Holm's step-down procedure."""
    if len(claim.places) < 2 or claim.over == "mean":
        return ()
    refuted: list[Mapping[str, Any]] = []
    while True:
        tails = shared((ALPHA, ALPHA), over=claim.over, count=max(1, len(claim.places) - len(refuted)))
        ends = [
            (place, *limits(claim.at(place), found, evidence, tails=tails)) for place in places if place not in refuted
        ]
        more = [p for p, low, high in ends if (claim.too_low(high) if claim.over == "min" else claim.too_high(low))]
        if not more:
            return tuple(_title(place) for place in places if place in refuted)
        refuted += more


def _title(place: Mapping[str, Any]) -> str:
    """A column, and a class, in words: "nih 1 %, Mass"."""
    column = [f"{place['target']} {place['ratio'] * 100:g} %"] if "target" in place else []
    return ", ".join([*column, *([place["finding"]] if "finding" in place else [])])
