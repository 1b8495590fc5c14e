"""Which figures do the results, and the released prediction files, hold for a claim?"""

from __future__ import annotations

import math
from collections.abc import Iterable

from refers_bench.analysis.cells import Target
from refers_bench.analysis.claims import Evidence, Figure, Missing
from refers_bench.analysis.expression import Leaf
from refers_bench.analysis.image_statistics import image_statistics
from refers_bench.analysis.published import BASELINES, TARGETS, row_of
from refers_bench.analysis.results import Results
from refers_bench.analysis.seeds import SeedSummary
from refers_bench.analysis.significance import Refusal, best, compare
from refers_bench.analysis.test_lists import DIFFER, same_images


class Reproduced(Evidence):
    """Our seeds: the mean, with the standard error over seeds."""

    def __init__(self, results: Results) -> None:
        self.results = results

    def figure(self, leaf: Leaf) -> Figure:
        """Mean AUC with its error, or the P-value of our own test."""
        kind, row, name, ratio = leaf
        target = _target(name, ratio)
        if target in self.results.synthetic:
            raise Missing("synthetic data")
        if kind == "p":
            return Figure(value=self._p(row, target))
        found = _cell(self.results, row, target)
        if not found.complete:
            raise Missing("; ".join(found.reasons) or f"only {found.n} of {found.n_planned} seeds: {row}")
        if found.n_defined < found.n_classes:
            raise Missing(f"mean over {found.n_defined} of {found.n_classes} classes: {row}")
        if found.n < 2:
            raise Missing(f"one seed, no spread: {row}")
        if not found.sd > 0:
            raise Missing(f"zero variance over seeds: {row}")
        _check_images(self.results, (row, "REFERS"), target)
        return Figure(value=found.mean * 100, se=found.sd * 100 / math.sqrt(found.n), df=found.n - 1)

    def _p(self, row: str, target: Target) -> float:
        titles = BASELINES if row == "REFERS vs best baseline" else ("LSP (Transformer)",)
        cells = {title: _cell(self.results, title, target) for title in titles}
        winners = best(cells)
        if len([cell for cell in cells.values() if cell.complete]) < len(cells):
            raise Missing("a baseline is not complete")
        _check_images(self.results, ("REFERS", *titles), target)
        outcome = compare(_cell(self.results, "REFERS", target), cells[winners[0]])
        if isinstance(outcome, Refusal):
            raise Missing(f"no P-value: {outcome.reason}")
        return outcome.p


class Released(Evidence):
    """The released prediction files: one run each, with the bootstrap error over test images."""

    def __init__(self, results: Results) -> None:
        self.results = results

    def figure(self, leaf: Leaf) -> Figure:
        """Mean AUC with its error; there is no P-value of one run."""
        kind, row, name, ratio = leaf
        if kind == "p":
            raise Missing("the files hold one run: no t-test over seeds")
        target = _target(name, ratio)
        if row.startswith("row "):
            raise Missing("the files hold no ablation")
        found = _cell(self.results, row, target)
        images = image_statistics(self.results, target)
        method = row_of(row, self.results.methods)
        if not found.n or images is None or method is None or method not in images.means:
            raise Missing(f"no such files: {row}")
        if not images.means[method].se > 0:
            raise Missing(f"no spread over test images: {row}")
        return Figure(value=found.mean * 100, se=images.means[method].se * 100)


def _target(name: str, ratio: float) -> Target:
    dataset, task = TARGETS[name]
    return Target(dataset=dataset, task=task, label_ratio=ratio)


def _check_images(results: Results, rows: Iterable[str], target: Target) -> None:
    """`Missing` where some of the rows were tested on other images."""
    methods = [method for row in rows if (method := row_of(row, results.methods)) is not None]
    if not same_images(results, methods, target):
        raise Missing(DIFFER)


def _cell(results: Results, row: str, target: Target) -> SeedSummary:
    method = row_of(row, results.methods)
    found = results.cells.get((method, target)) if method is not None else None
    if found is None:
        raise Missing(f"not there: {row}, {target.dataset} {target.task} at {target.label_ratio * 100:g} %")
    return found
