"""Gives the figures that the results, and the released prediction files, hold for a claim, with their paired errors."""

import math
from collections.abc import Iterable, Mapping

import numpy as np

from refers_bench.analysis.cells import Target
from refers_bench.analysis.held_out import DIFFER, same_images
from refers_bench.analysis.image_covariance import ImageCovariance, image_covariance
from refers_bench.analysis.paper.expression import Leaf, class_of
from refers_bench.analysis.paper.figures import Error, Evidence, Figure, Missing, Undecidable, combined
from refers_bench.analysis.paper.published import BASELINES, column, row_of
from refers_bench.analysis.results import Results
from refers_bench.analysis.statistics.seeds import DEPENDENT, SeedSummary, mean_sd, without_spread
from refers_bench.analysis.statistics.significance import Refusal, best, compare


class _OfResults(Evidence):
    """Evidence that rests on results."""

    def __init__(self, results: Results) -> None:
        self.results = results

    def method(self, row: str) -> str:
        """Row name of a published row title; `Missing` without one."""
        method = row_of(row, self.results.methods)
        if method is None:
            raise Missing(f"not there: {row}")
        return method

    def cell(self, row: str, target: Target) -> SeedSummary:
        """Seeds of a published row title in a column; `Missing` without any."""
        found = self.results.cells.get((row_of(row, self.results.methods) or "", target))
        if found is None:
            raise Missing(f"not there: {row}, {target.dataset} {target.task} at {target.label_ratio * 100:g} %")
        return found

    def check_images(self, rows: Iterable[str], target: Target) -> None:
        """`Undecidable` where some of the rows were tested on other images."""
        methods = [method for row in rows if (method := row_of(row, self.results.methods)) is not None]
        if not same_images(self.results, methods, target):
            raise Undecidable(DIFFER)


class Reproduced(_OfResults):
    """Our seeds: the mean, with the standard error over seeds.

    Runs of one seed on one target share their training images where these are a part of all: a label subset depends on
    dataset, task, ratio and seed, never on the method, and smaller ones lie within larger ones. Their figures are
    paired, seed by seed. Runs on all labels share nothing that the seed draws, and neither do targets.
    """

    def figure(self, leaf: Leaf) -> Figure:
        """Mean AUC with its error, or the P-value of our own test."""
        kind, row, name, ratio = leaf[:4]
        target = column(name, ratio)
        if not self.results.as_documented(target):
            raise Missing("synthetic data" if target in self.results.synthetic else "limited data")
        if kind == "p":
            return Figure(value=self._p(row, target))
        values = list(self._values(leaf).values())
        if len(values) < 2:
            raise Undecidable(f"one seed, no spread: {row}")
        mean, sd = mean_sd(values)
        if not sd > 0:
            raise Undecidable(f"zero variance over seeds: {row}")
        self.check_images((row, "REFERS"), target)
        return Figure(value=mean, se=sd / math.sqrt(len(values)), df=len(values) - 1)

    def error(self, weights: Mapping[Leaf, float]) -> Error:
        """The error over seeds of a weighted sum, paired where the seed draws what the runs are trained on."""
        groups: dict[tuple[object, ...], dict[Leaf, float]] = {}
        for leaf, weight in weights.items():
            _, _, name, ratio = leaf[:4]
            own = () if ratio < 1 else (leaf,)
            # Rows with other seeds than the others' have no partners.
            groups.setdefault((name, tuple(self._values(leaf)), *own), {})[leaf] = weight
        return combined(self._paired(group) for group in groups.values())

    def _paired(self, weights: Mapping[Leaf, float]) -> Error:
        values = {leaf: self._values(leaf) for leaf in weights}
        seeds = list(next(iter(values.values())))
        sums = [math.fsum(weight * values[leaf][seed] for leaf, weight in weights.items()) for seed in seeds]
        if without_spread(sums):
            raise Undecidable("zero variance of the difference over seeds")
        return Error(se=mean_sd(sums)[1] / math.sqrt(len(sums)), df=len(sums) - 1)

    def _values(self, leaf: Leaf) -> dict[int, float]:
        """Seed -> AUC in per cent, of all planned seeds."""
        _, row, name, ratio = leaf[:4]
        target, finding = column(name, ratio), class_of(leaf)
        found = self.cell(row, target)
        if not found.independent:
            raise Undecidable(f"{DEPENDENT}: {row}")
        if finding:
            return self._class_values(row, target, finding, found.n_planned)
        if not found.complete:
            raise Missing("; ".join(found.reasons) or f"only {found.n} of {found.n_planned} seeds: {row}")
        if found.n_defined < found.n_classes:
            raise Missing(f"mean over {found.n_defined} of {found.n_classes} classes: {row}")
        return {run.seed: run.mean_auc * 100 for run in found.runs}

    def _class_values(self, row: str, target: Target, finding: str, planned: int) -> dict[int, float]:
        values = {}
        for planned_run in self.results.runs(self.method(row), target):
            metric = planned_run.metrics.by_class("test").get(finding)
            if metric is not None and metric.auc is not None:
                values[planned_run.run.seed] = metric.auc * 100
        if len(values) < planned:
            raise Missing(f"{finding} has an AUC in {len(values)} of {planned} seeds: {row}")
        return dict(sorted(values.items()))

    def _p(self, row: str, target: Target) -> float:
        titles = BASELINES if row == "REFERS vs best baseline" else ("LSP (Transformer)",)
        cells = {title: self.cell(title, target) for title in titles}
        winners = best(cells)
        if len([cell for cell in cells.values() if cell.complete]) < len(cells):
            raise Missing("a baseline is not complete")
        self.check_images(("REFERS", *titles), target)
        outcome = compare(self.cell("REFERS", target), cells[winners[0]])
        if isinstance(outcome, Refusal):
            raise Missing(f"no P-value: {outcome.reason}")
        return outcome.p


class Released(_OfResults):
    """The released prediction files: one run each, with the error over test images.

    Figures of one task, whatever their row and label ratio, are measured on the same images: their errors are paired,
    as those in the table of test images are.
    """

    def __init__(self, results: Results) -> None:
        super().__init__(results)
        self._known: dict[tuple[str, str, str], ImageCovariance | Refusal] = {}

    def figure(self, leaf: Leaf) -> Figure:
        """Mean or class AUC with its error; there is no P-value of one run."""
        kind, row, name, ratio = leaf[:4]
        if kind == "p":
            raise Missing("the files hold one run: no t-test over seeds")
        if row.startswith("row "):
            raise Missing("the files hold no ablation")
        target, finding = column(name, ratio), class_of(leaf)
        found = self.cell(row, target)
        method = self.method(row)
        if not any(run.run.key in self.results.predicted for run in self.results.runs(method, target)):
            raise Missing(f"no such files: {row}")
        together = self._covariance(target, finding)
        if (method, target) not in together.places:
            raise Undecidable(f"{DIFFER}: {row}")
        place = together.places[method, target]
        if not together.covariance_MM[place, place] > 0:
            raise Undecidable(f"no spread over test images: {row}")
        mean = float(together.estimate_M[place]) if finding else found.mean
        return Figure(value=mean * 100, se=math.sqrt(together.covariance_MM[place, place]) * 100)

    def error(self, weights: Mapping[Leaf, float]) -> Error:
        """The error over test images of a weighted sum.

        Errors of different tasks are independent. Those of several classes of one task are added up, which is the
        most that they can come to.
        """
        groups: dict[tuple[str, str], dict[str, dict[Leaf, float]]] = {}
        for leaf, weight in weights.items():
            target = column(leaf[2], leaf[3])
            classes = groups.setdefault((target.dataset, target.task), {})
            classes.setdefault(class_of(leaf), {})[leaf] = weight
        return combined(Error(se=sum(map(self._paired, classes.values()))) for classes in groups.values())

    def _paired(self, weights: Mapping[Leaf, float]) -> float:
        one = next(iter(weights))
        together = self._covariance(column(one[2], one[3]), class_of(one))
        weights_M = np.zeros(len(together.covariance_MM))
        for leaf, weight in weights.items():
            weights_M[together.places[self.method(leaf[1]), column(leaf[2], leaf[3])]] += weight
        variance = float(weights_M @ together.covariance_MM @ weights_M)
        # Rounding leaves a little between methods that order the images alike.
        if variance <= 1e-12 * float(weights_M**2 @ np.diag(together.covariance_MM)):
            raise Undecidable("zero variance of the difference over test images")
        return math.sqrt(variance) * 100

    def _covariance(self, target: Target, finding: str) -> ImageCovariance:
        where = (target.dataset, target.task, finding)
        if where not in self._known:
            self._known[where] = image_covariance(self.results, *where)
        found = self._known[where]
        if isinstance(found, Refusal):
            raise Undecidable(f"no interval over test images: {found.reason}")
        return found
