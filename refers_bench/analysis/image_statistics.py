"""Computes what the choice of test images (or patients) leaves open of each table column, and keeps it.

For each column: an interval of each mean AUC, over test images and over seeds and test images together, of each class
AUC and of each difference from the reference method, and a test of each class: DeLong's, or an exact permutation test
where few images are positive or negative. Patients are the units where
all are known, else images. A method's several seeds enter as their mean. What was computed is kept beside the store,
since it depends on the stored predictions alone.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from refers_bench.analysis.cells import Target
from refers_bench.analysis.kept import kept
from refers_bench.analysis.predictions import Predictions, stacked
from refers_bench.analysis.results import Results
from refers_bench.analysis.statistics.auc_intervals import Interval, MeanAucs, mean_aucs
from refers_bench.analysis.statistics.delong import LEAST, Delong, DelongTest, contrast, delong
from refers_bench.analysis.statistics.permutation import PermutationTest, permutation_test
from refers_bench.analysis.statistics.placements import Units
from refers_bench.analysis.statistics.significance import Refusal, holm

#: Raised when the same predictions would give other figures.
IMPL = 4
#: Fewest seeds that an interval over seeds and test images is given for: with two it holds the truth in 89 to 97 % of
#: repetitions, with three in 92 to 97 % (tests/oracle/test_auc_intervals.py).
LEAST_SEEDS = 3


@dataclass(frozen=True, kw_only=True)
class ClassTest:
    """The test of the reference method against another on one class.

    Attributes:
        method: the other.
        name: of the class.
        n_pos: test images labelled 1.
        n_neg: test images labelled 0.
        difference: reference minus other, AUC in [-1, 1]; None where refused.
        low: lower end of the 95 % interval; None where refused, and beside a permutation test, which gives none.
        high: upper end.
        p: two-sided P-value; None where refused.
        p_holm: adjusted for all classes and methods of the column.
        refused: why there is no P-value; ''.
        test: name of the test, with its unit; '' where refused.
        units: units ("image" or "patient") with a positive, and with a negative image.
    """

    method: str
    name: str
    n_pos: int
    n_neg: int
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    refused: str = ""
    test: str = ""
    units: tuple[int, int] = (0, 0)


@dataclass(frozen=True, kw_only=True)
class ImageStatistics:
    """Statistics of one column over its test images.

    Attributes:
        target: the column.
        reference: row name that the others are compared with; '' when it has no result.
        unit: what is taken as drawn independently, "image" or "patient".
        n_units: how many of them.
        n_classes: classes that the means are taken over.
        means: row name -> interval of its mean AUC.
        joint: row name -> the same over seeds and test images, of rows with `LEAST_SEEDS` independent seeds.
        class_means: row name -> class -> interval of its AUC; se is 0 where the images leave no spread.
        differences: row name -> interval of the reference's mean AUC minus its own; of complete rows alone.
        tests: class by class, method by method; of complete rows alone.
        refusals: row name -> why it is not compared.
    """

    target: Target
    reference: str
    unit: str
    n_units: int
    n_classes: int
    means: Mapping[str, Interval]
    joint: Mapping[str, Interval]
    class_means: Mapping[str, Mapping[str, Interval]]
    differences: Mapping[str, Interval]
    tests: tuple[ClassTest, ...]
    refusals: Mapping[str, str]


def image_statistics(results: Results, target: Target, *, reference: str | None = None) -> ImageStatistics | None:
    """The statistics of one column, computed or read back; None when no run of it has stored predictions.

    Args:
        results: the results.
        target: the column.
        reference: row name that the others are compared with; None for the results' own.
    """
    runs = results.predicted_keys(target)
    if not runs:
        return None
    reference = results.reference if reference is None else reference
    # A mean over some of the seeds is shown, but it is not compared with one over all.
    complete = [method for method in runs if results.cells[method, target].complete]
    what = {"impl": IMPL, "reference": reference, "runs": runs, "complete": complete, "target": asdict(target)}
    what["seeded"] = [
        method
        for method, some in runs.items()
        if len(some) >= LEAST_SEEDS and results.cells[method, target].independent
    ]
    compute = functools.partial(_computed, results, target, runs, what)
    return kept(ImageStatistics, what, results.store, compute)


def _computed(
    results: Results, target: Target, runs: Mapping[str, Sequence[str]], what: Mapping[str, Any]
) -> ImageStatistics:
    reference: str = what["reference"]
    loaded = {method: [results.scores(key) for key in keys] for method, keys in runs.items()}
    first = (loaded.get(reference) or next(iter(loaded.values())))[0]
    alike: dict[str, list[Predictions]] = {}
    refusals: dict[str, str] = {}
    for method, several in loaded.items():
        reasons = (first.differs(one) or ("NaN scores" if np.isnan(one.scores_NK).any() else "") for one in several)
        reason = next(filter(None, reasons), "")
        if reason:
            refusals[method] = reason
        else:
            alike[method] = several
    scores_MNK, places = stacked(alike, first.classes) if alike else (np.zeros(0), {})
    compared = {method: rows for method, rows in places.items() if method in what["complete"]}
    units = first.units
    found: MeanAucs | None = None
    try:
        if not alike:
            raise ValueError("no row to compare")  # each of them has its own reason
        found = mean_aucs(first.labels_NK, scores_MNK, units=units)
    except ValueError as error:
        refusals.update(dict.fromkeys(alike, str(error)))
    return ImageStatistics(
        target=target,
        reference=reference if reference in places else "",
        unit=units.name,
        n_units=found.n_units if found else units.count,
        n_classes=len(found.classes) if found else 0,
        **_intervals(found, first.classes, places, compared, reference, what["seeded"]),
        tests=tuple(_tests(first, scores_MNK, units, compared, reference)),
        refusals=refusals,
    )


def _intervals(
    found: MeanAucs | None,
    classes: Sequence[str],
    places: Mapping[str, Sequence[int]],
    compared: Mapping[str, Sequence[int]],
    reference: str,
    seeded: Sequence[str],
) -> dict[str, Mapping[str, Any]]:
    """Intervals of means, of classes and of differences, by the names of the fields that hold them."""
    if found is None:
        return {name: {} for name in ("means", "joint", "class_means", "differences")}
    others = [method for method in compared if method != reference] if reference in compared else []
    return {
        "means": {method: found.mean(*rows) for method, rows in places.items()},
        "joint": {method: found.over_seeds(*rows) for method, rows in places.items() if method in seeded},
        "class_means": {
            method: {classes[k]: found.of_class(place, *rows) for place, k in enumerate(found.classes)}
            for method, rows in places.items()
        },
        "differences": {method: found.difference(places[reference], places[method]) for method in others},
    }


def _tests(
    first: Predictions, scores_MNK: Any, units: Units, places: Mapping[str, Sequence[int]], reference: str
) -> list[ClassTest]:
    if reference not in places:
        return []
    tests = []
    for k, name in enumerate(first.classes):
        labels_N, scores_MN = first.labels_NK[:, k], np.ascontiguousarray(scores_MNK[:, :, k])
        found = delong(labels_N, scores_MN, units)
        counts = [labels_N == label for label in (1, 0)]
        what: dict[str, Any] = {
            "name": name,
            "n_pos": int(counts[0].sum()),
            "n_neg": int(counts[1].sum()),
            "units": tuple(len(np.unique(units.of_image_N[images])) for images in counts),
        }
        for method, rows in places.items():
            if method != reference:
                outcome = _outcome(labels_N, scores_MN, units, found, (places[reference], rows))
                tests.append(ClassTest(method=method, **what, **outcome))
    adjusted = holm([test.p for test in tests])
    return [replace(test, p_holm=p) for test, p in zip(tests, adjusted, strict=True)]


def _outcome(
    labels_N: Any, scores_MN: Any, units: Units, found: Delong | Refusal, sides: tuple[Sequence[int], Sequence[int]]
) -> dict[str, Any]:
    """DeLong's test of one class, or the exact one where DeLong's approximation does not hold, as fields of a test."""
    test: DelongTest | PermutationTest | Refusal
    if isinstance(found, Refusal) or min(found.units) < LEAST:
        one, other = (scores_MN[list(rows)] for rows in sides)
        test = permutation_test(labels_N, one, other, units=units)
    else:
        weights_M = np.zeros(len(scores_MN))
        for sign, rows in zip((1, -1), sides, strict=True):
            weights_M[list(rows)] = sign / len(rows)
        test = contrast(found, weights_M)
    if isinstance(test, Refusal):
        return {"refused": test.reason}
    ends = {"low": test.low, "high": test.high} if isinstance(test, DelongTest) else {}
    return {"difference": test.difference, "p": test.p, "test": test.test, **ends}
