"""How much of a difference between methods could be the choice of test images (or patients)?

For each table column: a bootstrap interval of each mean AUC and of each difference from the reference method, and
DeLong's test of each class. A method's several seeds enter as their mean. What was computed is kept beside the store,
since it depends on the stored predictions alone.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from refers_bench import identity
from refers_bench.analysis.bootstrap import DRAWS, Interval, bootstrap
from refers_bench.analysis.cells import Target
from refers_bench.analysis.delong import contrast, delong
from refers_bench.analysis.predictions import FILE, Predictions, read
from refers_bench.analysis.results import Results
from refers_bench.analysis.significance import Refusal, holm
from refers_bench.errors import StorageError
from refers_bench.files import publish_json

#: Raised when the same predictions would give other figures.
IMPL = 2
FOLDER = "statistics"


@dataclass(frozen=True, kw_only=True)
class ClassTest:
    """DeLong's test of the reference method against another on one class.

    Attributes:
        method: the other.
        name: of the class.
        n_pos: test images labelled 1.
        n_neg: test images labelled 0.
        difference: reference minus other, AUC in [-1, 1]; None where refused.
        low: lower end of the 95 % interval.
        high: upper end.
        p: two-sided P-value; None where refused.
        p_holm: adjusted for all classes and methods of the column.
        refused: why there is no P-value; ''.
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


@dataclass(frozen=True, kw_only=True)
class ImageStatistics:
    """What the test images say of one column.

    Attributes:
        target: the column.
        reference: row name that the others are compared with; '' when it has no result.
        unit: what was drawn, "image" or "patient".
        n_units: how many of them.
        draws: bootstrap draws that count.
        n_classes: classes that the means are taken over.
        means: row name -> interval of its mean AUC.
        differences: row name -> interval of the reference's mean AUC minus its own; of complete rows alone.
        tests: class by class, method by method; of complete rows alone.
        refusals: row name -> why it is not compared.
    """

    target: Target
    reference: str
    unit: str
    n_units: int
    draws: int
    n_classes: int
    means: Mapping[str, Interval]
    differences: Mapping[str, Interval]
    tests: tuple[ClassTest, ...]
    refusals: Mapping[str, str]


def reference_of(results: Results) -> str:
    """The row that others are compared with: REFERS, or else the first."""
    return "refers" if "refers" in results.methods else next(iter(results.methods), "")


def image_statistics(results: Results, target: Target, *, draws: int = DRAWS) -> ImageStatistics | None:
    """The statistics of one column, computed or read back; None when no run of it has stored predictions."""
    runs = _runs(results, target) if results.predicted else {}
    if not runs:
        return None
    reference = reference_of(results)
    # A mean over some of the seeds is shown, but it is not compared with one over all.
    complete = [method for method in runs if results.cells[method, target].complete]
    what = {
        "impl": IMPL, "draws": draws, "reference": reference, "runs": runs, "complete": complete,
        "target": asdict(target),
    }  # fmt: skip
    path = results.store.parent / FOLDER / f"{identity.key(what)}.json"
    kept = _kept(path)
    if kept is None:
        kept = _computed(results, target, runs, complete, reference, draws)
        # A reader may have no right to write here: the figures are as good.
        with contextlib.suppress(StorageError):
            publish_json(path, asdict(kept))
    return kept


def _runs(results: Results, target: Target) -> dict[str, list[str]]:
    """Row name -> keys of its finished runs."""
    return {
        method: keys
        for method in results.methods
        if (keys := [
            planned.run.key
            for planned in results.runs(method, target)
            if planned.run.counts and planned.run.key in results.predicted
        ])
    }  # fmt: skip


def _computed(
    results: Results,
    target: Target,
    runs: Mapping[str, Sequence[str]],
    complete: Sequence[str],
    reference: str,
    draws: int,
) -> ImageStatistics:
    loaded = {method: [read(results.store / key / FILE) for key in keys] for method, keys in runs.items()}
    first = (loaded.get(reference) or next(iter(loaded.values())))[0]
    kept: dict[str, list[Predictions]] = {}
    refusals: dict[str, str] = {}
    for method, several in loaded.items():
        reason = next((why for one in several if (why := _differs(first, one))), "")
        if reason:
            refusals[method] = reason
        else:
            kept[method] = [one if one.classes == first.classes else one.sorted(first.classes) for one in several]
    scores_MNK = np.array([one.scores_NK for several in kept.values() for one in several])
    places: dict[str, list[int]] = {}
    for method, several in kept.items():
        start = sum(map(len, places.values()))
        places[method] = list(range(start, start + len(several)))
    compared = {method: rows for method, rows in places.items() if method in complete}
    patients = first.patient_ids if first.patients_known and len(set(first.patient_ids)) > 1 else None
    means: dict[str, Interval] = {}
    differences: dict[str, Interval] = {}
    unit, n_units, counted, n_classes = "image", len(first.image_ids), 0, 0
    seed = identity.seed("bootstrap", target.dataset, target.task)
    try:
        if not kept:
            raise ValueError("no row to compare")  # each of them has its own reason
        found = bootstrap(first.labels_NK, scores_MNK, seed=seed, draws=draws, patients=patients)
    except ValueError as error:
        refusals.update(dict.fromkeys(kept, str(error)))
    else:
        unit, n_units, counted, n_classes = found.unit, found.n_units, len(found.mean_BM), len(found.classes)
        means = {method: found.mean(*rows) for method, rows in places.items()}
        if reference in compared:
            differences = {
                method: found.difference(places[reference], rows)
                for method, rows in compared.items()
                if method != reference
            }
    return ImageStatistics(
        target=target,
        reference=reference if reference in places else "",
        unit=unit,
        n_units=n_units,
        draws=counted,
        n_classes=n_classes,
        means=means,
        differences=differences,
        tests=tuple(_tests(first, scores_MNK, compared, reference)),
        refusals=refusals,
    )


def _differs(first: Predictions, other: Predictions) -> str:
    """Why two runs are not compared; '' when they stand on the same images, classes and labels."""
    if set(first.classes) != set(other.classes):
        return "predictions of other classes"
    if first.image_ids != other.image_ids:
        return "predictions on another list of test images"
    if not np.array_equal(first.labels_NK, other.sorted(first.classes).labels_NK):
        return "other labels of the test images"
    if np.isnan(other.scores_NK).any():
        return "NaN scores"
    return ""


def _tests(first: Predictions, scores_MNK: Any, places: Mapping[str, Sequence[int]], reference: str) -> list[ClassTest]:
    if reference not in places:
        return []
    tests = []
    for k, name in enumerate(first.classes):
        labels = first.labels_NK[:, k]
        n_pos, n_neg = int((labels == 1).sum()), int((labels == 0).sum())
        found = delong(labels, scores_MNK[:, :, k])
        for method, rows in places.items():
            if method == reference:
                continue
            weights = np.zeros(len(scores_MNK))
            weights[list(places[reference])] = 1 / len(places[reference])
            weights[list(rows)] = -1 / len(rows)
            test = contrast(found, weights)
            if isinstance(test, Refusal):
                tests.append(ClassTest(method=method, name=name, n_pos=n_pos, n_neg=n_neg, refused=test.reason))
            else:
                tests.append(
                    ClassTest(
                        method=method,
                        name=name,
                        n_pos=n_pos,
                        n_neg=n_neg,
                        difference=test.difference,
                        low=test.low,
                        high=test.high,
                        p=test.p,
                    )
                )
    adjusted = holm([test.p for test in tests])
    return [replace(test, p_holm=p) for test, p in zip(tests, adjusted, strict=True)]


def _kept(path: Path) -> ImageStatistics | None:
    """What stands in the file; None when there is none, or none that can be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return ImageStatistics(
            **{
                **content,
                "target": Target(**content["target"]),
                "means": {name: Interval(**value) for name, value in content["means"].items()},
                "differences": {name: Interval(**value) for name, value in content["differences"].items()},
                "tests": tuple(ClassTest(**value) for value in content["tests"]),
            }
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None
