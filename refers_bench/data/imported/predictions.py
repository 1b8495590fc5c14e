"""Holds imported predictions, whatever files they were read from."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from refers_bench.evaluations import UNKNOWN
from refers_bench.store.plan import cell_name


@dataclass(frozen=True, kw_only=True, eq=False)
class ImportedRun:
    """Predictions of one method on one target with one seed.

    Attributes:
        method: row name.
        label: row title.
        dataset: target id, one of ours or any other.
        task: of the target.
        label_ratio: share of the training images that the method was fine-tuned on, in (0, 1].
        seed: 0 where the source names none.
        classes: K names.
        image_ids: N ids, in the order of the source.
        patient_ids: N ids; '' where unknown.
        labels_NK: int8, 1, 0 or -1 for unknown.
        scores_NK: float32, higher means more likely positive; NaN where the source has NaN.
        merged: scores that differ in the source and are one float32, summed over the classes.
        files: path below the source -> SHA-256.
        footnotes: shown with the row in every table.
        selected_on: what the checkpoint was chosen on, one of `refers_bench.evaluations.SELECTED_ON`.
        crossed: what the seed stands for, see `refers_bench.store.plan.Cell`; () where the source names none.
    """

    method: str
    label: str
    dataset: str
    task: str
    label_ratio: float
    seed: int
    classes: tuple[str, ...]
    image_ids: tuple[str, ...]
    patient_ids: tuple[str, ...]
    labels_NK: npt.NDArray[np.int8]
    scores_NK: npt.NDArray[np.float32]
    merged: int = 0
    files: Mapping[str, str] = field(default_factory=dict)
    footnotes: tuple[str, ...] = ()
    selected_on: str = UNKNOWN
    crossed: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """As cells are called: "refers.nih_chestxray14.findings.1%.s0"."""
        return cell_name(self.method, self.dataset, self.task, self.label_ratio, self.seed)

    @property
    def digest(self) -> str:
        """SHA-256 of images, patients, labels and scores: what decides every figure."""
        found = hashlib.sha256()
        for texts in (self.classes, self.image_ids, self.patient_ids):
            found.update("\0".join(texts).encode() + b"\1")
        found.update(np.ascontiguousarray(self.labels_NK).tobytes())
        found.update(np.ascontiguousarray(self.scores_NK).tobytes())
        return found.hexdigest()


def as_float32(scores_NK: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float32], int]:
    """Scores as they are stored, and how many that differed within a class became equal, over all classes."""
    stored_NK = scores_NK.astype(np.float32)
    pairs = zip(scores_NK.T, stored_NK.T, strict=True)
    return stored_NK, sum(len(np.unique(given)) - len(np.unique(stored)) for given, stored in pairs)
