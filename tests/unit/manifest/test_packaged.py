"""A manifest of the package is found by its bare name, wherever the package lies; a user's own file comes first."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from refers_bench.errors import UserError
from refers_bench.manifest import packaged
from refers_bench.manifest.load import load

ROOT = Path(__file__).resolve().parents[3]
KEPT_OUT = shutil.ignore_patterns("__pycache__")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as the wheel lays it out, away from the checkout."""
    site = tmp_path_factory.mktemp("site")
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    for package in wheel["packages"]:
        shutil.copytree(ROOT / package, site / package, ignore=KEPT_OUT)
    for source, place in wheel["force-include"].items():
        shutil.copytree(ROOT / source, site / place)
    return site


def run(site: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = f"import sys; sys.path.insert(0, {str(site)!r}); from refers_bench.cli import main; main({arguments!r})"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=folder)


def test_names_are_those_of_the_files_at_the_top() -> None:
    assert packaged.names() == sorted(path.stem for path in (ROOT / "manifests").glob("*.yaml"))
    assert packaged.folder() == ROOT / "manifests"


def test_an_installed_package_knows_them_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    done = run(installed, tmp_path, "validate", "smoke", "table2")
    assert done.returncode == 0, done.stderr
    assert str(installed / "refers_bench" / "manifests") not in done.stderr
    assert done.stdout.splitlines()[0].startswith("smoke: right (10 methods, 6 targets, 3 seeds)")
    done = run(installed, tmp_path, "plan", "smoke", "--jobs", "--no-write")
    assert done.returncode == 0, done.stderr
    assert "checkpoint.nih_chestxray14.findings.100%.s0" in done.stdout
    assert "unavailable (" not in done.stdout, "the weights that the manifest brings along were not found"


def test_an_own_file_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert packaged.found(Path("smoke")) == ROOT / "manifests" / "smoke.yaml"
    (tmp_path / "smoke").mkdir()
    assert packaged.found(Path("smoke")) == ROOT / "manifests" / "smoke.yaml", "a folder is no manifest"
    (tmp_path / "table1").write_text("mine")
    for own in ("table1", "smoke.yaml", "smoke.yml", "here/smoke", "/smoke"):
        assert packaged.found(Path(own)) == Path(own)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UserError) as caught:
        load(Path("smok"))
    message = str(caught.value)
    assert message.startswith("no file and no manifest of the package is called 'smok'; allowed: a YAML file, or ")
    assert all(name in message for name in packaged.names())
    assert message.endswith("did you mean 'smoke'?")


def test_what_a_manifest_needs_beside_it() -> None:
    assert [path.name for path in packaged.files_of("table2")] == ["table2.yaml", "table1.yaml"]
    smoke = ["smoke.yaml", "smoke_weights.safetensors", "smoke_weights.safetensors.json"]
    assert [path.name for path in packaged.files_of("smoke")] == smoke


def test_only_manifests_of_the_package_are_shown_by_name() -> None:
    assert packaged.named(str(ROOT / "manifests" / "smoke.yaml")) == "smoke"
    for other in ("manifests/smoke.yaml", "/elsewhere/smoke.yaml", str(ROOT / "docs" / "cluster.md")):
        assert packaged.named(other) == other
