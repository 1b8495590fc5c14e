"""Tests whether two methods' AUCs of a class differ by more than the choice of test images explains (DeLong's test).

With patients as units the variance is Obuchowski's, which is DeLong's where every patient has one image.

Source: DeLong, DeLong and Clarke-Pearson, Biometrics 44, 1988; Obuchowski, Biometrics 53, 1997.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from refers_bench.analysis.statistics.placements import IMAGE, PATIENT, Units, class_errors
from refers_bench.analysis.statistics.significance import Refusal

#: Names of the test, as they are printed, by what was drawn.
DELONG = {
    IMAGE: "DeLong's test for two correlated AUCs, images as independent units, two-sided, normal approximation",
    PATIENT: "DeLong's test for two correlated AUCs with Obuchowski's variance, patients as independent units, "
    "two-sided, normal approximation",
}
#: Fewest units with a positive image, and with a negative one, that the normal approximation is used for.
LEAST = 10
_Z = 1.959963984540054


@dataclass(frozen=True, kw_only=True, eq=False)
class Delong:
    """AUCs of one class for several methods on the same images.

    Attributes:
        auc_M: float64 in [0, 1].
        covariance_MM: of the AUCs over test sets of this composition.
        n_pos: images labelled 1.
        n_neg: images labelled 0.
        unit: "image" or "patient".
        units: units with a positive, and with a negative image.
    """

    auc_M: npt.NDArray[np.float64]
    covariance_MM: npt.NDArray[np.float64]
    n_pos: int
    n_neg: int
    unit: str
    units: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class DelongTest:
    """Two methods compared on one class; the statistic is normal, so there are no degrees of freedom.

    Attributes:
        difference: AUC of the first minus AUC of the second, in [-1, 1].
        se: standard error of the difference.
        low: lower end of its 95 % confidence interval.
        high: upper end.
        z: difference over its standard error.
        p: two-sided P-value.
        test: one of `DELONG`.
    """

    difference: float
    se: float
    low: float
    high: float
    z: float
    p: float
    test: str


def delong(labels_N: npt.ArrayLike, scores_MN: npt.ArrayLike, units: Units | None = None) -> Delong | Refusal:
    """AUCs of one class for M methods, and their covariance.

    Args:
        labels_N: 1 positive, 0 negative; anything else is left out.
        scores_MN: one row per method, on the same images.
        units: images where none are given.

    Raises:
        ValueError: as `placements.placements`.
    """
    drawn = Units.of(len(np.asarray(labels_N))) if units is None else units
    found = class_errors(labels_N, scores_MN, drawn)
    positive, negative = found.groups
    counts = (len(positive.units_I), len(negative.units_I))
    if min(counts) < 2:
        return Refusal(reason=f"needs two {drawn.name}s each, positive and negative, has {counts[0]} and {counts[1]}")
    whole_MU = np.zeros((len(found.auc_M), drawn.count))
    for group in found.groups:
        group.add_to(whole_MU)
    both = len(np.union1d(positive.units_I, negative.units_I))
    # The products of a group with itself have the group's correction, those between the groups that of all units.
    between = both / (both - 1)
    covariance = between * (whole_MU @ whole_MU.T)
    for group in found.groups:
        covariance += (group.correction - between) * group.products
    return Delong(
        auc_M=found.auc_M,
        covariance_MM=covariance,
        n_pos=positive.images,
        n_neg=negative.images,
        unit=drawn.name,
        units=counts,
    )


def contrast(found: Delong | Refusal, weights_M: npt.ArrayLike) -> DelongTest | Refusal:
    """The test of a weighted sum of AUCs against 0, such as the mean over one method's seeds minus another's.

    Refused below `LEAST` units with positive, or with negative, images: there the approximation gives P-values that
    are too small by orders of magnitude, and `permutation.permutation_test` an exact one.

    Args:
        found: from `delong`, one entry per method and seed.
        weights_M: one weight per entry.
    """
    from scipy.special import ndtr

    if isinstance(found, Refusal):
        return found
    if min(found.units) < LEAST:
        has = f"has {found.units[0]} and {found.units[1]}"
        return Refusal(reason=f"needs {LEAST} {found.unit}s with positive and with negative images, {has}")
    weights = np.asarray(weights_M, np.float64)
    variance = float(weights @ found.covariance_MM @ weights)
    difference = float(weights @ found.auc_M)
    # Rounding leaves about 1e-17 between methods that order the images alike.
    if variance <= 1e-14 * max(float(np.diag(found.covariance_MM)[weights != 0].max(initial=0.0)), 1e-12):
        if abs(difference) <= 1e-12:
            return Refusal(reason="zero variance: both order the positive and negative images alike")
        return Refusal(reason="zero variance: every image gives the same difference")
    se = math.sqrt(variance)
    z = difference / se
    return DelongTest(
        difference=difference,
        se=se,
        low=difference - _Z * se,
        high=difference + _Z * se,
        z=z,
        p=float(2 * ndtr(-abs(z))),
        test=DELONG[found.unit],
    )
