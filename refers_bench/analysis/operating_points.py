"""Computes AUPRC, sensitivity at a stated specificity and calibration of each table cell, and keeps them.

Each is a mean over classes and seeds, with an interval over test images, or patients where all are known. The trained
models are held fixed. Calibration needs logits: shares of votes and imported scores state no probability.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from refers_bench.analysis.best_row import BestRow, best_row
from refers_bench.analysis.cells import Target
from refers_bench.analysis.kept import kept
from refers_bench.analysis.predictions import Predictions
from refers_bench.analysis.results import Results
from refers_bench.analysis.statistics.auc_intervals import Interval
from refers_bench.analysis.statistics.calibration import BINS, Bin, calibrated, reliability
from refers_bench.analysis.statistics.operating import ranked
from refers_bench.analysis.statistics.placements import Units
from refers_bench.analysis.statistics.resampling import error_interval, image_weights, interval, mean_of

#: Raised when the same predictions would give other figures.
IMPL = 2
#: Names of the figures.
AUPRC, SENSITIVITY, ECE, BRIER = "auprc", "sensitivity", "ece", "brier"
#: Fewest units per bin that the interval of a calibration error is given for: with 10 it holds the truth in 83 % of
#: test sets, with 20 in 89 to 96 % (tests/oracle/test_operating.py).
LEAST_IN_BIN = 20
VOTES = "k nearest neighbours give shares of votes, which are no logits"
IMPORTED = "imported scores, which may be no logits"

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """The figures of one table cell.

    Attributes:
        unit: what is drawn, "image" or "patient".
        n_units: how many.
        n_classes: classes that have the figures, which the means are taken over.
        figures: name -> mean over classes and seeds, in [0, 1], with its interval; se is 0 where there is none.
        refusals: name -> why there is no figure, or no interval.
        prevalence: mean share of positive images: the AUPRC of scores drawn by chance.
        curve: reliability curve of all classes and seeds together; () where scores state no probability.
    """

    unit: str = ""
    n_units: int = 0
    n_classes: int = 0
    figures: Mapping[str, Interval]
    refusals: Mapping[str, str]
    prevalence: float = 0.0
    curve: tuple[Bin, ...] = ()


@dataclass(frozen=True, kw_only=True)
class OperatingPoints:
    """Figures of one column.

    Attributes:
        rows: row name -> its figures, for the rows with stored predictions.
        best: how far the best of the complete rows may be trusted to be it; None without two rows that compare.
    """

    rows: Mapping[str, OperatingPoint]
    best: BestRow | None = None


def operating_points(results: Results, target: Target) -> OperatingPoints:
    """Figures of one column, computed or read back; without rows where none has stored predictions."""
    runs = results.predicted_keys(target)
    if not runs:
        return OperatingPoints(rows={})
    reasons = {
        method: next(filter(None, (without_logits(results, key) for key in keys)), "") for method, keys in runs.items()
    }
    compared = {name: results.cells[name, target] for name in runs if name not in results.floors}
    ranked_rows = [name for name, one in compared.items() if one.complete and one.independent]
    what = {"operating_points": IMPL, "runs": runs, "without_logits": reasons, "ranked": ranked_rows}
    compute = functools.partial(_of_column, results, runs, reasons, ranked_rows)
    return kept(OperatingPoints, what, results.store, compute)


def without_logits(results: Results, key: str) -> str:
    """Why the scores of a result state no probability; '' where they are logits."""
    spec = results.spec(key)
    if spec.get("kind") == "out_of_fold":
        return next(filter(None, (without_logits(results, fold) for fold in spec["folds"])), "")
    if spec.get("kind") == "import":
        return IMPORTED
    return VOTES if spec.get("evaluation") == "knn" else ""


def _of_column(
    results: Results, runs: Mapping[str, Sequence[str]], reasons: Mapping[str, str], ranked_rows: Sequence[str]
) -> OperatingPoints:
    loaded = {method: [results.scores(key) for key in keys] for method, keys in runs.items()}
    rows = {method: computed(several, no_logits=reasons[method]) for method, several in loaded.items()}
    return OperatingPoints(rows=rows, best=best_row({method: loaded[method] for method in ranked_rows}))


def computed(runs: Sequence[Predictions], *, no_logits: str = "") -> OperatingPoint:
    """The figures of some seeds on the same test images.

    Args:
        runs: at least one.
        no_logits: why the scores state no probability; '' where they are logits.
    """
    first = runs[0]
    reasons = (first.differs(one) or ("NaN scores" if np.isnan(one.scores_NK).any() else "") for one in runs)
    reason = next(filter(None, reasons), "")
    labels_NK, units = first.labels_NK, first.units
    sides = [[np.unique(units.of_image_N[column == label]).size for label in (1, 0)] for column in labels_NK.T]
    classes = [k for k, counts in enumerate(sides) if min(counts)]
    if reason or not classes:
        reason = reason or "no class has positive and negative test images"
        return OperatingPoint(figures={}, refusals=dict.fromkeys((AUPRC, SENSITIVITY, ECE, BRIER), reason))
    weights_BN = image_weights(units)
    scores = [(one if one.classes == first.classes else one.sorted(first.classes)).scores_NK for one in runs]
    if not no_logits and not all(np.isfinite(one).all() for one in scores):
        no_logits = "infinite scores state no probability"
    draws: dict[str, list[_Floats]] = {AUPRC: [], SENSITIVITY: [], ECE: [], BRIER: []}
    for k in classes:
        labels_N = labels_NK[:, k]
        for names, figures in (((AUPRC, SENSITIVITY), ranked), ((ECE, BRIER), calibrated)):
            if figures is ranked or not no_logits:
                both = np.mean([figures(labels_N, one[:, k], weights_BN) for one in scores], axis=0)
                for name, figure_B in zip(names, both, strict=True):
                    draws[name].append(figure_B)
    intervals, refusals = _intervals(draws, smaller=[min(sides[k]) for k in classes], n_units=units.count)
    if no_logits:
        refusals |= dict.fromkeys((ECE, BRIER), no_logits)
    shares = [float((labels_NK[:, k] == 1).sum() / (labels_NK[:, k] >= 0).sum()) for k in classes]
    return OperatingPoint(
        unit=units.name,
        n_units=units.count,
        n_classes=len(classes),
        figures=intervals,
        refusals=refusals,
        prevalence=sum(shares) / len(shares),
        curve=() if no_logits else _curve(labels_NK[:, classes], [one[:, classes] for one in scores], units),
    )


def _curve(labels_NK: npt.NDArray[np.int8], scores: Sequence[npt.NDArray[np.float32]], units: Units) -> tuple[Bin, ...]:
    """The reliability curve over all classes and seeds (N, K each); intervals count each unit of a bin once."""
    times = len(scores)
    of_all = np.tile(np.repeat(units.of_image_N, labels_NK.shape[1]), times)
    pooled = Units(name=units.name, of_image_N=of_all, count=units.count)
    return reliability(np.tile(labels_NK.ravel(), times), np.concatenate([one.ravel() for one in scores]), pooled)


def _intervals(
    draws: Mapping[str, Sequence[_Floats]], *, smaller: Sequence[int], n_units: int
) -> tuple[dict[str, Interval], dict[str, str]]:
    """(name -> interval, name -> why there is none) of means over classes.

    Args:
        draws: name -> figure of each class, of all images and of each draw.
        smaller: units of each class's smaller group.
        n_units: units in all.
    """
    found: dict[str, Interval] = {}
    refusals: dict[str, str] = {}
    for name, figures in draws.items():
        if not figures:
            continue
        mean_B = mean_of(np.stack(figures, axis=1))
        if name in (AUPRC, SENSITIVITY):
            found[name] = interval(mean_B, df=_freedom(figures, smaller))
            if min(smaller) < 2:
                refusals[name] = "a class has a single positive or negative unit"
        elif name == ECE:
            found[name] = error_interval(mean_B, df=n_units - 1)
            if n_units < LEAST_IN_BIN * BINS:
                refusals[name] = f"a calibration error needs {LEAST_IN_BIN * BINS} units, there are {n_units}"
        else:
            found[name] = interval(mean_B, df=n_units - 1, share=False)
        if name not in refusals and not found[name].se > 0:
            refusals[name] = "the test images leave no spread"
    return found, refusals


def _freedom(figures: Sequence[_Floats], smaller: Sequence[int]) -> float:
    """Satterthwaite's degrees of freedom of a sum over classes, each with those of its smaller group of units."""
    variances = np.array([np.nanvar(figure_B[1:]) for figure_B in figures])
    each = np.maximum(1, np.array(smaller) - 1)
    return float(variances.sum() ** 2 / (variances**2 / each).sum()) if variances.any() else 1.0
