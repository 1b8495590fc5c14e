"""Names the ways in which an encoder is evaluated on a target, with their titles in tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Evaluation = Literal["finetune", "linear_probe", "knn", "attentive_probe", "probe_then_finetune"]
#: What a manifest gets that says nothing.
DEFAULT = "finetune"
#: Evaluation -> its title; the default needs none.
TITLES: Mapping[str, str] = {
    "finetune": "fine-tuning",
    "linear_probe": "linear probe",
    "knn": "k nearest neighbours",
    "attentive_probe": "attentive probe",
    "probe_then_finetune": "linear probe, then fine-tuning",
}


def suffix(evaluation: str, folds: int) -> str:
    """What sets a table column apart from fine-tuning on the dataset's own split: ", linear probe, 5 folds".

    Args:
        evaluation: name.
        folds: of a cross-validation; 0 for the dataset's own split.
    """
    texts = [TITLES[evaluation]] if evaluation != DEFAULT else []
    return "".join(f", {text}" for text in (*texts, *([f"{folds} folds"] if folds else [])))
