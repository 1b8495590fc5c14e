"""Turns a map over a radiograph into boxes, and measures how far they overlap the annotated ones.

A map is stretched to [0, 1], cut at a fixed threshold, and each connected part above it gets a box. The overlap of an
image and a class is the intersection over union of two areas: all predicted boxes together, all annotated ones
together; so neither many boxes nor several readers' boxes of one finding help or hurt. What it is compared with is
one box in the middle of the image, as wide and high as the class's annotated boxes are on average in the very images
that are scored: it knows the size and not the place.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

#: left, top, width, height as shares of the image's sides.
Box = tuple[float, float, float, float]
SIDES = ("left", "top", "width", "height")
#: Cut of a stretched map: of 0.1 to 0.7 the best for both kinds of maps on the annotated validation images of
#: procedural radiographs; fixed before any test image, and any patient's, was looked at.
THRESHOLD = 0.3
#: A part of a map smaller than this share of it gets no box, unless it is the largest.
SMALLEST = 0.01
#: Kinds of maps, in the order of reports, with their titles.
MAPS = {"rollout": "attention rollout", "class": "class activation"}
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


def stretched(map_hw: npt.ArrayLike, side: int) -> npt.NDArray[np.float64] | None:
    """A map enlarged to side x side by straight lines between the centres of its cells, then stretched to [0, 1].

    Returns:
        None for a map that is the same everywhere, or not finite: it points nowhere.
    """
    from scipy import ndimage

    grid = np.asarray(map_hw, np.float64)
    if not np.isfinite(grid).all() or grid.max() <= grid.min():
        return None
    fine: npt.NDArray[np.float64] = ndimage.zoom(
        grid, (side / grid.shape[0], side / grid.shape[1]), order=1, mode="nearest", grid_mode=True
    )
    return np.asarray((fine - fine.min()) / (fine.max() - fine.min()))


def predicted(map_hw: npt.ArrayLike, *, threshold: float, side: int, window: Box = WHOLE) -> list[Box]:
    """Boxes around the connected parts of a map that reach the threshold, the largest part first.

    Args:
        map_hw: the map, any unit.
        threshold: in (0, 1), of the stretched map.
        side: pixels of the stretched map: what the network sees.
        window: the part of the image that the map covers.
    """
    from scipy import ndimage

    fine = stretched(map_hw, side)
    if fine is None:
        return []
    parts, count = ndimage.label(fine >= threshold)
    areas = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    slices = ndimage.find_objects(parts)
    order = sorted(range(count), key=lambda part: (-areas[part], part))
    kept = [part for place, part in enumerate(order) if not place or areas[part] >= SMALLEST * side**2]
    return [_box(slices[part], side, window) for part in kept]


def _box(place: tuple[slice, ...], side: int, window: Box) -> Box:
    rows, columns = place
    left, top, width, height = window
    return (
        left + columns.start / side * width,
        top + rows.start / side * height,
        (columns.stop - columns.start) / side * width,
        (rows.stop - rows.start) / side * height,
    )


def overlap(first: Iterable[Box], second: Iterable[Box]) -> float:
    """Intersection over union of two sets of boxes, each taken as one area; 0 where there is no area at all."""
    one, other = list(first), list(second)
    # Between neighbouring edges everything is the same: a few rectangles instead of pixels, and no rounding.
    x = np.unique([edge for left, _, width, _ in [*one, *other] for edge in (left, left + width)])
    y = np.unique([edge for _, top, _, height in [*one, *other] for edge in (top, top + height)])
    areas = np.outer(np.diff(y), np.diff(x))
    covered = [_covered(boxes, x, y) for boxes in (one, other)]
    union = float(areas[covered[0] | covered[1]].sum())
    return float(areas[covered[0] & covered[1]].sum()) / union if union > 0 else 0.0


def _covered(boxes: Sequence[Box], x: npt.NDArray[Any], y: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    found = np.zeros((max(0, len(y) - 1), max(0, len(x) - 1)), bool)
    for left, top, width, height in boxes:
        rows = slice(*np.searchsorted(y, (top, top + height)))
        found[rows, slice(*np.searchsorted(x, (left, left + width)))] = True
    return found


def centred(boxes: Iterable[Box]) -> Box:
    """A box in the middle of the image, of the mean width and the mean height of some boxes (at least one)."""
    sizes = [(width, height) for _, _, width, height in boxes]
    width, height = (sum(side) / len(sizes) for side in zip(*sizes, strict=True))
    return (0.5 - width / 2, 0.5 - height / 2, width, height)


def pairs_of(annotated: pd.DataFrame) -> pd.DataFrame:
    """Image and class of every annotated finding, each once, sorted: the order of stored class maps.

    Args:
        annotated: rows with image_id, patient_id and class.
    """
    columns = ["image_id", "class"]
    pairs: pd.DataFrame = annotated.drop_duplicates(columns).sort_values(columns, ignore_index=True)
    return pairs[["image_id", "patient_id", "class"]]


@dataclass(frozen=True, kw_only=True)
class MeanDifference:
    """Mean of a paired difference with its interval.

    Attributes:
        mean: over all pairs.
        low: lower end of the 95 % interval; NaN where there is none.
        high: upper end.
        n: pairs.
        units: patients, or images, that were drawn.
        reason: why there is no interval; ''.
    """

    mean: float
    low: float
    high: float
    n: int
    units: int
    reason: str = ""


#: How `mean_difference` finds its interval, as it is printed.
INTERVAL = "t interval of the paired difference, patients as independent units (cluster-robust), df = patients - 1"


def mean_difference(differences: Sequence[float], units: Sequence[str]) -> MeanDifference:
    """Mean difference and its 95 % interval; pairs of one patient count as one draw.

    Args:
        differences: one per image and class, at least one.
        units: the patient (or image) of each.
    """
    from scipy import stats

    values = np.asarray(differences, float)
    names, place = np.unique(np.asarray(units, dtype=str), return_inverse=True)
    mean, count = float(values.mean()), len(names)
    # Linearised variance of a ratio: sum over a patient's differences, over how many there are.
    rest = np.bincount(place, weights=values - mean, minlength=count)
    se = math.sqrt(count / max(1, count - 1) * float((rest**2).sum())) / len(values)
    reason = "fewer than two patients" if count < 2 else "" if se else "no variance"
    reach = math.nan if reason else float(stats.t.ppf(0.975, count - 1)) * se
    return MeanDifference(mean=mean, low=mean - reach, high=mean + reach, n=len(values), units=count, reason=reason)
