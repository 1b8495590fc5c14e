"""Stores weights as safetensors files, reads them back, and reports how much of a network they filled."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from refers_bench.errors import DataError
from refers_bench.files import published_file
from refers_bench.nets import weight_headers


def publish_tensors(path: Path, tensors: Mapping[str, Tensor], *, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors to one safetensors file atomically.

    Args:
        path: final place; its folder is made.
        tensors: any device; tied tensors are stored once per name.
        metadata: text kept in the same file, so both appear together or not at all.

    Raises:
        StorageError: disk full, read-only, or no permission.
    """
    # Safetensors refuses tensors that share memory and those with gaps, hence the copies.
    plain = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    with published_file(path) as part:
        # The library makes files that only their owner may read; a shared store needs the user's usual rights.
        part.touch()
        rights = part.stat().st_mode
        try:
            save_file(plain, part, metadata=dict(metadata or {}))
        except SafetensorError as error:
            # It gives the operating system's error number only in its text.
            found = re.search(r"\(os error (\d+)\)", str(error))
            raise (OSError(int(found[1]), os.strerror(int(found[1]))) if found else error) from error
        part.chmod(rights)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    with contextlib.suppress(OSError):  # which opening reports
        weight_headers.check_sizes(path)
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except SafetensorError as error:
        raise DataError(f"not a readable safetensors file ({error})", path=path) from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors of a safetensors file, on the CPU, and its metadata.

    Raises:
        DataError: the file is not a whole safetensors file.
    """
    with _opened(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file; no tensor is read.

    Raises:
        DataError: the file is not a whole safetensors file.
    """
    with _opened(path) as file:
        return dict(file.metadata() or {})


#: Missing tensors that an error names.
NAMED = 3
#: Names inside a block of a transformer or a ResNet.
_BLOCK = re.compile(r"(blocks|net\.(blocks|layers|layer\d+|stages))\.\d+\.")


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """What loading a checkpoint filled.

    Attributes:
        loaded: parameters and buffers of the module that were filled.
        missing: those the file does not hold.
        unexpected: names of the file the module does not have.
        changed: how many of the loaded ones differ from what the module held before.
        derived: those of the loaded ones that the file does not hold: they follow from what it holds, or start anew.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    changed: int
    derived: tuple[str, ...] = ()

    @property
    def other_blocks(self) -> tuple[str, ...]:
        """Unexpected names inside blocks: those of a deeper network, or of another kind of block."""
        return tuple(name for name in self.unexpected if _BLOCK.match(name))

    @property
    def share(self) -> float:
        """Loaded share of the module's own names, in [0, 1]."""
        return len(self.loaded) / max(1, len(self.loaded) + len(self.missing))


def load_weights(module: nn.Module, weights: Mapping[str, Tensor], *, minimum: float = 1.0, path: Path) -> Coverage:
    """Fill `module` by name, and report how much of it was filled.

    Args:
        module: keeps its own value where the weights hold none.
        weights: name -> tensor.
        minimum: least share of the module's names that must be filled; above 0, blocks of another network are refused.
        path: where the weights come from, for messages.

    Raises:
        DataError: too little is filled, the weights have other blocks, or a shape differs; nothing is loaded then.
    """
    own = module.state_dict()
    loaded = tuple(name for name in own if name in weights)
    wrong = [name for name in loaded if own[name].shape != weights[name].shape]
    if wrong:
        found = f"'{wrong[0]}' has shape {tuple(weights[wrong[0]].shape)} in the file ({len(wrong)} differ)"
        raise DataError(found, allowed=f"shape {tuple(own[wrong[0]].shape)} of this network", path=path)
    coverage = Coverage(
        loaded=loaded,
        missing=tuple(name for name in own if name not in weights),
        unexpected=tuple(name for name in weights if name not in own),
        changed=sum(not torch.equal(own[name].cpu(), weights[name].to(own[name].dtype).cpu()) for name in loaded),
    )
    if coverage.share < minimum:
        first = ", ".join(f"'{name}'" for name in coverage.missing[:NAMED])
        found = f"the checkpoint holds {len(loaded)} of {len(own)} tensors, missing e.g. {first}"
        raise DataError(found, allowed=f"at least {minimum:.0%} of the network's tensors", path=path)
    if coverage.other_blocks and minimum > 0:
        others, first = len(coverage.other_blocks), coverage.other_blocks[0]
        found = f"the checkpoint fills {coverage.share:.1%} of the network, but {others} of its tensors are in blocks "
        found += f"that the network does not have, e.g. '{first}'"
        raise DataError(found, allowed="as many blocks of the same kind as the network has", path=path)
    module.load_state_dict({**own, **{name: weights[name] for name in loaded}})
    return coverage
