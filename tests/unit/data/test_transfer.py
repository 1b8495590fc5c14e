"""Batches on their way to a device: one copy, the same bits, and nobody reads what has not arrived."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional

from refers_bench.data.augment import Augment
from refers_bench.data.batches import RadiographSource, StudySource
from refers_bench.data.text import ReportTokenizer
from refers_bench.data.transfer import ALIGNMENT, OnDevice, kept, packed, together, unpacked
from refers_bench.data.visual_words import CropSource
from step_operations import Counting

META = torch.device("meta")
IMAGES = np.random.default_rng(0).integers(0, 256, (12, 16, 16), dtype=np.uint8)
AUGMENT = Augment(size=16, channels=1, mean=(0.5,), std=(0.25,), crop="none")
WARPED = dataclasses.replace(AUGMENT, crop="resized", rotation_degrees=10, contrast=(0.5, 2), jitter_probability=0.5)


def studies() -> StudySource:
    rows = pd.DataFrame(
        {"image_id": range(12), "study_id": [f"s{number // 3}" for number in range(12)], "place": range(12)}
    ).assign(report="left lung clear", **{"t:a": pd.array([1] * 12, dtype="Int8")})
    tokenizer = ReportTokenizer.train(["left lung clear"], vocabulary=30)
    return StudySource(
        IMAGES, rows, group="study_id", tokenizer=tokenizer, max_tokens=9, task="t", classes=("a",), views=2,
        view_sampling="paper", report_flip="paper", shuffled=False, augment=AUGMENT, device=META, key="k",
    )  # fmt: skip


def radiographs() -> RadiographSource:
    return RadiographSource(IMAGES, np.arange(12), np.zeros((12, 3), np.float32), augment=AUGMENT, device=META, key="k")


def crops() -> CropSource:
    table = pd.DataFrame({"place": range(12), "top": 0.1, "left": 0.2, "side": 0.5, "word": range(12)})
    return CropSource(IMAGES, table, augment=AUGMENT, device=META, key="k")


@pytest.mark.parametrize("source", [studies, radiographs, crops])
def test_a_batch_is_copied_once(source: Callable[[], Any]) -> None:
    """To torch's `meta` device, which stands for a GPU."""
    made = source()
    if not isinstance(made, CropSource):
        made = copy.copy(made)
        object.__setattr__(made, "augment", WARPED)
    for batch_of in (lambda: next(iter(made.fixed(batch_size=4))), lambda: made.draw(0, batch_size=4)):
        with Counting() as counting:
            batch = batch_of()
        assert all(value.device == META for value in vars(batch).values())
        (copied,) = counting.copies
        assert counting.copies[copied] == 1 and "waits" not in copied


@pytest.mark.parametrize("source", [studies, radiographs, crops])
def test_kept_images_give_the_same_batches(source: Callable[[], Any]) -> None:
    here = torch.device("cpu")
    whole = copy.copy(source())
    object.__setattr__(whole, "device", here)
    near = copy.copy(whole)
    object.__setattr__(near, "images_NHW", OnDevice(whole.images_NHW, whole.places, here))
    for batch_of in (lambda one: next(iter(one.fixed(batch_size=5))), lambda one: one.draw(1, batch_size=5)):
        one, other = batch_of(whole), batch_of(near)
        for name, value in vars(one).items():
            assert torch.equal(value, getattr(other, name)), name
        assert one.labels_BK.isnan().any() or len(next(iter(vars(one).values())).unique()) > 1


def test_only_some_images_are_kept_and_each_is_found() -> None:
    near = OnDevice(IMAGES, np.array([9, 2, 2, 5]), torch.device("cpu"))
    assert near.shape == (3, 16, 16)
    for place in (2, 5, 9):
        assert np.array_equal(near.images[near.rows(np.array([place]))][0], IMAGES[place])


def test_on_a_cpu_images_stay_where_they_are() -> None:
    assert kept(IMAGES, np.arange(12), torch.device("cpu")) is IMAGES


@pytest.mark.parametrize("source", [studies, radiographs, crops])
@pytest.mark.parametrize(("batch", "processes"), [(6, 2), (5, 2), (7, 3)])
def test_processes_draw_their_parts_of_the_same_batch(source: Callable[[], Any], batch: int, processes: int) -> None:
    made = copy.copy(source())
    object.__setattr__(made, "device", torch.device("cpu"))
    whole = made.draw(2, batch_size=batch)
    parts = [made.draw(2, batch_size=batch, part=(rank, processes)) for rank in range(processes)]
    for name, value in vars(whole).items():
        found = [getattr(part, name) for part in parts]
        if value.ndim == 2:  # reports are padded to the longest of a part
            found = [functional.pad(one, (0, value.shape[1] - one.shape[1])) for one in found]
        assert torch.equal(torch.cat(found), value), name


def test_packed_tensors_come_out_bit_for_bit() -> None:
    generator = torch.Generator().manual_seed(0)
    tensors = [
        torch.randint(0, 256, (3, 5, 7), generator=generator, dtype=torch.uint8),
        torch.randn(4, generator=generator).mul_(torch.tensor([1.0, float("nan"), float("inf"), -0.0])),
        torch.tensor([True, False, True]),
        torch.zeros(2, 0, dtype=torch.long),
        torch.randint(-(2**62), 2**62, (2, 3), generator=generator),
        torch.randn(3, 2, generator=generator).T,  # not contiguous
        torch.tensor(1.5, dtype=torch.float64),
        torch.randn(5, generator=generator).bfloat16(),
    ]
    buffer, starts = packed(tensors)
    assert buffer.dtype == torch.uint8 and all(start % ALIGNMENT == 0 for start in starts)
    found = unpacked(buffer.clone(), starts, tensors)
    for ours, theirs in zip(found, tensors, strict=True):
        assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
        bits = [tensor.contiguous().flatten().view(torch.uint8) for tensor in (ours, theirs)]
        assert torch.equal(*bits)


def test_on_a_cpu_nothing_is_copied() -> None:
    pixels, labels = np.arange(4, dtype=np.uint8), torch.ones(2)
    here = together(torch.device("cpu"), pixels, labels)
    assert here[0].numpy().ctypes.data == pixels.ctypes.data and here[1] is labels
