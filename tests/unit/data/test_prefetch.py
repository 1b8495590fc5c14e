"""Are batches drawn ahead the same batches, each once, and is an error told where it matters?"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch

from refers_bench.data.prefetch import Prefetch


@pytest.mark.parametrize("ahead", [False, True])
def test_the_same_batches_each_drawn_once(ahead: bool) -> None:
    drawn: list[int] = []

    def draw(step: int) -> int:
        drawn.append(step)
        return step * 10

    with Prefetch(draw, steps=5, ahead=ahead) as batches:
        assert [batches(step) for step in range(5)] == [0, 10, 20, 30, 40]
    assert drawn == [0, 1, 2, 3, 4], "a batch beyond the last, or one twice"


def test_the_next_batch_is_made_while_the_present_one_trains() -> None:
    made = threading.Event()

    def draw(step: int) -> int:
        if step == 1:
            made.set()
        return step

    with Prefetch(draw, steps=2, ahead=True) as batches:
        assert batches(0) == 0
        assert made.wait(5), "nobody drew ahead"
        assert batches(1) == 1


def test_a_resumed_training_may_begin_anywhere() -> None:
    with Prefetch(lambda step: step, steps=10, ahead=True) as batches:
        assert [batches(step) for step in (7, 8, 2, 3)] == [7, 8, 2, 3]


def test_an_error_is_raised_for_its_own_step() -> None:
    def draw(step: int) -> int:
        if step == 1:
            raise ValueError("no such image")
        return step

    with Prefetch(draw, steps=3, ahead=True) as batches:
        assert batches(0) == 0
        with pytest.raises(ValueError, match="no such image"):
            batches(1)


def test_leaving_early_does_not_hang() -> None:
    with Prefetch(lambda step: step, steps=10**9, ahead=True) as batches:
        batches(0)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


@dataclass
class Batch:
    """What a source draws."""

    x: torch.Tensor


def test_who_trains_waits_for_the_stream_on_which_a_batch_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    class Stream:
        def __init__(self, name: str) -> None:
            self.name = name

        def record_event(self) -> str:
            told.append(f"{self.name} records")
            return f"event of {self.name}"

        def wait_event(self, event: str) -> None:
            told.append(f"{self.name} waits for {event}")

    @contextlib.contextmanager
    def on(stream: Stream) -> Iterator[None]:
        told.append(f"on {stream.name}")
        yield
        told.append(f"off {stream.name}")

    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream("side"))
    monkeypatch.setattr(torch.cuda, "stream", on)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream("main"))
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda self, stream: told.append(f"kept for {stream.name}"))
    batches = Prefetch(
        lambda step: told.append(f"draw {step}") or Batch(torch.ones(1)), steps=5, ahead=False, device=torch.device("cuda")
    )  # fmt: skip
    assert isinstance(batches.handed_over(*batches.made(3)), Batch)
    assert told == [
        "on side", "draw 3", "side records", "off side", "main waits for event of side", "kept for main"
    ]  # fmt: skip
