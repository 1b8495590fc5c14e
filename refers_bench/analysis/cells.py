"""Defines one cell of a table: its row and column, its seed, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from refers_bench.analysis.statistics.auc import mean_over_classes
from refers_bench.analysis.statistics.seeds import SeedRun


@dataclass(frozen=True, kw_only=True, order=True)
class Target:
    """A table column: what is fine-tuned on and tested."""

    dataset: str
    task: str
    label_ratio: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassMetric:
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


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassMetrics:
    """The metrics of one result, by column: a hundred thousand results as objects of their own would not fit a laptop.

    Attributes:
        names, splits, aucs, n_pos, n_neg, undefined: one value per class and split, see `ClassMetric`.
    """

    names: tuple[str, ...]
    splits: tuple[str, ...]
    aucs: tuple[float | None, ...]
    n_pos: tuple[int, ...]
    n_neg: tuple[int, ...]
    undefined: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, place: int) -> ClassMetric:
        return ClassMetric(
            name=self.names[place],
            split=self.splits[place],
            auc=self.aucs[place],
            n_pos=self.n_pos[place],
            n_neg=self.n_neg[place],
            undefined=self.undefined[place],
        )

    def __iter__(self) -> Iterator[ClassMetric]:
        return map(self.__getitem__, range(len(self.names)))

    def by_class(self, split: str) -> dict[str, ClassMetric]:
        """Class name -> its metric on one split; of a name that repeats, the last."""
        return {self.names[place]: self[place] for place, found in enumerate(self.splits) if found == split}

    @classmethod
    def of(cls, metrics: Iterable[ClassMetric]) -> ClassMetrics:
        """Single metrics as columns."""
        rows = tuple(metrics)
        return cls(
            names=tuple(one.name for one in rows),
            splits=tuple(one.split for one in rows),
            aucs=tuple(one.auc for one in rows),
            n_pos=tuple(one.n_pos for one in rows),
            n_neg=tuple(one.n_neg for one in rows),
            undefined=tuple(one.undefined for one in rows),
        )


NO_METRICS = ClassMetrics.of(())


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

    @property
    def validation_auc(self) -> float:
        """Mean over the classes that have an AUC on the validation images; NaN where none has."""
        return mean_over_classes(metric.auc for metric in self.metrics if metric.split == "val")

    @property
    def name(self) -> str:
        """Human name: "refers.covid19_idc.viral_vs_bacterial.100%.s0"."""
        where = self.target
        return f"{self.method}.{where.dataset}.{where.task}.{where.label_ratio * 100:g}%.s{self.run.seed}"
