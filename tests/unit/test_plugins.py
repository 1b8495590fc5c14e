"""Plug-ins are found by the names of their files and of entry points, and one that is wrong is named."""

from __future__ import annotations

import importlib.metadata
import math
import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from refers_bench import plugins
from refers_bench.errors import UserError
from refers_bench.execution import engines

PACKAGE = Path(plugins.__file__).parent


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, dict[str, str]]]:
    """Group -> name -> value of the entry points of another package."""
    found: dict[str, dict[str, str]] = {}

    def entry_points(*, group: str) -> list[Any]:
        points = found.get(group, {})
        return [importlib.metadata.EntryPoint(name, value, group) for name, value in points.items()]

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    for one in (plugins.names, plugins.engines):
        one.cache_clear()
    yield found
    for one in (plugins.names, plugins.engines):
        one.cache_clear()


@pytest.mark.parametrize(("kind", "folder"), [("method", "methods"), ("dataset", "datasets"), ("report", "reports")])
def test_names_are_those_of_files_that_do_not_begin_with_an_underscore(
    entries: dict[str, dict[str, str]], kind: str, folder: str
) -> None:
    files = sorted(path.stem for path in (PACKAGE / folder).iterdir() if path.suffix == ".py" and path.stem[0] != "_")
    found = plugins.names(kind)
    assert list(found) == files
    assert found == {name: f"refers_bench.{folder}.{name}" for name in files}
    plugins.names.cache_clear()
    entries[f"refers_bench.{folder}"] = {"a_new_one": "their_package.module", "zz_new": "their_package.other"}
    entries["refers_bench.others"] = {"elsewhere": "x"}
    more = plugins.names(kind)
    assert list(more) == ["a_new_one", *files, "zz_new"] == sorted(more)
    assert more["a_new_one"] == "their_package.module"


def test_a_name_of_two_is_refused_where_it_is_used_and_nowhere_else(entries: dict[str, dict[str, str]]) -> None:
    entries["refers_bench.methods"] = {"refers": "their_package.refers"}
    assert plugins.names("method")["refers"] == "refers_bench.methods.refers"
    assert plugins.load("method", "scratch").label
    with pytest.raises(UserError) as raised:
        plugins.load("method", "refers")
    assert str(raised.value) == (
        "2 methods have the name 'refers': refers_bench.methods.refers, their_package.refers; rename all but one"
    )
    found, broken = plugins.loaded("method")
    assert "refers" not in found and "scratch" in found and list(broken) == ["refers"]
    entries["refers_bench.engines"] = {"slurm": "their_package:engine"}
    assert "slurm" in plugins.engines() and engines.factory("local")
    with pytest.raises(UserError) as raised:
        engines.factory("slurm")
    assert str(raised.value) == (
        "2 engines have the name 'slurm': refers_bench.execution.slurm.engine:engine, their_package:engine; "
        "rename all but one"
    )


def test_engines_are_the_built_in_ones_and_those_of_entry_points(entries: dict[str, dict[str, str]]) -> None:
    entries["refers_bench.engines"] = {"cloud": "their_package:engine"}
    assert list(plugins.engines().items()) == [
        ("cloud", "their_package:engine"),
        ("debug", "refers_bench.execution.debug:engine"),
        ("local", "refers_bench.execution.local:engine"),
        ("ray", "refers_bench.execution.ray.engine:engine"),
        ("slurm", "refers_bench.execution.slurm.engine:engine"),
    ]


def test_loading_finds_the_value_or_says_what_is_missing(
    entries: dict[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    entries["refers_bench.methods"] = {"theirs": "their_module", "empty": "their_empty_module"}
    module = types.ModuleType("their_module")
    module.METHOD = object()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "their_module", module)
    monkeypatch.setitem(sys.modules, "their_empty_module", types.ModuleType("their_empty_module"))
    assert plugins.load("method", "theirs") is module.METHOD
    with pytest.raises(UserError) as raised:
        plugins.load("method", "empty")
    assert str(raised.value) == "their_empty_module holds no METHOD; a method file must define it"
    with pytest.raises(UserError, match=r"unknown method 'theris'; allowed: c2l, .*; did you mean 'theirs'\?"):
        plugins.load("method", "theris")
    for kind, value in (("dataset", "DATASET"), ("report", "REPORT")):
        plugins.names.cache_clear()
        entries[f"refers_bench.{kind}s"] = {"empty": "their_empty_module"}
        with pytest.raises(UserError, match=f"holds no {value}; a {kind} file must define it"):
            plugins.load(kind, "empty")


def test_a_dotted_name_is_the_object_of_that_name() -> None:
    assert plugins.resolve("math:sqrt") is math.sqrt
    with pytest.raises(AttributeError):
        plugins.resolve("math:nothing")


def test_a_method_says_nothing_more_than_it_was_given() -> None:
    method = plugins.Method(label="x", source="x", impl=1, Params=object, build_encoder=print)  # type: ignore[arg-type]
    said = (method.weights(0), method.weights_hint(0), method.coverage(0), method.architecture(0), method.passes(0))
    assert said == ("", "", 1.0, "transformer", (1.0, 0.0))
    assert (method.footnotes(0), method.unavailable(0), method.discovery, method.parts) == ((), "", None, "")
    assert (method.views(0), method.crops(0), method.report_pairing(0), method.decoder(0)) == (1, 0, "study", "")
    assert method.report_tasks(0) == ("report_generation", "study_report_consistency")
    assert not method.pretrains(0), "it has no objective"
    objective = {**vars(method), "build_objective": print}
    assert plugins.Method(**objective).pretrains(0)
    assert not plugins.Method(**{**objective, "weights": lambda params: "a root"}).pretrains(0)


@pytest.mark.parametrize(
    ("name", "params", "images"),
    [
        ("mimic_cxr_jpg", {}, 377_110),
        ("mimic_cxr_jpg", {"views": ("PA",)}, 377_110),  # of these views nobody says how many there are
        ("openi", {}, 7_470),
        ("nih_chestxray14", {}, 112_120),
        ("nih_chestxray14", {"views": ("PA",)}, 67_310),
        ("vinbigdata_cxr", {}, 15_000),
        ("shenzhen_tb", {"split": "seeded"}, 662),
        ("covid19_idc", {}, 664 + 93 + 172),  # those of the released lists
        ("phantom", {}, 0),
    ],
)
def test_images_of_a_dataset_that_is_not_here_are_those_of_its_card(
    name: str, params: dict[str, Any], images: int
) -> None:
    dataset: plugins.Dataset = plugins.load("dataset", name)
    assert dataset.documented_images(dataset.Params(**params)) == images


def test_a_dataset_says_its_task_and_counts_for_its_parameters() -> None:
    common: dict[str, Any] = {"label": "x", "source": "", "licence": "", "impl": 1, "Params": object, "tasks": {}}
    plain = plugins.Dataset(**common, index=print, source_task="a", expected={"images": 3})
    assert (plain.source_task_of(5), plain.expected_of(5)) == ("a", {"images": 3})
    asked = plugins.Dataset(
        **common, index=print, source_task=lambda params: f"task {params}", expected=lambda params: {"images": params}
    )
    assert (asked.source_task_of(5), asked.expected_of(5)) == ("task 5", {"images": 5})
    bare = plugins.Dataset(**common, index=print)
    assert [one.documented_images(5) for one in (plain, asked, bare)] == [3, 5, 0]
    assert (bare.lists(0), bare.dicom(0), bare.boxes, bare.source_task_of(0), bare.has_reports, bare.synthetic) == (
        "", "standard", None, "", False, False,
    )  # fmt: skip
    assert plugins.Task(label="x", classes=()).group_by_patient
    assert plugins.Report(label="x", build=print).order == 100


def test_files_of_one_name_in_two_folders_are_two_plug_ins(
    entries: dict[str, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A method and a dataset may share a name."""
    for kind, value in (("method", "METHOD"), ("dataset", "DATASET")):
        (tmp_path / kind).mkdir()
        more = ", licence='', tasks={}, index=print" if kind == "dataset" else ""
        text = f"from refers_bench.plugins import {kind.title()}\n{value} = {kind.title()}("
        text += f"label='the {kind}', source='', impl=1, Params=object{more})\n"
        (tmp_path / kind / "mine.py").write_text(text)
    monkeypatch.setenv("REFERS_BENCH_PLUGINS", f"{tmp_path / 'method'}{os.pathsep}{tmp_path / 'dataset'}")
    assert [plugins.load(kind, "mine").label for kind in ("method", "dataset")] == ["the method", "the dataset"]
    assert "mine" not in plugins.names("report")


def test_a_broken_file_is_named_when_it_is_loaded_and_hides_no_other(
    entries: dict[str, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text("METHOD = Method(\n")
    (tmp_path / "nothing.py").write_text("x = (\n")
    monkeypatch.setenv("REFERS_BENCH_PLUGINS", str(tmp_path))
    assert [kind for kind in ("method", "dataset", "report") if "mine" in plugins.names(kind)] == ["method"]
    assert not any("nothing" in plugins.names(kind) for kind in ("method", "dataset", "report"))
    assert plugins.load("method", "refers").label == "REFERS"
    with pytest.raises(UserError, match=r"mine.py: this is not Python: '\(' was never closed"):
        plugins.load("method", "mine")
