"""In which layout did others store these weights, and how do they become ours?"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from refers_bench.nets import official_layouts

#: Entries that hold the state dict in checkpoints of common trainers.
_NESTED = ("model", "state_dict", "teacher", "student", "encoder", "model_state", "net", "module")
#: Prefixes in front of an image encoder, longest first.
_PREFIXES = (
    "module.momentum_encoder.",
    "module.base_encoder.",
    "module.encoder_q.",
    "base_encoder.",
    "encoder_q.",
    "image_encoder.",
    "backbone.",
    "module.",
    "_orig_mod.",
    "model.",
    "encoder.",
)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A way in which others store an encoder.

    Attributes:
        name: for people.
        mark: a name that every state dict of this layout has.
        convert: state dict -> our names; what has no place keeps its own name.
        backbone: "radiograph_transformer" or "resnet".
        remark: what the conversion loses; '' for nothing.
    """

    name: str
    mark: str
    convert: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
    backbone: str = "radiograph_transformer"
    remark: str = ""


def unwrapped(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """The state dict inside a checkpoint, whichever entry and prefix it stands under.

    Of momentum and base encoder (MoCo) the base encoder is taken.
    """
    for _ in range(3):
        inner = next((content[name] for name in _NESTED if isinstance(content.get(name), Mapping)), None)
        if inner is None or any(isinstance(value, Tensor) for value in content.values()):
            break
        content = inner
    tensors = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if recognised(tensors):
        return tensors
    for prefix in ("module.base_encoder.", "base_encoder.", "module.encoder_q.", "encoder_q."):
        own = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        if own:
            return own
    for prefix in _PREFIXES:
        if tensors and sum(name.startswith(prefix) for name in tensors) > len(tensors) / 2:
            inside = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
            return unwrapped(inside)
    return tensors


def _renamed(weights: Mapping[str, Tensor], rules: Mapping[str, str]) -> dict[str, Tensor]:
    """Apply the first rule (pattern -> replacement) that matches a whole name."""
    out = {}
    for name, value in weights.items():
        for pattern, replacement in rules.items():
            if re.fullmatch(pattern, name):
                name = re.sub(pattern, replacement, name)
                break
        out[name] = value
    return out


_TIMM = {
    r"cls_token": "aggregation_embedding",
    r"pos_embed": "position_embedding",
    r"patch_embed\.proj\.(weight|bias)": r"patch_embedding.\1",
    r"blocks\.(\d+)\.attn\.qkv\.(weight|bias)": r"blocks.\1.attention.qkv.\2",
    r"blocks\.(\d+)\.attn\.proj\.(weight|bias)": r"blocks.\1.attention.out.\2",
    r"blocks\.(\d+)\.mlp\.fc([12])\.(weight|bias)": r"blocks.\1.fc\2.\3",
}
_TORCHVISION = {
    r"class_token": "aggregation_embedding",
    r"encoder\.pos_embedding": "position_embedding",
    r"conv_proj\.(weight|bias)": r"patch_embedding.\1",
    r"encoder\.layers\.encoder_layer_(\d+)\.ln_([12])\.(weight|bias)": r"blocks.\1.norm\2.\3",
    r"encoder\.layers\.encoder_layer_(\d+)\.self_attention\.in_proj_(weight|bias)": r"blocks.\1.attention.qkv.\2",
    r"encoder\.layers\.encoder_layer_(\d+)\.self_attention\.out_proj\.(weight|bias)": r"blocks.\1.attention.out.\2",
    r"encoder\.layers\.encoder_layer_(\d+)\.mlp\.(?:0|linear_1)\.(weight|bias)": r"blocks.\1.fc1.\2",
    r"encoder\.layers\.encoder_layer_(\d+)\.mlp\.(?:3|linear_2)\.(weight|bias)": r"blocks.\1.fc2.\2",
    r"encoder\.ln\.(weight|bias)": r"norm.\1",
}
_OPEN_CLIP = {
    r"visual\.class_embedding": "aggregation_embedding",
    r"visual\.positional_embedding": "position_embedding",
    r"visual\.conv1\.weight": "patch_embedding.weight",
    r"visual\.transformer\.resblocks\.(\d+)\.ln_([12])\.(weight|bias)": r"blocks.\1.norm\2.\3",
    r"visual\.transformer\.resblocks\.(\d+)\.attn\.in_proj_(weight|bias)": r"blocks.\1.attention.qkv.\2",
    r"visual\.transformer\.resblocks\.(\d+)\.attn\.out_proj\.(weight|bias)": r"blocks.\1.attention.out.\2",
    r"visual\.transformer\.resblocks\.(\d+)\.mlp\.c_fc\.(weight|bias)": r"blocks.\1.fc1.\2",
    r"visual\.transformer\.resblocks\.(\d+)\.mlp\.c_proj\.(weight|bias)": r"blocks.\1.fc2.\2",
    r"visual\.ln_post\.(weight|bias)": r"norm.\1",
}
_HUGGING_FACE = {
    r"embeddings\.cls_token": "aggregation_embedding",
    r"embeddings\.position_embeddings": "position_embedding",
    r"embeddings\.patch_embeddings\.projection\.(weight|bias)": r"patch_embedding.\1",
    r"encoder\.layer\.(\d+)\.layernorm_before\.(weight|bias)": r"blocks.\1.norm1.\2",
    r"encoder\.layer\.(\d+)\.layernorm_after\.(weight|bias)": r"blocks.\1.norm2.\2",
    r"encoder\.layer\.(\d+)\.attention\.output\.dense\.(weight|bias)": r"blocks.\1.attention.out.\2",
    r"encoder\.layer\.(\d+)\.intermediate\.dense\.(weight|bias)": r"blocks.\1.fc1.\2",
    r"encoder\.layer\.(\d+)\.output\.dense\.(weight|bias)": r"blocks.\1.fc2.\2",
    r"layernorm\.(weight|bias)": r"norm.\1",
}
#: Names since transformers 5, in memory; files on disk mostly have the older ones.
_HUGGING_FACE_5 = {
    r"layers\.(\d+)\.layernorm_(before|after)\.(weight|bias)": r"encoder.layer.\1.layernorm_\2.\3",
    r"layers\.(\d+)\.attention\.q_proj\.(weight|bias)": r"encoder.layer.\1.attention.attention.query.\2",
    r"layers\.(\d+)\.attention\.k_proj\.(weight|bias)": r"encoder.layer.\1.attention.attention.key.\2",
    r"layers\.(\d+)\.attention\.v_proj\.(weight|bias)": r"encoder.layer.\1.attention.attention.value.\2",
    r"layers\.(\d+)\.attention\.o_proj\.(weight|bias)": r"encoder.layer.\1.attention.output.dense.\2",
    r"layers\.(\d+)\.mlp\.fc1\.(weight|bias)": r"encoder.layer.\1.intermediate.dense.\2",
    r"layers\.(\d+)\.mlp\.fc2\.(weight|bias)": r"encoder.layer.\1.output.dense.\2",
}


def _open_clip(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The image tower; its patch map has no bias and its embeddings no batch axis. Text entries keep their names."""
    out = _renamed(weights, _OPEN_CLIP)
    out["aggregation_embedding"] = out["aggregation_embedding"].reshape(1, 1, -1)
    out["position_embedding"] = out["position_embedding"][None]
    out["patch_embedding.bias"] = torch.zeros(len(out["patch_embedding.weight"]), dtype=torch.float32)
    return out


def _hugging_face(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Query, key and value are separate maps."""
    flat = _renamed({name.removeprefix("vit."): value for name, value in weights.items()}, _HUGGING_FACE_5)
    out: dict[str, Tensor] = {}
    rest = dict(flat)
    for name in flat:
        if found := re.fullmatch(r"encoder\.layer\.(\d+)\.attention\.attention\.query\.(weight|bias)", name):
            parts = [f"encoder.layer.{found[1]}.attention.attention.{p}.{found[2]}" for p in ("query", "key", "value")]
            out[f"blocks.{found[1]}.attention.qkv.{found[2]}"] = torch.cat([flat[part] for part in parts])
            for part in parts:
                del rest[part]
    return out | _renamed(rest, _HUGGING_FACE)


def _resnet(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"net.{name}" if not name.startswith("net.") else name: value for name, value in weights.items()}


LAYOUTS = (
    Layout(name="refers-bench", mark=r"blocks\.0\.attention\.qkv\.weight", convert=dict),
    Layout(name="refers-bench ResNet", mark=r"net\.conv1\.weight", convert=_resnet, backbone="resnet"),
    Layout(
        name="REFERS release",
        mark=r"(visual\.vit\.)?transformer\.embeddings\.cls_token",
        convert=official_layouts.with_rest,
    ),
    Layout(
        name="timm ViT (also MAE, MoCo v3, DINO)",
        mark=r"blocks\.0\.attn\.qkv\.weight",
        convert=lambda weights: _renamed(weights, _TIMM),
    ),
    Layout(
        name="torchvision ViT",
        mark=r"encoder\.layers\.encoder_layer_0\.ln_1\.weight",
        convert=lambda weights: _renamed(weights, _TORCHVISION),
    ),
    Layout(
        name="open_clip image tower",
        mark=r"visual\.transformer\.resblocks\.0\.ln_1\.weight",
        convert=_open_clip,
        remark="the layer norm before the first block (ln_pre) and the projection have no place here",
    ),
    Layout(
        name="Hugging Face ViT",
        mark=r"(vit\.)?(encoder\.layer|layers)\.0\.layernorm_before\.weight",
        convert=_hugging_face,
    ),
    Layout(name="ResNet (timm, torchvision)", mark=r"layer1\.0\.conv1\.weight", convert=_resnet, backbone="resnet"),
)


def recognised(weights: Mapping[str, Tensor]) -> Layout | None:
    """The layout of a state dict, or None."""
    for layout in LAYOUTS:
        if any(re.fullmatch(layout.mark, name) for name in weights):
            return layout
    return None


def adding_projection(positions: Tensor) -> dict[str, Tensor]:
    """The position projection under which concatenated positions are added: [I | I] without bias.

    Args:
        positions: (1, 1+N, D), of a network that adds them.
    """
    one = torch.eye(positions.shape[-1], dtype=positions.dtype)
    weight = torch.cat([one, one], dim=1)
    return {"position_projection.weight": weight, "position_projection.bias": torch.zeros(len(one), dtype=one.dtype)}


def folded(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same encoder with added positions, for networks that have no position projection.

    ``W [t; p] + b = W_t t + (W_p p + b)`` for every token t and its position p, in the order of
    `RadiographTransformer.embed`: W_t goes into patch map and aggregation embedding, the rest into the positions.

    Raises:
        ValueError: a part of it is missing, or shapes do not belong together.
    """
    rest = dict(weights)
    try:
        projection, bias = (rest.pop(f"position_projection.{kind}").double() for kind in ("weight", "bias"))
        for_token, for_position = projection.chunk(2, dim=1)
        kernel = rest["patch_embedding.weight"]
        new = {
            "patch_embedding.weight": (for_token @ kernel.double().flatten(1)).reshape(kernel.shape),
            "patch_embedding.bias": for_token @ rest["patch_embedding.bias"].double(),
            "aggregation_embedding": rest["aggregation_embedding"].double() @ for_token.T,
            "position_embedding": rest["position_embedding"].double() @ for_position.T + bias,
        }
    except KeyError as error:
        raise ValueError(f"the position projection cannot be folded without {error}") from error
    except (RuntimeError, IndexError) as error:
        raise ValueError("the position projection and what it projects have shapes that do not fit") from error
    return rest | {name: value.to(rest[name].dtype) for name, value in new.items()}


def to_timm(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our names -> timm's, so that `timm.create_model(..., checkpoint_path=...)` and others can use an encoder.

    Positions that are concatenated and projected (the paper's reading) are folded into a plain ViT's: equal tokens.

    Raises:
        ValueError: a position projection that cannot be folded.
    """
    if any(name.startswith("position_projection") for name in weights):
        weights = folded(weights)
    back = {
        r"aggregation_embedding": "cls_token",
        r"position_embedding": "pos_embed",
        r"patch_embedding\.(weight|bias)": r"patch_embed.proj.\1",
        r"blocks\.(\d+)\.attention\.qkv\.(weight|bias)": r"blocks.\1.attn.qkv.\2",
        r"blocks\.(\d+)\.attention\.out\.(weight|bias)": r"blocks.\1.attn.proj.\2",
        r"blocks\.(\d+)\.fc([12])\.(weight|bias)": r"blocks.\1.mlp.fc\2.\3",
        r"net\.(.*)": r"\1",
    }
    return _renamed(weights, back)
