"""Tests the difference of two methods' AUCs exactly where a class has few positive or negative images.

If the methods recognise a class equally well, exchanging the ranks that they give to an image changes nothing but
chance. The P-value is the share of all 2**n exchanges, image by image (or patient by patient), with a difference of
AUCs at least as large as the observed one. All of them count, none is drawn: the difference is a sum of one term per
image whose sign the exchange turns, so its distribution is that of a sum of integers with random signs.

Source: Bandos, Rockette and Gur, Statistics in Medicine 24, 2005 (permutation test of two paired AUCs; ranks are
exchanged, since two methods' scores have no common unit).
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from refers_bench.analysis.statistics.auc import pairs_won
from refers_bench.analysis.statistics.placements import IMAGE, PATIENT, Units
from refers_bench.analysis.statistics.significance import Refusal

#: Names of the test, as they are printed, by what is exchanged.
PERMUTATION = {
    IMAGE: "exact paired permutation test of the difference of AUCs (ranks exchanged image by image), two-sided",
    PATIENT: "exact paired permutation test of the difference of AUCs (ranks exchanged patient by patient), two-sided",
}
#: The distribution is exact to about this; a smaller P-value is given as this.
SMALLEST = 1e-12

_Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class PermutationTest:
    """Two methods compared on one class.

    Attributes:
        n_pos: images labelled 1.
        n_neg: images labelled 0.
        difference: mean AUC of the first method's runs minus that of the second's, in [-1, 1].
        p: two-sided P-value.
        test: one of `PERMUTATION`.
    """

    n_pos: int
    n_neg: int
    difference: float
    p: float
    test: str


def permutation_test(
    labels_N: npt.ArrayLike, first_SN: npt.ArrayLike, second_SN: npt.ArrayLike, units: Units | None = None
) -> PermutationTest | Refusal:
    """The exact test of one class.

    Args:
        labels_N: 1 positive, 0 negative; anything else is left out.
        first_SN: scores of the first method, one row per run; the difference is that of the means over runs.
        second_SN: of the second method, run for run: an exchange turns all runs.
        units: images where none are given.

    Raises:
        ValueError: shapes differ, or a score of a labelled image is NaN.
    """
    labels, first, second = np.asarray(labels_N), np.atleast_2d(first_SN), np.atleast_2d(second_SN)
    drawn = Units.of(len(labels)) if units is None else units
    if first.shape[1:] != labels.shape or second.shape[1:] != labels.shape:
        raise ValueError(f"labels {labels.shape} and scores {first.shape}, {second.shape} do not fit")
    if len(first) != len(second):
        return Refusal(reason=f"a permutation exchanges runs in pairs, there are {len(first)} and {len(second)}")
    positive, negative = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    if not len(positive) or not len(negative):
        return Refusal(reason="needs a positive and a negative image")
    if np.isnan(first[:, labels >= 0]).any() or np.isnan(second[:, labels >= 0]).any():
        raise ValueError("the score of a labelled image is NaN: these predictions cannot be compared")
    terms_N = np.zeros(len(labels), np.int64)
    for one, other in zip(first, second, strict=True):
        terms_P, terms_Q = _terms(one[positive], one[negative], other[positive], other[negative])
        terms_N[positive] += terms_P
        terms_N[negative] += terms_Q
    terms_U = np.zeros(drawn.count, np.int64)
    np.add.at(terms_U, drawn.of_image_N, terms_N)
    if not terms_U.any():
        return Refusal(reason="zero variance: no exchange changes the difference")
    return PermutationTest(
        n_pos=len(positive),
        n_neg=len(negative),
        p=_share(terms_U),
        test=PERMUTATION[drawn.name],
        difference=int(terms_U.sum()) / (4 * len(positive) * len(negative) * len(first)),
    )


def _terms(
    one_P: npt.NDArray[Any], one_Q: npt.NDArray[Any], other_P: npt.NDArray[Any], other_Q: npt.NDArray[Any]
) -> tuple[_Integers, _Integers]:
    """What each positive and each negative image adds to 4 P Q times the difference of the AUCs.

    With s = 1 for an image as it is and -1 for an exchanged one, and K(a, b) the kernel of a positive's rank by
    method a against a negative's by method b, the pair (i, j) adds
    s_i (K11 - K22 + K12 - K21) / 2 + s_j (K11 - K22 - K12 + K21) / 2: one term for each of both.
    """
    from scipy.stats import rankdata

    count = len(one_P)
    one_R, other_R = (rankdata(np.concatenate(parts)) for parts in ((one_P, one_Q), (other_P, other_Q)))
    p1, q1, p2, q2 = one_R[:count], one_R[count:], other_R[:count], other_R[count:]
    terms_P = pairs_won(p1, q1) - pairs_won(p2, q2) + pairs_won(p1, q2) - pairs_won(p2, q1)
    # Seen from a negative, the kernel is what the negative does not win.
    terms_Q = pairs_won(q2, p2) - pairs_won(q1, p1) + pairs_won(q2, p1) - pairs_won(q1, p2)
    return terms_P, terms_Q


def _share(terms_U: _Integers) -> float:
    """Share of all signs with which the terms add up to at least as much as they do, on either side."""
    size_U = np.abs(terms_U[terms_U != 0])
    size_U //= np.gcd.reduce(size_U)
    observed = int(terms_U.sum()) // int(np.gcd.reduce(np.abs(terms_U)))
    whole = int(size_U.sum())
    # The terms with sign + add up to j of 0 to `whole`, the difference is then 2 j - whole.
    chance_J = np.clip(_subset_sums(size_U, whole), 0.0, None)
    far_J = np.abs(2 * np.arange(whole + 1) - whole) >= abs(observed)
    return min(1.0, max(SMALLEST, math.fsum(chance_J[far_J])))


def _subset_sums(size_U: _Integers, whole: int) -> npt.NDArray[np.float64]:
    """Probability of each sum of a subset that every term joins by the toss of a coin: float64 (whole + 1,)."""
    from scipy.fft import irfft, next_fast_len

    length = next_fast_len(whole + 1, real=True)
    root_L = np.exp(-2j * np.pi * np.arange(length) / length)
    frequency_F = np.arange(length // 2 + 1)
    product_F = np.ones(len(frequency_F), np.complex128)
    for size, count in zip(*np.unique(size_U, return_counts=True), strict=True):
        product_F *= ((1 + root_L[frequency_F * size % length]) / 2) ** count
    return np.asarray(irfft(product_F, length)[: whole + 1])
