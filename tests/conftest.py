"""Where do tests find the numerical fixtures and the real radiographs? Each skips with a reason when absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def _folder(variable: str, default: Path, what: str) -> Path:
    folder = Path(os.environ.get(variable, default))
    if not folder.is_dir():
        pytest.skip(f"{what} not found: set {variable} (looked in {folder})")
    return folder


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of the numerical fixtures recorded from the authors' modules."""
    return _folder("REFERS_BENCH_GOLDEN", ROOT.parent / "shared" / "golden", "golden fixtures")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real radiographs, labels and lists."""
    return _folder("REFERS_BENCH_REAL_DATA", ROOT.parent / "shared" / "data", "real data")
