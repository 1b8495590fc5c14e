"""Keeps the features of every prepared image: computed once, resumably, and read through a memory map."""

from __future__ import annotations

import hashlib
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import NonNegativeInt

from refers_bench.data.cache_meta import AGAIN, META, Meta, check_size, read_meta
from refers_bench.data.pixels import spans
from refers_bench.data.prepare import Progress, silent
from refers_bench.errors import DataError, Problem
from refers_bench.files import making, publish_json, published_file, sha256_of, staged_folder

FEATURES = "features.f16"
DTYPE = np.dtype("<f2")


class FeaturesMeta(Meta):
    """What the `meta.json` of cached features says, besides what their maker says of the encoder."""

    version: Literal[1]
    shape: list[NonNegativeInt]
    dtype: Literal["float16"]
    digest: str


@dataclass(frozen=True, kw_only=True)
class CachedFeatures:
    """The features of one encoder for all images of one prepared store.

    Attributes:
        features: memory-mapped float16, (N, D), or (N, T, D) of tokens; row i belongs to row i of the prepared index.
        meta: version, shape, dtype, digest of the bytes, and what their maker says of the encoder.
        folder: where they lie.
    """

    features: npt.NDArray[np.float16]
    meta: Mapping[str, Any]
    folder: Path

    @classmethod
    def open(cls, folder: Path) -> CachedFeatures:
        """Open a features folder; values are read on demand.

        Raises:
            DataError: there is none, its size does not fit its shape, or it was damaged.
        """
        missing, remedy = "no cached features here", "run the manifest: its features job makes them"
        meta = read_meta(folder, FeaturesMeta, missing=missing, allowed=remedy)
        shape, path = tuple(meta["shape"]), folder / FEATURES
        check_size(path, math.prod(shape) * DTYPE.itemsize, f"{shape} in float16")
        return cls(features=np.memmap(path, dtype=DTYPE, mode="r", shape=shape), meta=meta, folder=folder)

    def verified(self) -> CachedFeatures:
        """These features, once the SHA-256 of their bytes is the recorded one (0.1 s for 77 MB).

        Raises:
            DataError: bytes changed since they were written.
        """
        found, path = sha256_of(self.folder / FEATURES), self.folder / FEATURES
        if found != self.meta["digest"]:
            changed = f"SHA-256 {found[:12]}..., recorded as {self.meta['digest'][:12]}...: bytes have changed"
            raise DataError(changed, allowed=AGAIN, path=path)
        return self

    def rows(self, places: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Features of these rows of the prepared index, as float32."""
        return self.features[places].astype(np.float32)


def damage(folder: Path) -> list[Problem]:
    """What is wrong with the cached features of a folder that counts as made; every byte is read.

    Args:
        folder: of the cache; one that is not there, or without `meta.json`, is not made, and that is no damage.
    """
    if (folder / META).is_file():
        try:
            CachedFeatures.open(folder).verified()
        except DataError as error:
            return list(error.problems)
    return []


def stored(features: npt.NDArray[Any], *, first: int = 0) -> npt.NDArray[np.float16]:
    """Features as float16.

    Args:
        features: (B, ...), of any float type.
        first: place of the first row in the prepared index, for the message.

    Raises:
        DataError: a value is not finite, or beyond the range of float16.
    """
    with np.errstate(over="ignore"):
        half = features.astype(DTYPE)
    good = np.isfinite(half)
    if not good.all():
        where = tuple(int(axis[0]) for axis in np.nonzero(~good))
        found = f"a feature of image {first + where[0]} (row of the prepared index) is {features[where]:g}"
        raise DataError(found, allowed=f"finite values within {np.finfo(DTYPE).max:g}, the range of float16")
    return half


def cache(
    computed: Callable[[npt.NDArray[np.int64]], npt.NDArray[Any]],
    *,
    count: int,
    chunk: int,
    folder: Path,
    work: Path,
    about: Mapping[str, Any],
    progress: Progress = silent,
    waiting: Callable[[str], None] = lambda who: None,
) -> None:
    """Compute the features of all rows and publish them atomically; a second call continues a killed one.

    One process at a time does so for a folder; one that had to wait takes what the other has made.

    Args:
        computed: places (consecutive rows of the prepared index) -> their features (B, D) or (B, T, D).
        count: rows, at least one.
        chunk: rows of a call, and of what a killed process loses at most.
        folder: where the features appear.
        work: folder of finished chunks, removed at the end.
        about: what ``meta.json`` says besides.
        progress: called with (rows done, rows in all).
        waiting: called with the process that computes them now, where this one has to wait for it.

    Raises:
        DataError: a value that float16 cannot hold.
        StorageError: the cache cannot be written.
    """
    with making(folder, waiting=waiting):
        if (folder / META).is_file():
            return
        files: list[Path] = []
        shape: tuple[int, ...] = ()
        for places in spans(count, chunk):
            progress(int(places[0]), count)
            files.append(work / f"{places[0]:08d}-{chunk}.npy")
            if not files[-1].is_file():
                with published_file(files[-1]) as part, part.open("wb") as stream:
                    np.save(stream, stored(computed(places), first=int(places[0])))
        digest = hashlib.sha256()
        with staged_folder(folder, replace=True) as stage:  # what stands there has no `meta.json`
            with (stage / FEATURES).open("wb") as out:
                for file in files:
                    half = np.load(file)
                    shape = (count, *half.shape[1:])
                    digest.update(half.tobytes())
                    out.write(half.tobytes())
            meta = {"version": 1, "shape": list(shape), "dtype": "float16", "digest": digest.hexdigest(), **about}
            publish_json(stage / META, meta)
        shutil.rmtree(work, ignore_errors=True)
        progress(count, count)
