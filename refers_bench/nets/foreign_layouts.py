"""Converts weights that others stored, PyTorch state dicts or JAX arrays, to the names and shapes of our encoders.

The tables of names stand in ``foreign_layouts.toml``. timm's own filters are no substitute: they convert to a model of
timm's and resample positions by another rule than the released code.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from refers_bench.errors import UserError
from refers_bench.nets.encoder_sheets import EncoderSheet

#: Entries that hold the state dict in checkpoints of common trainers.
_NESTED = ("model", "state_dict", "teacher", "student", "encoder", "model_state", "net", "module")
#: Prefixes of the encoder that is taken whatever else there is: MoCo's trained one and not the one that follows it; the
#: image encoder beside a text encoder (MGCA, its ConVIRT, GLoRIA, BenchX).
_TRAINED = (
    *("module.base_encoder.", "base_encoder.", "module.encoder_q.", "encoder_q."),
    *("img_encoder_q.model.", "img_encoder.model.", "gloria.img_encoder.model.", "visual.model."),
)
#: Further prefixes in front of an image encoder.
_PREFIXES = ("module.momentum_encoder.", "image_encoder.", "backbone.", "module.", "_orig_mod.", "model.", "encoder.")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A way in which others store an encoder.

    Attributes:
        name: for people.
        mark: pattern of a name that every state dict of this layout has.
        prefixes: taken off every name.
        older: name of a newer version -> the name that stands in `names`.
        names: our name -> theirs; several are stacked.
        bare: whether embeddings have no batch axis, and the patch map no bias.
        backbone: "radiograph_transformer" or "resnet".
        remark: what the conversion loses; '' for nothing.
    """

    name: str
    mark: str
    prefixes: Sequence[str] = ()
    older: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    bare: bool = False
    backbone: str = "radiograph_transformer"
    remark: str = ""

    def convert(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A state dict under our names; what has no place keeps its own name.

        Also right for gradients.

        Raises:
            KeyError: a tensor that this layout must have is not there.
            RuntimeError, IndexError, TypeError: one has a shape that it cannot have.
        """
        if self.backbone == "resnet":
            return {f"net.{name.removeprefix('net.')}": value for name, value in weights.items()}
        out = _renamed({self._stripped(name): value for name, value in weights.items()}, self.older)
        for ours, theirs in self.names.items():
            if not isinstance(theirs, str):
                out = _stacked(out, theirs, ours)
        out = _renamed(out, {theirs: ours for ours, theirs in self.names.items() if isinstance(theirs, str)})
        if self.bare:
            out["aggregation_embedding"] = out["aggregation_embedding"].reshape(1, 1, -1)
            out["position_embedding"] = out["position_embedding"][None]
            out["patch_embedding.bias"] = torch.zeros(len(out["patch_embedding.weight"]), dtype=torch.float32)
        return out

    def _stripped(self, name: str) -> str:
        for prefix in self.prefixes:
            name = name.removeprefix(prefix)
        return name


def _pattern(name: str) -> str:
    """Pattern of a name of the tables; its groups are the number of the block, and the kind of a map's tensor."""
    return re.escape(name).replace(r"\#", r"(?P<block>\d+)") + ("(?P<kind>weight|bias)" if name[-1] in "._" else "")


def _replacement(name: str) -> str:
    return name.replace("#", r"\g<block>") + (r"\g<kind>" if name[-1] in "._" else "")


def _renamed(weights: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    """Names of the tables, each name of `weights` by the first that fits; others stay."""
    rules = [(re.compile(_pattern(old)), _replacement(new)) for old, new in names.items()]

    def renamed(name: str) -> str:
        return next((found.expand(new) for old, new in rules if (found := old.fullmatch(name))), name)

    return {renamed(name): value for name, value in weights.items()}


def _stacked(weights: Mapping[str, Tensor], parts: Sequence[str], whole: str) -> dict[str, Tensor]:
    """With separate maps (query, key and value) as one."""
    out = dict(weights)
    for name in weights:
        if found := re.fullmatch(_pattern(parts[0]), name):
            tensors = [out.pop(found.expand(_replacement(part))) for part in parts]
            out[found.expand(_replacement(whole))] = torch.cat(tensors)
    return out


_TABLES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
LAYOUTS = tuple(Layout(**table) for table in _TABLES["layouts"])


def recognised(weights: Mapping[str, Tensor]) -> Layout | None:
    """The layout of a state dict, or None."""
    fitting = (layout for layout in LAYOUTS if any(re.fullmatch(layout.mark, name) for name in weights))
    return next(fitting, None)


def unwrapped(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """The state dict inside a checkpoint, whichever entry and prefix it stands under.

    Of momentum and base encoder (MoCo) the base encoder is taken, of image and text encoder the image encoder.
    """
    for _ in range(3):
        inner = next((content[name] for name in _NESTED if isinstance(content.get(name), Mapping)), None)
        if inner is None or any(isinstance(value, Tensor) for value in content.values()):
            break
        content = inner
    tensors = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if recognised(tensors):
        return tensors
    for prefix in (*_TRAINED, *_PREFIXES):
        inside = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        if inside and prefix in _TRAINED:
            return inside
        if len(inside) > len(tensors) / 2:
            return unwrapped(inside)
    return tensors


#: Part of a block in Google's layout -> in that of the REFERS release.
_JAX_BLOCK = {
    "LayerNorm_0": "attention_norm",
    "LayerNorm_2": "ffn_norm",
    **{f"MultiHeadDotProductAttention_1/{part}": f"attn.{part}" for part in ("query", "key", "value", "out")},
    "MlpBlock_3/Dense_0": "ffn.fc1",
    "MlpBlock_3/Dense_1": "ffn.fc2",
}


def from_jax(arrays: Mapping[str, Any]) -> dict[str, Tensor]:
    """Arrays of Google's ``ViT-B_16.npz`` layout -> names of the REFERS release; other arrays keep their own.

    Raises:
        KeyError: an array that this layout must have is not there.
        RuntimeError, IndexError, TypeError: one has a shape or type that it cannot have.

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
    for i in {int(m[1]) for name in arrays if (m := re.match(r"Transformer/encoderblock_(\d+)/", name))}:
        for theirs, ours in _JAX_BLOCK.items():
            place, name = f"Transformer/encoderblock_{i}/{theirs}", f"transformer.encoder.layer.{i}.{ours}"
            bias = array(f"{place}/bias").flatten()
            if "Norm" in theirs:
                weight = array(f"{place}/scale")
            elif "Attention" in theirs:
                weight = array(f"{place}/kernel").reshape(len(bias), len(bias)).T
            else:
                weight = array(f"{place}/kernel").T
            out |= {f"{name}.weight": weight, f"{name}.bias": bias}
    if "head/kernel" in arrays:
        out |= {"head.weight": array("head/kernel").T, "head.bias": array("head/bias")}
    out |= {name: array(name) for name in arrays if name not in used and arrays[name].dtype.kind in "fiub"}
    return {name: value.contiguous() for name, value in out.items()}


#: Rules by which position grids are resized; their sources stand in `resize_positions`.
POSITION_RULES = ("aligned", "timm", "meta", "size")
#: What Meta's rule adds to a new grid's side before it divides by the old one.
OFFSET = 0.1


def resize_positions(positions: Tensor, grid: int, *, rule: str = "aligned", first: int = 1) -> Tensor:
    """Resample a (1, first + n*n, D) position embedding to (1, first + grid*grid, D); the first positions are kept.

    Args:
        positions: of the file.
        grid: patches of a new row.
        rule: one of `POSITION_RULES`. "aligned": bilinear with aligned corners, as ``scipy.ndimage.zoom`` of order 1,
            without that function's artefact of zeros in the last row and column at some sizes. The others are bicubic:
            "timm" smooths when it makes the grid smaller, "size" does not, "meta" samples by (grid + 0.1) / n instead
            of grid / n.
        first: positions of class and register tokens.

    Raises:
        UserError: the old grid is not square.

    Source: VisionTransformer.load_from of the released code ("aligned"); timm.layers.resample_abs_pos_embed ("timm");
        interpolate_pos_encoding of transformers ("size") and of DINOv2 ("meta").
    """
    kept, rest = positions[:, :first], positions[:, first:]
    old = round(rest.shape[1] ** 0.5)
    if old * old != rest.shape[1]:
        raise UserError(f"a position embedding of {rest.shape[1]} patches has no square grid")
    if old == grid:
        return positions
    plane = rest.reshape(1, old, old, -1).permute(0, 3, 1, 2)
    how: dict[str, Any] = {"mode": "bicubic", "align_corners": False, "antialias": rule == "timm"}
    if rule == "aligned":
        how = {"mode": "bilinear", "align_corners": True}
    if rule == "meta":
        how["scale_factor"] = (grid + OFFSET) / old
    else:
        how["size"] = (grid, grid)
    resized = F.interpolate(plane, **how)
    return torch.cat([kept, resized.permute(0, 2, 3, 1).reshape(1, grid * grid, -1)], dim=1)


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
    timm: Any = next(layout for layout in LAYOUTS if layout.name.startswith("timm")).names
    return {name.removeprefix("net."): value for name, value in _renamed(weights, timm).items()}


#: Buffers that follow from the architecture, and what stands for hidden patches in pre-training.
_NO_WEIGHT = r".*\b(rope\..*|relative_position_index|attn_mask|mask_token)"
#: A block of DINOv2's training, which numbers its chunks, too.
_CHUNK = re.compile(r"blocks\.\d+\.(\d+\.)")


def for_timm(content: Mapping[str, Any], sheet: EncoderSheet) -> tuple[dict[str, Tensor], Layout]:
    """A checkpoint's encoder under timm's names, and the layout that it had.

    Args:
        content: of the file.
        sheet: says where the encoder is in it, and by which names.

    Raises:
        KeyError, RuntimeError, IndexError, TypeError, ValueError: it cannot be of this layout.
    """
    for name in sheet.wrappers:
        content = content[name] if isinstance(content.get(name), Mapping) else content
    weights: dict[str, Tensor] = {name: one for name, one in content.items() if isinstance(one, Tensor)}
    if not weights or not (sheet.wrappers or sheet.prefixes):
        weights = unwrapped(content)
    for prefix in sheet.prefixes:
        inside = {name.removeprefix(prefix): one for name, one in weights.items() if name.startswith(prefix)}
        weights = inside or weights
    weights = {_CHUNK.sub(r"blocks.\1", name): one for name, one in weights.items()}
    layout = recognised(weights) or Layout(name=sheet.title, mark="")
    if layout.bare:
        raise ValueError(f"{layout.name}: {layout.remark}")
    weights = to_timm(layout.convert(weights))
    if sheet.names:
        layout = Layout(name=sheet.title, mark="", older=sheet.older, names=sheet.names)
        weights = layout.convert(weights)
    left_out = re.compile("|".join([_NO_WEIGHT, *sheet.ignored]))
    return {name: one for name, one in weights.items() if not left_out.fullmatch(name)}, layout


def fitted_to(net: Any, weights: Mapping[str, Tensor], *, rule: str) -> dict[str, Tensor]:
    """Weights under timm's names with the positions of a timm network: of its grid, and of its first tokens.

    DINOv2 keeps a position for the class token beside registers that have none; timm adds it to the class token.

    Args:
        net: of timm.
        weights: of the same architecture.
        rule: see `resize_positions`.

    Raises:
        UserError: a position grid that is not square.
    """
    out = dict(weights)
    own, given = getattr(net, "pos_embed", None), out.get("pos_embed")
    if own is None or given is None:
        return out
    if net.no_embed_class and round(given.shape[1] ** 0.5) ** 2 != given.shape[1] and "cls_token" in out:
        out["cls_token"], given = out["cls_token"] + given[:, :1], given[:, 1:]
    first = 0 if net.no_embed_class else net.num_prefix_tokens
    out["pos_embed"] = resize_positions(given, net.patch_embed.grid_size[0], rule=rule, first=first)
    return out
