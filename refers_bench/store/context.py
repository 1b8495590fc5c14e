"""Holds what a job is told about where it runs: its folders, its device, its processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from refers_bench import plugins
from refers_bench.errors import UserError


@dataclass(frozen=True, kw_only=True)
class JobContext:
    """What a recipe may use besides its own specification; none of it enters a key.

    Attributes:
        results: results folder, with ``store/`` and ``work/``.
        cache: folder of prepared images and cached features.
        roots: data-root name -> absolute path.
        plugins: absolute files and folders of further plug-ins.
        device: "cpu" or "cuda".
        threads: torch threads of the worker.
        processes: that a preparation of images may use, at most; None for as many as there are cores for it.
        accumulate: equal parts that a batch is processed in, to save memory; 1 for at once. A state that was saved in
            more parts goes on in those; one in fewer is started over.
        after: category of the failure that made the parts more; '' where they were asked for.
        arithmetic: "native", or "portable" for the same digits on every processor; see
            `refers_bench.training.arithmetic`.
        compile: whether networks are translated for the device before they train; see
            `refers_bench.training.compilation`.
        attempt: number of this attempt at the job, from 1; preempted ones are not counted.
    """

    results: Path
    cache: Path
    roots: Mapping[str, str] = field(default_factory=dict)
    plugins: Sequence[str] = ()
    device: str = "cpu"
    threads: int = 1
    processes: int | None = None
    accumulate: int = 1
    after: str = ""
    arithmetic: str = "native"
    compile: bool = False
    attempt: int = 1

    def use_plugins(self) -> None:
        """Look for plug-ins where the orchestrator does: this process may have been started by another one."""
        plugins.use(map(Path, self.plugins))

    def prepared(self, key: str) -> Path:
        """Where the pixels of a prepare job are."""
        return prepared_folder(self.cache, key)

    def features(self, key: str) -> Path:
        """Where what a features job computed is."""
        return features_folder(self.cache, key)

    def data_root(self, name: str, *, folder: bool = True) -> Path:
        """Path of a data root.

        Raises:
            UserError: the root is not set, does not exist, or is no folder where it must be one.
        """
        if name not in self.roots:
            raise UserError(f"data root '{name}' is not set", allowed=", ".join(sorted(self.roots)) or "none is set")
        root = Path(self.roots[name])
        if not root.exists():
            raise UserError(f"data root '{name}' does not exist", path=root)
        if folder and not root.is_dir():
            raise UserError(f"data root '{name}' is not a folder", path=root)
        return root


def prepared_folder(cache: Path, key: str) -> Path:
    """Where the pixels of a prepare job are."""
    return cache / "prepared" / key


def features_folder(cache: Path, key: str) -> Path:
    """Where what a features job computed is."""
    return cache / "features" / key


#: Kind of job -> where in the cache it keeps what others read of it; such a job is done only while that is there.
CACHED: Mapping[str, Callable[[Path, str], Path]] = {"prepare": prepared_folder, "features": features_folder}
