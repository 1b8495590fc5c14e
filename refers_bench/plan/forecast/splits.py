"""Counts the images that a job trains on, validates on and predicts, as far as that is known before it runs."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from refers_bench import plugins
from refers_bench.errors import UserError
from refers_bench.plan.forecast.shapes import method_of
from refers_bench.plan.lock import Plan
from refers_bench.store.plan import reader_of, source_parts, source_task
from refers_bench.store.results import ResultStore

#: Shares of the splits where no index was read. Source: paper, Methods (7 : 1 : 2).
ASSUMED: Mapping[str, float] = {"train": 0.7, "val": 0.1, "test": 0.2}
SPLITS = tuple(ASSUMED)
WITH_TASK, OF_TASK = "refers_bench.data.index:with_task", "refers_bench.data.index:rows_of_task"


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Images (or studies, for methods that look at studies) of each split; whether they were counted or assumed."""

    train: int
    val: int
    test: int
    counted: bool


def preparations(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """Keys of the preparations whose images a job reads: its target's, or those of its sources.

    Args:
        spec: of a job of any kind but "prepare" and "noop".
    """
    if "prepare" in spec:
        return (spec["prepare"],)
    return tuple(part["prepare"] for part in source_parts(spec))


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
        by, task = self._looks_at(spec)
        own = reader_of(spec) if "dataset" in spec else ""
        parts = [self._known(data, by=by, task=task, dataset=own) for data in preparations(spec)]
        sums = {split: sum(getattr(part, split) for part in parts) for split in SPLITS}
        counts = Counts(**sums, counted=all(part.counted for part in parts))
        if "discover" in spec and kind == "pretrain":  # crops: each word has a few in each patient
            method, params = method_of(spec)
            words = method.discovery(params) if method.discovery else {}
            crops = {split: 3 * words["words"] * words[f"{name}patients"] for split, name in _PATIENTS.items()}
            return Counts(train=crops["train"], val=crops["val"] if counts.val else 0, test=0, counted=counts.counted)
        return counts

    def _looks_at(self, spec: Mapping[str, Any]) -> tuple[str, str]:
        """Column that counts examples, and the task whose labels they must have ('' for none, '-' for a report)."""
        if spec["kind"] in ("finetune", "frozen"):
            return "image_id", spec["task"]
        if spec["kind"] == "discover":
            return "patient_id", ""
        method, params = method_of(spec)
        if "reports" in method.needs:
            return "study_id", "-"
        task = source_task(spec) if "labels" in method.needs else ""
        return "study_id" if method.views(params) > 1 else "image_id", task

    def _known(self, data: str, *, by: str, task: str, dataset: str) -> Counts:
        marks = (data, by, task)
        if marks not in self.known:
            self.known[marks] = self._counted(data, by=by, task=task, dataset=dataset)
        return self.known[marks]

    def _counted(self, data: str, *, by: str, task: str, dataset: str) -> Counts:
        index = self._index(data)
        if index is None:
            images = self.plan.images.get(data, 0)
            return Counts(**{split: round(share * images) for split, share in ASSUMED.items()}, counted=False)
        if task == "-":
            index = index[index["report"].notna()]
        elif task:
            index = plugins.resolve(WITH_TASK)(index, dataset, task) if dataset else index
            index = plugins.resolve(OF_TASK)(index, task)
        counts = {split: int(index.loc[index["split"] == split, by].nunique()) for split in SPLITS}
        return Counts(**counts, counted=True)

    def _index(self, data: str) -> Any:
        if data not in self.indices:
            import pandas as pd

            self.indices[data] = None
            # Of an index that is damaged the images are estimated, as of one that is not there; its users report it.
            with contextlib.suppress(UserError, OSError, ValueError):
                self.indices[data] = pd.read_parquet(self.store.file(data, "index.parquet"))
        return self.indices[data]


_PATIENTS = {"train": "", "val": "val_"}
