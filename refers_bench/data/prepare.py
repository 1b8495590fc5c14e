"""Decodes downloaded images once, into one memory-mapped store that training reads."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image
from pydantic import Field, NonNegativeInt, PositiveInt

from refers_bench.data.cache_meta import AGAIN, META, Meta, check_size, read_meta
from refers_bench.data.decode import decode
from refers_bench.data.dicom import Reading
from refers_bench.data.pixels import DIGEST, Stored, VerifiedPixels, image_digests, spans
from refers_bench.data.problems import written
from refers_bench.errors import DataError, Problem
from refers_bench.files import making, publish_bytes, publish_json, read_json, sha256_of, staged_folder
from refers_bench.machine import shared_out

#: Images per unit of work: a killed preparation loses at most these, for each process.
CHUNK = 64
#: Chunks that are worth the start of another process.
WORTH = 4
#: Called with (items done, items in all).
Progress = Callable[[int, int], None]
PIXELS, DIGESTS, INDEX = "images.u8", "images.sha256", "index.parquet"
CHANGED = f"its SHA-256 is not the one that {META} records: one of the two has changed"


def silent(done: int, total: int) -> None:
    """Report no progress."""


class PreparedMeta(Meta):
    """What the `meta.json` of a prepared store says.

    Attributes:
        version: 1 was written without `files` and without the SHA-256 of each image.
        count: images.
        size: side of an image in pixels.
        digest: SHA-256 of the pixels' file.
        files: name -> SHA-256 of the index, and of the file that holds the SHA-256 of each image.
        unreadable: (path, reason) of files that were left out.
    """

    version: Literal[1, 2]
    count: NonNegativeInt
    size: PositiveInt
    digest: str
    files: dict[str, str] = Field(default_factory=dict)
    unreadable: list[list[str]]


@dataclass(frozen=True, kw_only=True)
class PreparedImages:
    """A prepared store: pixels and their index.

    Attributes:
        images_NHW: uint8, (N, size, size), read from disk on demand and verified then.
        index: row i describes image i (see `refers_bench.plugins.INDEX_COLUMNS`).
        meta: see `PreparedMeta`.
    """

    images_NHW: Stored
    index: pd.DataFrame
    meta: dict[str, Any]

    @classmethod
    def open(cls, folder: Path) -> PreparedImages:
        """Open a prepared store; pixels are read, and compared with their digests, on demand.

        Raises:
            DataError: not a prepared store, or one that was damaged.
        """
        meta = read_meta(
            folder, PreparedMeta, missing="no prepared images here", allowed="run 'refers-bench data prepare'"
        )
        count, size, pixels = meta["count"], meta["size"], folder / PIXELS
        check_size(pixels, count * size * size, f"{(count, size, size)} uint8")
        index = _read_index(folder / INDEX, meta)
        if meta["version"] == 1:
            return cls(images_NHW=np.memmap(pixels, np.uint8, "r", shape=(count, size, size)), index=index, meta=meta)
        check_size(folder / DIGESTS, count * DIGEST, f"{count} digests")
        digests_N32 = np.frombuffer(_checked(folder / DIGESTS, meta), np.uint8).reshape(count, DIGEST)
        return cls(images_NHW=VerifiedPixels(pixels, digests_N32=digests_N32, size=size), index=index, meta=meta)


def _checked(path: Path, meta: Mapping[str, Any]) -> bytes:
    """The content of a file whose SHA-256 stands in `meta`; a store of version 1 has none."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read: {error.strerror}", allowed=AGAIN, path=path) from error
    if meta["version"] > 1 and hashlib.sha256(content).hexdigest() != meta["files"].get(path.name):
        raise DataError(CHANGED, allowed=AGAIN, path=path)
    return content


def _read_index(path: Path, meta: Mapping[str, Any]) -> pd.DataFrame:
    """The index of a store.

    Raises:
        DataError: it has changed since the store was made.
    """
    content = _checked(path, meta)
    try:
        index = pd.read_parquet(io.BytesIO(content))
    except (OSError, ValueError) as error:  # pyarrow's errors are both
        raise DataError(f"damaged: {error}", allowed=AGAIN, path=path) from error
    if len(index) != meta["count"]:
        raise DataError(f"{len(index)} rows for {meta['count']} images", allowed=AGAIN, path=path)
    return index


def damage(folder: Path) -> list[Problem]:
    """What is wrong with the prepared images of a folder that counts as made; every byte is read.

    Args:
        folder: of the cache; one that is not there, or without `meta.json`, is not made, and that is no damage.
    """
    if not (folder / META).is_file():
        return []
    try:
        opened = PreparedImages.open(folder)
    except DataError as error:
        return list(error.problems)
    if sha256_of(folder / PIXELS) == opened.meta["digest"]:
        return []
    for places in spans(len(opened.index), CHUNK):
        try:
            opened.images_NHW[places]
        except DataError as error:
            return list(error.problems)
    return [Problem(found=CHANGED, allowed=AGAIN, path=folder / PIXELS)]


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
    chunks: Sequence[tuple[list[str], Path]], root: Path, size: int, reading: Mapping[str, Any], how: Mapping[str, str]
) -> list[None]:
    """Decode each chunk of images into its file; the file beside it lists (path, reason) of what could not be read."""
    for paths, file in chunks:
        pixels, unreadable = np.zeros((len(paths), size, size), np.uint8), []
        for row, path in enumerate(paths):
            try:
                pixels[row] = resized(decode(root / path, **reading), size, **how)
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
    formats: Sequence[str] = (),
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
        formats: that the files may have; see `refers_bench.data.decode`.
        progress: called with (images done, images in all).
        waiting: called with the process that prepares them now, where this one has to wait for it.

    Returns:
        The store's ``meta.json``.

    Raises:
        DataError: more unreadable files than allowed; each is named with its reason, in a file where they are many.
        StorageError: the cache cannot be written.
    """
    before, how = (folder / META).is_file(), {"interpolation": interpolation, "fit": fit}
    reading = {"dicom": dicom, "formats": formats}
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
            _decoded, missing, root, size, reading, how, worth=WORTH, pieces=pieces, processes=processes, told=counted
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
    keep = ~index["path"].isin(list(unreadable)).to_numpy()
    chunks = (
        np.fromfile(file, np.uint8).reshape(-1, size, size)[keep[CHUNK * number : CHUNK * (number + 1)]]
        for number, file in enumerate(files)
    )
    with staged_folder(target, replace=True) as stage:
        return write_store(stage, chunks, index[keep], size=size, unreadable=unreadable)


def write_store(
    folder: Path,
    chunks: Iterable[npt.NDArray[np.uint8]],
    index: pd.DataFrame,
    *,
    size: int,
    unreadable: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Write the files of a prepared store into a folder.

    Args:
        folder: that exists.
        chunks: uint8 (n, size, size) each, the images in the order of the index.
        index: one row an image.
        size: side of an image in pixels.
        unreadable: path -> why it was left out.

    Returns:
        The store's ``meta.json``.
    """
    digest, digests = hashlib.sha256(), []
    with (folder / PIXELS).open("wb") as out:
        for chunk in chunks:
            digest.update(content := chunk.tobytes())
            digests.append(image_digests(chunk))
            out.write(content)
    (folder / DIGESTS).write_bytes(b"".join(digests))
    index.reset_index(drop=True).to_parquet(folder / INDEX, index=False)
    meta: dict[str, Any] = {"version": 2, "count": len(index), "size": size, "digest": digest.hexdigest()}
    meta["files"] = {name: sha256_of(folder / name) for name in (INDEX, DIGESTS)}
    meta["unreadable"] = [list(item) for item in (unreadable or {}).items()]
    publish_json(folder / META, meta)
    return meta
