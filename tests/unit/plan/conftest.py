"""Manifests on phantoms, planned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

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
