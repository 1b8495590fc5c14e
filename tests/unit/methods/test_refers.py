"""REFERS' parameters: tasks without order or repetition, and what a table must say of each ablation."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from refers_bench.methods.refers import Params, _pooled, footnotes

TASKS = ("report_generation", "study_report_consistency")


def test_tasks_have_no_order_and_stand_once() -> None:
    assert Params(tasks=TASKS) == Params(tasks=TASKS[::-1]) and Params(tasks=TASKS[::-1]).tasks == TASKS
    for wrong in ((TASKS[0],) * 2, (*TASKS, TASKS[0])):
        with pytest.raises(ValidationError, match="a task is named twice"):
            Params(tasks=wrong)
    with pytest.raises(ValidationError, match="tasks"):
        Params(tasks=())


FUSION = "views joined without fusion weights; the paper's row 3 pairs each radiograph alone with the report"
ALONE = "no view fusion: each radiograph alone is paired with its study's report"
PLAIN = "plain ViT without recurrent concatenation, pre-trained and fine-tuned by its"


@pytest.mark.parametrize(
    ("params", "notes"),
    [
        ({}, ()),
        ({"views": 3}, ()),
        ({"views": 2}, ("2 views per study",)),
        ({"views": 1}, ("1 views per study",)),
        ({"view_fusion": False}, (FUSION,)),
        ({"view_fusion": False, "views": 2}, (FUSION, "2 views per study")),
        ({"view_fusion": False, "views": 1}, (ALONE,)),
        ({"recurrent_concatenation": False}, (f"{PLAIN} aggregation embedding",)),
        ({"recurrent_concatenation": False, "plain_feature": "patches"}, (f"{PLAIN} mean patch",)),
        ({"tasks": TASKS[:1], "report_pairing": "shuffled"}, (
            "control: reports shuffled among studies before pre-training", "pre-trained on report generation only",
        )),
        ({"tasks": TASKS[1:]}, ("pre-trained on study report consistency only",)),
        ({"backbone": "resnet101", "recurrent_concatenation": False}, (
            "ResNet-101 in place of the radiograph transformer, without recurrent concatenation",
        )),
    ],
)  # fmt: skip
def test_what_a_table_says(params: dict[str, Any], notes: tuple[str, ...]) -> None:
    assert footnotes(Params(**params)) == notes


def test_what_is_contrasted_of_a_view() -> None:
    """The paper's fused patches, the released code's aggregation embedding; of a plain ViT what fine-tuning reads out."""
    for reading, patches in (("paper", True), ("official_code", False)):
        for params in (Params(), Params(backbone="resnet101", recurrent_concatenation=False)):
            assert _pooled(params, {"reading": reading}, SimpleNamespace(averages=not patches)) is patches
        for averages in (True, False):
            plain = Params(recurrent_concatenation=False)
            assert _pooled(plain, {"reading": reading}, SimpleNamespace(averages=averages)) is averages
