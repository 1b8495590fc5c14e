"""Counts the images that a job trains on, validates on and predicts, as far as that is known before it runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refers_bench.plan.forecast.shapes import method_of
from refers_bench.plan.lock import Plan
from refers_bench.store.results import ResultStore

#: Shares of the splits where no index was read. Source: paper, Methods (7 : 1 : 2).
ASSUMED: Mapping[str, float] = {"train": 0.7, "val": 0.1, "test": 0.2}
SPLITS = tuple(ASSUMED)


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Images (or studies, for methods that look at studies) of each split; whether they were counted or assumed."""

    train: int
    val: int
    test: int
    counted: bool


class Splits:
    """Counts of a plan's data, read once from indices that are prepared and assumed elsewhere.

    Args:
        plan: knows how many images a preparation has.
        store: holds the indices of finished preparations.
    """

    def __init__(self, plan: Plan, store: ResultStore) -> None:
        self.plan, self.store = plan, store
        self.indices: dict[str, Any] = {}
        self.known: dict[tuple[str, ...], Counts] = {}

    def of(self, spec: Mapping[str, Any]) -> Counts:
        """Counts of what a job's updates and evaluations look at.

        Args:
            spec: of a job of any kind but "noop".
        """
        kind = spec["kind"]
        if kind == "prepare":
            raise ValueError("a preparation has images, and no splits")
        data = spec["prepare"] if kind == "finetune" else spec["source"]["prepare"]
        by, task = self._looks_at(spec)
        marks = (data, by, task)
        if marks not in self.known:
            self.known[marks] = self._counted(data, by=by, task=task)
        counts = self.known[marks]
        if "discover" in spec and kind == "pretrain":  # crops: each word has a few in each patient
            method, params = method_of(spec)
            words = method.discovery(params) if method.discovery else {}
            crops = {split: 3 * words["words"] * words[f"{name}patients"] for split, name in _PATIENTS.items()}
            return Counts(train=crops["train"], val=crops["val"] if counts.val else 0, test=0, counted=counts.counted)
        return counts

    def _looks_at(self, spec: Mapping[str, Any]) -> tuple[str, str]:
        """Column that counts examples, and the task whose labels they must have ('' for none, '-' for a report)."""
        if spec["kind"] == "finetune":
            return "image_id", spec["task"]
        if spec["kind"] == "discover":
            return "patient_id", ""
        method, params = method_of(spec)
        if "reports" in method.needs:
            return "study_id", "-"
        task = spec["source"]["task"] if "labels" in method.needs else ""
        return "study_id" if method.views(params) > 1 else "image_id", task

    def _counted(self, data: str, *, by: str, task: str) -> Counts:
        index = self._index(data)
        if index is None:
            images = self.plan.images.get(data, 0)
            return Counts(**{split: round(share * images) for split, share in ASSUMED.items()}, counted=False)
        if task == "-":
            index = index[index["report"].notna()]
        elif task:
            columns = [name for name in index.columns if name.startswith(f"{task}:")]
            index = index[index[columns].notna().any(axis=1)]
        counts = {split: int(index.loc[index["split"] == split, by].nunique()) for split in SPLITS}
        return Counts(**counts, counted=True)

    def _index(self, data: str) -> Any:
        if data not in self.indices:
            import pandas as pd

            path: Path = self.store.folder(data) / "index.parquet"
            self.indices[data] = pd.read_parquet(path) if path.is_file() else None
        return self.indices[data]


_PATIENTS = {"train": "", "val": "val_"}
