"""Computes 95 % intervals of mean AUCs, and of their differences, over test images or patients.

The error of a mean over classes is a sum of one term per image: its placements' distances from the AUCs of the classes,
added over classes (and over the images of a patient, where patients are known), so that findings that occur together
are taken together. The variance of one class is DeLong's (Obuchowski's, over patients). The interval of a mean AUC is a
t interval on the logit scale, with the standard error se / (A (1 - A)), and stays within 0 and 1. The interval of a
difference takes its ends from those of the two means and their correlation, so that it is as skewed as they are.

What is estimated is the mean of the true AUCs of the classes that have positive and negative test images. A class with
very few positive (or negative) units hardly shows its own variance: each class's is mixed with that of all
classes, in proportion to what normal scores let expect at its AUC, as if `_BORROWED` more unit had shown that. The
degrees of freedom are Satterthwaite's over the classes' positives and negatives.

Source: as `placements`; Zou, Psychological Methods 12, 2007 (an interval of a difference from the two intervals).

Coverage of the nominal 95 %, measured in `tests/oracle/test_auc_intervals.py` on single and on 14 correlated findings
with the prevalences of VinBigData and NIH, on 100 to 3,000 images, or patients: 93.5 to 96.5 %. The constants below
were chosen on these same settings, so the measurement does not validate them independently. On pooled scores of five
models (out-of-fold predictions) of 150 patients with 1 to 10 images each, a setting they were not chosen on: 93.9 %,
and 70.7 % where images are taken as independent. Of single classes: 92 to 96 % from 5 positive units on, 98 % and more
below. Over seeds and test images together, with 3 and 5 seeds: 92 to 97 %.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from refers_bench.analysis.statistics.auc import mean_over_classes
from refers_bench.analysis.statistics.placements import IMAGE, PATIENT, ClassErrors, Units, class_errors
from refers_bench.analysis.statistics.seeds import mean_sd

#: Name of the method, as it is printed, by what was drawn.
INTERVAL = {
    unit: f"DeLong's placements added over classes, {units} as independent units, t interval with Satterthwaite's "
    "degrees of freedom, means on the logit scale"
    for unit, units in ((IMAGE, "images"), (PATIENT, "patients"))
}
#: The same of the interval over seeds and test images together. What a test image does to one seed alone counts twice,
#: once in either variance, which errs on the wide side.
JOINT = {
    unit: f"variance over {units} of the seeds' mean (DeLong's placements added over classes) plus variance over seeds "
    "divided by their number, t interval with Satterthwaite's degrees of freedom, on the logit scale"
    for unit, units in ((IMAGE, "images"), (PATIENT, "patients"))
}
#: Units that the variance common to all classes counts for, beside a class's own units, and its degrees of freedom:
#: it is known from more units. Chosen on simulations like those of the oracle; they matter for classes of few units.
_BORROWED, _BORROWED_DF = 1.0, 2.0
#: Images that the mean AUC of all classes counts for, where the variance expected of a class is computed.
_AUC_BORROWED = 2.0

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """95 % interval of one figure.

    Attributes:
        estimate: on the images as they are.
        low: lower end.
        high: upper end.
        se: standard error; 0 where the images leave no spread: then there is no interval.
        df: degrees of freedom of the standard error; 0 without one.
    """

    estimate: float
    low: float
    high: float
    se: float
    df: float


@dataclass(frozen=True, kw_only=True, eq=False)
class _Part:
    """The positives, or the negatives, of one class: methods' products of errors, images, units, AUCs."""

    products_MM: _Floats
    images: int
    units: int
    auc_M: _Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class MeanAucs:
    """Mean AUCs of M methods on the same test images, with their errors.

    Attributes:
        estimate_M: mean over `classes`.
        classes: places of the classes that have an AUC.
        unit: "image" or "patient".
        n_units: images or patients with a label of one of the classes.
    """

    estimate_M: _Floats
    classes: tuple[int, ...]
    unit: str
    n_units: int
    _whole_MM: _Floats
    _parts: tuple[tuple[_Part, ...], tuple[_Part, ...]]
    _cross_KMM: tuple[_Floats, ...]

    def mean(self, *methods: int) -> Interval:
        """Interval of one method's mean AUC, within 0 and 1; of several (one method's seeds) that of their mean."""
        estimate, weights_M = self._side(methods)
        variance, df = self._variance(weights_M)
        low, high = _logit_ends(estimate, variance, df)
        return Interval(estimate=estimate, low=low, high=high, se=math.sqrt(variance), df=df)

    def over_seeds(self, *seeds: int) -> Interval:
        """Interval of the mean AUC that other seeds and other test images would give; see `JOINT`.

        Args:
            seeds: places of one method's seeds, two or more.
        """
        estimate, weights_M = self._side(seeds)
        images, df = self._variance(weights_M)
        own = mean_sd([float(self.estimate_M[m]) for m in seeds])[1] ** 2 / len(seeds)
        below = (images**2 / df if images > 0 else 0.0) + own**2 / (len(seeds) - 1)
        variance = images + own
        df = variance**2 / below if below > 0 else 0.0
        low, high = _logit_ends(estimate, variance, df)
        return Interval(estimate=estimate, low=low, high=high, se=math.sqrt(variance) if low < high else 0.0, df=df)

    def difference(self, first: int | Sequence[int], second: int | Sequence[int]) -> Interval:
        """Interval of the difference of two methods, or of two means over methods, image by image."""
        sides = [self._side((one,) if isinstance(one, int) else one) for one in (first, second)]
        (one, one_M), (other, other_M) = sides
        variance, df = self._variance(one_M - other_M)
        own, others = self._variance(one_M)[0], self._variance(other_M)[0]
        shared = (own + others - variance) / math.sqrt(own * others) if own > 0 and others > 0 else 0.0
        (one_low, one_high), (other_low, other_high) = (
            _logit_ends(estimate, spread, df) for estimate, spread in ((one, own), (other, others))
        )
        ends = [
            math.sqrt(max(0.0, here**2 + there**2 - shared * here * there)) if variance > 0 else 0.0
            for here, there in ((one - one_low, other_high - other), (one_high - one, other - other_low))
        ]
        estimate = one - other
        return Interval(
            estimate=estimate, low=estimate - ends[0], high=estimate + ends[1], se=math.sqrt(variance), df=df
        )

    def _side(self, methods: Sequence[int]) -> tuple[float, _Floats]:
        """(mean over methods, weight of every method in it)."""
        weights_M = np.zeros(len(self.estimate_M))
        np.add.at(weights_M, list(methods), 1 / len(methods))
        return mean_sd([float(self.estimate_M[m]) for m in methods])[0], weights_M

    def _variance(self, weights_M: _Floats) -> tuple[float, float]:
        """(variance, degrees of freedom) of a weighted sum of the methods' mean AUCs."""
        if not weights_M.any():
            return 0.0, 0.0
        between = self.n_units / (self.n_units - 1)
        variance = between * float(weights_M @ self._whole_MM @ weights_M)
        below = 0.0
        for parts in self._parts:
            seen, part, df = _variances(parts, weights_M)
            variance += float((part - between * seen).sum())
            below += float((part**2 / df).sum())
        # Rounding leaves about 1e-17 of the variances between methods that order the images alike.
        apart = float(weights_M**2 @ np.diag(self._whole_MM))
        if variance <= 1e-14 * apart or not below > 0:
            return 0.0, 0.0
        return variance, max(1.0, variance**2 / below)

    def of_class(self, place: int, *methods: int) -> Interval:
        """Interval of the AUC of one class, or of its mean over methods; its variance is mixed as in the mean's.

        Args:
            place: of the class in `classes`.
            methods: places of the methods.
        """
        _, weights_M = self._side(methods)
        parts = [one[place] for one in self._parts]
        estimate = mean_sd([float(parts[0].auc_M[m]) for m in methods])[0]
        mixed = [tuple(values[place] for values in _variances(one, weights_M)) for one in self._parts]
        # Parts are of the mean over classes.
        variance = len(self.classes) ** 2 * sum(part for _, part, _ in mixed)
        below = len(self.classes) ** 4 * sum(part**2 / df for _, part, df in mixed)
        variance += float(weights_M @ self._cross_KMM[place] @ weights_M)
        if not (variance > 0 and below > 0):
            return Interval(estimate=estimate, low=estimate, high=estimate, se=0.0, df=0.0)
        df = max(1.0, variance**2 / below)
        low, high = _logit_ends(estimate, variance, df)
        return Interval(estimate=estimate, low=low, high=high, se=math.sqrt(variance) if low < high else 0.0, df=df)


def _variances(parts: Sequence[_Part], weights_M: _Floats) -> tuple[_Floats, _Floats, _Floats]:
    """Of the positives, or the negatives, of each class: variance as seen, mixed with the others', its df; (K,) each.

    Zeros where every class is ordered perfectly.
    """
    scale = np.abs(weights_M) / np.abs(weights_M).sum()
    images, units = (np.array([getattr(one, name) for one in parts], float) for name in ("images", "units"))
    seen = np.array([weights_M @ one.products_MM @ weights_M for one in parts])
    auc = np.array([scale @ one.auc_M for one in parts])
    auc = (images * auc + _AUC_BORROWED * auc.mean()) / (images + _AUC_BORROWED)
    # A patient's images have a correlation of about one half: so does a sum over `each` of them vary.
    each = images / units
    expected = _placement_variance(auc) * each * (1 + each) / 2
    if not (expected > 0).all():
        return seen, seen, np.ones(len(parts))
    # Sums of squares of the units' placements, as multiples of what is expected.
    squares = seen * images**2 / expected
    common = squares.sum() / (units - 1).sum()
    others = (units - 1).sum() - (units - 1)
    borrowed = np.minimum(_BORROWED, others)
    part = units * (squares + borrowed * common) / (units - 1 + borrowed) * expected / images**2
    return seen, part, units - 1 + np.minimum(_BORROWED_DF, others)


def _placement_variance(auc_K: _Floats) -> _Floats:
    """Variance of the placements of a class with normal scores of equal spread: P(two of the others lie below) - A**2.

    In closed form by Owen's T function; 0 for an AUC of 0 or 1.
    """
    from scipy.special import ndtri, owens_t

    return np.asarray(auc_K * (1 - auc_K) - 2 * owens_t(ndtri(auc_K), 1 / math.sqrt(3)))


def _logit_ends(estimate: float, variance: float, df: float) -> tuple[float, float]:
    """Ends of the interval of a mean AUC, within 0 and 1; the estimate itself where there is no spread."""
    from scipy.special import expit, logit, stdtrit

    if not (variance > 0 and df > 0 and 0 < estimate < 1):
        return estimate, estimate
    half = float(stdtrit(df, 0.975)) * math.sqrt(variance) / (estimate * (1 - estimate))
    return float(expit(logit(estimate) - half)), float(expit(logit(estimate) + half))


def mean_aucs(labels_NK: npt.ArrayLike, scores_MNK: npt.ArrayLike, *, units: Units | None = None) -> MeanAucs:
    """Mean AUC of every method, and its error over test images, or patients.

    Args:
        labels_NK: 1 positive, 0 negative, anything else unknown.
        scores_MNK: scores of M methods on the same images and classes.
        units: what is taken as drawn independently; images where none are given.

    Raises:
        ValueError: shapes differ, a score of a labelled image is NaN, no class has an AUC, or every class has its
            positives, or its negatives, in one unit alone, so that their spread is unknown.
    """
    labels, scores = np.asarray(labels_NK), np.asarray(scores_MNK)
    if labels.ndim != 2 or scores.ndim != 3 or labels.shape != scores.shape[1:]:
        raise ValueError(f"labels (N, K) and scores (M, N, K) do not fit: {labels.shape}, {scores.shape}")
    if np.isnan(scores[:, (labels == 0) | (labels == 1)]).any():
        raise ValueError("the score of a labelled image is NaN: these predictions cannot be compared")
    classes = tuple(int(k) for k in range(labels.shape[1]) if (labels[:, k] == 1).any() and (labels[:, k] == 0).any())
    if not classes:
        raise ValueError("no class has an AUC on these images")
    units = Units.of(len(labels)) if units is None else units
    labelled_N = ((labels[:, classes] == 0) | (labels[:, classes] == 1)).any(axis=1)
    whole_MU = np.zeros((len(scores), units.count))
    parts: tuple[list[_Part], list[_Part]] = ([], [])
    auc_KM, cross_KMM = [], []
    for k in classes:
        found = class_errors(labels[:, k], np.ascontiguousarray(scores[:, :, k]), units)
        auc_KM.append(found.auc_M)
        cross_KMM.append(_between_groups(found, units))
        for group, into in zip(found.groups, parts, strict=True):
            group.add_to(whole_MU)
            products_MM = group.products / len(classes) ** 2
            into.append(
                _Part(products_MM=products_MM, images=group.images, units=len(group.units_I), auc_M=found.auc_M)
            )
    for name, into in zip(("positive", "negative"), parts, strict=True):
        if all(one.units < 2 for one in into):
            raise ValueError(f"no class has {name} images in more than one {units.name}: their spread is unknown")
    return MeanAucs(
        estimate_M=np.array([mean_over_classes(auc_K) for auc_K in np.array(auc_KM).T.tolist()]),
        classes=classes,
        unit=units.name,
        n_units=int(np.count_nonzero(np.bincount(units.of_image_N[labelled_N]))),
        _whole_MM=whole_MU @ whole_MU.T / len(classes) ** 2,
        _parts=(tuple(parts[0]), tuple(parts[1])),
        _cross_KMM=tuple(cross_KMM),
    )


def _between_groups(found: ClassErrors, units: Units) -> _Floats:
    """What units with positive and with negative images of a class add to its variance: (M, M), 0 over images."""
    shape = (len(found.auc_M),) * 2
    if units.name == IMAGE:
        return np.zeros(shape)
    whole_MU = np.zeros((shape[0], units.count))
    for group in found.groups:
        group.add_to(whole_MU)
    count = len(np.union1d(found.groups[0].units_I, found.groups[1].units_I))
    apart = sum((group.products for group in found.groups), np.zeros(shape))
    return np.asarray(max(1, count) / max(1, count - 1) * (whole_MU @ whole_MU.T - apart))
