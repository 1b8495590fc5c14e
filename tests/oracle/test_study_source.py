"""Studies of a large source against the slow loop that made one frame a study: the same batches, at another cost."""

from __future__ import annotations

import dataclasses
import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from refers_bench.data.augment import Augment
from refers_bench.data.batches import StudySource
from refers_bench.data.text import ReportTokenizer
from slow_studies import SlowStudySource

WORDS = ("left", "Right", "upright", "lung", "apex", "effusion", "no", "clear", "opacity", "RIGHT")
CLASSES = ("a", "b", "c")


def index_of(studies: int, *, seed: int, most: int = 5) -> pd.DataFrame:
    """Studies of one to `most` views in random order, their names not in the order of their rows."""
    rng = np.random.default_rng(seed)
    study = rng.permutation(np.repeat(rng.permutation(studies * 3)[:studies], rng.integers(1, most + 1, studies)))
    count = len(study)
    reports = {name: " ".join(rng.choice(WORDS, rng.integers(1, 9))) for name in np.unique(study)}
    labels = {name: rng.choice([0, 1, np.nan], len(CLASSES)) for name in np.unique(study)}
    frame = pd.DataFrame(
        {
            "image_id": [f"i{number}" for number in rng.permutation(count)],
            "study_id": [f"s{name}" for name in study], "place": rng.permutation(count),
            "report": [reports[name] for name in study],
        }
    )  # fmt: skip
    for column, name in enumerate(CLASSES):
        frame[f"t:{name}"] = pd.array([labels[study_][column] for study_ in study], dtype="Float32").astype("Int8")
    return frame


def arguments(rows: pd.DataFrame, **changes: Any) -> dict[str, Any]:
    """Of a source over one-coloured images of 12 pixels."""
    tokenizer = ReportTokenizer.train(WORDS, vocabulary=60)
    places = np.arange(len(rows)) % 251
    return {
        "images_NHW": np.broadcast_to(places.astype(np.uint8)[:, None, None], (len(rows), 12, 12)), "rows": rows,
        "group": "study_id", "tokenizer": tokenizer, "max_tokens": 12, "task": "t", "classes": CLASSES, "views": 3,
        "view_sampling": "paper", "report_flip": "paper", "shuffled": False, "device": torch.device("cpu"), "key": "k",
        "augment": Augment(size=8, channels=1, mean=(0.5,), std=(0.25,)), **changes,
    }  # fmt: skip


class OtherWords:
    """A text encoder's tokenizer of its own: longer than the reports'."""

    def encode(self, text: str, *, max_tokens: int) -> list[int]:
        return [7, *(5 + len(word) for word in text.split() for _ in range(2)), 8][:max_tokens]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"report_flip": "official_code", "view_sampling": "official_code"},
        {"shuffled": True, "views": 1},
        {"text_tokenizer": OtherWords()},
        {"group": "image_id", "tokenizer": None, "views": 2, "report_flip": "official_code"},  # crops of one radiograph
        {"group": "image_id", "tokenizer": None, "views": 1, "task": ""},
        {"tokenizer": None, "task": "t"},
    ],
    ids=lambda changes: ",".join(changes) or "as it is",
)
def test_batches_are_those_of_the_slow_loop(changes: dict[str, Any]) -> None:
    for seed, studies in ((0, 1), (1, 2), (2, 17)):
        given = arguments(index_of(studies, seed=seed), **changes)
        fast, slow = StudySource(**given), SlowStudySource(**given)
        assert len(fast) == len(slow)
        drawn = [(fast.draw(step, batch_size=6), slow.draw(step, batch_size=6)) for step in range(7)]
        drawn += zip(fast.fixed(batch_size=4), slow.fixed(batch_size=4), strict=True)
        for here, there in drawn:
            for field in dataclasses.fields(here):
                ours, theirs = getattr(here, field.name), getattr(there, field.name)
                assert ours.dtype == theirs.dtype and ours.shape == theirs.shape, field.name
                assert torch.equal(ours.nan_to_num(-5), theirs.nan_to_num(-5)), field.name


def test_an_empty_source_has_no_study() -> None:
    given = arguments(index_of(3, seed=0))
    assert len(StudySource(**{**given, "rows": given["rows"].iloc[:0]})) == 0


def python_calls(action: Callable[[], object]) -> int:
    """Functions of Python that the action enters: a measure of its work that no other process disturbs."""
    calls = 0

    def note(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("group", ["study_id", "image_id"])
def test_opening_does_not_take_a_step_a_study(group: str) -> None:
    few, many = (arguments(index_of(count, seed=0, most=3), group=group) for count in (200, 2_000))
    StudySource(**few)
    assert python_calls(lambda: StudySource(**many)) < 1.2 * python_calls(lambda: StudySource(**few))


def test_opening_takes_little_memory_besides_the_index() -> None:
    # 222,000 studies within 1 GiB leave 4.8 kB each; a frame of its own takes a multiple of that.
    studies = 3_000
    given = arguments(index_of(studies, seed=0, most=3), max_tokens=100)
    tracemalloc.start()
    try:
        source = StudySource(**given)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(source) == studies
    assert peak / studies < 500
