"""Constraints and container files fit the project, as far as can be seen without building an image."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from dependency_tree import declared, normal, pins, tree

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONTAINERFILE = (ROOT / "Containerfile").read_text(encoding="utf-8")
APPTAINER = (ROOT / "apptainer.def").read_text(encoding="utf-8")


def instructions() -> list[tuple[str, list[str]]]:
    """Keyword and words of each instruction of the Containerfile."""
    joined = CONTAINERFILE.replace("\\\n", " ").splitlines()
    lines = [line for line in joined if line.strip() and not line.startswith("#")]
    return [(line.split(maxsplit=1)[0], shlex.split(line)[1:]) for line in lines]


def sections() -> dict[str, list[str]]:
    """Section of the Apptainer definition -> its lines; the header is ''."""
    found: dict[str, list[str]] = {"": []}
    for line in APPTAINER.splitlines():
        if line.startswith("%"):
            found[line[1:].strip()] = []
        elif line.strip():
            found[list(found)[-1]].append(line.strip())
    return found


def copied() -> dict[str, set[str]]:
    """What each container file copies."""
    container = {word for name, words in instructions() if name == "COPY" for word in words[:-1]}
    return {"Containerfile": container, "apptainer.def": {line.split()[0] for line in sections()["files"]}}


def test_every_package_that_is_needed_is_pinned() -> None:
    found, installed = pins(), tree()
    assert list(found) == sorted(found)
    assert not {normal(one.name) for one in declared()} - found.keys()
    if other := [name for name, pin in found.items() if name in installed and Version(installed[name]) != pin]:
        pytest.skip(f"other versions than the tested ones may need other packages: {', '.join(other)}")
    assert not installed.keys() - found.keys(), (
        "write it anew: python tests/support/dependency_tree.py > constraints.txt"
    )


@pytest.mark.parametrize("one", declared(), ids=str)
def test_the_tested_version_is_one_that_the_project_allows(one: Requirement) -> None:
    assert pins()[normal(one.name)] in one.specifier


def test_both_containers_hold_the_same_files_and_these_exist() -> None:
    container, apptainer = copied().values()
    assert container == apptainer
    assert all((ROOT / name).exists() for name in container), container
    assert all(line.split()[1] == f"/src/{line.split()[0]}" for line in sections()["files"])


def test_a_wheel_can_be_built_from_what_is_copied() -> None:
    project, wheel = PYPROJECT["project"], PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {"pyproject.toml", "constraints.txt", project["readme"], *project["license-files"], *wheel["packages"]}
    assert needed | set(wheel["force-include"]) == copied()["Containerfile"]
    version = Path(PYPROJECT["tool"]["hatch"]["version"]["path"])
    assert version.parts[0] in copied()["Containerfile"]


def test_images_install_the_tested_versions_for_the_tested_python() -> None:
    images = [words[0] for name, words in instructions() if name == "FROM"]
    images += [line.split()[1] for line in sections()[""] if line.startswith("From:")]
    assert len(images) == 2 and len(set(images)) == 1
    python = re.fullmatch(r"docker\.io/library/python:(3\.\d+)-slim", images[0])
    assert python and f"Python {python[1]}." in (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert Version(python[1]) in SpecifierSet(PYPROJECT["project"]["requires-python"])
    installs = [words for name, words in instructions() if name == "RUN"]
    installs += [shlex.split(line) for line in sections()["post"] if line.startswith("pip")]
    assert len(installs) == 2
    for words in installs:
        assert words[:2] == ["pip", "install"] and words[words.index("--constraint") + 1] == "constraints.txt"
        extras = re.fullmatch(r"\.\[(.*)\]", words[-1])
        assert extras and set(extras[1].split(",")) <= set(PYPROJECT["project"]["optional-dependencies"])


def test_images_start_the_command() -> None:
    (command,) = PYPROJECT["project"]["scripts"]
    entry = next(line for line in CONTAINERFILE.splitlines() if line.startswith("ENTRYPOINT"))
    assert json.loads(entry.removeprefix("ENTRYPOINT")) == [command]
    assert sections()["runscript"] == [f'exec {command} "$@"']


def test_no_version_stands_in_a_container_file() -> None:
    for text in (CONTAINERFILE, APPTAINER):
        assert "==" not in text and ">=" not in text
