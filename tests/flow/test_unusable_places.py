"""Folders that cannot be read or written, and plug-ins that fail, end with one line and exit code 2; bugs do not."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from command_line import Commands
from refers_bench import cli as command_line

MANIFEST = """
version: 1
protocol: {preset: smoke}
data: {phantom: {phantom: {seed: 4, studies: 30, size: 40}}}
source: {dataset: phantom}
methods: [scratch]
targets: [{dataset: phantom, tasks: [findings]}]
seeds: [0]
"""
READER = """
from pydantic import BaseModel, field_validator
from refers_bench.plugins import Dataset, Task


class Params(BaseModel, extra="forbid", frozen=True):
    views: str = ""

    @field_validator("views")
    @classmethod
    def known(cls, value):
        return {"": "", "PA": "PA"}[value]


def index(root, params, lists):
    rows = []
    return rows[0]


DATASET = Dataset(
    label="Mine", source="", licence="", impl=1, Params=Params, tasks={"t": Task(label="T", classes=("ill",))}, index=index,
)
"""
REPORT = """
from refers_bench.plugins import Report


def build(results):
    return 1 / len(results.no_such_thing)


REPORT = Report(label="Mine", build=build)
"""
OWN = """
version: 1
plugins: [mine.py]
protocol: {preset: smoke}
methods: [scratch]
targets: [{dataset: mine}]
seeds: [0]
"""
FILES = {"small.yaml": MANIFEST, "file": "x", "own.yaml": OWN, "mine.py": READER, "my_report.py": REPORT}


def single(err: str) -> str:
    """The only line of an error."""
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    return line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--results", "file/x", "plan", "small.yaml"], "file/x/store: Not a directory"),
        (["--results", "loop", "plan", "small.yaml"], "loop/store: Too many levels of symbolic links"),
        (["--cache", "file/x", "plan", "small.yaml"], "Not a directory"),
        (["plan", "n" * 300 + ".yaml"], "cannot be read: File name too long"),
        (["new", "manifest", "x", "--folder", "loop"], "loop/x.yaml: cannot write: "),
    ],
)
def test_places_that_cannot_be(cli: Commands, home: Path, arguments: list[str], said: str) -> None:
    (home / "loop").symlink_to("loop")
    assert said in single(cli(*arguments, code=2).err)


@pytest.mark.parametrize("name", ["images", "metadata.csv"])
def test_a_dataset_with_a_place_that_cannot_be_read(
    cli: Commands, home: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A reader that meets a folder without permission: the folder's path, from `plan` and from `data verify`."""
    from refers_bench import plugins
    from refers_bench.data.phantoms.radiographs import PhantomParams

    root = home / "covid"
    root.mkdir()
    plugins.load("dataset", "covid19_idc").write_layout(root, PhantomParams(studies=12, size=32, views=1))
    monkeypatch.setenv("REFERS_BENCH_ROOT_COVID19_IDC", str(root))
    text = MANIFEST.replace("data: {phantom: {phantom: {seed: 4, studies: 30, size: 40}}}\n", "")
    text = text.replace("phantom", "covid19_idc").replace("[findings]", "[covid19_vs_other]")
    (home / "covid.yaml").write_text(text)
    if name == "images":
        scandir, listdir = os.scandir, os.listdir

        def refused(function: Callable[..., Any]) -> Callable[..., Any]:
            def call(path: Any = ".") -> Any:
                if str(path) == str(root / "images"):
                    raise PermissionError(13, "Permission denied", str(path))
                return function(path)

            return call

        monkeypatch.setattr(os, "scandir", refused(scandir))
        monkeypatch.setattr(os, "listdir", refused(listdir))
    else:
        (root / name).unlink()
        (root / name).mkdir()
    for arguments in (["plan", "covid.yaml"], ["data", "verify", "covid19_idc"]):
        assert re.search(rf"{name}: .*(Permission denied|Is a directory)", single(cli(*arguments, code=2).err))


def test_a_dataset_without_several_columns_names_them_together(
    cli: Commands, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "metadata.csv").write_text("patient,offset,finding,folder,filename\n")
    monkeypatch.setenv("REFERS_BENCH_ROOT_COVID19_IDC", str(home))
    line = single(cli("data", "verify", "covid19_idc", code=2).err)
    assert line.endswith(
        "metadata.csv:1: no column 'patientid', 'view', 'modality', 'clinical_notes'; "
        "allowed: patient, offset, finding, folder, filename"
    )
    (home / "metadata.csv").write_text("patient,offset,finding,view,modality,folder,filename,clinical_notes\n")
    line = single(cli("data", "verify", "covid19_idc", code=2).err)
    assert "no column 'patientid'; allowed: " in line and line.endswith("did you mean 'patient'?")


def test_a_plug_in_that_fails_is_named_with_its_line(
    cli: Commands, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "images").mkdir()
    monkeypatch.setenv("REFERS_BENCH_ROOT_MINE", str(home / "images"))
    place = re.escape(str(home / "mine.py"))
    line_of = {text: number for number, text in enumerate(READER.splitlines(), start=1)}
    found = (
        f"error: {place}:{line_of['    return rows[0]']}: plug-in 'mine' failed: IndexError: list index out of range; "
    )
    for arguments in (["plan", "own.yaml"], ["--plugins", "mine.py", "data", "verify", "mine"]):
        assert re.match(found, single(cli(*arguments, code=2).err))
    line = single(cli("--plugins", "mine.py", "data", "verify", "mine", "--param", "views=AP", code=2).err)
    wrong = line_of['        return {"": "", "PA": "PA"}[value]']
    assert re.match(f"error: {place}:{wrong}: plug-in 'mine' failed: KeyError: 'AP'; ", line)
    cli("plan", "small.yaml")
    line = single(cli("--plugins", "my_report.py", "report", "small", code=2).err)
    assert re.search(r"my_report\.py:6: plug-in 'my_report' failed: AttributeError: .*no_such_thing", line)


def test_a_plug_in_with_a_field_of_another_kind_is_named(cli: Commands, home: Path) -> None:
    cli("plan", "small.yaml")
    for old, new, said in (
        ("build=build", "build=None", "build of REPORT is None; allowed: Callable"),
        (
            "build=build",
            "build=build, part='figure'",
            "unknown part of report 'my_report' 'figure'; allowed: classes, .*'figures'",
        ),
    ):
        (home / "my_report.py").write_text(REPORT.replace(old, new))
        assert re.search(said, single(cli("--plugins", "my_report.py", "report", "small", code=2).err))
    (home / "mine.py").write_text(READER.replace("index=index", "index=None"))
    assert "mine.py: index of DATASET is None; allowed: Callable" in cli("--plugins", "mine.py", "datasets", "list").out


def test_two_of_one_name_end_what_uses_it_alone(cli: Commands, home: Path) -> None:
    (home / "a").mkdir()
    (home / "b").mkdir()
    for folder in ("a", "b"):
        (home / folder / "mine.py").write_text(READER)
    both = ["--plugins", "a", "--plugins", "b"]
    clash = f"2 datasets have the name 'mine': {home / 'a' / 'mine.py'}, {home / 'b' / 'mine.py'}; rename all but one"
    assert f"mine              broken: {clash}\n" in cli(*both, "datasets", "list").out
    assert f"{home / 'a' / 'mine.py'}  broken: {clash}\n" in cli(*both, "plugins", "list").out
    cli(*both, "plan", "small.yaml")
    cli(*both, "status")
    assert single(cli(*both, "data", "verify", "mine", code=2).err) == f"error: {clash}"


def test_bugs_keep_their_traceback_and_authors_can_have_it(
    cli: Commands, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr("refers_bench.execution.planning.planned", lambda *_: 1 / 0)
        patch.setattr("refers_bench.cli.plan.planned", lambda *_: 1 / 0)
        command_line.main(["plan", "small.yaml"])
    (home / "images").mkdir()
    monkeypatch.setenv("REFERS_BENCH_ROOT_MINE", str(home / "images"))
    monkeypatch.setenv("REFERS_BENCH_TRACEBACK", "1")
    with pytest.raises(IndexError):
        command_line.main(["plan", "own.yaml"])
    with pytest.raises(NotADirectoryError):
        command_line.main(["--cache", "file/x", "plan", "small.yaml"])


def test_missing_data_roots_are_named_all_at_once(cli: Commands, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that jobs lack besides the first: lists, and weights of networks."""
    names = [f"REFERS_BENCH_ROOT_{name}" for name in ("BERT", "COVID19_IDC", "COVID19_LISTS", "MIMIC_CXR_JPG")]
    config = home / "config" / "refers-bench" / "config.yaml"
    said = f"not set: 4 data roots; to be set in the environment, or below data_roots in {config}: {', '.join(names)}\n"
    assert cli("validate", "table3").out.endswith(f"\n  {said}")
    assert said in cli("plan", "table3").out
    assert said in cli("run", "table3", "--no-report", code=3).err
    monkeypatch.setenv("REFERS_BENCH_ROOT_BERT", str(home / "gone"))
    out, _ = cli("validate", "table3")
    assert "not set: 3 data roots" in out and "BERT," not in out
    assert f"  data root 'bert' is {home / 'gone'} ($REFERS_BENCH_ROOT_BERT), which does not exist\n" in out
    assert len(cli("validate", "small.yaml").out.splitlines()) == 1
