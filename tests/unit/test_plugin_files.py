"""Plug-ins outside any package: where they are looked for, and what is said of one that cannot be used."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from refers_bench import plugin_files, plugins
from refers_bench.errors import UserError

METHOD = "from refers_bench.plugins import Method\nMETHOD = Method(label='Mine', source='', impl=1, Params=object)\n"


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    restore = plugin_files.restorer()
    yield
    restore()
    plugins.names.cache_clear()


def test_places_are_added_once_and_known_to_processes_that_start_later(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(METHOD)
    assert "mine" not in plugins.names("method")
    plugins.use([tmp_path])
    assert plugins.load("method", "mine").label == "Mine"
    plugins.use([tmp_path, tmp_path / "mine.py"])
    assert plugin_files.places() == [str(tmp_path), str(tmp_path / "mine.py")]
    assert plugin_files.files() == [tmp_path / "mine.py"], "a file and its folder name it once"
    program = "from refers_bench import plugins; print(plugins.load('method', 'mine').label)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout == "Mine\n"


def test_a_relative_place_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine").mkdir()
    plugins.use([Path("mine")])
    monkeypatch.chdir("/")
    assert plugin_files.places() == [str(tmp_path / "mine")]


@pytest.mark.parametrize("before", [None, "/tmp"])
def test_what_was_added_can_be_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str | None) -> None:
    monkeypatch.delenv("REFERS_BENCH_PLUGINS", raising=False)
    if before:
        monkeypatch.setenv("REFERS_BENCH_PLUGINS", before)
    restore = plugin_files.restorer()
    (tmp_path / "mine.py").write_text(METHOD)
    plugins.use([tmp_path / "mine.py"])
    assert plugins.load("method", "mine").label == "Mine"
    restore()
    assert os.environ.get("REFERS_BENCH_PLUGINS") == before
    assert "mine" not in plugins.names("method")
    (tmp_path / "mine.py").write_text(METHOD.replace("Mine", "Other"))
    plugins.use([tmp_path / "mine.py"])
    assert plugins.load("method", "mine").label == "Other", "the file is read again"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("METHOD = (\n", "mine.py: this is not Python: '(' was never closed"),
        ("import nowhere\nMETHOD = 1\n", "mine.py:1: cannot be loaded: ModuleNotFoundError: No module named 'nowhere'"),
        ("def f():\n    return 1 / 0\n\n\nMETHOD = f()\n", "mine.py:2: cannot be loaded: ZeroDivisionError: division by zero"),
        (METHOD.replace("impl=1", "impll=1"), "mine.py:2: cannot be loaded: TypeError: "),
        ("METHOD = {}\n", "mine.py: METHOD is a dict; allowed: Method(...)"),
        (METHOD.replace("impl=1", "impl='1'"), "mine.py: impl of METHOD is '1'; allowed: int"),
        (METHOD.replace("Params=object", "Params=None"), "mine.py: Params of METHOD is None; allowed: type[BaseModel]"),
        (METHOD.replace("impl=1", "impl=1, footnotes=()"), "mine.py: footnotes of METHOD is (); allowed: Callable"),
        ("METHOD: int\n", "mine.py holds no METHOD; a method file must define it"),
    ],
)  # fmt: skip
def test_a_broken_file_says_where_and_why_and_hides_no_other(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "mine.py").write_text(text)
    (tmp_path / "right.py").write_text(METHOD)
    plugins.use([tmp_path])
    with pytest.raises(UserError) as raised:
        plugins.load("method", "mine")
    assert said in str(raised.value)
    found, broken = plugins.loaded("method")
    assert "right" in found and "refers" in found and "mine" not in found
    assert list(broken) == ["mine"] and said in broken["mine"]


def test_an_edited_file_has_another_identity(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(METHOD)
    first = plugin_files.source(str(file))
    file.write_text(f"{METHOD}# edited\n")
    assert plugin_files.source(str(file)) != first
    file.write_text(METHOD)
    assert plugin_files.source(str(file)) == first
    own = Path(plugins.__file__).parent / "datasets" / "phantom.py"
    assert plugin_files.source("refers_bench.datasets.phantom") == plugin_files.source(str(own)) != ""
    assert plugin_files.source("no_such_module") == ""


#: A reader of another package: its file, and what is wrong with it.
THEIRS = """
from theirs_rest import read
from refers_bench.plugins import Dataset
DATASET = Dataset(label="x", source="", licence="", impl=1, Params=object, tasks={}, index=read)
"""
REST = "def read(root, params, lists):\n    return root['x']\n"


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with another package, `theirs`, whose entry point names a dataset."""
    package, facts = tmp_path / "theirs_x", tmp_path / "theirs-1.0.dist-info"
    package.mkdir()
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[refers_bench.datasets]\ntheirs = theirs_x.reader\n")
    (package / "__init__.py").write_text("")
    (package / "theirs_rest.py").write_text(REST)
    (package / "reader.py").write_text(THEIRS.replace("theirs_rest", "theirs_x.theirs_rest"))
    monkeypatch.syspath_prepend(str(tmp_path))
    for one in (plugins.names, plugin_files._others):
        one.cache_clear()
    for name in [name for name in sys.modules if name.startswith("theirs_x")]:
        del sys.modules[name]
    return package


def test_an_error_in_another_package_is_blamed_on_its_line(theirs: Path) -> None:
    dataset = plugins.load("dataset", "theirs")
    with pytest.raises(TypeError) as raised:
        dataset.index(1, None, {})
    said = plugin_files.not_ours(raised.value)
    assert said is not None
    place = f"{theirs / 'theirs_rest.py'}:2: plug-in 'theirs_x.theirs_rest' failed: TypeError: 'int' object is not "
    assert str(said).startswith(place)
    with pytest.raises(KeyError) as ours:
        plugins.load("dataset", "phantom").tasks["none"]
    assert plugin_files.not_ours(ours.value) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nowhere\n", "reader.py:1: plug-in 'theirs_x.reader' failed: ModuleNotFoundError: No module named 'nowhere'"),
        ("x = (\n", "theirs_x.reader cannot be loaded: SyntaxError: '(' was never closed"),
    ],
)  # fmt: skip
def test_a_module_of_another_package_that_cannot_be_imported_hides_no_other(theirs: Path, text: str, said: str) -> None:
    (theirs / "reader.py").write_text(text)
    found, broken = plugins.loaded("dataset")
    assert "phantom" in found and list(broken) == ["theirs"]
    assert said in broken["theirs"]


def test_a_file_that_ends_the_process_is_broken_like_others(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import sys\nMETHOD = sys.exit(3)\n")
    plugins.use([tmp_path])
    with pytest.raises(UserError, match=r"mine\.py:2: cannot be loaded: SystemExit: 3"):
        plugins.load("method", "mine")


def test_places_of_the_package_and_errors_without_one_are_bugs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert plugin_files.not_ours(FileNotFoundError(2, "No such file", plugin_files.__file__)) is None
    assert plugin_files.not_ours(OSError("broken")) is None
    said = str(plugin_files.not_ours(PermissionError(13, "Permission denied", "/data/x")))
    assert said.startswith("/data/x: Permission denied (PermissionError); allowed: a place that can be read")
    monkeypatch.setenv("REFERS_BENCH_TRACEBACK", "1")
    assert plugin_files.not_ours(PermissionError(13, "Permission denied", "/data/x")) is None
