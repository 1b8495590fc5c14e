"""Finds results, cache and data roots: option, environment, config file and default, in this order."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from refers_bench.store.results import ResultStore

if TYPE_CHECKING:
    from refers_bench.manifest.roots import Roots


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of commands and of the Python API; the config file is read only when one of them asks for it.

    Attributes:
        results_option: the folder of results that was asked for, if any.
        cache_option: likewise of prepared images.
    """

    results_option: Path | None = None
    cache_option: Path | None = None

    def roots(self) -> Roots:
        """Data roots, from the environment and the user config file."""
        from refers_bench.manifest.roots import load_roots

        return load_roots()

    def use_plugins(self, places: tuple[Path, ...]) -> None:
        """Look for plug-ins where the caller names them, and the user config file.

        Raises:
            UserError: the config file is malformed, or one of its places is not there.
        """
        from refers_bench.manifest.roots import config_path

        config = config_path()
        # It is only read where it has something to say: most commands need nothing of it.
        if config.is_file() and b"plugins" in config.read_bytes():
            places = (*self.roots().plugins, *places)
        if places:
            from refers_bench import plugins

            plugins.use(places)

    @cached_property
    def results(self) -> Path:
        """Folder of plans, results and reports."""
        return (
            self.results_option or _set("REFERS_BENCH_RESULTS") or self.roots().results or Path("results")
        ).absolute()

    @property
    def store(self) -> ResultStore:
        """The results themselves."""
        return ResultStore(self.results)

    @cached_property
    def cache(self) -> Path:
        """Folder of prepared images."""
        default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "refers-bench"
        return (self.cache_option or _set("REFERS_BENCH_CACHE") or self.roots().cache or default).absolute()


def _set(variable: str) -> Path | None:
    """A folder that the environment sets."""
    return Path(given) if (given := os.environ.get(variable)) else None
