"""Computes how mean and class AUCs of all rows and label ratios of one task vary together over its test images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from refers_bench.analysis.cells import Target
from refers_bench.analysis.held_out import images_of
from refers_bench.analysis.predictions import Predictions, stacked
from refers_bench.analysis.results import Results
from refers_bench.analysis.statistics.auc_intervals import mean_aucs
from refers_bench.analysis.statistics.delong import delong
from refers_bench.analysis.statistics.significance import Refusal

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


@dataclass(frozen=True, kw_only=True, eq=False)
class SameImages:
    """Stored predictions of one task's rows and label ratios on one list of test images.

    Attributes:
        first: one of them: its classes, labels and patients are those of all.
        scores_RNK: float32, of R runs.
        runs: row name and column -> places of its seeds in `scores_RNK`.
    """

    first: Predictions
    scores_RNK: npt.NDArray[np.float32]
    runs: Mapping[Where, Sequence[int]]

    @cached_property
    def _places(self) -> dict[Where, int]:
        return {where: place for place, where in enumerate(self.runs)}

    def of_means(self) -> ImageCovariance | Refusal:
        """Covariance of the mean AUCs, from the errors of the table of test images."""
        try:
            found = mean_aucs(self.first.labels_NK, self.scores_RNK, units=self.first.units)
        except ValueError as error:
            return Refusal(reason=str(error))
        rows = list(self.runs.values())
        means = [found.mean(*some) for some in rows]
        covariance_MM = np.diag([mean.se**2 for mean in means])
        for i in range(len(rows)):
            for j in range(i):
                # var(a - b) = var(a) + var(b) - 2 cov(a, b)
                both = covariance_MM[i, i] + covariance_MM[j, j]
                covariance_MM[i, j] = covariance_MM[j, i] = (both - found.difference(rows[i], rows[j]).se ** 2) / 2
        estimate_M = np.array([mean.estimate for mean in means])
        return ImageCovariance(places=self._places, estimate_M=estimate_M, covariance_MM=covariance_MM)

    def of_class(self, name: str) -> ImageCovariance | Refusal:
        """Covariance of one class's AUCs, by DeLong's formula."""
        if name not in self.first.classes:
            return Refusal(reason=f"no class {name} in the predictions")
        k = self.first.classes.index(name)
        if np.isnan(self.scores_RNK[:, np.isin(self.first.labels_NK[:, k], (0, 1)), k]).any():
            return Refusal(reason="NaN scores")
        found = delong(self.first.labels_NK[:, k], self.scores_RNK[:, :, k], self.first.units)
        if isinstance(found, Refusal):
            return found
        # A row's figure is the mean of its seeds'.
        means_MR = np.zeros((len(self.runs), len(self.scores_RNK)))
        for m, some in enumerate(self.runs.values()):
            means_MR[m, list(some)] = 1 / len(some)
        covariance_MM = means_MR @ found.covariance_MM @ means_MR.T
        return ImageCovariance(places=self._places, estimate_M=means_MR @ found.auc_M, covariance_MM=covariance_MM)


def read_together(results: Results, dataset: str, task: str) -> SameImages | Refusal:
    """The stored predictions of a task, of all finished rows and columns that have the test images of the first."""
    loaded: dict[Where, list[Predictions]] = {}
    wanted = ""
    for target in results.targets:
        if (target.dataset, target.task) != (dataset, task):
            continue
        for method in results.methods:
            runs = results.predicted_runs(method, target)
            images = {images_of(results, one) for one in runs}
            wanted = wanted or next(iter(images), "")
            if runs and images == {wanted}:
                loaded[method, target] = [results.scores(one.run.key) for one in runs]
    if not loaded:
        return Refusal(reason="no stored predictions")
    first = next(iter(loaded.values()))[0]
    scores_RNK, places = stacked(loaded, first.classes)
    return SameImages(first=first, scores_RNK=scores_RNK, runs=places)
