"""What a manifest declares of one's own images: parameters without paths, and paths by data root."""

from __future__ import annotations

from pathlib import Path

import pytest

from refers_bench import plugins
from refers_bench.errors import UserError
from refers_bench.manifest.declared import brought_along, declared, readers
from refers_bench.manifest.load import load
from refers_bench.manifest.roots import Roots
from refers_bench.manifest.schema import DataPart, json_schema

TEXT = """version: 1
protocol: {preset: smoke}
data:
  mine: {table: {file: in/t.csv, images: ~/img, labels: [a]}}
source: {dataset: mine}
methods: [scratch]
targets: [{dataset: mine, tasks: [labels]}]
seeds: [0]
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "m.yaml").write_text(TEXT)
    return tmp_path / "m.yaml"


def test_paths_are_relative_to_the_manifest_and_in_no_parameter(path: Path) -> None:
    (own,) = declared(load(path).content.data, path.parent).values()
    assert (own.name, own.reader) == ("mine", "table")
    assert own.places == {"mine": Path.home() / "img", "mine_file": path.parent / "in" / "t.csv"}
    assert own.fields == {"mine": "images", "mine_file": "file"}
    assert own.params["labels"] == ["a"] and not {"file", "images"} & set(own.params)
    assert str(path.parent) not in str(own.params)
    assert plugins.load("dataset", "table").Params(**own.params).labels == ("a",)


def test_a_root_of_the_machine_wins(path: Path) -> None:
    content = load(path).content.model_dump(mode="json")
    roots = brought_along(Roots(paths={"mine": Path("/elsewhere")}), content, path.parent)
    assert roots.paths == {"mine": Path("/elsewhere"), "mine_file": path.parent / "in" / "t.csv"}
    assert roots.origins["mine_file"] == "declared in the manifest"


def test_readers_are_the_plug_ins_that_declare() -> None:
    assert readers() == ["folder", "table"]


def test_editors_know_the_keys_of_readers_and_refuse_others() -> None:
    part = json_schema()["$defs"]["DataPart"]
    assert part["additionalProperties"] is False
    assert set(part["properties"]) == {"root", "phantom", "folder", "table"}
    assert part["properties"]["table"]["required"] == ["file"]
    assert "patient" in part["properties"]["folder"]["properties"]


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("{tabel: {file: t.csv}}", r"m\.yaml:4:10: unknown key 'tabel'; allowed: root, phantom, folder, table; did you mean 'table'\?"),
        ("{openi: {file: t.csv}}", r"m\.yaml:4:10: unknown key 'openi'; allowed: root, phantom, folder, table"),
        ("{table: t.csv}", r"m\.yaml:4:10: table is 't\.csv'; allowed: a mapping of keys to values"),
        ("{table: {labels: [a]}}", r"m\.yaml:4:10: parameter 'file' is missing"),
        ("{table: {file: t.csv, folds: 5}}", r"m\.yaml:4:10: parameters that do not fit together; allowed: folds as a key of the target"),
        ("{table: {file: t.csv}, root: a}", r"m\.yaml:4:3: both 'root' and 'table'; allowed: one of them"),
        ("{table: {file: t.csv}, folder: {root: a}}", r"m\.yaml:4:3: both 'table' and 'folder'; allowed: one of them"),
    ],
)  # fmt: skip
def test_what_is_declared_wrongly_is_refused(path: Path, part: str, message: str) -> None:
    path.write_text(TEXT.replace("{table: {file: in/t.csv, images: ~/img, labels: [a]}}", part))
    with pytest.raises(UserError, match=message):
        load(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("mine:", "Mine:", r"m\.yaml:4:3: the name 'Mine' of one's own images"),
        ("mine:", "phantom:", r"m\.yaml:4:3: the name 'phantom' of one's own images; allowed: .*no dataset's id"),
        ("source: {dataset: mine}", "source: {dataset: mine, params: {a: 1}}", r"m\.yaml:5:25: params of 'mine'; allowed: its parameters in data\.mine\.table"),
        ("source: {dataset: mine}", "source: {dataset: folder}", r"m\.yaml:5:10: 'folder' reads one's own images, .*'data: \{NAME: \{folder: \.\.\.\}\}'"),
        ("source: {dataset: mine}", "source: {dataset: mien}", r"m\.yaml:5:10: unknown dataset 'mien'; allowed: .*, mine; did you mean 'mine'\?"),
        ("[labels]}]", "[label]}]", r"m\.yaml:7:\d+: unknown task of mine 'label'; allowed: labels; did you mean 'labels'"),
    ],
)  # fmt: skip
def test_names_are_checked(path: Path, old: str, new: str, message: str) -> None:
    path.write_text(TEXT.replace(old, new, 1))
    with pytest.raises(UserError, match=message):
        load(path)


def test_the_part_keeps_what_it_does_not_know() -> None:
    assert DataPart.model_validate({"table": {"file": "a"}}).readers == {"table": {"file": "a"}}
    assert DataPart.model_validate({"root": "a"}).readers == {}
