"""Procedural radiographs in the layout of the dataset that a module tests, and a copy that a test may change."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from refers_bench import plugins


@pytest.fixture(scope="module")
def original(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The module's `PHANTOM`, written by the dataset that the module is named after; no test changes it."""
    root, module = tmp_path_factory.mktemp("original"), request.path.stem.removeprefix("test_")
    name = max((name for name in plugins.names("dataset") if module.startswith(name)), key=len)
    plugins.load("dataset", name).write_layout(root, request.module.PHANTOM)
    return root


@pytest.fixture
def copy(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "copy"))
