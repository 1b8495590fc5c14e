"""Decodes downloaded images once, into one memory-mapped store that training reads."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
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

#: Images per unit of work: a killed preparation loses at most these, for each process.
CHUNK = 64
#: Chunks that are worth the start of another process.
WORTH = 4
#: Called with (items done, items in all).
Progress = Callable[[int, int], None]
PIXELS, INDEX, META = "images.u8", "index.parquet", "meta.json"


def silent(done: int, total: int) -> None:
    """Report no progress."""


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
        meta = read_json(folder / META)
        shape = (meta["count"], meta["size"], meta["size"])
        found = (folder / PIXELS).stat().st_size
        if found != int(np.prod(shape)):
            raise DataError(f"{found} bytes", allowed=f"{shape} uint8", path=folder / PIXELS)
        images = np.memmap(folder / PIXELS, dtype=np.uint8, mode="r", shape=shape)
        return cls(images_NHW=images, index=pd.read_parquet(folder / INDEX), meta=meta)


def resized(grey_HW: np.ndarray, size: int, *, interpolation: str = "bilinear", fit: str = "stretch") -> np.ndarray:
    """An image as a square of size x size, resized with antialiasing.

    Args:
        grey_HW: uint8.
        size: in pixels.
        interpolation: "bilinear" or "bicubic".
        fit: "stretch" (paper: images are resized to 256 x 256), or "crop": the short side becomes `size`, and the
            centre of the long one is kept.

    Source: torchvision.transforms.v2, Resize and CenterCrop, for "crop".
    """
    height, width, short = *grey_HW.shape, min(grey_HW.shape)
    rows, columns = (int(size * side / short) if fit == "crop" else size for side in (height, width))
    top, left = (round((side - size) / 2) for side in (rows, columns))
    how = Image.Resampling[interpolation.upper()]
    image = np.asarray(Image.fromarray(grey_HW).resize((columns, rows), how, reducing_gap=None))
    return image[top : top + size, left : left + size]


def _decoded(
    chunks: Sequence[tuple[list[str], Path]], root: Path, size: int, dicom: Reading, how: Mapping[str, str]
) -> list[None]:
    """Decode each chunk of images into its file; the file beside it lists (path, reason) of what could not be read."""
    for paths, file in chunks:
        pixels, unreadable = np.zeros((len(paths), size, size), np.uint8), []
        for row, path in enumerate(paths):
            try:
                pixels[row] = resized(decode(root / path, dicom=dicom), size, **how)
            except DataError as error:
                unreadable.append((path, error.problems[0].found))
        publish_bytes(_reasons(file), json.dumps(unreadable).encode())
        publish_bytes(file, pixels.tobytes())
    return [None] * len(chunks)


def _reasons(file: Path) -> Path:
    """The list beside a chunk's pixels."""
    return file.with_name(f"{file.name}.json")


def prepare(
    index: pd.DataFrame,
    *,
    root: Path,
    folder: Path,
    work: Path,
    size: int,
    interpolation: str = "bilinear",
    fit: str = "stretch",
    workers: int = 0,
    allow_missing: int = 0,
    lacking: Callable[[Sequence[str]], Path] | None = None,
    dicom: Reading = "standard",
    progress: Progress = silent,
    waiting: Callable[[str], None] = lambda who: None,
) -> dict[str, Any]:
    """Decode every image of an index once and publish the store atomically; a second call continues a killed one.

    One process at a time does so for a folder. A process that had to wait takes the store that the other one made,
    unless there was one before.

    Args:
        index: rows with unique `image_id` and `path` relative to `root`.
        root: the dataset's folder.
        folder: where the store appears.
        work: folder of finished chunks, removed at the end.
        size: side of the stored images, in pixels.
        interpolation: see `resized`.
        fit: see `resized`.
        workers: processes at most, this one among them; fewer where there are fewer cores or images.
        allow_missing: how many unreadable files are tolerated (their rows are dropped).
        lacking: paths of unreadable files -> where a store without them appears instead; None for the same folder.
        dicom: how DICOM files are read (`refers_bench.data.dicom`).
        progress: called with (images done, images in all).
        waiting: called with the process that prepares them now, where this one has to wait for it.

    Returns:
        The store's ``meta.json``.

    Raises:
        DataError: more unreadable files than allowed; each is named with its reason, in a file where they are many.
        StorageError: the cache cannot be written.
    """
    before, how = (folder / META).is_file(), {"interpolation": interpolation, "fit": fit}
    with making(folder, waiting=waiting):
        if not before and (folder / META).is_file():
            made: dict[str, Any] = read_json(folder / META)
            return made
        paths = index["path"].tolist()
        chunks = [paths[start : start + CHUNK] for start in range(0, len(paths), CHUNK)]
        # A chunk's file is named after the images in it: a changed index never picks up stale pixels.
        names = [hashlib.sha256("\n".join(chunk).encode()).hexdigest()[:12] for chunk in chunks]
        files = [work / f"{size}-{dicom}" / f"{CHUNK * i:08d}-{name}.u8" for i, name in enumerate(names)]
        missing = [(chunk, file) for chunk, file in zip(chunks, files, strict=True) if not file.is_file()]
        there, total = len(paths) - sum(len(chunk) for chunk, _ in missing), len(paths)
        progress(there, total)
        counted = lambda done: progress(min(total, there + done * CHUNK), total)
        # A chunk at a time: a process that has finished one takes the next.
        pieces, processes = max(1, len(missing)), max(1, workers)
        shared_out(
            _decoded, missing, root, size, dicom, how, worth=WORTH, pieces=pieces, processes=processes, told=counted
        )
        unreadable = dict(item for file in files for item in read_json(_reasons(file)))
        if len(unreadable) > allow_missing:
            for file in files:
                if read_json(_reasons(file)):
                    file.unlink()  # the user may replace what is in it: read it again next time
            problems = [Problem(found=reason, path=root / path) for path, reason in unreadable.items()]
            more = f"{len(unreadable)} of {total} images cannot be used; allowed: {allow_missing} (--allow-missing)"
            raise DataError([*written(problems, work / "unreadable.txt"), Problem(found=more, path=root)])
        target = lacking(list(unreadable)) if lacking and unreadable else folder
        with making(target) if target != folder else contextlib.nullcontext():
            meta = _publish(index, files, unreadable, target=target, size=size)
        shutil.rmtree(work, ignore_errors=True)
    return meta


def _publish(
    index: pd.DataFrame, files: Sequence[Path], unreadable: dict[str, str], *, target: Path, size: int
) -> dict[str, Any]:
    """Publish the store of all images but the unreadable ones; returns its ``meta.json``."""
    keep, digest = ~index["path"].isin(list(unreadable)).to_numpy(), hashlib.sha256()
    with staged_folder(target, replace=True) as stage:
        with (stage / PIXELS).open("wb") as out:
            for number, file in enumerate(files):
                pixels = np.fromfile(file, np.uint8).reshape(-1, size, size)
                kept = pixels[keep[CHUNK * number : CHUNK * (number + 1)]].tobytes()
                digest.update(kept)
                out.write(kept)
        index[keep].reset_index(drop=True).to_parquet(stage / INDEX, index=False)
        meta = {"version": 1, "count": int(keep.sum()), "size": size, "digest": digest.hexdigest()}
        meta |= {"unreadable": [list(item) for item in unreadable.items()]}
        publish_json(stage / META, meta)
    return meta
