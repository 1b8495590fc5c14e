"""In which network were the weights of a transformer trained, as far as their file says before its tensors are read?

Free of torch: planning asks it too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Activations by our ids, as people write them.
ACTIVATIONS = {"gelu": "GELU", "relu": "ReLU"}
#: Longest header of a safetensors file, in bytes: the library's own limit.
LONGEST = 100_000_000
_OWN = re.compile(r"blocks\.\d+\.attention\.qkv\.weight")


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What matters of the network that weights were trained in.

    Attributes:
        activation: of its blocks, "gelu" or "relu"; '' where nothing says so.
        position: how its positions met the patches, "added" or "concatenated".
    """

    activation: str
    position: str

    def remark(self, activation: str) -> str:
        """What must be said of a network that runs these weights with this activation; '' for nothing."""
        if self.activation in ("", activation):
            return ""
        return f"weights trained with {ACTIVATIONS[self.activation]} run here with {ACTIVATIONS[activation]}"


def origin(path: Path, *, names: Iterable[str] = ()) -> Origin:
    """Where the weights of a transformer come from: GELU and added positions, but for what was trained here.

    Args:
        path: of the file; what is wrong with it is said by whoever reads its tensors.
        names: of its tensors, where they are known; without them only a safetensors file tells its names.
    """
    header = _header(path)
    known = {*header, *names}
    own = any(_OWN.fullmatch(name) for name in known)
    return Origin(
        activation=_stated_activation(header) or ("" if own else "gelu"),
        position="concatenated" if "position_projection.weight" in known else "added",
    )


def _header(path: Path) -> Mapping[str, Any]:
    """The header of a safetensors file, {} of any other and of one that is damaged."""
    if path.suffix.lower() != ".safetensors" or not path.is_file():
        return {}
    with path.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        text = stream.read(size) if size <= LONGEST else b""
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return header if isinstance(header, dict) else {}


def _stated_activation(header: Mapping[str, Any]) -> str:
    """The activation that the data sheet inside an exported file names, '' for none."""
    try:
        found = str(json.loads(header["__metadata__"]["data_sheet"])["network"]["activation"])
    except (KeyError, TypeError, ValueError, RecursionError):
        return ""
    return found if found in ACTIVATIONS else ""
