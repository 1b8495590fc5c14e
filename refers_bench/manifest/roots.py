"""Finds data roots on this machine by name, from the environment and the user config file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from refers_bench import plugin_files
from refers_bench.errors import Problem, UserError
from refers_bench.manifest import yaml_text

PREFIX = "REFERS_BENCH_ROOT_"
#: Further variables that something reads: the product, its jobs among themselves, its tests.
VARIABLES = (
    "REFERS_BENCH_CACHE", "REFERS_BENCH_CONFIG", "REFERS_BENCH_PLUGINS", "REFERS_BENCH_RESULTS",
    "REFERS_BENCH_TRACEBACK",
    "REFERS_BENCH_CHECKED", "REFERS_BENCH_FORK_SERVER_OF", "REFERS_BENCH_PARALLEL_JOB", "REFERS_BENCH_SAVE_SECONDS",
    "REFERS_BENCH_ADVISORIES", "REFERS_BENCH_FUZZ",
    "REFERS_BENCH_GOLDEN", "REFERS_BENCH_GOLDEN_MEDVLP", "REFERS_BENCH_GOLDEN_METHODS", "REFERS_BENCH_REAL_DATA",
)  # fmt: skip
#: Sections about the engines of a site, by their names; a manifest's section of the same name wins key by key.
ENGINES = ("ray", "slurm")
KEYS = ("data_roots", "cache", "results", "plugins", *ENGINES)


def config_path() -> Path:
    """The user config file: $REFERS_BENCH_CONFIG, or refers-bench/config.yaml in the user's config folder."""
    if given := os.environ.get("REFERS_BENCH_CONFIG"):
        return Path(given)
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "refers-bench" / "config.yaml"


@dataclass(frozen=True, kw_only=True)
class Roots:
    """Data roots by name, and the folders the user config file sets.

    Attributes:
        paths: name -> folder or file.
        origins: name -> where it was set.
        cache: folder of prepared images, or None.
        results: results folder, or None.
        engines: engine name -> the site's section about it.
        plugins: files and folders of plug-ins.
    """

    paths: Mapping[str, Path] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    cache: Path | None = None
    results: Path | None = None
    engines: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    plugins: tuple[Path, ...] = ()

    def all(self) -> dict[str, tuple[Path, str]]:
        """Name -> (path, origin)."""
        return {name: (path, self.origins.get(name, "")) for name, path in self.paths.items()}

    def why_not(self, name: str, *, folder: bool = False) -> str:
        """Why a root cannot be used, '' when it can.

        Args:
            name: of the root.
            folder: whether it must be one; a root may also be a file.
        """
        if name not in self.paths:
            return f"data root '{name}' is not set: set {PREFIX}{name.upper()}, or data_roots.{name} in {config_path()}"
        path, origin = self.paths[name], self.origins.get(name, "")
        if not os.path.exists(path):  # noqa: PTH110 - Path.exists raises for a name that no file can have
            return f"data root '{name}' is {path} ({origin}), which does not exist"
        return f"data root '{name}' is {path} ({origin}), which is no folder" if folder and not path.is_dir() else ""

    def folder(self, name: str) -> Path | None:
        """The folder that a root names; None where it cannot be used."""
        return None if self.why_not(name, folder=True) else self.paths[name]


def with_files(roots: Roots, files: Mapping[str, str], folder: Path) -> Roots:
    """The same with the files that a manifest brings along, where this machine does not set a root of that name.

    Args:
        roots: of this machine.
        files: root name -> path below `folder`.
        folder: of the manifest.
    """
    paths = {name: (folder / path).absolute() for name, path in files.items()}
    return with_paths(roots, paths, origin="a file beside the manifest")


def with_paths(roots: Roots, paths: Mapping[str, Path], *, origin: str) -> Roots:
    """The same with further data roots, where this machine does not set one of that name.

    Args:
        roots: of this machine.
        paths: root name -> absolute path.
        origin: where they were set.
    """
    brought = {name: path for name, path in paths.items() if name not in roots.paths}
    origins = {**roots.origins, **dict.fromkeys(brought, origin)}
    return replace(roots, paths={**roots.paths, **brought}, origins=origins)


def load_roots(environment: Mapping[str, str] | None = None) -> Roots:
    """Roots of the environment (REFERS_BENCH_ROOT_<NAME>), then of the user config file.

    Paths in the config file may begin with ``~`` or be relative to the file.

    Raises:
        UserError: the config file is malformed.
    """
    config = config_path()
    roots = _configured(yaml_text.read(config)) if config.is_file() else Roots()
    paths, origins = dict(roots.paths), dict(roots.origins)
    for variable, value in (os.environ if environment is None else environment).items():
        if variable.startswith(PREFIX) and value:
            name = variable.removeprefix(PREFIX).lower()
            paths[name], origins[name] = Path(value).expanduser().absolute(), f"${variable}"
    return replace(roots, paths=paths, origins=origins)


def _configured(document: yaml_text.Document) -> Roots:
    """Data roots, further folders, and sections about engines, as the config file sets them."""
    engines: dict[str, Mapping[str, Any]] = {}
    paths: dict[yaml_text.Loc, Path] = {}
    problems: list[Problem] = []

    def set_path(loc: yaml_text.Loc, value: object) -> None:
        if isinstance(value, str) and value:
            paths[loc] = (document.path.parent / Path(value).expanduser()).absolute()
        else:
            problems.append(document.problem(loc, f"{'.'.join(map(str, loc))} is {value!r}", allowed="a path"))

    for name, value in document.content.items():
        if name not in KEYS:
            problems.append(document.unknown((name,), "key", name, list(KEYS)))
        elif name in ENGINES:
            from refers_bench.manifest import cluster_schema  # light commands do not load pydantic

            engines[name], wrong = cluster_schema.section(name, value, document)
            problems += wrong
        elif name == "plugins":
            for i, given in enumerate(value if isinstance(value, list) else [value]):
                set_path((name, i), given)
        elif name != "data_roots":
            set_path((name,), value)
        elif not isinstance(value, dict):
            problems.append(document.problem((name,), "not a mapping", allowed="name: folder, a line each"))
        else:
            for root, given in value.items():
                set_path((name, root), given)
    places = {loc: path for loc, path in paths.items() if loc[0] == "plugins"}
    for loc, path in places.items():
        if not plugin_files.is_place(path):
            problems.append(document.problem(loc, f"no folder or Python file {path}"))
    if problems:
        raise UserError(problems)
    return Roots(
        paths={str(loc[1]): path for loc, path in paths.items() if loc[0] == "data_roots"},
        origins={str(loc[1]): str(document.place(loc)) for loc in paths if loc[0] == "data_roots"},
        plugins=tuple(places.values()),
        cache=paths.get(("cache",)),
        results=paths.get(("results",)),
        engines=engines,
    )
