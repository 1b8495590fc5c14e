"""Which initial weights does a pre-training start from, are they here, and which ones are they?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from refers_bench.identity import KEY_LENGTH
from refers_bench.manifest.roots import Roots
from refers_bench.plugins import Method

#: Pieces that are read of each file, and bytes of a piece: weights that were trained differ in all of them, and
#: reading half a gigabyte for each plan would take seconds.
PIECES, PIECE = 64, 65_536


def initial_root(network: Mapping[str, Any], architecture: str) -> str:
    """Name of the data root of an encoder's initial weights: a transformer's as it stands, a ResNet's with its name."""
    name: str = network["init_path_name"]
    return name if architecture == "transformer" or not name else f"{name}_{architecture}"


def wanted(method: Method, sections: Mapping[str, Any]) -> Iterator[str]:
    """Names of the data roots that hold initial weights for this method under these constants."""
    if sections["network"]["init"] == "imagenet":
        yield sections["network"]["init_path_name"]
    bert = sections["pretrain"]["text_encoder"]["path_name"]
    if bert and "reports" in method.needs:
        yield bert


def brought(method: Method, params: Any) -> Iterator[str]:
    """Name of the data root with the encoder that this method brings, if it brings one."""
    if name := method.weights(params):
        yield name


def identified(names: Iterator[str], roots: Roots) -> tuple[dict[str, str], str]:
    """Name -> digest of its weights ('' where they are not here), and why they cannot be had ('' when they can)."""
    digests, missing = {}, ""
    for name in names:
        reason = roots.why_not(name)
        digests[name] = "" if reason else digest(roots.paths[name])
        missing = missing or reason
    return digests, missing


def digest(path: Path) -> str:
    """Identity of a file or folder: relative names, sizes and evenly spread pieces of the content; not the place."""
    files = sorted(item for item in path.rglob("*") if item.is_file()) if path.is_dir() else [path]
    found = hashlib.sha256()
    for file in files:
        size = file.stat().st_size
        name = file.relative_to(path).as_posix() if path.is_dir() else ""
        found.update(f"{name}\n{size}\n".encode())
        with file.open("rb") as stream:
            if size <= PIECES * PIECE:
                found.update(stream.read())
                continue
            for piece in range(PIECES):
                stream.seek(piece * (size - PIECE) // (PIECES - 1))
                found.update(stream.read(PIECE))
    return found.hexdigest()[:KEY_LENGTH]
