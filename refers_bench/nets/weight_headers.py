"""In which network were the weights of a transformer trained, as far as their file says before its tensors are read?

Free of torch: planning asks it too.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

#: Activations by our ids, as people write them.
ACTIVATIONS = {"gelu": "GELU", "relu": "ReLU"}
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
    held, metadata = _header(path)
    known = {*held, *names}
    own = any(_OWN.fullmatch(name) for name in known)
    return Origin(
        activation=_stated_activation(metadata) or ("" if own else "gelu"),
        position="concatenated" if "position_projection.weight" in known else "added",
    )


def _header(path: Path) -> tuple[frozenset[str], Mapping[str, str]]:
    """Names of tensors and metadata of a safetensors file; nothing of any other and of one that is damaged."""
    if path.suffix.lower() == ".safetensors" and path.is_file():
        with contextlib.suppress(SafetensorError, OSError), safe_open(path, framework="numpy") as file:
            return frozenset(file.keys()), file.metadata() or {}
    return frozenset(), {}


def _stated_activation(metadata: Mapping[str, str]) -> str:
    """The activation that the data sheet inside an exported file names, '' for none."""
    try:
        found = str(json.loads(metadata["data_sheet"])["network"]["activation"])
    except (KeyError, TypeError, ValueError, RecursionError):
        return ""
    return found if found in ACTIVATIONS else ""
