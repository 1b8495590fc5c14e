"""Rows that bring weights run them in the network they were trained in, also under the paper's reading.

Expected outputs: those of the released code's network (golden case 10) and of timm's.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from refers_bench.jobs import setup
from refers_bench.jobs.setup import load_brought
from refers_bench.manifest.load import load
from refers_bench.manifest.roots import Roots
from refers_bench.plan.expand import expand
from refers_bench.store.context import JobContext

MANIFEST = """
version: 1
protocol: {{preset: paper}}
source: {{dataset: mimic_cxr_jpg}}
methods:
  - {{id: imagenet, overrides: &sizes {{network: &network {sizes}, image: {{size: {size}}}}}}}
  - {{id: checkpoint, params: {{root: imagenet}}, overrides: *sizes}}
  - id: lsp_transformer
    overrides: {{network: {{<<: *network, init: imagenet, init_path_name: imagenet}}, image: {{size: {size}}}}}
targets: [{{dataset: shenzhen_tb, tasks: [tuberculosis]}}]
seeds: [0]
"""


def encoders(folder: Path, weights: Path, *, size: int, **sizes: int) -> dict[str, nn.Module]:
    """Encoder of each row, built and filled as its jobs do it, from a plan under the preset `paper`."""
    path = folder / "m.yaml"
    path.write_text(MANIFEST.format(sizes=str(sizes).replace("'", ""), size=size))
    plan = expand(load(path), Roots(paths={"imagenet": weights}))
    context, found = JobContext(results=folder, cache=folder, roots={"imagenet": str(weights)}), {}
    for job in plan.jobs:
        spec: Any = job.spec
        if job.kind not in ("pretrain", "finetune") or (job.kind == "finetune" and not spec.get("weights")):
            continue
        method, params = setup.load_method(spec)
        encoder = setup.build_encoder(method, spec, seed=0)
        if job.kind == "pretrain":
            setup.load_image_weights(encoder, spec["network"], context)
        else:
            load_brought(encoder, method, params, context)
        found[spec["method"]] = encoder.eval()
    assert set(found) == {"imagenet", "checkpoint", "lsp_transformer"}
    return found


def same(found: Tensor, expected: Tensor, what: str) -> None:
    """Forward rule of the golden fixtures: |a - b| <= 1e-5 + 1e-5 max|ref|."""
    worst = (found - expected).abs().max().item()
    assert worst <= 1e-5 + 1e-5 * expected.abs().max().item(), f"{what}: differs by {worst:.3g}"


@torch.no_grad()
def test_released_jax_weights_run_as_in_the_released_network(golden: Path, tmp_path: Path) -> None:
    (case,), (weights,) = golden.glob("case10_*.safetensors"), golden.glob("case10_*.npz")
    with safe_open(case, framework="pt") as file:
        images, tokens = file.get_tensor("in/images"), file.get_tensor("out/tokens")
        hidden, _, patch, _ = file.get_tensor("param/transformer.embeddings.patch_embeddings.weight").shape
        mlp = len(file.get_tensor("param/transformer.encoder.layer.0.ffn.fc1.bias"))
        layers = sum(name.endswith("ffn.fc1.bias") and name.startswith("param/") for name in file.keys())  # noqa: SIM118
        heads = json.loads(file.metadata()["hparams"])["heads"]
    found = encoders(
        tmp_path, weights, size=images.shape[-1], width=hidden, depth=layers, heads=heads, mlp_width=mlp,
        patch_size=patch,
    )  # fmt: skip
    for row, encoder in found.items():
        same(encoder(images), tokens, row)


@pytest.mark.parametrize("ending", ["safetensors", "pth"])
@torch.no_grad()
def test_timms_weights_run_as_in_timm(tmp_path: Path, ending: str) -> None:
    torch.manual_seed(0)
    theirs = timm.models.VisionTransformer(
        img_size=48, patch_size=12, embed_dim=24, depth=3, num_heads=3, mlp_ratio=2, num_classes=0
    ).eval()
    for parameter in theirs.parameters():  # timm's first weights are too small for a difference to be seen
        parameter.normal_(std=0.3)
    weights = tmp_path / f"w.{ending}"
    save_file(theirs.state_dict(), weights) if ending == "safetensors" else torch.save(theirs.state_dict(), weights)
    found = encoders(tmp_path, weights, size=48, width=24, depth=3, heads=3, mlp_width=48, patch_size=12)
    images = torch.randn(2, 3, 48, 48)
    for row, encoder in found.items():
        same(encoder(images), theirs.forward_features(images), row)
