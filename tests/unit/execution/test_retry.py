"""Which failures are tried again, and does out of memory halve what is processed at once until one example is left?"""

from __future__ import annotations

from typing import Any

import pytest

from refers_bench import plugins
from refers_bench.execution.retry import most_parts, next_attempt, refusal
from refers_bench.plugins import Method

RETRIES = {"crash": 1, "lost": 3, "cuda_oom": 9, "host_oom": 9}


def finetuning(batch_size: int = 128, **section: Any) -> dict[str, Any]:
    return {"kind": "finetune", "method": "scratch", "finetune": {"batch_size": batch_size, **section}}


def pretraining(method: str = "refers", batch_size: int = 32, **section: Any) -> dict[str, Any]:
    return {"kind": "pretrain", "method": method, "pretrain": {"batch_size": batch_size, **section}}


PREPARE = {"kind": "prepare", "dataset": "phantom"}


@pytest.mark.parametrize("category", ["cuda_oom", "host_oom"])
@pytest.mark.parametrize(("batch", "parts"), [(128, [2, 4, 8, 16, 32, 64, 128]), (6, [2, 4, 6]), (1, [])])
def test_out_of_memory_doubles_the_parts_up_to_the_batch(category: str, batch: int, parts: list[int]) -> None:
    found, accumulate, number = [], 1, 1
    while following := next_attempt(finetuning(batch), category, number=number, accumulate=accumulate, retries=RETRIES):
        found.append(following)
        accumulate, number = following, number + 1
    assert found == parts


@pytest.mark.parametrize(
    ("category", "attempts"), [("crash", 1), ("lost", 3), ("nan", 0), ("timeout", 0), ("data_error", 0)]
)
def test_everything_else_is_tried_again_as_it_was(category: str, attempts: int) -> None:
    for number in range(1, 6):
        following = next_attempt(finetuning(), category, number=number, accumulate=4, retries=RETRIES)
        assert following == (4 if number <= attempts else None)


def test_out_of_memory_is_tried_as_often_as_the_manifest_says() -> None:
    def after(number: int, retries: dict[str, int]) -> int | None:
        return next_attempt(finetuning(), "cuda_oom", number=number, accumulate=1, retries=retries)

    assert after(1, {"cuda_oom": 0}) is None
    assert after(1, {}) is None
    assert after(2, {"cuda_oom": 2}) == 2
    assert after(3, {"cuda_oom": 2}) is None


def test_a_batch_that_has_fitted_is_tried_once_more_as_it_was() -> None:
    spec = finetuning()
    assert next_attempt(spec, "host_oom", number=1, accumulate=1, retries=RETRIES, fitted=True) == 1
    assert next_attempt(spec, "host_oom", number=2, accumulate=1, retries=RETRIES, fitted=True) == 2
    assert next_attempt(PREPARE, "host_oom", number=1, accumulate=1, retries=RETRIES) is None


def test_parts_are_of_what_one_process_has_of_a_batch() -> None:
    assert most_parts(finetuning(128, accumulate=4)) == 32
    assert most_parts(pretraining(batch_size=32, processes=4)) == 8
    assert most_parts(PREPARE) == most_parts({}) == most_parts({"kind": "discover", "discovery": {}}) == 1


def test_a_method_whose_losses_mix_examples_stays_out_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    method = Method(label="x", source="x", impl=1, Params=object, build_encoder=print)  # type: ignore[arg-type]
    assert method.parts == "", "a method that says nothing is taken to be able to split its batches"
    monkeypatch.setattr(plugins, "load", lambda kind, name: method)
    spec = pretraining("mine")
    assert next_attempt(spec, "cuda_oom", number=1, accumulate=1, retries=RETRIES) is None
    assert "method 'mine' cannot process a batch in parts" in refusal(spec, "cuda_oom", accumulate=1)


def test_a_refusal_says_why() -> None:
    assert refusal(finetuning(8), "cuda_oom", accumulate=4) == ""
    assert refusal(finetuning(8), "crash", accumulate=8) == ""
    assert "one example at a time already (8 parts)" in refusal(finetuning(8), "cuda_oom", accumulate=8)
    assert "no batches" in refusal(PREPARE, "host_oom", accumulate=1)
