"""Batches on their way to a device: one copy, the same bits, and nobody reads what has not arrived."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from refers_bench.data.augment import Augment
from refers_bench.data.batches import RadiographSource, StudySource
from refers_bench.data.text import ReportTokenizer
from refers_bench.data.transfer import ALIGNMENT, packed, together, unpacked
from refers_bench.data.visual_words import CropSource

META = torch.device("meta")
IMAGES = np.zeros((12, 16, 16), np.uint8)
AUGMENT = Augment(size=16, channels=1, mean=(0.5,), std=(0.25,), crop="none")


class Copies(TorchDispatchMode):
    """Counts copies from the host to the device `META`, which stands for a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default):
            source = next((arg for arg in reversed(args) if isinstance(arg, torch.Tensor)), result)
            self.count += source.device.type == "cpu" and result.device == META
        return result


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
    made, copies = source(), Copies()
    with copies:
        batch = next(iter(made.fixed(batch_size=4)))
    assert all(value.device == META for value in vars(batch).values())
    assert copies.count == 1


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
