"""Where data roots are set, which setting wins, and what a user sees when one is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from refers_bench.errors import UserError
from refers_bench.manifest.roots import load_roots


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config" / "config.yaml"
    path.parent.mkdir()
    monkeypatch.setenv("REFERS_BENCH_CONFIG", str(path))
    return path


def test_environment_wins_over_the_config_file(config: Path, tmp_path: Path) -> None:
    config.write_text("data_roots: {openi: one, bert: ~/b}\ncache: c\nresults: /r\n")
    roots = load_roots({"REFERS_BENCH_ROOT_OPENI": str(tmp_path), "REFERS_BENCH_ROOT_EMPTY": "", "OTHER": "x"})
    assert roots.paths == {"openi": tmp_path, "bert": Path.home() / "b"}
    assert roots.origins["openi"] == "$REFERS_BENCH_ROOT_OPENI"
    assert roots.origins["bert"].endswith("config.yaml:1:26")
    assert (roots.cache, roots.results) == (config.parent / "c", Path("/r"))


def test_relative_paths_are_relative_to_the_config_file(config: Path) -> None:
    config.write_text("data_roots: {openi: data/openi}\n")
    assert load_roots({}).paths["openi"] == config.parent / "data" / "openi"


def test_nothing_set(config: Path) -> None:
    assert load_roots({}).paths == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data_root: {a: b}", r"config\.yaml:1:1: unknown key 'data_root'.*did you mean 'data_roots'"),
        ("data_roots: [a]", r"config\.yaml:1:1: not a mapping; allowed: name: folder"),
        ("data_roots: {a: 3}", r"config\.yaml:1:14: data_roots\.a is 3; allowed: a path"),
        ("cache: ''", r"config\.yaml:1:1: cache is ''; allowed: a path"),
    ],
)
def test_wrong_config_files(config: Path, text: str, message: str) -> None:
    config.write_text(text)
    with pytest.raises(UserError, match=message):
        load_roots({})


def test_why_a_root_cannot_be_used(config: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    roots = load_roots({"REFERS_BENCH_ROOT_GONE": str(tmp_path / "gone"), "REFERS_BENCH_ROOT_FILE": str(file)})
    assert roots.why_not("openi").startswith("data root 'openi' is not set: set REFERS_BENCH_ROOT_OPENI, or data_roots")
    assert "which does not exist" in roots.why_not("gone")
    assert roots.why_not("file") == ""
    assert "which is no folder" in roots.why_not("file", folder=True)


def test_files_beside_the_manifest_yield_to_what_the_machine_sets(tmp_path: Path) -> None:
    from refers_bench.manifest.roots import Roots, with_files

    given = Roots(paths={"mine": tmp_path / "set"}, origins={"mine": "environment"})
    found = with_files(given, {"mine": "a.safetensors", "other": "sub/b.npz"}, tmp_path / "manifests")
    assert found.paths == {"mine": tmp_path / "set", "other": tmp_path / "manifests" / "sub" / "b.npz"}
    assert found.origins == {"mine": "environment", "other": "a file beside the manifest"}
