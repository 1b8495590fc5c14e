"""How do weights in the authors' layouts become ours: PyTorch state dicts, nested or flat, and JAX arrays?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from refers_bench.errors import UserError

#: Our name <- official name below ``transformer.``, for everything but the split attention maps.
_PLAIN = {
    "aggregation_embedding": "embeddings.cls_token",
    "position_embedding": "embeddings.position_embeddings",
    "patch_embedding.weight": "embeddings.patch_embeddings.weight",
    "patch_embedding.bias": "embeddings.patch_embeddings.bias",
    "norm.weight": "encoder.encoder_norm.weight",
    "norm.bias": "encoder.encoder_norm.bias",
}
_BLOCK = {
    "norm1": "attention_norm",
    "norm2": "ffn_norm",
    "attention.out": "attn.out",
    "fc1": "ffn.fc1",
    "fc2": "ffn.fc2",
}
_WRAPPERS = ("module.", "visual.vit.")


def encoder_weights(official: Mapping[str, Tensor], *, path: object = None) -> dict[str, Tensor]:
    """Official names (``transformer.embeddings...``) -> names and shapes of `RadiographTransformer`.

    Also right for gradients: query, key and value are stacked in this order.

    Args:
        official: flat; ``module.`` and ``visual.vit.`` prefixes are stripped, other entries ignored.
        path: named in the error.

    Raises:
        UserError: no entry belongs to a radiograph transformer (a silent zero match trains from random weights).
    """
    found, _ = _converted(official)
    if not found:
        raise UserError(
            f"no weight of a radiograph transformer among {len(official)} entries",
            allowed="'transformer.*' (fine-tuning layout) or 'visual.vit.transformer.*' (pre-training layout)",
            path=str(path) if path else None,
        )
    return found


def with_rest(official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """As `encoder_weights`; other entries keep their names, so that it is seen that they have no place."""
    found, rest = _converted(official)
    return {**rest, **found}


def _converted(official: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights under our names, and the entries that gave none, under their own without prefixes."""
    flat = {_stripped(name): value for name, value in official.items()}
    found: dict[str, Tensor] = {
        ours: flat.pop(f"transformer.{theirs}") for ours, theirs in _PLAIN.items() if f"transformer.{theirs}" in flat
    }
    layers = sorted({int(m[1]) for name in flat if (m := re.match(r"transformer\.encoder\.layer\.(\d+)\.", name))})
    for i in layers:
        base = f"transformer.encoder.layer.{i}"
        for kind in ("weight", "bias"):
            for ours, theirs in _BLOCK.items():
                if f"{base}.{theirs}.{kind}" in flat:
                    found[f"blocks.{i}.{ours}.{kind}"] = flat.pop(f"{base}.{theirs}.{kind}")
            parts = [f"{base}.attn.{part}.{kind}" for part in ("query", "key", "value")]
            if all(part in flat for part in parts):
                found[f"blocks.{i}.attention.qkv.{kind}"] = torch.cat([flat.pop(part) for part in parts])
    return found, flat


def _stripped(name: str) -> str:
    for wrapper in _WRAPPERS:
        name = name.removeprefix(wrapper)
    return name


def head_weights(official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``head.weight`` and ``head.bias`` of a fine-tuned checkpoint; empty for a pre-trained one."""
    return {name: value for name, value in official.items() if name in ("head.weight", "head.bias")}


def unwrapped(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """The state dict of a checkpoint: itself, or its ``model`` entry (pre-training layout with optimiser)."""
    inner = content.get("model", content)
    return {name: value for name, value in inner.items() if isinstance(value, Tensor)}


#: Official prefix -> ours, for everything of a pre-training checkpoint but the encoder.
_OBJECTIVE = {
    **{f"fusion.fc{view + 1}.": f"view_fusion.gates.{view}." for view in range(3)},
    "textual.visual_projection.": "report_transformer.visual_projection.",
    "textual.embedding.words.": "report_transformer.words.",
    "textual.embedding.positions.": "report_transformer.positions.",
    "textual.embedding.layer_norm.": "report_transformer.norm.",
    "textual.transformer.layers.": "report_transformer.layers.",
    "textual.output.bias": "report_transformer.output_bias",
    "contrastive_bert.text_encoder.": "text_encoder.bert.",
    "contrastive_bert.fc.": "text_encoder.fc.",
}


def objective_weights(official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A whole pre-training state dict -> names of `StudyObjective` (also right for gradients)."""
    found: dict[str, Tensor] = {}
    if any("transformer.embeddings" in name for name in official):
        found = {f"encoder.{name}": value for name, value in encoder_weights(official).items()}
    for name, value in official.items():
        prefix = next((prefix for prefix in _OBJECTIVE if name.startswith(prefix)), None)
        if prefix and not name.endswith("position_ids"):  # a buffer that transformers no longer stores
            found[_OBJECTIVE[prefix] + name.removeprefix(prefix)] = value
    return found


def resize_positions(positions: Tensor, grid: int) -> Tensor:
    """Resample a (1, 1+n*n, D) position embedding to (1, 1+grid*grid, D); the first position is kept.

    Bilinear with aligned corners, as ``scipy.ndimage.zoom`` of order 1, without that function's artefact of zeros
    in the last row and column at some sizes.

    Raises:
        UserError: the old grid is not square.

    Source: VisionTransformer.load_from of the released code.
    """
    first, rest = positions[:, :1], positions[:, 1:]
    old = round(rest.shape[1] ** 0.5)
    if old * old != rest.shape[1]:
        raise UserError(f"a position embedding of {rest.shape[1]} patches has no square grid")
    if old == grid:
        return positions
    plane = rest.reshape(1, old, old, -1).permute(0, 3, 1, 2)
    resized = F.interpolate(plane, size=(grid, grid), mode="bilinear", align_corners=True)
    return torch.cat([first, resized.permute(0, 2, 3, 1).reshape(1, grid * grid, -1)], dim=1)


def from_jax(arrays: Mapping[str, Any]) -> dict[str, Tensor]:
    """Arrays of Google's ``ViT-B_16.npz`` layout -> official PyTorch names; other arrays keep their own.

    Source: VisionTransformer.load_from of the released code.
    """
    used: set[str] = set()

    def array(name: str) -> Tensor:
        used.add(name)
        return torch.from_numpy(arrays[name].copy())

    out = {
        "transformer.embeddings.cls_token": array("cls"),
        "transformer.embeddings.patch_embeddings.weight": array("embedding/kernel").permute(3, 2, 0, 1),
        "transformer.embeddings.patch_embeddings.bias": array("embedding/bias"),
        "transformer.embeddings.position_embeddings": array("Transformer/posembed_input/pos_embedding"),
        "transformer.encoder.encoder_norm.weight": array("Transformer/encoder_norm/scale"),
        "transformer.encoder.encoder_norm.bias": array("Transformer/encoder_norm/bias"),
    }
    layers = {int(m[1]) for name in arrays if (m := re.match(r"Transformer/encoderblock_(\d+)/", name))}
    for i in sorted(layers):
        theirs, ours = f"Transformer/encoderblock_{i}", f"transformer.encoder.layer.{i}"
        for norm, name in (("LayerNorm_0", "attention_norm"), ("LayerNorm_2", "ffn_norm")):
            out[f"{ours}.{name}.weight"] = array(f"{theirs}/{norm}/scale")
            out[f"{ours}.{name}.bias"] = array(f"{theirs}/{norm}/bias")
        for part in ("query", "key", "value", "out"):
            base = f"{theirs}/MultiHeadDotProductAttention_1/{part}"
            bias = array(f"{base}/bias").flatten()
            out[f"{ours}.attn.{part}.weight"] = array(f"{base}/kernel").reshape(len(bias), len(bias)).T
            out[f"{ours}.attn.{part}.bias"] = bias
        for dense, name in (("Dense_0", "fc1"), ("Dense_1", "fc2")):
            out[f"{ours}.ffn.{name}.weight"] = array(f"{theirs}/MlpBlock_3/{dense}/kernel").T
            out[f"{ours}.ffn.{name}.bias"] = array(f"{theirs}/MlpBlock_3/{dense}/bias")
    if "head/kernel" in arrays:
        out["head.weight"], out["head.bias"] = array("head/kernel").T, array("head/bias")
    out |= {name: array(name) for name in arrays if name not in used and arrays[name].dtype.kind in "fiub"}
    return {name: value.contiguous() for name, value in out.items()}
