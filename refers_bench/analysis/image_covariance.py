"""Computes how mean and class AUCs of all rows and label ratios of one task vary together, and keeps it.

They vary together over the test images, which all of them share.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from refers_bench.analysis.cells import Target
from refers_bench.analysis.held_out import images_of
from refers_bench.analysis.kept import kept
from refers_bench.analysis.predictions import Predictions, stacked
from refers_bench.analysis.results import Results
from refers_bench.analysis.statistics.auc_intervals import mean_aucs
from refers_bench.analysis.statistics.delong import delong
from refers_bench.analysis.statistics.significance import Refusal

#: Raised when the same predictions would give other figures.
IMPL = 1
#: Row name and column.
Where = tuple[str, Target]


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageCovariance:
    """AUCs measured on one list of test images.

    Attributes:
        places: row name and column -> place in the arrays; what is measured on other images has none.
        estimate_M: mean over the row's seeds, in [0, 1].
        covariance_MM: over test images (or patients).
    """

    places: Mapping[Where, int]
    estimate_M: npt.NDArray[np.float64]
    covariance_MM: npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """The numbers of an `ImageCovariance`, or why there are none."""

    estimates: tuple[float, ...] = ()
    covariances: tuple[tuple[float, ...], ...] = ()
    refused: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class _SameImages:
    """Stored predictions of one task's rows and label ratios on one list of test images.

    Attributes:
        first: one of them: its classes, labels and patients are those of all.
        scores_RNK: float32, of R runs.
        runs: places of the seeds of each row and column in `scores_RNK`.
    """

    first: Predictions
    scores_RNK: npt.NDArray[np.float32]
    runs: Sequence[Sequence[int]]

    def of_means(self) -> _Kept:
        """Covariance of the mean AUCs, from the errors of the table of test images."""
        try:
            found = mean_aucs(self.first.labels_NK, self.scores_RNK, units=self.first.units)
        except ValueError as error:
            return _Kept(refused=str(error))
        means = [found.mean(*some) for some in self.runs]
        covariance_MM = np.diag([mean.se**2 for mean in means])
        for i in range(len(means)):
            for j in range(i):
                # var(a - b) = var(a) + var(b) - 2 cov(a, b)
                both = covariance_MM[i, i] + covariance_MM[j, j]
                difference = found.difference(self.runs[i], self.runs[j])
                covariance_MM[i, j] = covariance_MM[j, i] = (both - difference.se**2) / 2
        return _kept([mean.estimate for mean in means], covariance_MM)

    def of_class(self, name: str) -> _Kept:
        """Covariance of one class's AUCs, by DeLong's formula."""
        if name not in self.first.classes:
            return _Kept(refused=f"no class {name} in the predictions")
        k = self.first.classes.index(name)
        if np.isnan(self.scores_RNK[:, np.isin(self.first.labels_NK[:, k], (0, 1)), k]).any():
            return _Kept(refused="NaN scores")
        found = delong(self.first.labels_NK[:, k], self.scores_RNK[:, :, k], self.first.units)
        if isinstance(found, Refusal):
            return _Kept(refused=found.reason)
        # A row's figure is the mean of its seeds'.
        means_MR = np.zeros((len(self.runs), len(self.scores_RNK)))
        for m, some in enumerate(self.runs):
            means_MR[m, list(some)] = 1 / len(some)
        return _kept(means_MR @ found.auc_M, means_MR @ found.covariance_MM @ means_MR.T)


def _kept(estimates: Sequence[float] | npt.NDArray[np.float64], covariance_MM: npt.NDArray[np.float64]) -> _Kept:
    return _Kept(
        estimates=tuple(map(float, estimates)), covariances=tuple(tuple(row) for row in covariance_MM.tolist())
    )


def image_covariance(results: Results, dataset: str, task: str, finding: str = "") -> ImageCovariance | Refusal:
    """How the AUCs of a task vary together, computed or read back.

    Args:
        results: of all finished rows and columns, those are taken that have the test images of the first.
        dataset: of the task.
        task: its columns of any label ratio and evaluation.
        finding: a class; '' for the mean over classes.
    """
    runs = _together(results, dataset, task)
    if not runs:
        return Refusal(reason="no stored predictions")
    what = {"image_covariance": IMPL, "runs": list(runs.values()), "finding": finding}
    found = kept(_Kept, what, results.store, lambda: _computed(results, list(runs.values()), finding))
    if found.refused:
        return Refusal(reason=found.refused)
    places = {where: place for place, where in enumerate(runs)}
    return ImageCovariance(
        places=places, estimate_M=np.array(found.estimates), covariance_MM=np.array(found.covariances)
    )


def _together(results: Results, dataset: str, task: str) -> dict[Where, list[str]]:
    """Row and column -> keys of its runs."""
    together: dict[Where, list[str]] = {}
    wanted = ""
    for target in results.targets:
        if (target.dataset, target.task) != (dataset, task):
            continue
        for method in results.methods:
            runs = results.predicted_runs(method, target)
            images = {images_of(results, one) for one in runs}
            wanted = wanted or next(iter(images), "")
            if runs and images == {wanted}:
                together[method, target] = [one.run.key for one in runs]
    return together


def _computed(results: Results, runs: Sequence[Sequence[str]], finding: str) -> _Kept:
    loaded = {place: [results.scores(key) for key in keys] for place, keys in enumerate(runs)}
    first = loaded[0][0]
    scores_RNK, places = stacked(loaded, first.classes)
    same = _SameImages(first=first, scores_RNK=scores_RNK, runs=list(places.values()))
    return same.of_class(finding) if finding else same.of_means()
