"""Fixtures of all tests: an empty working folder, the command line, a results folder, recorded numbers, a Slurm.

What they are made of lies in `tests/support`, whose modules every test can import by their name.
"""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import slurm_cluster as tiny_slurm

if TYPE_CHECKING:
    from command_line import Commands
    from results_folder import Folder

#: Their assertions say what they found, as those of tests do.
pytest.register_assert_rewrite("command_line", "refers_bench.contracts")

ROOT = Path(__file__).resolve().parents[1]
SUPPORT = ROOT / "tests" / "support"
#: What a process imports that draws a figure.
MATPLOTLIB = (
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_pdf",
    "matplotlib.backends.backend_svg",
)


def pytest_configure(config: pytest.Config) -> None:
    """Tests see nothing of the user's own settings: no results, cache, configuration or data roots."""
    kept = ("FUZZ", "GOLDEN", "GOLDEN_MEDVLP", "GOLDEN_METHODS", "REAL_DATA")
    own = {name for name in os.environ if name.startswith("REFERS_BENCH_")}
    for name in own - {f"REFERS_BENCH_{one}" for one in kept}:
        del os.environ[name]
    # Workers find the tests' own jobs.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(SUPPORT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    empty = tempfile.mkdtemp(prefix="refers-bench-tests-")
    config.add_cleanup(lambda: shutil.rmtree(empty, ignore_errors=True))
    for name in ("CACHE", "CONFIG"):
        os.environ[f"XDG_{name}_HOME"] = str(Path(empty) / name.lower())


def pytest_collection_finish() -> None:
    """What is loaded by now stays: jobs that run in this process collect garbage in ms, not in half a second."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """What a file of tests has loaded stays, too: after thousands of tests a collection would take a second or more."""
    if nextitem is None or nextitem.path != item.path:
        gc.collect()
        gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _processes_are_forked_from_a_server_that_has_imported_what_they_need(request: pytest.FixtureRequest) -> None:
    """Runs in this process share one server: torch and matplotlib are imported once, not by each worker."""
    paths = {item.path for item in request.session.items}
    working = any("flow" in path.parts or path.name == "test_engines.py" for path in paths)
    drawing = working or any({"render", "reports"} & set(path.parts) for path in paths)
    if not drawing:
        return
    from refers_bench.execution.engine import HEAVY, PRELOAD, TEXT, Settings
    from refers_bench.execution.local import LocalEngine

    nowhere = Path(os.environ["XDG_CACHE_HOME"])
    preload = (*PRELOAD, *((*HEAVY, *TEXT) if working else ()), *MATPLOTLIB)
    with LocalEngine(Settings(results=nowhere, cache=nowhere, slots=[], preload=preload)).opened():
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
def golden_medvlp() -> Path:
    """Folder of the cases recorded from the authors' functions of ConVIRT, GLoRIA, MGCA and MRM."""
    return _folder(
        "REFERS_BENCH_GOLDEN_MEDVLP", ROOT.parent / "shared" / "golden_medvlp", "golden cases of ConVIRT to MRM"
    )


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real radiographs, labels and lists."""
    return _folder("REFERS_BENCH_REAL_DATA", ROOT.parent / "shared" / "data", "real data")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """The working folder of a test, with a cache and a configuration of its own, and the module's `FILES` in it."""
    for name in ("CACHE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.chdir(tmp_path)
    for name, content in getattr(request.module, "FILES", {}).items():
        (tmp_path / name).write_text(content)
    return tmp_path


@pytest.fixture
def cli(home: Path) -> Commands:
    """The command line, called in `home`: what a command prints that ends with exit code `code`."""
    from command_line import printed_by

    return printed_by


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A results folder to be built cell by cell."""
    from results_folder import Folder

    return Folder(tmp_path / "results")


@pytest.fixture
def new_folder(tmp_path: Path) -> Callable[..., Folder]:
    """For a second manifest in the same results folder."""
    from results_folder import Folder

    return lambda name="tiny": Folder(tmp_path / "results", name)


@pytest.fixture(scope="session")
def slurm_cluster() -> Iterator[Any]:
    """A real Slurm of two nodes, started here; skips where it cannot be."""
    if why := tiny_slurm.absent():
        pytest.skip(why)
    # A socket's path has at most 107 characters.
    with (
        tempfile.TemporaryDirectory(prefix="slurm-", ignore_cleanup_errors=True) as folder,
        tiny_slurm.running(Path(folder)) as cluster,
    ):
        yield cluster


@pytest.fixture
def slurm(slurm_cluster: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The Slurm with nothing in its queue and both nodes at work."""
    for name, value in slurm_cluster.environment.items():
        monkeypatch.setenv(name, value)
    yield slurm_cluster
    slurm_cluster.reset()
