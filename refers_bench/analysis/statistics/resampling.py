"""Draws test images, or patients, with replacement, and turns figures of the draws into 95 % intervals.

A patient is drawn with all of its images. The draws are the same for all classes and rows with as many units, so that
what they have in common stays in common.

Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 13 and 16.
"""

import functools
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from refers_bench import identity
from refers_bench.analysis.statistics.auc_intervals import Interval
from refers_bench.analysis.statistics.placements import IMAGE, PATIENT, Units

#: Draws of the test set.
DRAWS = 1000
#: Name of the method, as it is printed, by what is drawn.
BOOTSTRAP = {
    unit: f"bootstrap of {DRAWS:,} draws of {units}, standard error with the t distribution, shares on the logit scale"
    for unit, units in ((IMAGE, "images"), (PATIENT, "patients with all their images"))
}

#: A number that no type of less than two bytes holds.
_LEAST = 1 << 8
_Floats = npt.NDArray[np.float64]


def image_weights(units: Units) -> npt.NDArray[Any]:
    """How often each image is in the test set as it is, and in each draw: (1 + `DRAWS`, N), unsigned.

    Their type holds the number of images of any draw.
    """
    weights_BU = unit_weights(units.count)
    if units.name == IMAGE:
        return weights_BU
    most = int((weights_BU.astype(np.float32) @ np.bincount(units.of_image_N).astype(np.float32)).max())
    # Draws of one image lie side by side in memory.
    return np.ascontiguousarray(weights_BU.T[units.of_image_N], np.min_scalar_type(max(most, _LEAST))).T


# Columns of one plan mostly have one of few numbers of units.
@functools.lru_cache(maxsize=4)
def unit_weights(count: int) -> npt.NDArray[Any]:
    """How often each of `count` units is in the test set as it is, and in each draw: (1 + `DRAWS`, count), unsigned."""
    kind = np.min_scalar_type(max(count, _LEAST))
    rng = np.random.default_rng(identity.seed("test-images-bootstrap", count))
    drawn = rng.integers(count, size=(DRAWS, count)) + count * np.arange(DRAWS)[:, None]
    times = np.bincount(drawn.ravel(), minlength=DRAWS * count).reshape(DRAWS, count)
    weights_UB = np.ascontiguousarray(np.concatenate([np.ones((1, count), times.dtype), times]).T, kind)
    weights_UB.flags.writeable = False
    return weights_UB.T


def mean_of(figures_BK: _Floats) -> _Floats:
    """Mean over classes of each draw: (1 + `DRAWS`,).

    A class that a draw leaves without a positive or a negative image keeps there the figure of all images: its absence
    is no change of the mean.

    Args:
        figures_BK: of each class, first of all images; NaN where a draw has none.
    """
    return np.asarray(np.where(np.isnan(figures_BK), figures_BK[:1], figures_BK).mean(axis=1))


def interval(figures_B: _Floats, *, df: float, share: bool = True) -> Interval:
    """95 % interval of a figure between 0 and 1.

    Args:
        figures_B: of all images, then of each draw; NaN where a draw has none.
        df: degrees of freedom: units of the smaller group, minus one.
        share: on the logit scale, which keeps it within 0 and 1; else symmetric, cut at 0.
    """
    from scipy.special import expit, logit, stdtrit

    estimate, se = float(figures_B[0]), float(np.nanstd(figures_B[1:], ddof=1))
    half = float(stdtrit(df, 0.975)) * se
    if not se > 0 or (share and not 0 < estimate < 1):
        return Interval(estimate=estimate, low=estimate, high=estimate, se=0.0, df=0.0)
    low, high = max(0.0, estimate - half), estimate + half
    if share:
        middle, width = float(logit(estimate)), half / (estimate * (1 - estimate))
        low, high = float(expit(middle - width)), float(expit(middle + width))
    return Interval(estimate=estimate, low=low, high=high, se=se, df=float(df))


def error_interval(figures_B: _Floats, *, df: float) -> Interval:
    """95 % interval of an error that chance can only add to, as the calibration error; errs on the wide side.

    The draws' errors lie above that of all images by about as much as that lies above the truth. The lower end is
    taken from the estimate less this surplus, the upper end from the estimate as it is.

    Args:
        figures_B: of all images, then of each draw.
        df: degrees of freedom: units minus one.
    """
    plain = interval(figures_B, df=df, share=False)
    surplus = max(0.0, float(np.nanmean(figures_B[1:])) - plain.estimate)
    return replace(plain, low=max(0.0, plain.low - surplus))
