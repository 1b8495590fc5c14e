"""Weight files of released encoders, written to their descriptions from small networks of timm with random weights.

Each writer gives the file's content and, of the network it was written from, the tokens before any of our code: what is
read back must give the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import timm
import torch
from torch import Tensor, nn

WIDTH, HEADS = 32, 2
VIT: Mapping[str, Any] = {"embed_dim": WIDTH, "num_heads": HEADS, "depth": 4}


@dataclass(frozen=True)
class Released:
    """A released layout: parameters of our method for a small one, its network of timm, and the file's content."""

    layout: str
    network: str
    side: int
    arguments: Mapping[str, Any] = field(default_factory=dict)
    variant: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    content: Callable[[dict[str, Tensor]], Any] = dict
    pooled: Callable[[Any, Tensor], Tensor] = lambda net, tokens: tokens[:, 0]
    essential: str = "norm.weight"

    @property
    def params(self) -> dict[str, Any]:
        return {"layout": self.layout, "variant": self.variant, "arguments": dict(self.arguments)}

    def reference(self) -> Any:
        """Timm's network, every weight of it random (timm starts some at zero or one)."""
        torch.manual_seed(11)
        given = {**self.arguments, **self.extra}
        net = timm.create_model(self.network, num_classes=0, img_size=self.side, **given)
        for parameter in net.parameters():
            nn.init.normal_(parameter, std=0.2)
        return net.eval()


def renamed(state: Mapping[str, Tensor], *rules: tuple[str, str]) -> dict[str, Tensor]:
    found = dict(state)
    for old, new in rules:
        found = {re.sub(old, new, name): value for name, value in found.items()}
    return found


def metas(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """DINOv2's own names."""
    return {**state, "mask_token": torch.zeros(1, WIDTH)}


def chunked(state: dict[str, Tensor]) -> dict[str, Any]:
    """The teacher of a DINOv2 training: chunks of blocks, registers, a position of the class token, heads."""
    state = renamed(state, (r"mlp\.fc1", "mlp.w12"), (r"mlp\.fc2", "mlp.w3"), ("reg_token", "register_tokens"))
    state = {re.sub(r"^blocks\.(\d+)", lambda m: f"blocks.{int(m[1]) // 2}.{m[1]}", k): v for k, v in state.items()}
    own = torch.randn(1, 1, WIDTH)
    state["cls_token"], state["pos_embed"] = state["cls_token"] - own, torch.cat([own, state["pos_embed"]], 1)
    inside = {f"backbone.{name}": value for name, value in metas(state).items()}
    return {"teacher": {**inside, "dino_head.last_layer.weight_g": torch.ones(3, 1)}, "iteration": 5}


def joint_embedding(state: dict[str, Tensor]) -> dict[str, Any]:
    """Target encoder, encoder and predictor of one training; only the first is wanted."""
    target = {f"target_encoder.{name}": value for name, value in state.items()}
    encoder = {f"encoder.{name}": torch.zeros_like(value) for name, value in state.items()}
    return {"model": {**encoder, **target, "predictor.blocks.0.attn.qkv.weight": torch.zeros(3, 1)}, "epoch": 1}


def old_swin(state: dict[str, Tensor]) -> dict[str, Any]:
    """Timm 0.5.4: the smaller map at the end of a stage, buffers among the weights; Ark's heads."""
    earlier = {
        re.sub(r"layers\.(\d)\.downsample", lambda m: f"layers.{int(m[1]) - 1}.downsample", name): value
        for name, value in state.items()
    }
    earlier["layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(4, 4, dtype=torch.int64)
    earlier["layers.0.blocks.1.attn_mask"] = torch.zeros(4, 4, 4)
    earlier |= {"projector.weight": torch.zeros(7, 128), "omni_heads.0.weight": torch.zeros(2, 7)}
    return {"teacher": {f"module.{name}": value for name, value in earlier.items()}, "epoch": 3}


def masked_pretraining(state: dict[str, Tensor]) -> dict[str, Any]:
    """MAE: a decoder beside the encoder."""
    decoder = {"decoder_blocks.0.norm1.weight": torch.ones(4), "decoder_pos_embed": torch.zeros(1, 5, 4)}
    return {"model": {**state, **decoder, "mask_token": torch.zeros(1, 1, 4)}, "args": {}}


def image_and_text(state: dict[str, Tensor]) -> dict[str, Any]:
    """MGCA: heads, a text encoder and prototypes beside the encoder, as Lightning writes them."""
    more = {"img_encoder_q.global_embed.head.0.weight": torch.ones(4), "prototype_layer.weight": torch.ones(5, 4)}
    more |= {f"text_encoder_q.model.encoder.layer.{n}.weight": torch.ones(2) for n in range(200)}
    return {"state_dict": {**{f"img_encoder_q.model.{name}": one for name, one in state.items()}, **more}}


def eva(state: dict[str, Tensor], *rules: tuple[str, str]) -> dict[str, Any]:
    state = renamed(state, ("fc_norm", "norm"), *rules)
    state |= {"rope.freqs_cos": torch.zeros(4, 4), "blocks.0.attn.rope.freqs_sin": torch.zeros(4, 4)}
    return {"model_ema": None, "module": {**state, "mask_token": torch.zeros(1, 1, 4), "lm_head.weight": torch.ones(2)}}


def packed(state: dict[str, Tensor]) -> dict[str, Any]:
    return eva(state, (r"mlp\.fc1\.", "mlp.w12."), (r"mlp\.fc2\.", "mlp.w3."))


def split(state: dict[str, Tensor]) -> dict[str, Any]:
    """Gate and value as two maps, which timm has as one in the small networks."""
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        if ".mlp.fc1." in name:
            found[name.replace("fc1", "w1")], found[name.replace("fc1", "w2")] = value.chunk(2)
        else:
            found[name] = value
    return eva(found, (r"mlp\.fc2\.", "mlp.w3."))


def apart(state: dict[str, Tensor]) -> dict[str, Any]:
    rules = [(r"fc1_g", "w1"), ("fc1_x", "w2"), (r"mlp\.fc2", "mlp.w3"), (r"mlp\.norm", "mlp.ffn_ln")]
    return eva(state, *rules, (r"q_proj\.bias", "q_bias"), (r"v_proj\.bias", "v_bias"))


def release(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """ViT-pytorch's names behind the prefix of the REFERS release."""
    block, found = r"^blocks\.(\d+)\.", {}
    for name, value in state.items():
        if "attn.qkv" in name:
            for part, one in zip(("query", "key", "value"), value.chunk(3), strict=True):
                found[name.replace("qkv", part)] = one
        else:
            found[name] = value
    rules = [
        ("attn.proj", "attn.out"), ("norm1", "attention_norm"), ("norm2", "ffn_norm"), ("mlp", "ffn"),
        (block, r"transformer.encoder.layer.\1."), ("^norm", "transformer.encoder.encoder_norm"),
        ("^cls_token", "transformer.embeddings.cls_token"), ("^pos_embed", "transformer.embeddings.position_embeddings"),
        (r"^patch_embed\.proj", "transformer.embeddings.patch_embeddings"),
    ]  # fmt: skip
    return {f"visual.vit.{name}": value for name, value in renamed(found, *rules).items()}


def mean(net: Any, tokens: Tensor) -> Tensor:
    return tokens.mean(1)


def eva_mean(net: Any, tokens: Tensor) -> Tensor:
    return net.fc_norm(tokens[:, 1:].mean(1))


NO_CLS = {"class_token": False, "global_pool": "avg", "fc_norm": False}
SWIN = {"embed_dim": 16, "depths": [2, 2, 1, 1], "num_heads": [1, 2, 4, 8], "window_size": 2}
GATED = {
    "init_values": 1e-5, "reg_tokens": 4, "no_embed_class": True, "act_layer": "silu", "mlp_ratio": 5.5,
    "mlp_layer": timm.layers.SwiGLUPacked,
}  # fmt: skip
EVA = {"patch_size": 16, "ref_feat_shape": [4, 4], **VIT}
RELEASED: Mapping[str, Released] = {
    "dinov2": Released("dinov2", "vit_small_patch14_dinov2", 56, VIT, content=metas),
    "rad_dino in Meta's names": Released("rad_dino", "vit_base_patch14_dinov2", 56, VIT, content=metas),
    "chexfound": Released(
        "chexfound", "vit_large_patch16_224", 64, {**VIT, "mlp_ratio": 5.5}, extra=GATED, content=chunked
    ),
    "chexworld": Released(
        "chexworld", "vit_base_patch16_224", 64, VIT, extra=NO_CLS, content=joint_embedding, pooled=mean
    ),
    "ark large": Released(
        "ark", "swin_large_patch4_window12_384", 64, SWIN, content=old_swin, pooled=lambda net, x: x.mean((1, 2))
    ),
    "ark base": Released(
        "ark", "swin_base_patch4_window7_224", 64, SWIN, "base", content=old_swin, pooled=lambda net, x: x.mean((1, 2))
    ),
    "eva_x small": Released(
        "eva_x", "eva02_small_patch14_224", 64, EVA, content=packed, pooled=eva_mean, essential="fc_norm.weight"
    ),
    "eva_x tiny, two maps": Released(
        "eva_x", "eva02_tiny_patch14_224", 64, EVA, "tiny", content=split, pooled=eva_mean, essential="fc_norm.weight"
    ),
    "eva_x base": Released(
        "eva_x", "eva02_base_patch14_224", 64, EVA, "base", content=apart, pooled=eva_mean, essential="fc_norm.weight"
    ),
    "medical_mae": Released("medical_mae", "vit_base_patch16_224", 64, VIT, content=masked_pretraining),
    "mrm": Released(
        "mrm", "vit_base_patch16_224", 64, VIT, content=masked_pretraining, pooled=lambda net, x: x[:, 1:].mean(1)
    ),
    "mgca": Released("mgca", "vit_base_patch16_224", 64, VIT, content=image_and_text),
    "refers": Released("refers", "vit_base_patch16_224", 64, VIT, content=release),
}  # fmt: skip
