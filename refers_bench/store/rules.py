"""Holds which tests of a plan's results are primary, and when they count as a finding: its rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from refers_bench.evaluations import ALPHA, Correction, Test

#: The row that others are compared with, where a manifest names none and has it.
REFERENCE = "refers"
#: What stands in a record for no named rows, and for no named columns.
BEST, ALL = "best other row", "all"


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The primary tests over seeds of a plan, and what counts as a finding.

    Attributes:
        reference: row that others are compared with; '' where there is no row.
        against: rows that it is tested against, each of them; () for the best other row of each column.
        columns: what a column must have to be primary, any of them: dataset, and tasks, label ratios and evaluations
            where they are not empty; () for all columns.
        test: "student" or "welch".
        correction: of the primary P-values, "holm" or "none".
        alpha: a P-value below it counts.
    """

    reference: str = ""
    against: tuple[str, ...] = ()
    columns: tuple[Mapping[str, Any], ...] = ()
    test: str = "student"
    correction: str = "none"
    alpha: float = ALPHA

    def primary(self, column: Any) -> bool:
        """Whether a column is primary.

        Args:
            column: with the fields of `refers_bench.analysis.cells.Target`.
        """
        return not self.columns or any(_matches(one, column) for one in self.columns)

    def recorded(self) -> dict[str, Any]:
        """As a frozen plan holds them."""
        return {
            "reference": self.reference,
            "against": list(self.against) or BEST,
            "columns": list(self.columns) or ALL,
            "test": self.test,
            "correction": self.correction,
            "alpha": self.alpha,
        }


def of(manifest: Mapping[str, Any], cells: Iterable[Any]) -> Rules:
    """The rules of a plan; without ``analysis`` in its manifest no P-value is corrected, with it all are by default.

    Args:
        manifest: of the plan, as it records it.
        cells: of the plan, `refers_bench.store.plan.Cell`.
    """
    floors: dict[str, bool] = {}
    for cell in cells:
        name = cell.best_of or cell.method
        floors[name] = floors.get(name, False) or cell.floor
    part = manifest.get("analysis")
    given = {"correction": "holm", **part} if part is not None else {}
    given["reference"] = given.get("reference") or reference_of(floors)
    lists = {name: tuple(given[name]) for name in ("against", "columns") if name in given}
    return Rules(**{**given, **lists})


def reference_of(floors: Mapping[str, bool]) -> str:
    """The row that others are compared with where none is named: REFERS, or else the first that is no floor.

    Args:
        floors: row -> whether it is a floor, in the order of the manifest.
    """
    rows = [name for name, floor in floors.items() if not floor] or [*floors]
    return REFERENCE if REFERENCE in floors else next(iter(rows), "")


def _matches(wanted: Mapping[str, Any], column: Any) -> bool:
    """Whether a column is of a dataset, and of the tasks, label ratios and evaluations where any are named."""
    if column.dataset != wanted["dataset"]:
        return False
    fields = (("tasks", column.task), ("label_ratios", column.label_ratio), ("evaluation", column.evaluation))
    return all(not wanted.get(name) or value in wanted[name] for name, value in fields)


def wrong(part: Any) -> Iterator[str]:
    """What is wrong with the part ``analysis`` of a plan's manifest, which may have been edited by hand.

    Args:
        part: as JSON holds it; None for none.
    """
    if part is None:
        return
    if not isinstance(part, dict) or not set(part) <= set(_FIELDS):
        yield f"'manifest.analysis' is not a mapping of {', '.join(_FIELDS)}"
        return
    for name, value in part.items():
        if not _FIELDS[name](value):
            yield f"'manifest.analysis.{name}' is not what a manifest may say"


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(type(one) is str for one in value)


def _column(value: Any) -> bool:
    """Whether a value says which columns are primary."""
    kinds: dict[str, Callable[[Any], bool]] = {
        "dataset": lambda one: type(one) is str,
        "tasks": _texts,
        "label_ratios": lambda one: isinstance(one, list) and all(type(ratio) in (int, float) for ratio in one),
        "evaluation": _texts,
    }
    known = isinstance(value, dict) and "dataset" in value and set(value) <= set(kinds)
    return known and all(kinds[name](one) for name, one in value.items())


#: Field of ``analysis`` -> whether a value is one that it may have.
_FIELDS: Mapping[str, Callable[[Any], bool]] = {
    "reference": lambda value: value is None or (type(value) is str and bool(value)),
    "against": _texts,
    "columns": lambda value: isinstance(value, list) and all(map(_column, value)),
    "test": lambda value: value in get_args(Test),
    "correction": lambda value: value in get_args(Correction),
    "alpha": lambda value: type(value) in (int, float) and 0 < value < 1,
}
