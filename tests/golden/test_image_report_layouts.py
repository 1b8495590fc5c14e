"""Checkpoints in the layouts of MGCA and GLoRIA give the recorded features, through `checkpoint` and through `encoder`.

Cases 20, 22 (MGCA) and 23; every size and name is read from the case. Full-size weights follow the recipe of the cases.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from recorded_cases import close, inside, load
from refers_bench import plugins
from refers_bench.nets.projection_heads import BatchNormHead
from refers_bench.nets.regions import regions
from refers_bench.training import weight_files

FEATURE = 1e-4
#: Where MGCA's checkpoints hold the image encoder.
MGCA = "img_encoder_q."


def seen(image_u8: Tensor) -> Tensor:
    """Grey images as both networks see them: mean and SD 0.5, three equal channels."""
    return ((image_u8.float() / 255 - 0.5) / 0.5)[:, None].repeat(1, 3, 1, 1)


def method(name: str, network: Mapping[str, Any], side: int, **params: Any) -> Any:
    """The encoder of a method, to be filled, in evaluation mode."""
    one: plugins.Method = plugins.load("method", name)
    return one.build_encoder(one.Params(**params), network, {"size": side, "channels": 3}).eval()


def network_of(names: Mapping[str, tuple[int, ...]], *, heads: int) -> dict[str, Any]:
    """Section `network` of a timm ViT with tensors of these shapes: a plain pre-norm ViT, GELU, added positions."""
    width, _, patch, _ = names["patch_embed.proj.weight"]
    return {
        "patch_size": patch,
        "width": width,
        "depth": sum(name.endswith(".norm1.weight") for name in names),
        "heads": heads,
        "mlp_width": names["blocks.0.mlp.fc1.bias"][0],
        "dropout": 0.0,
        "activation": "gelu",
        "position": "added",
        "aggregation": "none",
        "readout": "cls",
    }


def filled(encoder: Any, content: Any, path: Path) -> Any:
    """The encoder with all its tensors read from a file with this content."""
    torch.save(content, path)
    coverage, _ = weight_files.load(encoder, path, minimum=1.0)
    assert not coverage.missing
    return encoder.eval()


@pytest.mark.parametrize("by", ["checkpoint", "encoder"])
@torch.no_grad()
def test_mgca(golden_medvlp: Path, tmp_path: Path, by: str) -> None:
    data, hp = load(golden_medvlp / "case20_mgca_layout.safetensors")
    weights = inside(data, "checkpoint/")
    own = inside(weights, f"{MGCA}model.")
    network = network_of({name: tuple(value.shape) for name, value in own.items()}, heads=hp["heads"])
    assert (network["width"], network["depth"]) == (hp["width"], hp["depth"])
    side = data["in/image_u8"].shape[-1]
    if by == "checkpoint":
        encoder = method("checkpoint", network, side)
    else:
        sizes = {"embed_dim": hp["width"], "depth": hp["depth"], "num_heads": hp["heads"]}
        arguments = {**sizes, "patch_size": network["patch_size"]}
        encoder = method("encoder", network, side, layout="mgca", arguments=arguments)
    # As Lightning writes it; what else stands in it is no encoder's.
    filled(encoder, {"state_dict": weights, "hyper_parameters": {"emb_dim": hp["embedding"]}}, tmp_path / "mgca.ckpt")
    x = seen(data["in/image_u8"])
    tokens = encoder(x)
    close(encoder.readout(tokens), data["out/features"], "features", relative=FEATURE)
    close(encoder.patches(tokens), data["out/patch_features"], "patches", relative=FEATURE)
    if by == "checkpoint":
        found = regions(encoder, x, attention=True)
        close(found.feature_BF, data["out/features"], "features", relative=FEATURE)
        close(found.attention_BP, data["out/last_block_attention_cls_mean"], "attention", relative=FEATURE)
        for kind, features in (("global", found.feature_BF), ("local", found.regions_BPD)):
            head = head_of(inside(weights, f"{MGCA}{kind}_embed."))
            close(head(features), data[f"out/{kind}_embedding"], kind, relative=FEATURE)


def head_of(weights: Mapping[str, Tensor]) -> nn.Module:
    """A head from its names: 1 x 1 convolutions are linear maps, and counts have no axis."""
    linear = {name: value[..., 0] if value.ndim == 3 else value for name, value in weights.items()}
    (hidden, width), out = linear["head.0.weight"].shape, len(linear["head.3.weight"])
    head = BatchNormHead(width, hidden, out)
    head.load_state_dict({name: value.reshape(head.state_dict()[name].shape) for name, value in linear.items()})
    return head.eval()


def mixed(x: np.ndarray) -> np.ndarray:
    """The recipe's hash of 32-bit numbers, in place."""
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B), (16, 1)):
        x ^= x >> np.uint32(shift)
        x *= np.uint32(factor)
    return x


def drawn(names: Mapping[str, list[int]], seed: int) -> dict[str, Tensor]:
    """Weights by the recipe that stands beside the cases."""
    found = {}
    for number, name in enumerate(sorted(names)):
        shape = names[name]
        if name.endswith("num_batches_tracked"):
            found[name] = torch.zeros(shape, dtype=torch.long)
            continue
        start = np.uint32((1_000_003 * number + 7919 * seed) % 2**32)
        u = mixed(np.arange(math.prod(shape), dtype=np.uint32) + start) / 2**31 - 1
        if name.endswith("running_var"):
            u = 1 + 0.5 * u
        elif len(shape) > 1 and name not in ("pos_embed", "cls_token"):
            u *= math.sqrt(3 / math.prod(shape[1:]))
        elif len(shape) == 1 and name.endswith("weight"):
            u = 1 + 0.1 * u
        else:
            u *= 0.1
        found[name] = torch.from_numpy(u.astype(np.float32)).reshape(shape)
    return found


def checked(weights: Mapping[str, Tensor], expected: Tensor) -> dict[str, Tensor]:
    """Drawn weights, once their sum of absolute values is the recorded one."""
    total = sum(value.double().abs().sum() for value in weights.values())
    close(torch.as_tensor(total)[None], expected, "the recipe's sum", relative=1e-9)
    return dict(weights)


@torch.no_grad()
def test_full_size_mgca(golden_medvlp: Path, tmp_path: Path) -> None:
    data, hp = load(golden_medvlp / "case22_mgca_vit_b16.safetensors")
    weights = checked(drawn(hp["names"], int(data["in/seed"])), data["out/checksum"])
    # Heads of 64 features, as in every ViT of this family.
    shapes = {name: tuple(shape) for name, shape in hp["names"].items()}
    network = network_of(shapes, heads=shapes["cls_token"][-1] // 64)
    encoder = method("checkpoint", network, data["in/image_u8"].shape[-1])
    content = {"state_dict": {f"{MGCA}model.{name}": value for name, value in weights.items()}}
    tokens = filled(encoder, content, tmp_path / "vit_base.ckpt")(seen(data["in/image_u8"]))
    close(encoder.readout(tokens), data["out/features"], "features", relative=FEATURE)
    close(encoder.patches(tokens).mean(1), data["out/mean_patch_features"], "patches", relative=FEATURE)


@torch.no_grad()
def test_gloria(golden_medvlp: Path, tmp_path: Path) -> None:
    data, hp = load(golden_medvlp / "case23_gloria_resnet50.safetensors")
    weights = checked(drawn(hp["names"], int(data["in/seed"])), data["out/checksum"])
    (of_row,) = (name for name in data if name.startswith("out/upsampled_row_"))
    row, number = data[of_row], int(of_row.rpartition("_")[2])
    side, larger = data["in/image_u8"].shape[-1], row.shape[-1]
    encoder = method("checkpoint", {}, side, backbone="resnet50", upsampled=larger)
    content = {"state_dict": {f"{hp['prefix']}{name}": value for name, value in weights.items()}}
    # The text encoder of the whole file has more tensors than the image encoder.
    content["state_dict"] |= {f"gloria.text_encoder.model.{n}.weight": torch.ones(1) for n in range(2 * len(weights))}
    filled(encoder, content, tmp_path / "chexpert_resnet50.ckpt")
    x = seen(data["in/image_u8"])
    close(encoder.enlarged(x)[:, 0, number], row, "enlarged image", relative=FEATURE)
    found = regions(encoder, x)
    close(found.feature_BF, data["out/features"], "features", relative=FEATURE)
    close(found.regions_BPD.mean(1), data["out/local_features_mean"], "local features", relative=FEATURE)
    wide = math.isqrt(found.regions_BPD.shape[1])
    (at,) = (name for name in data if name.startswith("out/local_features_at_"))
    down, right = map(int, at.split("_")[-2:])
    close(found.regions_BPD[:, down * wide + right], data[at], at, relative=FEATURE)
    embedded = nn.functional.linear(
        found.feature_BF, weights["global_embedder.weight"], weights["global_embedder.bias"]
    )
    close(embedded, data["out/global_embedding"], "global embedding", relative=FEATURE)
    local = nn.functional.linear(found.regions_BPD, weights["local_embedder.weight"].flatten(1))
    close(local.mean(1), data["out/local_embedding_mean"], "local embedding", relative=FEATURE)
