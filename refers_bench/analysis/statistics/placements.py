"""Computes each test image's (or patient's) share in the error of the AUCs of a class.

An image's placement is the share of the other group that it is ordered rightly against. Its distance from the AUC is
what the image adds to the error of the AUC; of several images of one patient the distances are added, since a patient
is drawn as a whole.

Source: DeLong, DeLong and Clarke-Pearson, Biometrics 44, 1988 (images as units); Obuchowski, Biometrics 53, 1997
(patients as units), which is DeLong's where every patient has one image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from refers_bench.analysis.statistics.auc import area, places

IMAGE, PATIENT = "image", "patient"

_Floats = npt.NDArray[np.float64]
_Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Units:
    """What was drawn independently.

    Attributes:
        name: `IMAGE` or `PATIENT`.
        of_image_N: number of each image's unit, 0 to `count` - 1.
        count: units.
    """

    name: str
    of_image_N: _Integers
    count: int

    @classmethod
    def of(cls, images: int, patients: Sequence[str] | None = None) -> Units:
        """Patients as units where they are given, one id per image; else images."""
        if patients is None:
            return cls(name=IMAGE, of_image_N=np.arange(images), count=images)
        if len(patients) != images:
            raise ValueError(f"{images} images, but {len(patients)} patient ids")
        names, of_image = np.unique(np.asarray(patients), return_inverse=True)
        return cls(name=PATIENT, of_image_N=of_image, count=len(names))


@dataclass(frozen=True, kw_only=True, eq=False)
class Group:
    """The positive, or the negative, images of a class.

    Attributes:
        images: how many.
        units_I: numbers of the units that have such images.
        errors_MI: a unit's placements minus the AUC, added over its images of the group and divided by `images`.
    """

    images: int
    units_I: _Integers
    errors_MI: _Floats

    @property
    def products(self) -> _Floats:
        """Products of the methods' errors, summed over units: (M, M)."""
        return np.asarray(self.errors_MI @ self.errors_MI.T)

    def add_to(self, whole_MU: _Floats) -> None:
        """Add every unit's errors to those it has of other groups and classes."""
        for whole_U, errors_I in zip(whole_MU, self.errors_MI, strict=True):
            whole_U[self.units_I] += errors_I

    @property
    def correction(self) -> float:
        """Units over units minus one: for the degree of freedom that the AUC takes; infinite for one unit."""
        count = len(self.units_I)
        return count / (count - 1) if count > 1 else np.inf


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassErrors:
    """One class for M methods.

    Attributes:
        auc_M: in [0, 1], as `auc.class_aucs` gives them.
        groups: images labelled 1, and those labelled 0.
    """

    auc_M: _Floats
    groups: tuple[Group, Group]


def placements(labels_N: npt.ArrayLike, scores_MN: npt.ArrayLike) -> tuple[_Floats, _Floats, _Floats]:
    """Share of the other group that each image is ordered rightly against, ties counted as one half.

    Args:
        labels_N: 1 positive, 0 negative; anything else is left out.
        scores_MN: one row per method; finite on labelled images.

    Returns:
        (V10_MP, V01_MQ, auc_M): of the P positive and the Q negative images; the mean over either is the AUC. The
        AUCs are NaN, and the placements 0, without an image of one of the groups.

    Raises:
        ValueError: shapes differ, or a score of a labelled image is NaN.
    """
    labels = np.asarray(labels_N)
    scores = np.atleast_2d(np.asarray(scores_MN))
    if labels.ndim != 1 or scores.shape[1] != len(labels):
        raise ValueError(f"labels (N,) and scores (M, N) do not fit: {labels.shape}, {scores.shape}")
    positive_MP, negative_MQ = scores[:, labels == 1], scores[:, labels == 0]
    if np.isnan(positive_MP).any() or np.isnan(negative_MQ).any():
        raise ValueError("the score of a labelled image is NaN: these predictions cannot be compared")
    v10, v01 = np.zeros(positive_MP.shape), np.zeros(negative_MQ.shape)
    auc_M = np.full(len(scores), np.nan)
    if v10.size and v01.size:
        for m, (positive, negative) in enumerate(zip(positive_MP, negative_MQ, strict=True)):
            order = np.argsort(negative)
            below, not_above = places(positive, negative[order])
            auc_M[m] = area(below + not_above, len(negative))
            v10[m] = (below + not_above) / (2 * len(negative))
            # A negative loses to the positives that have more negatives below them than its own place.
            lost = sum(len(positive) - _up_to(counts, len(negative)) for counts in (below, not_above))
            v01[m, order] = lost / (2 * len(positive))
    return v10, v01, auc_M


def _up_to(counts_P: _Integers, places: int) -> _Integers:
    """For each of the places 0 to `places` - 1, how many counts are at most that."""
    return np.cumsum(np.bincount(counts_P, minlength=places + 1))[:places]


def class_errors(labels_N: npt.ArrayLike, scores_MN: npt.ArrayLike, units: Units) -> ClassErrors:
    """What each unit adds to the error of a class's AUCs.

    Args:
        labels_N: 1 positive, 0 negative; anything else is left out.
        scores_MN: one row per method, on the same images.
        units: of the N images.

    Raises:
        ValueError: as `placements`.
    """
    labels = np.asarray(labels_N)
    v10, v01, auc_M = placements(labels, scores_MN)
    positive = _group(v10 - auc_M[:, None], units, np.flatnonzero(labels == 1))
    negative = _group(v01 - auc_M[:, None], units, np.flatnonzero(labels == 0))
    return ClassErrors(auc_M=auc_M, groups=(positive, negative))


def _group(errors_MP: _Floats, units: Units, images_P: _Integers) -> Group:
    own_P, count = units.of_image_N[images_P], len(images_P)
    if units.name == IMAGE:
        return Group(images=count, units_I=own_P, errors_MI=errors_MP / max(1, count))
    units_I, place_P = np.unique(own_P, return_inverse=True)
    sums = [np.bincount(place_P, weights=row_P, minlength=len(units_I)) for row_P in errors_MP]
    return Group(images=count, units_I=units_I, errors_MI=np.stack(sums) / max(1, count))
