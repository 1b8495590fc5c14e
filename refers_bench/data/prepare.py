"""Decodes downloaded images once, into one memory-mapped store that training reads."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from refers_bench.data.decode import decode
from refers_bench.data.dicom import Reading
from refers_bench.data.problems import written
from refers_bench.errors import DataError, Problem
from refers_bench.files import making, publish_bytes, publish_json, read_json, staged_folder
from refers_bench.machine import shared_out

#: Images per unit of work: what a killed preparation loses at most.
CHUNK = 64
#: Chunks that repay the start of another process.
WORTH = 4
PIXELS, INDEX, META = "images.u8", "index.parquet", "meta.json"


@dataclass(frozen=True, kw_only=True)
class PreparedImages:
    """A prepared store: pixels and their index.

    Attributes:
        images_NHW: memory-mapped uint8, (N, size, size).
        index: row i describes image i (see `refers_bench.plugins.INDEX_COLUMNS`).
        meta: count, size, digest of the pixels, unreadable files.
    """

    images_NHW: np.ndarray
    index: pd.DataFrame
    meta: dict[str, Any]

    @classmethod
    def open(cls, folder: Path) -> PreparedImages:
        """Open a prepared store; pixels are read on demand.

        Raises:
            DataError: not a prepared store, or its size does not fit its index.
        """
        if not (folder / META).is_file():
            raise DataError("no prepared images here", allowed="run 'refers-bench data prepare'", path=folder)
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
        shape = (meta["count"], meta["size"], meta["size"])
        found = (folder / PIXELS).stat().st_size
        if found != int(np.prod(shape)):
            raise DataError(f"{found} bytes", allowed=f"{shape} uint8", path=folder / PIXELS)
        images = np.memmap(folder / PIXELS, dtype=np.uint8, mode="r", shape=shape)
        return cls(images_NHW=images, index=pd.read_parquet(folder / INDEX), meta=meta)


def resized(grey_HW: np.ndarray, size: int) -> np.ndarray:
    """Resize to size x size with antialiasing (paper: images are resized to 256 x 256)."""
    image = Image.fromarray(grey_HW)
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=None))


def _chunk(paths: list[str], *, root: str, size: int, dicom: Reading, target: str) -> list[tuple[str, str]]:
    """Decode a chunk into one file; returns (path, reason) of what could not be read."""
    pixels = np.zeros((len(paths), size, size), np.uint8)
    unreadable = []
    for row, path in enumerate(paths):
        try:
            pixels[row] = resized(decode(Path(root) / path, dicom=dicom), size)
        except DataError as error:
            unreadable.append((path, error.problems[0].found))
    publish_bytes(Path(target + ".json"), json.dumps(unreadable).encode())
    publish_bytes(Path(target), pixels.tobytes())
    return unreadable


def _chunks(chunks: list[tuple[list[str], str]], root: str, size: int, dicom: Reading) -> list[list[tuple[str, str]]]:
    """Decode chunks into their files; what could not be read of each."""
    return [_chunk(paths, root=root, size=size, dicom=dicom, target=target) for paths, target in chunks]


def _todo(paths: list[str], work: Path) -> Iterator[tuple[list[str], Path]]:
    for start in range(0, len(paths), CHUNK):
        chunk = paths[start : start + CHUNK]
        # A chunk's name holds its content's names: a changed index never picks up stale pixels.
        name = hashlib.sha256("\n".join(chunk).encode()).hexdigest()[:12]
        yield chunk, work / f"{start:08d}-{name}.u8"


def prepare(
    index: pd.DataFrame,
    *,
    root: Path,
    folder: Path,
    work: Path,
    size: int,
    workers: int = 0,
    allow_missing: int = 0,
    lacking: Callable[[Sequence[str]], Path] | None = None,
    dicom: Reading = "standard",
    progress: Callable[[int, int], None] = lambda done, total: None,
    waiting: Callable[[str], None] = lambda who: None,
) -> dict[str, Any]:
    """Decode every image of an index once and publish the store atomically; a second call continues a killed one.

    One process at a time does so for a folder. One that had to wait for another takes the store that the other made,
    unless there was one before.

    Args:
        index: rows with unique `image_id` and `path` relative to `root`.
        root: the dataset's folder.
        folder: where the store appears.
        work: folder of finished chunks, removed at the end.
        size: side of the stored images, in pixels.
        workers: processes at most, this one among them; fewer where there are fewer cores or images.
        allow_missing: how many unreadable files are tolerated (their rows are dropped).
        lacking: paths of those -> where a store without them appears instead; None for the same folder.
        dicom: how DICOM files are read (`refers_bench.data.dicom`).
        progress: called with (images done, images in all).
        waiting: told who prepares them now, where this process has to wait for that.

    Returns:
        The store's ``meta.json``.

    Raises:
        DataError: more unreadable files than allowed; each is named with its reason, in a file where they are many.
        StorageError: the cache cannot be written.
    """
    before = (folder / META).is_file()
    with making(folder, waiting=waiting):
        if not before and (folder / META).is_file():
            made: dict[str, Any] = read_json(folder / META)
            return made
        todo = list(_todo(index["path"].tolist(), work / f"{size}-{dicom}"))
        _decode(todo, root=root, size=size, dicom=dicom, workers=workers, progress=progress)
        meta = _publish(index, todo, folder=folder, lacking=lacking, size=size, allow_missing=allow_missing, root=root)
        shutil.rmtree(work, ignore_errors=True)
    return meta


def _decode(
    todo: Sequence[tuple[list[str], Path]],
    *,
    root: Path,
    size: int,
    dicom: Reading,
    workers: int,
    progress: Callable[[int, int], None],
) -> None:
    """Decode the chunks that an earlier call has not finished."""
    missing = [(chunk, str(file)) for chunk, file in todo if not file.is_file()]
    total = sum(len(chunk) for chunk, _ in todo)
    there = total - sum(len(chunk) for chunk, _ in missing)
    progress(there, total)
    ends = [0, *itertools.accumulate(len(chunk) for chunk, _ in missing)]
    # A chunk at a time: whoever is done takes the next one.
    shared_out(
        _chunks,
        missing,
        str(root),
        size,
        dicom,
        worth=WORTH,
        pieces=max(1, len(missing)),
        processes=max(1, workers),
        told=lambda done: progress(there + ends[done], total),
    )


def _publish(
    index: pd.DataFrame,
    todo: Sequence[tuple[list[str], Path]],
    *,
    folder: Path,
    lacking: Callable[[Sequence[str]], Path] | None,
    size: int,
    allow_missing: int,
    root: Path,
) -> dict[str, Any]:
    unreadable = dict(tuple(item) for _, file in todo for item in json.loads(Path(f"{file}.json").read_bytes()))
    if len(unreadable) > allow_missing:
        problems = [Problem(found=reason, path=root / path) for path, reason in unreadable.items()]
        whole = todo[0][1].parents[1] / "unreadable.txt"  # in the work folder, which goes when all is well
        more = f"{len(unreadable)} of {len(index)} images cannot be used; allowed: {allow_missing} (--allow-missing)"
        for _, file in todo:  # a mended file is to be read again
            if json.loads(Path(f"{file}.json").read_bytes()):
                file.unlink(missing_ok=True)
        raise DataError([*written(problems, whole), Problem(found=more, path=root)])
    keep = ~index["path"].isin(list(unreadable)).to_numpy()
    digest = hashlib.sha256()
    target = lacking(list(unreadable)) if lacking and unreadable else folder
    alone = making(target) if target != folder else contextlib.nullcontext()
    with alone, staged_folder(target, replace=True) as stage:
        with (stage / PIXELS).open("wb") as out:
            start = 0
            for chunk, file in todo:
                pixels = np.fromfile(file, np.uint8).reshape(len(chunk), size, size)
                kept = np.ascontiguousarray(pixels[keep[start : start + len(chunk)]])
                digest.update(kept.data)
                out.write(kept.tobytes())
                start += len(chunk)
        index[keep].reset_index(drop=True).to_parquet(stage / INDEX, index=False)
        meta = {
            "version": 1,
            "count": int(keep.sum()),
            "size": size,
            "digest": digest.hexdigest(),
            "unreadable": [list(item) for item in unreadable.items()],
        }
        publish_json(stage / META, meta)
    return meta
