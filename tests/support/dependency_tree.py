"""Finds all packages that the product needs, directly or through others; alone, writes their versions down.

``python tests/support/dependency_tree.py > constraints.txt`` writes the versions of this environment, which should be
one in which the tests have passed.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
HEAD = """\
# Versions with which the tests have passed, of all packages that the product and its extras need, on Linux with
# Python {python}. Install with: --constraint constraints.txt. Containerfile and apptainer.def do so.
"""


def normal(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared() -> list[Requirement]:
    """What pyproject.toml asks for, with all extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    return [Requirement(text) for text in [*project["dependencies"], *(text for some in extras for text in some)]]


def pins() -> dict[str, Version]:
    """Normal name -> version of each package in constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found = [re.fullmatch(r"([a-z0-9-]+)==([\w.+!]+)", line) for line in lines if not line.startswith("#")]
    assert all(found), "a line that is no exact version"
    return {one[1]: Version(one[2]) for one in found if one}


def tree() -> dict[str, str]:
    """Normal name -> installed version of each package that is needed on this machine and is there; sorted."""
    found: dict[str, str] = {}
    waiting = [(one.name, tuple(one.extras)) for one in declared()]
    seen = set()
    while waiting:
        name, extras = asked = waiting.pop()
        if asked in seen:
            continue
        seen.add(asked)
        try:
            found[normal(name)] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        waiting += _needed(name, extras)
    return dict(sorted(found.items()))


def _needed(name: str, extras: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for text in importlib.metadata.requires(name) or ():
        one = Requirement(text)
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield one.name, tuple(one.extras)


def main() -> None:
    """Print the file; every extra must be installed."""
    missing = {normal(one.name) for one in declared()} - tree().keys()
    if missing:
        sys.exit(f"not installed: {', '.join(sorted(missing))}")
    print(HEAD.format(python=".".join(map(str, sys.version_info[:2]))), end="")
    for name, version in tree().items():
        print(f"{name}=={version}")


if __name__ == "__main__":
    main()
