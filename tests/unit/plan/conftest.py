"""Manifests on phantoms, planned, and a dataset on disk for those who want one that changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from refers_bench import plugins
from refers_bench.data.phantoms.radiographs import PhantomParams
from refers_bench.manifest.load import load
from refers_bench.manifest.roots import Roots
from refers_bench.plan.expand import expand
from refers_bench.plan.lock import Plan

MANIFEST = """
version: 1
protocol: {preset: smoke}
data: {phantom: {phantom: {studies: 20, size: 40}}}
source: {dataset: phantom}
methods: [refers, lsp_transformer, scratch]
targets:
  - {dataset: phantom, tasks: [findings], label_ratios: [10%, 100%]}
seeds: [0, 1]
"""


@pytest.fixture
def plan_of(tmp_path: Path) -> Callable[..., Plan]:
    """Plans `MANIFEST` with texts replaced."""

    def plan(*changes: tuple[str, str], name: str = "m", roots: Roots | None = None) -> Plan:
        text = MANIFEST
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        path = tmp_path / f"{name}.yaml"
        path.write_text(text)
        return expand(load(path), roots or Roots())

    return plan


ON_DISK = """
version: 1
protocol: {preset: smoke}
source: {dataset: covid19_idc}
methods: [scratch]
targets: [{dataset: covid19_idc, tasks: [covid19_vs_other]}]
seeds: [0]
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Procedural radiographs in the layout of covid19_idc."""
    folder = tmp_path / "root"
    folder.mkdir()
    plugins.load("dataset", "covid19_idc").write_layout(folder, PhantomParams(studies=40, size=32, views=1))
    return folder


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """A manifest of a cell on them."""
    path = tmp_path / "m.yaml"
    path.write_text(ON_DISK)
    return path
