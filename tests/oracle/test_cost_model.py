"""The stated model counts the operations and parameters that torch counts in the networks themselves."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from refers_bench import plugins
from refers_bench.data.batches import StudyBatch
from refers_bench.manifest.load import load
from refers_bench.manifest.roots import Roots
from refers_bench.nets.facts import SourceFacts
from refers_bench.plan.expand import expand
from refers_bench.plan.forecast.cost_model import encoder_flops, modelled, parameters, radiographs
from refers_bench.plan.forecast.devices import Device

SMALL: Mapping[str, Any] = {"queue": 24, "words": 6, "depth": 18, "stand_in": True, "windows": 5}
#: Heads of image-report methods, which the model leaves out.
HEADS: Mapping[str, Any] = {"hidden": 24, "dim": 16, "prototypes": 12}
METHODS = sorted(name for name in plugins.names("method") if plugins.load("method", name).build_objective is not None)


@contextlib.contextmanager
def counted() -> Iterator[FlopCounterMode]:
    """Counts operations; attention as the products it is made of, since the counter does not know the CPU's kernel."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        yield counter


def spec_of(folder: Path, method: str, *, preset: str, kind: str, **params: Any) -> Mapping[str, Any]:
    fields = plugins.load("method", method).Params.model_fields
    small = {name: value for name, value in {**SMALL, **HEADS}.items() if name in fields}
    (folder / "m.yaml").write_text(json.dumps({
        "version": 1, "protocol": {"preset": preset}, "data": {"phantom": {"phantom": {"studies": 40, "size": 40}}},
        "source": {"dataset": "phantom"}, "methods": [{"id": method, "params": {**small, **params}}],
        "targets": [{"dataset": "phantom", "tasks": ["findings"]}], "seeds": [0],
    }))  # fmt: skip
    return next(job.spec for job in expand(load(folder / "m.yaml"), Roots()).jobs if job.kind == kind)


def built(spec: Mapping[str, Any]) -> tuple[Any, Any, nn.Module]:
    method = plugins.load("method", spec["method"])
    params = method.Params(**spec["params"])
    return method, params, method.build_encoder(params, spec["network"], spec["image"])


@pytest.mark.parametrize(
    ("method", "preset", "params", "within"),
    [
        ("scratch", "smoke", {}, 0.001),
        ("scratch", "cpu", {}, 0.001),
        ("scratch", "paper", {}, 0.001),
        ("scratch", "official_code", {}, 0.001),
        ("lsp_convnet", "paper", {"depth": 18}, 0.02),
        ("lsp_convnet", "paper", {"depth": 50}, 0.02),
        ("lsp_convnet", "paper", {"depth": 101}, 0.02),
    ],
)
def test_operations_of_an_encoder(
    method: str, preset: str, params: dict[str, Any], within: float, tmp_path: Path
) -> None:
    spec = spec_of(tmp_path, method, preset=preset, kind="finetune", **params)
    _, _, encoder = built(spec)
    image = torch.zeros(1, spec["image"]["channels"], spec["image"]["size"], spec["image"]["size"])
    with counted() as counter, torch.no_grad():
        encoder.eval()(image)
    assert encoder_flops(spec) == pytest.approx(counter.get_total_flops(), rel=within)
    assert parameters(spec) == pytest.approx(sum(p.numel() for p in encoder.parameters()), rel=0.01)


@pytest.mark.parametrize("method", METHODS)
def test_operations_of_an_update(method: str, tmp_path: Path) -> None:
    """Forward and backward of the whole objective, at CPU size; the model leaves out small heads and distortions."""
    spec = spec_of(tmp_path, method, preset="cpu", kind="pretrain")
    plugin, params, encoder = built(spec)
    section, image = spec["pretrain"], spec["image"]
    classes = ("a", "b", "c")
    facts = SourceFacts(
        classes=classes, vocabulary=section["vocabulary"], max_tokens=section["text_tokens"],
        text_vocabulary=section["vocabulary"],
    )  # fmt: skip
    objective = plugin.build_objective(params, facts, spec["network"], image, section, encoder)
    side = image["size"] * plugin.magnification(params)
    B, V = section["batch_size"], radiographs(spec) // section["batch_size"]
    T = section["text_tokens"] if "reports" in plugin.needs else 0
    words = torch.randint(4, section["vocabulary"], (B, T))
    labels = torch.zeros(B, 1 if method == "transvw" else len(classes))
    batch = StudyBatch(
        images_BVCHW=torch.randn(B, V, image["channels"], side, side), tokens_BT=words,
        lengths_B=torch.full((B,), T), text_ids_BT=words, text_mask_BT=torch.ones_like(words), labels_BK=labels,
    )  # fmt: skip
    objective.train()
    with counted() as counter:
        torch.stack([loss.float() for loss in objective(batch).values()]).sum().backward()
    device = Device(kind="cpu", name="")
    modelled_flops = modelled(spec, device).step_s * device.flops("fp32")
    assert modelled_flops == pytest.approx(counter.get_total_flops(), rel=0.15)
    assert parameters(spec) == pytest.approx(sum(p.numel() for p in objective.parameters()), rel=0.25)
