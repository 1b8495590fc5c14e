"""Reads weight files that other people made, without running any code they may contain."""

from __future__ import annotations

import pickle
import re
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from refers_bench.errors import DataError, UserError
from refers_bench.files import plain_file, read_json
from refers_bench.nets import foreign_layouts, weight_headers
from refers_bench.nets.foreign_layouts import Layout
from refers_bench.nets.radiograph_transformer import RadiographTransformer
from refers_bench.nets.timm_encoder import TimmEncoder
from refers_bench.training.checkpoints import Coverage, load_weights, read_tensors

#: Names of an encoder's tensors here; a head or a text tower has none of them.
_ENCODER = re.compile(r"(aggregation_embedding|(position|patch)_(embedding|projection)|blocks|norm|net)\b.*")


def read(path: Path) -> dict[str, Tensor]:
    """The encoder's state dict of a weight file, under the names the file uses.

    Torch files are read with `weights_only`: a pickle that asks for anything but tensors is refused, not run.

    Raises:
        DataError: no such file, unknown format, truncated, or with something else than tensors inside.
    """
    weights = foreign_layouts.unwrapped(_content(path))
    if not weights:
        raise DataError("no tensor inside", allowed="a state dict, or a checkpoint that holds one", path=path)
    return weights


def _content(path: Path) -> Mapping[str, Any]:
    """What a weight file holds, as it stands."""
    reader = _READERS.get(path.suffix.lower())
    if not plain_file(path).is_file() or reader is None:
        found = "no such file" if not path.is_file() else f"unknown format '{path.suffix}'"
        raise DataError(found, allowed=f"a file ending in {', '.join(_READERS)}", path=path)
    weight_headers.check_sizes(path)
    content = reader(path)
    _check_tensors(content, path)
    return content


def _check_tensors(content: Mapping[str, Any], path: Path) -> None:
    """Refuse tensors that are no plain arrays of numbers, or that need more memory than the file has bytes.

    Raises:
        DataError: so they are, or do. Tensors with two names count twice, hence twice the bytes are allowed.
    """
    left: list[tuple[str, Any]] = [("", content)]
    seen, total = set[int](), 0
    while left:
        name, one = left.pop()
        if isinstance(one, Tensor):
            total += _size_of(one, name, path)
        elif isinstance(one, Mapping | list | tuple) and id(one) not in seen:
            seen.add(id(one))
            parts = one.items() if isinstance(one, Mapping) else enumerate(one)
            left += [(f"{name}.{key}".removeprefix("."), part) for key, part in parts]
    if total > 2 * path.stat().st_size:
        found = f"tensors of {total} bytes in a file of {path.stat().st_size}"
        raise DataError(found, allowed="tensors that the file holds", path=path)


def _size_of(tensor: Tensor, name: str, path: Path) -> int:
    """Bytes of a tensor, once it is seen to be a plain one."""
    kinds = {
        "sparse": tensor.layout is not torch.strided,
        "nested": tensor.is_nested,
        "quantised": tensor.is_quantized,
        "complex": tensor.is_complex(),
        "without values (meta)": tensor.device.type != "cpu",
        "of 8-bit floats": tensor.is_floating_point() and tensor.element_size() == 1,
        "of another class": type(tensor) not in (Tensor, nn.Parameter),
    }
    for kind, is_kind in kinds.items():
        if is_kind:
            raise DataError(f"'{name}' is a tensor that is {kind}", allowed="dense real numbers", path=path)
    size = tensor.numel() * tensor.element_size()
    if size > (held := tensor.untyped_storage().nbytes()):
        found = f"'{name}' of shape {tuple(tensor.shape)}, {size} bytes, made of {held} bytes"
        raise DataError(found, allowed="tensors that the file holds", path=path)
    return size


def _torch(path: Path) -> Mapping[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        allowed = "tensors alone; convert the file where you trust it: weights of code are never run here"
        raise DataError(f"not weights alone ({_first_line(error)})", allowed=allowed, path=path) from error
    except (*_DAMAGED, LookupError, AttributeError, TypeError, AssertionError, struct.error) as error:
        found = f"not a readable torch file ({type(error).__name__}: {_first_line(error)})"
        raise DataError(found, allowed="a file that torch.save wrote, whole", path=path) from error
    if not isinstance(content, Mapping):
        raise DataError(f"a {type(content).__name__}", allowed="a mapping of names to tensors", path=path)
    return content


def _jax(path: Path) -> Mapping[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return foreign_layouts.from_jax(arrays)
    except KeyError as error:
        raise DataError(f"no array {error}", allowed="the layout of ViT-B_16.npz", path=path) from error
    except MemoryError as error:
        raise DataError(
            "an array that is larger than the memory", allowed="the arrays of ViT-B_16.npz", path=path
        ) from error
    except (RuntimeError, TypeError, IndexError, AttributeError) as error:
        found = f"an array of another shape or type ({_first_line(error)})"
        raise DataError(found, allowed="the arrays of ViT-B_16.npz", path=path) from error
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"not a readable .npz ({str(error)[:200]})", path=path) from error


def _safetensors(path: Path) -> Mapping[str, Any]:
    return read_tensors(path)[0]


#: What reading a damaged torch file raises, besides what its pickle stumbles on.
_DAMAGED = (RuntimeError, EOFError, OSError, ValueError, MemoryError, zipfile.BadZipFile)
_TORCH = (".pt", ".pth", ".bin", ".ckpt", ".tar")
#: File ending -> its reader.
_READERS = {".safetensors": _safetensors, ".npz": _jax, **dict.fromkeys(_TORCH, _torch)}


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def encoder_only(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Of converted weights those that belong to an encoder: no head, text tower or decoder."""
    return {name: value for name, value in weights.items() if _ENCODER.fullmatch(name)}


def converted(weights: Mapping[str, Tensor], *, path: Path) -> tuple[dict[str, Tensor], Layout]:
    """Weights under our names, and the layout they had; what has no place in an encoder keeps its name.

    Raises:
        DataError: unknown layout, tensors that it cannot have, or an encoder's values that are not finite.
    """
    layout = foreign_layouts.recognised(weights)
    if layout is None:
        known = ", ".join(one.name for one in foreign_layouts.LAYOUTS)
        found = f"unknown layout: {len(weights)} tensors such as '{next(iter(weights))}'"
        raise DataError(found, allowed=known, path=path)
    try:
        ours = layout.convert(weights)
    except KeyError as error:
        raise DataError(f"{layout.name} without {error}", allowed="all tensors of this layout", path=path) from error
    except (RuntimeError, IndexError, TypeError) as error:
        found = f"{layout.name} with a tensor of another shape ({_first_line(error)})"
        raise DataError(found, allowed="the shapes of this layout", path=path) from error
    _check_finite(encoder_only(ours), path)
    return _full_precision(ours), layout


def _check_finite(weights: Mapping[str, Tensor], path: Path) -> None:
    for name, value in weights.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise DataError(f"'{name}' holds NaN or infinite values", allowed="finite weights", path=path)


def _full_precision(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.float() if value.is_floating_point() else value for name, value in weights.items()}


def load(encoder: nn.Module, path: Path, *, minimum: float) -> tuple[Coverage, Layout]:
    """Fill an encoder from anybody's weights: layout recognised, positions resized, grey images from coloured maps.

    Added positions become a projection [I | I] where the network concatenates and projects them, and a projection of
    the file is folded where the network adds: the first block sees the tokens that the weights were trained on.

    Args:
        encoder: a radiograph transformer, a ResNet, or a network of timm with its data sheet.
        path: the file; of a network of timm also a Hugging Face folder.
        minimum: least share of the encoder's tensors that must be filled, in (0, 1]; 0 to refuse no architecture.

    Returns:
        What was filled; the layout, whose remark also says when another activation was trained.

    Raises:
        DataError: unknown layout, another architecture (with the coverage), or a tensor of another shape.
    """
    if isinstance(encoder, TimmEncoder):
        return _load_by_sheet(encoder, path, minimum=minimum)
    given = read(path)
    weights, layout = converted(given, path=path)
    if layout.backbone == "radiograph_transformer" and isinstance(encoder, RadiographTransformer):
        remark = weight_headers.origin(path, names=given).remark(encoder.activation)
        layout = replace(layout, remark="; ".join(text for text in (layout.remark, remark) if text))
        weights = _positions_met(weights, encoder, path=path)
    coverage = _filled(encoder, weights, minimum=minimum, path=path)
    made = "position_projection.weight" not in given
    derived = tuple(name for name in coverage.loaded if made and name.startswith("position_projection."))
    return replace(coverage, derived=derived), layout


def _filled(encoder: nn.Module, weights: dict[str, Tensor], *, minimum: float, path: Path) -> Coverage:
    """Fill an encoder from weights under its own names, grey images from coloured maps."""
    own = encoder.state_dict()
    for name in ("patch_embedding.weight", "net.conv1.weight", "net.patch_embed.proj.weight"):
        if name in weights and name in own and weights[name].shape[1:2] == (3,) and own[name].shape[1] == 1:
            # A grey image equals three equal channels under the sum of the three maps.
            weights[name] = weights[name].sum(1, keepdim=True)
    fitting = {name: value for name, value in weights.items() if name not in own or own[name].shape == value.shape}
    return load_weights(encoder, fitting if _too_different(own, weights) else weights, minimum=minimum, path=path)


def _load_by_sheet(encoder: TimmEncoder, path: Path, *, minimum: float) -> tuple[Coverage, Layout]:
    """Fill a network of timm as its data sheet says; see `load`."""
    sheet, net = encoder.sheet, encoder.net
    config = _configuration(path)
    file = path if config is None else _weights_in(path)
    try:
        given, layout = foreign_layouts.for_timm(_content(file), sheet)
        rule = sheet.positions if config is None or sheet.name != "timm" else "size"
        weights = foreign_layouts.fitted_to(net, _full_precision(given), rule=rule)
    except KeyError as error:
        raise DataError(f"{sheet.title} without {error}", allowed="all tensors of this layout", path=file) from error
    except (RuntimeError, IndexError, TypeError, ValueError, UserError) as error:
        found = f"no weights of {sheet.title} ({_first_line(error)})"
        raise DataError(found, allowed=f"tensors of {sheet.architecture}", path=file) from error
    _check_finite(weights, file)
    new = re.compile("|".join(sheet.new) or "(?!)")
    started = {name: value.clone() for name, value in net.state_dict().items() if new.fullmatch(name)}
    named = {f"net.{name}": value for name, value in (weights | started).items()}
    coverage = _filled(encoder, named, minimum=minimum, path=file)
    coverage = replace(coverage, derived=tuple(f"net.{name}" for name in started))
    if config is not None:
        _configure(net, config, path=path)
    encoder.shuffle()
    return coverage, replace(layout, remark=f"positions by the rule '{rule}'")


def _configuration(path: Path) -> Mapping[str, Any] | None:
    """The ``config.json`` of a Hugging Face folder; None for a file."""
    if not path.is_dir():
        return None
    try:
        found = read_json(path / "config.json")
    except (OSError, ValueError, RecursionError) as error:
        raise DataError("no readable config.json", allowed="a Hugging Face folder", path=path) from error
    if not isinstance(found, Mapping):
        raise DataError("config.json is no mapping", allowed="a Hugging Face folder", path=path)
    return found


def _configure(net: Any, config: Mapping[str, Any], *, path: Path) -> None:
    """Give a network the norms' epsilon of a Hugging Face configuration, and check what no tensor's shape shows.

    Raises:
        DataError: another number of heads, or another activation.
    """
    heads, activation = config.get("num_attention_heads"), config.get("hidden_act", "gelu")
    own, epsilon = {one.num_heads for one in net.modules() if hasattr(one, "num_heads")}, config.get("layer_norm_eps")
    if {heads} != own or activation != "gelu" or not isinstance(epsilon, float):
        found = f"{heads} heads, hidden_act {activation}, layer_norm_eps {epsilon}"
        raise DataError(found, allowed=f"{own} heads, gelu, a number", path=path / "config.json")
    for norm in net.modules():
        if isinstance(norm, nn.LayerNorm):
            norm.eps = epsilon


def _weights_in(folder: Path) -> Path:
    """The one weight file of a Hugging Face folder."""
    files = [folder / name for name in ("model.safetensors", "pytorch_model.bin")]
    for file in files:
        if file.is_file():
            return file
    raise DataError("no weight file", allowed=" or ".join(file.name for file in files), path=folder)


def _positions_met(weights: dict[str, Tensor], encoder: RadiographTransformer, *, path: Path) -> dict[str, Tensor]:
    """Positions resized to the encoder's grid, and meeting patches as they do in the encoder, by the same function."""
    if "position_embedding" not in weights:
        return weights
    positions = weights["position_embedding"]
    try:
        positions = foreign_layouts.resize_positions(positions, encoder.grid)
    except (RuntimeError, IndexError, UserError) as error:
        found = f"a position embedding of shape {tuple(positions.shape)}"
        raise DataError(found, allowed="(1, 1 + n * n, width) for n x n patches", path=path) from error
    weights = {**weights, "position_embedding": positions}
    projects = "position_projection.weight" in weights
    if encoder.position == "concatenated" and not projects and positions.shape[-1] == encoder.width:
        return weights | foreign_layouts.adding_projection(positions)
    if encoder.position == "added" and projects:
        try:
            return foreign_layouts.folded(weights)
        except ValueError as error:
            raise DataError(str(error), path=path) from error
    return weights


def _too_different(own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> bool:
    """Whether most shapes differ: then the figure to report is the coverage, not one shape of many."""
    common = [name for name in own if name in weights]
    return sum(own[name].shape != weights[name].shape for name in common) > len(common) / 2
