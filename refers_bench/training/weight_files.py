"""What is inside a weight file that somebody else made, read without running anything it may contain?"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from refers_bench.errors import DataError, UserError
from refers_bench.nets import foreign_layouts, weight_headers
from refers_bench.nets.foreign_layouts import Layout
from refers_bench.nets.radiograph_transformer import RadiographTransformer
from refers_bench.training.checkpoints import Coverage, load_weights, read_tensors

#: File endings and what is read of them.
FORMATS = {
    ".safetensors": "safetensors",
    ".npz": "NumPy arrays in the JAX layout",
    ".pt": "torch",
    ".pth": "torch",
    ".bin": "torch",
    ".ckpt": "torch",
    ".tar": "torch",
}
#: Names of an encoder's tensors here; a head or a text tower has none of them.
_ENCODER = re.compile(r"(aggregation_embedding|(position|patch)_(embedding|projection)|blocks|norm|net)\b.*")


def read(path: Path) -> dict[str, Tensor]:
    """The encoder's state dict of a weight file, under the names the file uses.

    Torch files are read with `weights_only`: a pickle that asks for anything but tensors is refused, not run.

    Raises:
        DataError: no such file, unknown format, truncated, or with something else than tensors inside.
    """
    kind = FORMATS.get(path.suffix.lower())
    if not path.is_file() or kind is None:
        found = "no such file" if not path.is_file() else f"unknown format '{path.suffix}'"
        raise DataError(found, allowed=f"a file ending in {', '.join(FORMATS)}", path=path)
    if kind == "safetensors":
        content: Mapping[str, Any] = read_tensors(path)[0]
    elif kind == "torch":
        content = _torch(path)
    else:
        content = _jax(path)
    weights = foreign_layouts.unwrapped(content)
    if not weights:
        raise DataError("no tensor inside", allowed="a state dict, or a checkpoint that holds one", path=path)
    return weights


def _torch(path: Path) -> Mapping[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = str(error).splitlines()[0][:200]
        allowed = "tensors alone; convert the file where you trust it: weights of code are never run here"
        raise DataError(f"not weights alone ({found})", allowed=allowed, path=path) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        found = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise DataError(f"not a readable torch file ({found})", path=path) from error
    if not isinstance(content, Mapping):
        raise DataError(f"a {type(content).__name__}", allowed="a mapping of names to tensors", path=path)
    return content


def _jax(path: Path) -> Mapping[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return foreign_layouts.from_jax(arrays)
    except KeyError as error:
        raise DataError(f"no array {error}", allowed="the layout of ViT-B_16.npz", path=path) from error
    except (RuntimeError, TypeError, IndexError, AttributeError) as error:
        found = f"an array of another shape or type ({_first_line(error)})"
        raise DataError(found, allowed="the arrays of ViT-B_16.npz", path=path) from error
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"not a readable .npz ({str(error)[:200]})", path=path) from error


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
    for name, value in encoder_only(ours).items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise DataError(f"'{name}' holds NaN or infinite values", allowed="finite weights", path=path)
    return {name: value.float() if value.is_floating_point() else value for name, value in ours.items()}, layout


def load(encoder: nn.Module, path: Path, *, minimum: float) -> tuple[Coverage, Layout]:
    """Fill an encoder from anybody's weights: layout recognised, positions resized, grey images from coloured maps.

    Added positions become a projection [I | I] where the network concatenates and projects them, and a projection of
    the file is folded where the network adds: the first block sees the tokens that the weights were trained on.

    Args:
        encoder: a radiograph transformer or a ResNet.
        path: the file.
        minimum: least share of the encoder's tensors that must be filled, in (0, 1]; 0 to refuse no architecture.

    Returns:
        What was filled; the layout, whose remark also says when another activation was trained.

    Raises:
        DataError: unknown layout, another architecture (with the coverage), or a tensor of another shape.
    """
    given = read(path)
    weights, layout = converted(given, path=path)
    own = encoder.state_dict()
    if layout.backbone == "radiograph_transformer" and isinstance(encoder, RadiographTransformer):
        remark = weight_headers.origin(path, names=given).remark(encoder.activation)
        layout = replace(layout, remark="; ".join(text for text in (layout.remark, remark) if text))
        weights = _positions_met(weights, encoder, path=path)
    for name in ("patch_embedding.weight", "net.conv1.weight"):
        if name in weights and name in own and weights[name].shape[1:2] == (3,) and own[name].shape[1] == 1:
            # A grey image equals three equal channels under the sum of the three maps.
            weights[name] = weights[name].sum(1, keepdim=True)
    fitting = {name: value for name, value in weights.items() if name not in own or own[name].shape == value.shape}
    coverage = load_weights(encoder, fitting if _too_different(own, weights) else weights, minimum=minimum, path=path)
    made = "position_projection.weight" not in given
    derived = tuple(name for name in coverage.loaded if made and name.startswith("position_projection."))
    return replace(coverage, derived=derived), layout


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
