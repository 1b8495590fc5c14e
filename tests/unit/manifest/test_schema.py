"""How a manifest sets the way jobs run: retries by category beside their defaults, micro-batches."""

from __future__ import annotations

from typing import get_args

import pytest
from pydantic import ValidationError

from refers_bench.errors import CATEGORIES
from refers_bench.manifest.schema import RETRIES, ExecutionPart


def test_retries_that_are_not_named_keep_their_defaults() -> None:
    assert ExecutionPart().retries == RETRIES
    assert ExecutionPart.model_validate({"retries": {"crash": 0, "nan": 2}}).retries == {
        **RETRIES, "crash": 0, "nan": 2
    }  # fmt: skip


def test_every_failure_may_have_retries_but_preempted_jobs_which_always_go_on() -> None:
    annotation = ExecutionPart.model_fields["retries"].annotation
    assert set(get_args(get_args(annotation)[0])) == set(CATEGORIES) - {"ok", "preempted", "cancelled"}
    with pytest.raises(ValidationError, match="preempted"):
        ExecutionPart.model_validate({"retries": {"preempted": 1}})


@pytest.mark.parametrize("parts", [0, -1, 1.5, "2", 5000])
def test_parts_of_a_batch_are_a_whole_number(parts: object) -> None:
    assert ExecutionPart.model_validate({"accumulate": 2}).accumulate == 2
    with pytest.raises(ValidationError, match="accumulate"):
        ExecutionPart.model_validate({"accumulate": parts})
