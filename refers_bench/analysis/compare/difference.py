"""Finds what differs between two sets of results: cells, mean and class AUCs, predictions, settings."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refers_bench.analysis.cells import ClassMetric, PlannedRun, Target
from refers_bench.analysis.compare import pairs
from refers_bench.analysis.held_out import DIFFER as DIFFER_IMAGES
from refers_bench.analysis.predictions import FILE, Predictions, read, stacked
from refers_bench.analysis.results import Results
from refers_bench.analysis.statistics.auc_intervals import Interval, mean_aucs
from refers_bench.analysis.statistics.seeds import DEPENDENT, mean_sd
from refers_bench.analysis.statistics.significance import Refusal, TTest, t_test
from refers_bench.files import sha256_of
from refers_bench.identity import dotted

#: How the predictions of a cell that both sides have compare.
IDENTICAL, EQUAL, DIFFER = "same bytes", "same scores", "differ"
OTHER_IMAGES, NONE = "other images or classes", "not kept"
#: Cells with one of these are the same.
SAME_PREDICTIONS = (IDENTICAL, EQUAL, NONE)


@dataclass(frozen=True, kw_only=True)
class CellDifference:
    """A cell that both sides have.

    Attributes:
        name: of the cell.
        states: of A and B: "done", "failed", "unavailable" or "missing".
        same_key: whether both come from one recipe and data.
        predictions: one of the constants of this module; '' where a side is not done.
        largest: largest absolute difference of two scores of the test images; None where they are not compared.
    """

    name: str
    states: tuple[str, str]
    same_key: bool
    predictions: str = ""
    largest: float | None = None

    @property
    def same(self) -> bool:
        """Whether state and predictions are equal."""
        return self.states[0] == self.states[1] and self.predictions in ("", *SAME_PREDICTIONS)


@dataclass(frozen=True, kw_only=True)
class MeanDifference:
    """A table cell that both sides have a figure of: B minus A.

    Attributes:
        method: row name.
        target: column.
        means: mean AUC of A and B, in [0, 1].
        n: seeds of A and B.
        seeds: test and interval over seeds, or why there is none.
        images: interval over test images, paired; None where the predictions are equal or not comparable.
        classes: class -> mean AUC over seeds of A and B; None where undefined.
    """

    method: str
    target: Target
    means: tuple[float, float]
    n: tuple[int, int]
    seeds: TTest | Refusal
    images: Interval | None
    classes: Mapping[str, tuple[float | None, float | None]]

    @property
    def difference(self) -> float:
        """Mean of B minus mean of A."""
        return self.means[1] - self.means[0]

    @property
    def same(self) -> bool:
        """Whether all class AUCs are equal."""
        return all(one == other for one, other in self.classes.values())


@dataclass(frozen=True, kw_only=True)
class SettingDifference:
    """A resolved value of the locks that differs; None where a side has none.

    Attributes:
        name: dotted, with the target or row it is about ("finetune.steps [nih_chestxray14]").
        values: of A and B.
        origins: where each comes from.
    """

    name: str
    values: tuple[Any, Any]
    origins: tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """All that differs.

    Attributes:
        names: of the two sides, as the user gave them.
        only: names of the cells that A alone, and B alone, has.
        cells: that both have.
        means: table cells that both have a figure of.
        settings: values of the locks that differ; () where a side has no lock.
        specifications: (dotted name, A, B, cells) of what differs in the specifications of cells of one name.
        notes: what could not be compared, and why.
    """

    names: tuple[str, str]
    only: tuple[tuple[str, ...], tuple[str, ...]]
    cells: tuple[CellDifference, ...]
    means: tuple[MeanDifference, ...]
    settings: tuple[SettingDifference, ...]
    specifications: tuple[tuple[str, str, str, int], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        """Whether nothing differs; what could not be compared is no difference, but is in the notes."""
        alike = all(cell.same for cell in self.cells) and all(mean.same for mean in self.means)
        return alike and not any(self.only) and not self.settings and not self.specifications


def compare(
    first: Results,
    second: Results,
    *,
    names: tuple[str, str],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Difference:
    """All that differs between two results, B minus A.

    Args:
        first: A.
        second: B.
        names: what to call them.
        progress: called with (done, total) table cells.
    """
    paired = pairs.cells(first, second)
    both = [(one, other) for one, other in paired.values() if one is not None and other is not None]
    cells = tuple(_cell(first, second, one, other) for one, other in both)
    changed = {cell.name: cell.predictions for cell in cells if cell.predictions not in ("", *SAME_PREDICTIONS)}
    where = [where for where in first.cells if where in second.cells]
    means = []
    for place, (method, target) in enumerate(where):
        found = _mean(first, second, method, target, changed)
        means += [] if found is None else [found]
        progress(place + 1, len(where))
    return Difference(
        names=names,
        only=(
            tuple(name for name, (_, other) in paired.items() if other is None),
            tuple(name for name, (one, _) in paired.items() if one is None),
        ),
        cells=cells,
        means=tuple(means),
        settings=tuple(_settings(first.plan.values, second.plan.values)),
        specifications=tuple(_specifications(first, second, both)),
        notes=tuple(_notes(first, second)),
    )


def _cell(first: Results, second: Results, one: PlannedRun, other: PlannedRun) -> CellDifference:
    verdict, largest = "", None
    if one.run.key in first.records and other.run.key in second.records:
        verdict, largest = _predictions(first.store / one.run.key / FILE, second.store / other.run.key / FILE)
    return CellDifference(
        name=one.name,
        states=(one.run.state, other.run.state),
        same_key=one.run.key == other.run.key,
        predictions=verdict,
        largest=largest,
    )


def _predictions(one: Path, other: Path) -> tuple[str, float | None]:
    """(verdict, largest absolute difference) of two files of predictions."""
    if not (one.is_file() and other.is_file()):
        return NONE, None
    if one.samefile(other) or sha256_of(one) == sha256_of(other):
        return IDENTICAL, 0.0
    return _scores(read(one), read(other))


def _scores(one: Predictions, other: Predictions) -> tuple[str, float | None]:
    """(verdict, largest absolute difference) of the scores of two runs."""
    if one.differs(other):
        return OTHER_IMAGES, None
    a, b = (found.scores_NK.astype(np.float64) for found in (one, other.sorted(one.classes)))
    if np.array_equal(a, b, equal_nan=True):
        return EQUAL, 0.0
    with np.errstate(invalid="ignore"):
        gap = np.abs(a - b)
    # NaN on one side, or unlike infinities, differ by more than any number.
    return DIFFER, float(np.where(np.isnan(gap) & ~(np.isnan(a) & np.isnan(b)), np.inf, np.nan_to_num(gap)).max())


def _mean(
    first: Results, second: Results, method: str, target: Target, changed: Mapping[str, str]
) -> MeanDifference | None:
    one, other = first.cells[method, target], second.cells[method, target]
    if not one.n or not other.n:
        return None
    runs = (first.runs(method, target), second.runs(method, target))
    seeds: TTest | Refusal = t_test(other.values, one.values)
    if one.defined != other.defined or not (one.same_classes and other.same_classes):
        seeds = Refusal(reason="the means are over different classes")
    if not (one.independent and other.independent):
        seeds = Refusal(reason=DEPENDENT)
    if any(changed.get(planned.name) == OTHER_IMAGES for planned in runs[0]):
        seeds = Refusal(reason=DIFFER_IMAGES)
    images = _images(first, second, runs) if any(planned.name in changed for planned in runs[0]) else None
    return MeanDifference(
        method=method,
        target=target,
        means=(one.mean, other.mean),
        n=(one.n, other.n),
        seeds=seeds,
        images=images,
        classes=_classes(*runs),
    )


def _images(
    first: Results, second: Results, runs: tuple[Sequence[PlannedRun], Sequence[PlannedRun]]
) -> Interval | None:
    """Paired interval over test images of the difference of the means over seeds; None where it does not exist."""
    loaded: list[list[Predictions]] = []
    for results, planned in zip((first, second), runs, strict=True):
        paths = [results.store / run.run.key / FILE for run in planned if run.run.counts]
        loaded.append([read(path) for path in paths if path.is_file()])
    if not all(loaded):
        return None
    reference = loaded[0][0]
    for found in (*loaded[0], *loaded[1]):
        if reference.differs(found) or np.isnan(found.scores_NK).any():
            return None
    scores_RNK, places = stacked(dict(enumerate(loaded)), reference.classes)
    try:
        means = mean_aucs(reference.labels_NK, scores_RNK, units=reference.units)
    except ValueError:
        return None
    return means.difference(places[1], places[0])


def _classes(first: Sequence[PlannedRun], second: Sequence[PlannedRun]) -> dict[str, tuple[float | None, float | None]]:
    """Class -> mean AUC over the seeds that have one, of both."""
    one, other = ([run.metrics.by_class(pairs.SPLIT) for run in runs] for runs in (first, second))

    def mean(runs: Sequence[Mapping[str, ClassMetric]], name: str) -> float | None:
        aucs = [run[name].auc for run in runs if name in run]
        return mean_sd(defined)[0] if (defined := [auc for auc in aucs if auc is not None]) else None

    return {name: (mean(one, name), mean(other, name)) for run in (*one, *other) for name in run}


def _settings(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[SettingDifference]:
    if not (first and second):
        return
    for name in dict.fromkeys((*first, *second)):
        entries = [side.get(name) or {} for side in (first, second)]
        values = (entries[0].get("value"), entries[1].get("value"))
        if values[0] != values[1] or bool(entries[0]) != bool(entries[1]):
            origins = (str(entries[0].get("origin", "")), str(entries[1].get("origin", "")))
            yield SettingDifference(name=name, values=values, origins=origins)


def _specifications(
    first: Results, second: Results, both: Sequence[tuple[PlannedRun, PlannedRun]]
) -> Iterator[tuple[str, str, str, int]]:
    """What differs in the jobs behind cells of one name, except keys of needed jobs: those differ for a reason."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for one, other in both:
        if one.run.key == other.run.key:
            continue
        sides = ((first, one), (second, other))
        specs = [_flat(results, results.spec(planned.run.key)) for results, planned in sides]
        for name in dict.fromkeys((*specs[0], *specs[1])):
            values = tuple(repr(spec[name]) if name in spec else "none" for spec in specs)
            if values[0] != values[1]:
                counts[name, values[0], values[1]] += 1
    for (name, was, now), count in counts.items():
        yield name, was, now, count


def _flat(results: Results, spec: Mapping[str, Any], kind: str = "") -> dict[str, Any]:
    """A specification and those of the jobs it needs, as dotted names; needed jobs are listed under their kind."""
    found: dict[str, Any] = {}
    for name, value in dotted(spec).items():
        if needed := results.jobs.get(value) if isinstance(value, str) else None:
            found |= _flat(results, needed.spec, f"{needed.kind}: ")
        elif value != {}:
            found[f"{kind}{name}"] = value
    return found


def _notes(first: Results, second: Results) -> Iterator[str]:
    for side, results in zip("AB", (first, second), strict=True):
        if not results.plan.values:
            yield f"{side} names no settings, so none are compared."
        if count := results.not_ours:
            yield f"{side}: {count} of {len(results.planned)} cells rest on results that were imported with a bundle."
    if first.origin != second.origin:
        yield f"A holds results of origin '{first.origin}', B of origin '{second.origin}'."
