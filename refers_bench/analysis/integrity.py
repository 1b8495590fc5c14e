"""What do prediction files contain that a reader should know before trusting a comparison?

Facts about files, never a judgement: equal scores may have an innocent reason, which files cannot tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from refers_bench.analysis.cells import Target
from refers_bench.analysis.predictions import FILE, Predictions, read
from refers_bench.analysis.results import Results

#: Scores that equal multiples of ten to the minus this many are called quantised.
MOST_DECIMALS = 4
#: Fewer distinct scores than this in a group relate affinely by chance.
FEWEST_DISTINCT = 4
#: Images that two test lists must share for the scores of their runs to be compared.
FEWEST_SHARED = 10
_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One fact about the predictions of a target.

    Attributes:
        kind: what was looked for; one of `KINDS`.
        target: the table column.
        runs: names of the methods, or "method, seed 1" where a manifest has several seeds; for what is said of single
            runs, all of which it is true; for what relates runs, the pair.
        classes: where it was found, in the order of the task.
        text: the fact in words.
    """

    kind: str
    target: Target
    runs: tuple[str, ...]
    classes: tuple[str, ...]
    text: str


KINDS = (
    "labels differ",
    "test lists differ",
    "identical scores",
    "identical scores of the positive images",
    "identical scores of the negative images",
    "affinely related scores",
    "constant scores",
    "quantised scores",
    "NaN scores",
    "out of range",
)


def findings(results: Results) -> tuple[Finding, ...]:
    """Everything found in the test predictions of the finished runs, target by target, in the order of `KINDS`."""
    found: list[Finding] = []
    for target in results.targets:
        predictions = dict(_read(results, target))
        here = [*_lists(target, predictions), *_alone(target, predictions), *_pairs(target, predictions)]
        found += sorted(_merged(here), key=lambda finding: KINDS.index(finding.kind))
    return tuple(found)


def _read(results: Results, target: Target) -> Iterator[tuple[str, Predictions]]:
    """(name, predictions) of every finished run of the column."""
    for method in results.methods:
        runs = results.runs(method, target)
        stored = [run for run in runs if run.run.key in results.predicted]
        for planned in stored:
            name = method if len(stored) == 1 else f"{method}, seed {planned.run.seed}"
            yield name, read(results.store / planned.run.key / FILE)


def _merged(found: Iterable[Finding]) -> Iterator[Finding]:
    """Findings that differ in their class alone, as one; then those of single runs that differ in the run alone."""
    groups: dict[tuple[str, tuple[str, ...], str], list[Finding]] = {}
    for finding in found:
        groups.setdefault((finding.kind, finding.runs, finding.text), []).append(finding)
    alike: dict[tuple[object, ...], Finding] = {}
    for (kind, runs, text), same in groups.items():
        classes = tuple(dict.fromkeys(name for finding in same for name in finding.classes))
        finding = Finding(kind=kind, target=same[0].target, runs=runs, classes=classes, text=text)
        # Two runs of one finding are a pair and stay one.
        where = (kind, classes, text) if len(runs) == 1 else (kind, classes, text, runs)
        before = alike.get(where)
        alike[where] = finding if before is None else replace(before, runs=(*before.runs, *runs))
    yield from alike.values()


def _lists(target: Target, predictions: Mapping[str, Predictions]) -> Iterator[Finding]:
    """Do all runs hold the same images with the same labels?"""
    names = list(predictions)
    if not names:
        return
    first = predictions[names[0]]
    for name in names[1:]:
        other = predictions[name]
        runs = (names[0], name)
        if other.image_ids != first.image_ids or other.classes != first.classes:
            shared = len(set(first.image_ids) & set(other.image_ids))
            text = f"{len(first.image_ids)} and {len(other.image_ids)} test images, {shared} in both"
            if set(other.classes) != set(first.classes):
                text += f"; {len(first.classes)} and {len(other.classes)} classes"
            if shared != len(first.image_ids) or shared != len(other.image_ids) or "classes" in text:
                yield Finding(kind="test lists differ", target=target, runs=runs, classes=(), text=text)
                continue
            other = other.sorted(first.classes)
        for k, label in enumerate(first.classes):
            differ = int((first.labels_NK[:, k] != other.labels_NK[:, k]).sum())
            if differ:
                text = f"labels of {differ} images differ"
                yield Finding(kind="labels differ", target=target, runs=runs, classes=(label,), text=text)


def _alone(target: Target, predictions: Mapping[str, Predictions]) -> Iterator[Finding]:
    """What can be said of the scores of one run."""
    for name, found in predictions.items():
        for k, label in enumerate(found.classes):
            scores = found.scores_NK[:, k].astype(np.float64)
            for kind, text in _column(scores):
                yield Finding(kind=kind, target=target, runs=(name,), classes=(label,), text=text)


def _column(scores_N: _Floats) -> Iterator[tuple[str, str]]:
    nan = int(np.isnan(scores_N).sum())
    if nan:
        yield "NaN scores", f"{nan} of {len(scores_N)} scores are NaN: no AUC"
        scores_N = scores_N[~np.isnan(scores_N)]
    if not len(scores_N):
        return
    if not np.isfinite(scores_N).all():
        yield "out of range", "infinite scores"
        return
    low, high = float(scores_N.min()), float(scores_N.max())
    if low == high:
        yield "constant scores", "all images have one score"
        return
    decimals = decimals_of(scores_N)
    if decimals is not None:
        yield "quantised scores", f"all scores are multiples of {10.0**-decimals:g}"
    # Probabilities with a few values outside are a slip; logits spread to both sides and far beyond.
    outside = int(((scores_N < 0) | (scores_N > 1)).sum())
    if 0 < outside < 0.05 * len(scores_N):
        yield "out of range", "some scores lie outside 0 to 1, at least 95 % of them within"


def decimals_of(scores_N: _Floats) -> int | None:
    """Decimal places that hold all scores exactly as float32, at most `MOST_DECIMALS`; None when more are needed.

    Example:
        >>> decimals_of(np.array([0.25, 0.5]))
        2
    """
    for decimals in range(MOST_DECIMALS + 1):
        if np.array_equal(np.round(scores_N, decimals).astype(np.float32), scores_N.astype(np.float32)):
            return decimals
    return None


def _pairs(target: Target, predictions: Mapping[str, Predictions]) -> Iterator[Finding]:
    """Which runs have scores of a class that follow from one another, on the images that both were tested on?"""
    for label in dict.fromkeys(name for found in predictions.values() for name in found.classes):
        groups: dict[tuple[str, ...], list[str]] = {}
        for name, found in predictions.items():
            if label in found.classes:
                groups.setdefault(found.image_ids, []).append(name)
        for images, names in groups.items():
            yield from _pairs_on(target, predictions, label, images, [names])
        lists = list(groups)
        for place, images in enumerate(lists):
            for other in lists[place + 1 :]:
                shared = tuple(sorted(set(images) & set(other)))
                if len(shared) >= FEWEST_SHARED:
                    yield from _pairs_on(target, predictions, label, shared, [groups[images], groups[other]])


def _pairs_on(
    target: Target,
    predictions: Mapping[str, Predictions],
    label: str,
    images: tuple[str, ...],
    groups: Sequence[Sequence[str]],
) -> Iterator[Finding]:
    """The related pairs on some images, within one group of runs or between two."""
    names = [name for group in groups for name in group]
    scores, labels = [], []
    for name in names:
        found = predictions[name]
        k = found.classes.index(label)
        place = {image: row for row, image in enumerate(found.image_ids)} if found.image_ids != images else {}
        rows: Sequence[int] | slice = [place[image] for image in images] if place else slice(None)
        scores.append(found.scores_NK[rows, k])
        labels.append(found.labels_NK[rows, k])
    where = "of all images" if len(groups) == 1 else f"of all {len(images)} images in both"
    for one, other, kind, text in _related(np.stack(scores).astype(np.float64), labels[0], where):
        if len(groups) == 1 or (one < len(groups[0]) <= other):
            yield Finding(kind=kind, target=target, runs=(names[one], names[other]), classes=(label,), text=text)


def _related(
    scores_RN: _Floats, labels_N: npt.NDArray[np.int8], everywhere: str
) -> Iterator[tuple[int, int, str, str]]:
    """(first, second, kind, text) of every pair that is related."""
    usable = [row for row in range(len(scores_RN)) if np.isfinite(scores_RN[row]).all()]
    known: set[tuple[int, int]] = set()
    parts = (("", np.ones(len(labels_N), bool)), (" of the positive images", labels_N == 1))
    for where, chosen in (*parts, (" of the negative images", labels_N == 0)):
        for one, other, identical in _related_rows(scores_RN[:, chosen], usable, 2 if not where else FEWEST_DISTINCT):
            if (one, other) in known:
                continue
            if not where:
                known.add((one, other))
            if identical:
                yield one, other, f"identical scores{where}", f"identical scores{where or f' {everywhere}'}"
            else:
                text = f"the scores{where or f' {everywhere}'} are affine functions of each other, up to rounding"
                yield one, other, "affinely related scores", text


def _related_rows(scores_RN: _Floats, usable: Sequence[int], fewest: int) -> Iterator[tuple[int, int, bool]]:
    """(first, second, whether identical) of the pairs of rows that are identical or affinely related.

    Args:
        scores_RN: of R runs on the same N images.
        usable: rows without NaN.
        fewest: distinct scores that a row needs; to be related otherwise than by identity it needs `FEWEST_DISTINCT`.
    """
    distinct = {row: len(np.unique(scores_RN[row])) for row in usable}
    rows = [row for row in usable if distinct[row] >= fewest]
    if len(rows) < 2:
        return
    centred = scores_RN[rows] - scores_RN[rows].mean(axis=1, keepdims=True)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    close = np.abs(centred @ centred.T) > 1 - 1e-4
    for a in range(len(rows)):
        for b in range(a + 1, len(rows)):
            if close[a, b]:
                one, other = scores_RN[rows[a]], scores_RN[rows[b]]
                if np.array_equal(one, other):
                    yield rows[a], rows[b], True
                elif min(distinct[rows[a]], distinct[rows[b]]) >= FEWEST_DISTINCT and _affine(one, other):
                    yield rows[a], rows[b], False


def _affine(one_N: _Floats, other_N: _Floats) -> bool:
    """Whether the second is a x the first + b, up to the rounding of both."""
    slope, shift = np.polyfit(one_N, other_N, 1)
    rounding = sum(
        scale * (0.5 * 10.0**-places if (places := decimals_of(scores)) is not None else 1e-6 * np.ptp(scores))
        for scale, scores in ((abs(slope), one_N), (1.0, other_N))
    )
    return bool(np.abs(slope * one_N + shift - other_N).max() <= 1.01 * rounding)
