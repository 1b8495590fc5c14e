"""Finds in which network the weights of a transformer were trained, from what their file says before its tensors.

Free of torch: planning asks it too.
"""

from __future__ import annotations

import contextlib
import json
import re
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from refers_bench.errors import DataError
from refers_bench.files import plain_file

#: Activations by our ids, as people write them.
ACTIVATIONS = {"gelu": "GELU", "relu": "ReLU"}
_OWN = re.compile(r"blocks\.\d+\.attention\.qkv\.weight")
#: Endings of torch's files, and the names in them that matter: they stand in a pickle, which is never run.
_TORCH = frozenset({".pt", ".pth", ".bin", ".ckpt", ".tar"})
_NAMES = re.compile(rb"blocks\.\d+\.attention\.qkv\.weight|position_projection\.weight")
#: What a pickle may call, by `weights_only` too, to get memory of any size that the file does not hold.
_MAKERS = re.compile(rb"c(builtins|__builtin__)\nbytearray\n|ctorch\nTensor\n")
#: Bytes of a safetensors header, at most; times its size that a file may unpack to (a compressed .npz saves a tenth).
_HEADER, _UNPACKED = 1 << 24, 4
#: What reading a damaged torch file raises here; whoever reads its tensors then says what is wrong with it.
_DAMAGED = (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error)
#: Bytes at the start of an old torch file in which its names stand, before the tensors.
_HEAD = 8 << 20


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What matters of the network that weights were trained in.

    Attributes:
        activation: of its blocks, "gelu" or "relu"; '' where nothing says so.
        position: how its positions met the patches, "added" or "concatenated".
        dropout: in [0, 1); None where nothing says so, as no layout does (ViT's own is 0.1, as in the released code).
    """

    activation: str
    position: str
    dropout: float | None = None

    def remark(self, activation: str) -> str:
        """What must be said of a network that runs these weights with this activation; '' for nothing."""
        if self.activation in ("", activation):
            return ""
        return f"weights trained with {ACTIVATIONS[self.activation]} run here with {ACTIVATIONS[activation]}"


def origin(path: Path, *, names: Iterable[str] = ()) -> Origin:
    """Where the weights of a transformer come from: GELU and added positions, but for what was trained here.

    Args:
        path: of the file; what is wrong with it is said by whoever reads its tensors.
        names: of its tensors, where they are known; without them the header of a safetensors or torch file tells.
    """
    held, metadata = _header(path)
    known = {*held, *names}
    stated = _sheet(metadata)
    activation, dropout = stated.get("activation"), stated.get("dropout")
    own = any(_OWN.fullmatch(name) for name in known)
    return Origin(
        activation=str(activation) if activation in tuple(ACTIVATIONS) else "" if own else "gelu",
        position="concatenated" if "position_projection.weight" in known else "added",
        dropout=float(dropout)
        if isinstance(dropout, int | float) and not isinstance(dropout, bool) and 0 <= dropout < 1
        else None,
    )


def check_sizes(path: Path) -> None:
    """Refuse a weight file that claims to hold, or unpacks to, far more than its own bytes; nothing of it is read.

    Raises:
        DataError: so it does, or it is no plain file.
    """
    size = plain_file(path).stat().st_size
    allowed = "a weight file, whose bytes are those of its tensors"
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    if path.suffix.lower() == ".safetensors" and header > _HEADER:
        text = f"not a readable safetensors file (a header of {header} bytes)"
        raise DataError(text, allowed=f"a header of at most {_HEADER}", path=path)
    if path.suffix.lower() in _TORCH | {".npz"} and zipfile.is_zipfile(path):
        with contextlib.suppress(*_DAMAGED), zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
            if unpacked > _UNPACKED * size:
                raise DataError(f"{size} bytes that unpack to {unpacked}", allowed=allowed, path=path)
    if path.suffix.lower() in _TORCH:
        with contextlib.suppress(*_DAMAGED):
            if found := _MAKERS.search(_pickle_of(path)):
                asked = found[0][1:-1].decode().replace("\n", ".")
                raise DataError(f"a pickle that calls {asked}, of any size", allowed=allowed, path=path)


def _header(path: Path) -> tuple[frozenset[str], Mapping[str, str]]:
    """Names of tensors and metadata of a safetensors file, names that matter of torch's; nothing of a damaged one."""
    try:
        check_sizes(path)
    except (DataError, OSError):
        return frozenset(), {}
    if path.suffix.lower() in _TORCH:
        with contextlib.suppress(*_DAMAGED):
            return frozenset(found.decode() for found in _NAMES.findall(_pickle_of(path))), {}
    if path.suffix.lower() == ".safetensors":
        with contextlib.suppress(SafetensorError, OSError), safe_open(path, framework="numpy") as file:
            return frozenset(file.keys()), file.metadata() or {}
    return frozenset(), {}


def _pickle_of(path: Path) -> bytes:
    """The bytes of a torch file that hold the names of its tensors, and no tensor where that can be told."""
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            return file.read(_HEAD)
    with zipfile.ZipFile(path) as archive:
        return b"".join(archive.read(name) for name in archive.namelist() if name.endswith("data.pkl"))


def _sheet(metadata: Mapping[str, str]) -> Mapping[str, object]:
    """The network that the data sheet inside an exported file describes, {} for none."""
    try:
        found = json.loads(metadata["data_sheet"])["network"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, Mapping) else {}
