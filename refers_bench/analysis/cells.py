"""Defines one cell of a table: its row and column, its seed, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import NamedTuple

from refers_bench.analysis.statistics.auc import mean_over_classes
from refers_bench.analysis.statistics.seeds import DONE, SeedRun
from refers_bench.evaluations import DEFAULT, suffix
from refers_bench.store.plan import Cell, cell_name, column_name


@dataclass(frozen=True, kw_only=True, order=True)
class Target:
    """A table column: what is trained on and tested, and how; see `refers_bench.store.plan.Cell`."""

    dataset: str
    task: str
    label_ratio: float
    evaluation: str = DEFAULT
    folds: int = 0

    @property
    def suffix(self) -> str:
        """What sets it apart from fine-tuning on the dataset's own split: ", linear probe, 5 folds"; '' for nothing."""
        return suffix(self.evaluation, self.folds)

    @property
    def name(self) -> str:
        """As its cells are called: "nih_chestxray14.findings.10%.linear_probe"."""
        return column_name(self.dataset, self.task, self.label_ratio, evaluation=self.evaluation, folds=self.folds)


#: Fields of a cell that name its column.
TARGET = tuple(one.name for one in fields(Target))


class ClassMetric(NamedTuple):
    """AUC of one class in one fine-tune result.

    Attributes:
        name: class name.
        split: "test" or "val".
        auc: in [0, 1], or None with the reason in `undefined`.
    """

    name: str
    split: str
    auc: float | None
    n_pos: int
    n_neg: int
    undefined: str


@dataclass(frozen=True, slots=True)
class ClassMetrics:
    """The metrics of one result, by column: a hundred thousand results as objects of their own would not fit a laptop.

    Attributes:
        names, splits, aucs, n_pos, n_neg, undefined: one value per class and split, see `ClassMetric`.
    """

    names: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    aucs: tuple[float | None, ...] = ()
    n_pos: tuple[int, ...] = ()
    n_neg: tuple[int, ...] = ()
    undefined: tuple[str, ...] = ()

    @classmethod
    def of(cls, metrics: Iterable[ClassMetric]) -> ClassMetrics:
        """Single metrics as columns."""
        return cls(*zip(*metrics, strict=True))

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[ClassMetric]:
        return map(ClassMetric, self.names, self.splits, self.aucs, self.n_pos, self.n_neg, self.undefined)

    def by_class(self, split: str) -> dict[str, ClassMetric]:
        """Class name -> its metric on one split; of a name that repeats, the last."""
        return {one.name: one for one in self if one.split == split}

    def mean(self, split: str) -> float:
        """Mean AUC over the classes that have one on a split; NaN where none has."""
        return mean_over_classes(auc for auc, found in zip(self.aucs, self.splits, strict=True) if found == split)

    def defined(self, split: str) -> tuple[str, ...]:
        """Names of the classes that have an AUC on a split."""
        columns = zip(self.names, self.splits, self.aucs, strict=True)
        return tuple(name for name, found, auc in columns if found == split and auc is not None)


NO_METRICS = ClassMetrics()


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """One cell of the lock (method x target x seed) with what the store holds of it."""

    method: str
    label: str
    target: Target
    synthetic: bool
    footnotes: tuple[str, ...]
    run: SeedRun
    metrics: ClassMetrics = NO_METRICS
    best_of: str = ""
    floor: bool = False
    leaks: tuple[str, ...] = ()
    candidate: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, cell: Cell, metrics: ClassMetrics, *, state: str = DONE, reason: str = "", n_classes: int = 0
    ) -> PlannedRun:
        """A cell of a plan with its metrics; `n_classes` counts where it has none."""
        run = SeedRun(
            seed=cell.seed,
            key=cell.key,
            state=state,
            reason=reason,
            mean_auc=metrics.mean("test"),
            defined=metrics.defined("test"),
            n_classes=metrics.splits.count("test") or n_classes,
            selected_on=cell.selected_on,
            crossed=cell.crossed,
        )
        return cls(
            method=cell.method,
            label=cell.label,
            target=Target(**{name: getattr(cell, name) for name in TARGET}),
            synthetic=cell.synthetic,
            footnotes=cell.footnotes,
            run=run,
            metrics=metrics,
            best_of=cell.best_of,
            floor=cell.floor,
            leaks=cell.leaks,
            candidate=cell.candidate,
        )

    @property
    def validation_auc(self) -> float:
        """Mean over the classes that have an AUC on the validation images; NaN where none has."""
        return self.metrics.mean("val")

    @property
    def name(self) -> str:
        """Human name, whichever candidate of tuning stands there: "refers.covid19_idc.viral_vs_bacterial.100%.s0"."""
        where = self.target
        own = (self.method, where.dataset, where.task, where.label_ratio, self.run.seed)
        return cell_name(*own, evaluation=where.evaluation, folds=where.folds)
