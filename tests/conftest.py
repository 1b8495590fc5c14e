"""Where do tests find the numerical fixtures and the real radiographs? Each skips with a reason when absent."""

from __future__ import annotations

import gc
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


def pytest_configure(config: pytest.Config) -> None:
    """Tests see nothing of the user's own settings: no results, cache, configuration or data roots."""
    kept = ("REFERS_BENCH_GOLDEN", "REFERS_BENCH_GOLDEN_METHODS", "REFERS_BENCH_REAL_DATA")
    for name in [name for name in os.environ if name.startswith("REFERS_BENCH_") and name not in kept]:
        del os.environ[name]
    empty = tempfile.mkdtemp(prefix="refers-bench-tests-")
    config.add_cleanup(lambda: shutil.rmtree(empty, ignore_errors=True))
    for name in ("CACHE", "CONFIG"):
        os.environ[f"XDG_{name}_HOME"] = str(Path(empty) / name.lower())


def pytest_collection_finish() -> None:
    """What is loaded by now stays: jobs that run in this process collect garbage in ms, not in half a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _workers_are_forked_from_a_server_with_torch(request: pytest.FixtureRequest) -> None:
    """Runs in this process share one server that workers are forked from: torch is imported once, not by each worker."""
    if any("flow" in item.path.parts or item.path.name == "test_engines.py" for item in request.session.items):
        from refers_bench.execution.engine import Settings
        from refers_bench.execution.local import LocalEngine

        nowhere = Path(os.environ["XDG_CACHE_HOME"])
        with LocalEngine(Settings(results=nowhere, cache=nowhere, slots=[])).opened():
            pass


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
def golden_methods_folder() -> Path:
    """Folder of the cases recorded from the authors' functions of the self-supervised baselines."""
    return _folder("REFERS_BENCH_GOLDEN_METHODS", ROOT.parent / "shared" / "golden_methods", "golden cases of methods")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real radiographs, labels and lists."""
    return _folder("REFERS_BENCH_REAL_DATA", ROOT.parent / "shared" / "data", "real data")


def _module(name: str) -> Any:
    """A module beside this one: tests are imported without being packages."""
    spec = importlib.util.spec_from_file_location(f"tests_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def slurm_cluster() -> Iterator[Any]:
    """A real Slurm of two nodes, started here; skips where it cannot be."""
    module = _module("slurm_cluster")
    if why := module.absent():
        pytest.skip(why)
    # A socket's path has at most 107 characters.
    with (
        tempfile.TemporaryDirectory(prefix="slurm-", ignore_cleanup_errors=True) as folder,
        module.running(Path(folder)) as cluster,
    ):
        yield cluster


@pytest.fixture
def slurm(slurm_cluster: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The Slurm with nothing in its queue and both nodes at work."""
    for name, value in slurm_cluster.environment.items():
        monkeypatch.setenv(name, value)
    yield slurm_cluster
    slurm_cluster.reset()
