"""Finds the manifests that come with the package by their names."""

from __future__ import annotations

from pathlib import Path

from refers_bench.errors import UserError, nearest

SUFFIX = ".yaml"


def folder() -> Path:
    """Where they are: in an installation inside the package, in a checkout beside it."""
    package = Path(__file__).parents[1]
    inside = package / "manifests"
    return inside if inside.is_dir() else package.with_name("manifests")


def names() -> list[str]:
    """Their names, sorted."""
    return sorted(path.stem for path in folder().glob(f"*{SUFFIX}"))


def found(manifest: Path) -> Path:
    """The file of a manifest that a user names.

    Args:
        manifest: its file; or the bare name of one that comes with the package, unless a file is called so.

    Raises:
        UserError: a bare name that neither a file nor a manifest of the package has.
    """
    if manifest.suffix or len(manifest.parts) != 1 or manifest.is_file():
        return manifest
    name, known = manifest.name, names()
    if name not in known:
        what = f"no file and no manifest of the package is called '{name}'"
        raise UserError(what, allowed=f"a YAML file, or {', '.join(known)}", nearest=nearest(name, known))
    return folder() / f"{name}{SUFFIX}"


def files_of(name: str) -> list[Path]:
    """The file of a manifest of the package, and those that it needs beside it: included ones, and small data files."""
    from refers_bench.manifest.yaml_text import read

    here, waiting = folder(), [f"{name}{SUFFIX}"]
    needed: dict[str, None] = {}
    while waiting:
        if (one := waiting.pop(0)) in needed:
            continue
        needed[one] = None
        if one.endswith(SUFFIX):
            content = read(here / one).content
            waiting += [*content.get("include", []), *content.get("files", {}).values()]
        elif (here / f"{one}.json").is_file():  # a data sheet
            waiting.append(f"{one}.json")
    return [here / one for one in needed]


def named(path: str) -> str:
    """A manifest's file as a user may name it anywhere: those of the package by their names, others as they are."""
    given = Path(path)
    return given.stem if given.is_absolute() and given.suffix == SUFFIX and given.parent == folder() else path
