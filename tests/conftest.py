"""Where do tests find the numerical fixtures and the real radiographs? Each skips with a reason when absent."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def pytest_configure(config: pytest.Config) -> None:
    """Tests see nothing of the user's own settings: no results, cache, configuration or data roots."""
    kept = ("REFERS_BENCH_GOLDEN", "REFERS_BENCH_REAL_DATA")
    for name in [name for name in os.environ if name.startswith("REFERS_BENCH_") and name not in kept]:
        del os.environ[name]
    empty = tempfile.mkdtemp(prefix="refers-bench-tests-")
    config.add_cleanup(lambda: shutil.rmtree(empty, ignore_errors=True))
    for name in ("CACHE", "CONFIG"):
        os.environ[f"XDG_{name}_HOME"] = str(Path(empty) / name.lower())


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
