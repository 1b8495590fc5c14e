"""Small lists in the place of published ones: the product takes their digests for those of the authors' files."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from refers_bench.data import split_packs
from refers_bench.data.nih_map import TABLE
from refers_bench.manifest import packs
from refers_bench.manifest.packs import Leak, Pack, PackList


def republish(
    monkeypatch: pytest.MonkeyPatch,
    root: Path,
    pack: str,
    lists: Mapping[str, Iterable[str]],
    *,
    leaks: tuple[Leak, ...] | None = None,
) -> Pack:
    """Other lines for lists of a known pack, gzipped as they are distributed; it has these lists alone.

    Args:
        monkeypatch: puts the published digests back.
        root: data root of the packs.
        pack: name of a known one, whose file names, naming, notes and leaks stay.
        lists: list -> lines.
        leaks: in place of the pack's.
    """
    known = packs.known()[pack]
    (root / pack).mkdir(parents=True, exist_ok=True)
    found = {}
    for name, lines in lists.items():
        content = "".join(f"{line}\n" for line in lines).encode()
        file = known.lists[name].file
        (root / pack / f"{file}.gz").write_bytes(gzip.compress(content, mtime=0))
        found[name] = PackList(file=file, images=len(content.splitlines()), sha256=hashlib.sha256(content).hexdigest())
    changed = replace(known, lists=found, leaks=known.leaks if leaks is None else leaks)
    monkeypatch.setitem(packs.known(), pack, changed)
    return Pack(pack=pack, accept=("test_in_training",))


def republish_map(monkeypatch: pytest.MonkeyPatch, folder: Path, patients: Mapping[str, int]) -> Path:
    """Another table of which NIH patient's image an RSNA image is.

    Args:
        monkeypatch: puts the published digest back.
        folder: where it is written.
        patients: RSNA id -> patient.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = [f"{image},{patient:08d}_{place % 1000:03d}" for place, (image, patient) in enumerate(patients.items())]
    content = "".join(f"{row}\n" for row in ("rsna_id,nih_image", *rows)).encode()
    (folder / TABLE).write_bytes(content)
    monkeypatch.setattr(split_packs, "RSNA_TO_NIH_SHA256", hashlib.sha256(content).hexdigest())
    return folder
