"""Says whether runs were tested on the same images with the same labels: only then do their figures compare."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from refers_bench import identity
from refers_bench.analysis.cells import PlannedRun, Target
from refers_bench.analysis.kept import kept
from refers_bench.analysis.predictions import FILE, read_once
from refers_bench.analysis.results import Results

#: Raised when the same predictions would give another digest.
IMPL = 1

#: What a preparation says of how images are resized, and not of which they are.
SHOWN = ("prepared_size", "interpolation", "fit")
#: Reported where they were not.
DIFFER = "tested on other images, or with other labels"


def same_images(results: Results, methods: Iterable[str], target: Target) -> bool:
    """Whether the finished runs of some methods on a column have the same test images, as far as is known."""
    runs = (run for method in methods for run in results.runs(method, target) if run.run.counts)
    return len({images_of(results, run) for run in runs} - {""}) < 2


def images_of(results: Results, run: PlannedRun) -> str:
    """What identifies the labelled test images of a finished run; '' when nothing does.

    Runs of ours share the images of one dataset's files, whatever size each row's encoder has them prepared in.
    Imported ones may hold any images, so these are read from their predictions.
    """
    spec = results.spec(run.run.key)
    if spec.get("kind") == "out_of_fold":
        spec = results.spec(spec["folds"][0])
    if key := spec.get("prepare"):
        data = {name: value for name, value in results.spec(key).items() if name not in SHOWN}
        return f"{identity.canonical_json(data) if data else key} {spec.get('dataset')} {spec.get('task')}"
    return _digest(results.store, run.run.key) if run.run.key in results.predicted else ""


@dataclass(frozen=True, kw_only=True)
class _Images:
    """Digest of a run's labelled test images."""

    digest: str


# A stored file never changes, and tables ask for it again and again.
@functools.lru_cache(maxsize=100_000)
def _digest(store: Path, key: str) -> str:
    return kept(_Images, {"images": IMPL, "run": key}, store, lambda: _read(store / key / FILE)).digest


def _read(path: Path) -> _Images:
    found = read_once(path)
    classes = sorted(found.classes)
    digest = hashlib.sha256("\0".join((*classes, *found.image_ids)).encode())
    digest.update(found.sorted(classes).labels_NK.tobytes())
    return _Images(digest=digest.hexdigest())
