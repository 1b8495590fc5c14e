"""Names the ways in which an encoder is evaluated on a target, a checkpoint is chosen, and rows are tested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
#: Those that train the whole network.
TRAINED: Sequence[Evaluation] = ("finetune", "probe_then_finetune")
#: Images that a figure's checkpoint or settings were chosen on; `NOT_CHOSEN` where nothing was to be chosen.
VAL, TEST, NOT_CHOSEN, UNKNOWN = "val", "test", "none", "unknown"
SELECTED_ON = (VAL, TEST, NOT_CHOSEN, UNKNOWN)
#: What stands beside a figure whose checkpoint was chosen on the images that it is measured on, and why.
CHOSEN_ON_TEST = "chosen on test"
WHY_NOT_TEST = "a checkpoint chosen on the test images gives figures on them that are too high"

#: Tests over seeds, and corrections of their P-values, by which a manifest names them.
Test = Literal["student", "welch"]
Correction = Literal["holm", "none"]
#: P-values below it are marked and counted.
ALPHA = 0.05


def suffix(evaluation: str, folds: int) -> str:
    """What sets a table column apart from fine-tuning on the dataset's own split: ", linear probe, 5 folds".

    Args:
        evaluation: name.
        folds: of a cross-validation; 0 for the dataset's own split.
    """
    texts = [TITLES[evaluation]] if evaluation != DEFAULT else []
    return "".join(f", {text}" for text in (*texts, *([f"{folds} folds"] if folds else [])))
