"""What is one cell of a table: which row and column, which seed, what came of it?"""

from __future__ import annotations

from dataclasses import dataclass

from refers_bench.analysis.seeds import SeedRun


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


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """One cell of the lock (method x target x seed) with what the store holds of it."""

    method: str
    label: str
    target: Target
    synthetic: bool
    footnotes: tuple[str, ...]
    run: SeedRun
    metrics: tuple[ClassMetric, ...] = ()
    best_of: str = ""

    @property
    def validation_auc(self) -> float:
        """Mean over the classes that have an AUC on the validation images; NaN where none has."""
        aucs = [metric.auc for metric in self.metrics if metric.split == "val" and metric.auc is not None]
        return sum(aucs) / len(aucs) if aucs else float("nan")

    @property
    def name(self) -> str:
        """Human name: "refers.covid19_idc.viral_vs_bacterial.100%.s0"."""
        where = self.target
        return f"{self.method}.{where.dataset}.{where.task}.{where.label_ratio * 100:g}%.s{self.run.seed}"
