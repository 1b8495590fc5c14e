"""The manifests of the package are listed with their titles, and copied with what they need."""

from __future__ import annotations

from pathlib import Path

from command_line import command
from refers_bench.manifest import packaged


def test_list(home: Path) -> None:
    code, out, _ = command("manifests", "list")
    lines = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert code == 0
    assert list(lines) == packaged.names()
    assert lines["smoke"] == "Smoke run on procedural radiographs"


def test_a_copy_is_complete_and_replaces_nothing(home: Path) -> None:
    code, out, _ = command("manifests", "copy", "smoke", "--to", "mine")
    assert code == 0
    assert out.splitlines()[0] == "copied: mine/smoke.yaml"
    for source in packaged.files_of("smoke"):
        assert (home / "mine" / source.name).read_bytes() == source.read_bytes()
    assert command("validate", "mine/smoke.yaml").code == 0
    (home / "mine" / "smoke.yaml").unlink()
    code, _, err = command("manifests", "copy", "smoke", "--to", "mine")
    assert (code, err.splitlines()) == (
        2, ["error: mine/smoke_weights.safetensors exists already; allowed: another folder: --to FOLDER"]
    )  # fmt: skip
    assert not (home / "mine" / "smoke.yaml").exists(), "nothing is copied where not all can be"
    assert command("manifests", "copy", "table2").code == 0
    assert command("validate", "table2.yaml").code == 0


def test_an_unknown_name(home: Path) -> None:
    code, _, err = command("manifests", "copy", "tabel1")
    assert code == 2
    assert err.startswith("error: unknown manifest 'tabel1'; allowed: breadth, breadth_smoke, ")
    assert err.endswith("did you mean 'table1'?\n")
