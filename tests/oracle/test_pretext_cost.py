"""Counts what pretext transforms cost the processor, and shows that the device is never waited for: a "meta" device.

Tensors on that device have a shape and no values: whatever would read one, or would look at images on the CPU, raises.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from refers_bench import plugins
from refers_bench.data.batches import StudyBatch
from refers_bench.manifest.protocols import resolve_sections
from refers_bench.nets.facts import SourceFacts

SECTIONS = resolve_sections("smoke")
RESTORING = ["context_restoration", "model_genesis", "transvw"]
#: Images of the paper's size.
COUNT, SIDE = 24, 224
IMAGE = {**SECTIONS["image"], "size": SIDE}


class Counted(TorchDispatchMode):
    """Elements that operations make on the CPU, and operations that any device runs."""

    def __init__(self) -> None:
        super().__init__()
        self.on_cpu = self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and count."""
        result = func(*args, **(kwargs or {}))
        made = [one for one in (result if isinstance(result, tuple | list) else [result]) if isinstance(one, Tensor)]
        if func._schema.is_mutable:  # in place: what was put there, not all that was there before
            made = [one for one in args[1:] if isinstance(one, Tensor)][-1:] or made
        # The buffer that is sent is no more than what a GPU needs anyway: pinned memory, filled once.
        if not func.is_view and func.overloadpacket.__name__ not in ("copy_", "empty"):
            self.on_cpu += sum(one.numel() for one in made if one.device.type == "cpu")
            self.operations += any(one.device.type != "cpu" for one in made)
        return result


def objective_of(name: str) -> Any:
    method = plugins.load("method", name)
    torch.manual_seed(0)
    params = method.Params()
    encoder = method.build_encoder(params, SECTIONS["network"], IMAGE)
    return method.build_objective(params, SourceFacts(classes=()), SECTIONS["network"], IMAGE, {}, encoder).train()


def batch(generator: torch.Generator) -> StudyBatch:
    images = torch.randn(COUNT, 1, IMAGE["channels"], SIDE, SIDE, generator=generator)
    none = torch.zeros(COUNT, 0, dtype=torch.long)
    return StudyBatch(
        images_BVCHW=images, tokens_BT=none, lengths_B=none.sum(1), text_ids_BT=none, text_mask_BT=none,
        labels_BK=torch.zeros(COUNT, 1),
    )  # fmt: skip


@pytest.mark.parametrize("name", RESTORING)
def test_pairs_are_made_on_the_device_without_waiting_for_it(name: str) -> None:
    """What is drawn on the CPU is at most four numbers a pixel; what is done to images is done elsewhere."""
    objective = objective_of(name)
    grey, generator = torch.empty(COUNT, SIDE, SIDE, device="meta"), torch.Generator().manual_seed(1)
    with Counted() as counted:
        seen = objective.distort(objective.target(grey, generator), generator)
    assert seen.device.type == "meta"
    assert seen.shape == grey.shape
    assert counted.on_cpu <= 4 * COUNT * SIDE * SIDE, counted.on_cpu / (COUNT * SIDE * SIDE)
    assert counted.operations <= 160


@pytest.mark.parametrize("name", RESTORING)
def test_a_prepared_batch_is_not_distorted_again(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Distortions happen where batches are drawn; the forward pass adds none, and its loss is that of the same pair."""
    objective, one = objective_of(name), batch(torch.Generator().manual_seed(2))
    prepared = objective.prepared(one, torch.Generator().manual_seed(3))
    clean, seen = objective.pair(one.images_BVCHW[:, 0], torch.Generator().manual_seed(3))
    assert torch.equal(prepared.clean_BHW, clean)
    assert torch.equal(prepared.images_BVCHW[:, 0], seen)
    assert torch.equal(prepared.labels_BK, one.labels_BK)

    def forbidden(*_: Any) -> Any:
        raise AssertionError("distorted in the forward pass")

    monkeypatch.setattr(objective, "distort", forbidden)
    monkeypatch.setattr(objective, "target", forbidden)
    with torch.no_grad():
        restored = objective.decoder(objective.encoder.patches(objective.encoder(seen)))
        expected = float(((restored - clean) ** 2).mean())
        assert float(objective.eval()(prepared)["restoration"]) == pytest.approx(expected, rel=1e-5)
