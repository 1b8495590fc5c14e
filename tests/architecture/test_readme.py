"""Is the README true: do its blocks run, do its commands, manifests and folders exist?"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

from refers_bench.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_python_blocks_run() -> None:
    document = Sybil(parsers=[PythonCodeBlockParser()], pattern="README.md").parse(ROOT / "README.md")
    examples = list(document.examples())
    assert examples
    for example in examples:
        example.evaluate()


def test_every_command_is_described_and_exists() -> None:
    named = set(re.findall(r"refers-bench ([a-z]+)", README))
    assert named == set(COMMANDS), named ^ set(COMMANDS)


@pytest.mark.parametrize(
    "manifest", sorted(set(re.findall(r"\b(?:manifests/)?([a-z0-9_]+)\.yaml\b", README)) - {"manifest", "config"})
)
def test_named_manifests_exist(manifest: str) -> None:
    assert (ROOT / "manifests" / f"{manifest}.yaml").is_file()


def test_length() -> None:
    assert len(README.splitlines()) <= 150
    assert len(re.findall(r"^pip install .*$", README, flags=re.MULTILINE)) == 2


def test_the_two_commands_stand_in_the_ci_script_word_for_word() -> None:
    script = (
        (ROOT / ".ci" / "run").read_text(encoding="utf-8").replace(" --quiet", "").replace(' --envdir "$NOXDIR"', "")
    )
    for line in re.findall(r"^pip install .*$", README, flags=re.MULTILINE):
        assert line in script, line
