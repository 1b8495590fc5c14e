"""Which failures are retried, and that out of memory halves what is processed at once until one example is left."""

from __future__ import annotations

import builtins
from typing import Any

import pytest

from refers_bench import plugins
from refers_bench.execution.engine import Attempt
from refers_bench.execution.retry import DETERMINISTIC, comes_again, most_micro_batches, next_attempt, refusal
from refers_bench.plan.lock import Job
from refers_bench.plugins import Method

RETRIES = {"crash": 1, "lost": 3, "cuda_oom": 9, "host_oom": 9}


def finetuning(batch_size: int = 128, **section: Any) -> dict[str, Any]:
    return {"kind": "finetune", "method": "scratch", "finetune": {"batch_size": batch_size, **section}}


def pretraining(method: str = "refers", batch_size: int = 32, **section: Any) -> dict[str, Any]:
    return {"kind": "pretrain", "method": method, "pretrain": {"batch_size": batch_size, **section}}


PREPARE = {"kind": "prepare", "dataset": "phantom"}


def attempt(spec: dict[str, Any], *, number: int = 1, micro_batches: int = 1) -> Attempt:
    job = Job(key="k", kind=spec["kind"], name="a job", spec=spec)
    return Attempt(job=job, number=number, micro_batches=micro_batches, token="t", after="before")


@pytest.mark.parametrize("category", ["cuda_oom", "host_oom"])
@pytest.mark.parametrize(("batch", "parts"), [(128, [2, 4, 8, 16, 32, 64, 128]), (6, [2, 4, 6]), (1, [])])
def test_out_of_memory_doubles_the_parts_up_to_the_batch(category: str, batch: int, parts: list[int]) -> None:
    found, one = [], attempt(finetuning(batch))
    while following := next_attempt(one, category, retries=RETRIES):
        assert (following.number, following.after, following.token) == (one.number + 1, category, "t")
        one = following
        found.append(one.micro_batches)
    assert found == parts


@pytest.mark.parametrize(
    ("category", "attempts"), [("crash", 1), ("lost", 3), ("nan", 0), ("timeout", 0), ("data_error", 0)]
)
def test_everything_else_is_tried_again_as_it_was(category: str, attempts: int) -> None:
    for number in range(1, 6):
        failed = attempt(finetuning(), number=number, micro_batches=4)
        following = attempt(finetuning(), number=number + 1, micro_batches=4)
        assert next_attempt(failed, category, retries=RETRIES) == (following if number <= attempts else None)


@pytest.mark.parametrize(
    ("category", "message", "again"),
    [
        ("crash", "KeyError: 'age'", True),
        ("crash", "ValueError", True),
        ("crash", "RuntimeError: CUDA error: an illegal memory access was encountered", False),
        ("crash", "OSError: [Errno 5] Input/output error", False),
        ("crash", "worker died with exit status -9", False),
        ("lost", "KeyError: 'age'", False),
    ],
)
def test_an_error_of_code_or_data_comes_again(category: str, message: str, again: bool) -> None:
    assert comes_again(category, message) is again


def test_every_named_exception_is_one_of_python() -> None:
    assert all(issubclass(getattr(builtins, name), Exception) for name in DETERMINISTIC)


def test_out_of_memory_is_tried_as_often_as_the_manifest_says() -> None:
    def after(number: int, retries: dict[str, int]) -> int | None:
        following = next_attempt(attempt(finetuning(), number=number), "cuda_oom", retries=retries)
        return following.micro_batches if following else None

    assert after(1, {"cuda_oom": 0}) is None
    assert after(1, {}) is None
    assert after(2, {"cuda_oom": 2}) == 2
    assert after(3, {"cuda_oom": 2}) is None


def test_a_batch_that_has_fitted_is_tried_once_more_as_it_was() -> None:
    first, second = (attempt(finetuning(), number=number) for number in (1, 2))
    assert next_attempt(first, "host_oom", retries=RETRIES, fitted=True) == second
    third = next_attempt(second, "host_oom", retries=RETRIES, fitted=True)
    assert third is not None and third.micro_batches == 2
    assert next_attempt(attempt(PREPARE), "host_oom", retries=RETRIES) is None


def test_parts_are_of_what_one_process_has_of_a_batch() -> None:
    assert most_micro_batches(finetuning(128, accumulate=4)) == 32
    assert most_micro_batches(pretraining(batch_size=32, processes=4)) == 8
    assert (
        most_micro_batches(PREPARE)
        == most_micro_batches({})
        == most_micro_batches({"kind": "discover", "discovery": {}})
        == 1
    )


def test_a_method_whose_losses_mix_examples_stays_out_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    method = Method(label="x", source="x", impl=1, Params=object, build_encoder=print)  # type: ignore[arg-type]
    assert method.parts == "", "a method that says nothing is taken to be able to split its batches"
    monkeypatch.setattr(plugins, "load", lambda kind, name: method)
    spec = pretraining("mine")
    assert next_attempt(attempt(spec), "cuda_oom", retries=RETRIES) is None
    assert "method 'mine' cannot process a batch in parts" in refusal(attempt(spec), "cuda_oom")


def test_a_refusal_says_why() -> None:
    half, whole = (attempt(finetuning(8), micro_batches=parts) for parts in (4, 8))
    assert refusal(half, "cuda_oom") == refusal(whole, "crash") == ""
    assert "one example at a time already (8 parts)" in refusal(whole, "cuda_oom")
    assert "no batches" in refusal(attempt(PREPARE), "host_oom")
