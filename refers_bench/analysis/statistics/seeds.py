"""Summarises the seeds of one table cell: mean, standard deviation and n, over complete runs only."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from refers_bench.evaluations import TEST
from refers_bench.store.plan import CROSSED

#: State of one seed of one cell.
DONE, FAILED, UNAVAILABLE, MISSING = "done", "failed", "unavailable", "missing"
STATES = (DONE, FAILED, UNAVAILABLE, MISSING)
#: Why there is no test or interval over runs that are not `SeedSummary.independent`.
DEPENDENT = "seeds are crossed: runs share label subsets, initialisations or data orders"


@dataclass(frozen=True, kw_only=True)
class SeedRun:
    """One fine-tune result: method x target x label ratio x seed.

    Attributes:
        seed: the manifest's seed.
        key: content key of the fine-tune job; '' when the job cannot be planned.
        state: one of `STATES`.
        reason: why it is not done; '' when it is.
        mean_auc: mean over the defined classes of the test AUC, in [0, 1]; NaN unless done and some class is defined.
        defined: names of the classes that have an AUC.
        n_classes: classes of the task.
        selected_on: see `refers_bench.store.plan.Cell`.
        crossed: what the seed stands for, see `refers_bench.store.plan.Cell`.
    """

    seed: int
    key: str
    state: str
    reason: str = ""
    mean_auc: float = math.nan
    defined: tuple[str, ...] = ()
    n_classes: int = 0
    selected_on: str = ""
    crossed: tuple[int, ...] = ()

    @property
    def title(self) -> str:
        """The seed in words: "seed 7"; of crossed ones "seed 7 (label subset 2, initialisation 0, data order 1)"."""
        levels = ", ".join(f"{words} {level}" for words, level in zip(CROSSED.values(), self.crossed, strict=False))
        return f"seed {self.seed}" + (f" ({levels})" if levels else "")

    @property
    def counts(self) -> bool:
        """Whether there is a figure to put into a mean."""
        return self.state == DONE and not math.isnan(self.mean_auc)


@dataclass(frozen=True, kw_only=True)
class SeedSummary:
    """All seeds of one table cell.

    Attributes:
        runs: one per planned seed, in the order of the seeds.
        mean: mean of the finished seeds' mean AUC, in [0, 1]; NaN when none has one. It is a mean over
            `n` of `n_planned` seeds and must be shown so when they differ.
        sd: standard deviation over seeds with n - 1 in the denominator; NaN for fewer than two.
        n: seeds with a figure.
        n_planned: seeds the manifest asks for.
        n_defined: classes with an AUC in every counted seed.
        n_classes: classes of the task; 0 when unknown.
    """

    runs: tuple[SeedRun, ...]
    mean: float
    sd: float
    n: int
    n_planned: int
    n_defined: int
    n_classes: int

    @cached_property
    def complete(self) -> bool:
        """Every planned seed has a figure, and all of them over the same classes."""
        return 0 < self.n == self.n_planned and self.same_classes

    @cached_property
    def same_classes(self) -> bool:
        """Whether all counted seeds average over the same classes; otherwise their means do not compare."""
        return len({run.defined for run in self.runs if run.counts}) <= 1

    @property
    def selected_on_test(self) -> bool:
        """Whether the checkpoint of any counted seed was chosen on the images that its figure is measured on."""
        return any(run.counts and run.selected_on == TEST for run in self.runs)

    @property
    def independent(self) -> bool:
        """Whether each run has draws of its own: crossed ones share label subsets, initialisations or data orders."""
        return sum(len(set(levels)) > 1 for levels in zip(*(run.crossed for run in self.runs), strict=True)) < 2

    @property
    def values(self) -> tuple[float, ...]:
        """Mean AUC of each counted seed."""
        return tuple(run.mean_auc for run in self.runs if run.counts)

    @property
    def defined(self) -> frozenset[str]:
        """Classes defined in every counted seed."""
        counted = [frozenset(run.defined) for run in self.runs if run.counts]
        return frozenset.intersection(*counted) if counted else frozenset()

    @property
    def state(self) -> str:
        """`DONE` when any seed counts; else the worst state of a seed."""
        if self.n:
            return DONE
        for state in (FAILED, UNAVAILABLE):
            if any(run.state == state for run in self.runs):
                return state
        return MISSING

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why seeds are not there, each reason once, in the order of the seeds."""
        return tuple(dict.fromkeys(run.reason for run in self.runs if not run.counts and run.reason))


def mean_sd(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and standard deviation with n - 1; NaN where they do not exist (no value; fewer than two).

    Example:
        >>> mean_sd([0.5, 0.7])[0]
        0.6
    """
    if not values:
        return math.nan, math.nan
    if len(values) > 1 and min(values) == max(values):
        # Rounding must not make a spread of values that have none.
        return values[0], 0.0
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return mean, math.nan
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def without_spread(values: Sequence[float]) -> bool:
    """Whether values differ by rounding alone, which may leave 1e-17 between values that are the same."""
    return mean_sd(values)[1] <= 1e-12 * max(1.0, *map(abs, values))


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % interval of the mean by the t distribution with n - 1 degrees of freedom.

    Raises:
        ValueError: fewer than two values.
    """
    from scipy.special import stdtrit

    if len(values) < 2:
        raise ValueError(f"an interval over seeds needs two of them, got {len(values)}")
    mean, sd = mean_sd(values)
    half = float(stdtrit(len(values) - 1, 0.975)) * sd / math.sqrt(len(values))
    return mean - half, mean + half


def summarise(runs: Sequence[SeedRun]) -> SeedSummary:
    """Summary of the seeds of one table cell."""
    ordered = tuple(sorted(runs, key=lambda run: run.seed))
    values = [run.mean_auc for run in ordered if run.counts]
    mean, sd = mean_sd(values)
    counted = [frozenset(run.defined) for run in ordered if run.counts]
    return SeedSummary(
        runs=ordered,
        mean=mean,
        sd=sd,
        n=len(values),
        n_planned=len(ordered),
        n_defined=len(frozenset.intersection(*counted)) if counted else 0,
        n_classes=max((run.n_classes for run in ordered), default=0),
    )
