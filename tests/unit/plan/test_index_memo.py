"""Is an index read once, read again when its root changes, and never trusted over what `prepare` finds?"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from refers_bench import plugins
from refers_bench.cli import main
from refers_bench.data.phantoms import PhantomParams
from refers_bench.manifest.load import load
from refers_bench.manifest.roots import Roots
from refers_bench.plan import index_memo
from refers_bench.plan.expand import expand
from refers_bench.plan.lock import Plan

MANIFEST = """
version: 1
protocol: {preset: smoke}
source: {dataset: covid19_idc}
methods: [scratch]
targets: [{dataset: covid19_idc, tasks: [covid19_vs_other]}]
seeds: [0]
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    plugins.load("dataset", "covid19_idc").write_layout(folder, PhantomParams(studies=40, size=32, views=1))
    return folder


@pytest.fixture
def planned(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], tuple[Plan, int]]:
    """Plans with a cache; returns the plan and how often the index was read."""
    path = tmp_path / "m.yaml"
    path.write_text(MANIFEST)
    reads = []
    from refers_bench.plan import data

    read = data._read
    monkeypatch.setattr(data, "_read", lambda *given: reads.append(1) or read(*given))

    def plan() -> tuple[Plan, int]:
        reads.clear()
        made = expand(load(path), Roots(paths={"covid19_idc": root}), cache=tmp_path / "cache")
        return made, len(reads)

    return plan


def test_read_once(planned: Callable[[], tuple[Plan, int]]) -> None:
    first, reads = planned()
    assert reads == 1
    again, reads = planned()
    assert reads == 0
    assert again == first


@pytest.mark.parametrize("change", ["table", "new image", "other folder"])
def test_read_again_when_the_root_changes(
    planned: Callable[[], tuple[Plan, int]], root: Path, tmp_path: Path, change: str
) -> None:
    planned()
    if change == "table":
        (root / "metadata.csv").write_text((root / "metadata.csv").read_text() + "\n")
    elif change == "new image":
        (root / "images" / "more.png").write_bytes(b"")
    else:
        root.rename(tmp_path / "moved")
        (tmp_path / "moved").rename(root)
        os.utime(root / "images")
    assert planned()[1] == 1


def test_a_broken_memo_is_read_again(planned: Callable[[], tuple[Plan, int]], tmp_path: Path) -> None:
    planned()
    for memo in (tmp_path / "cache" / "index").iterdir():
        memo.write_text("{")
    assert planned()[1] == 1


def test_a_cache_that_cannot_be_written_is_no_failure(root: Path) -> None:
    roots = {"covid19_idc": root}
    index_memo.remember(Path("/proc/nowhere"), "covid19_idc", {}, roots, {"digest": "x"})
    assert index_memo.recall(Path("/proc/nowhere"), "covid19_idc", {}, roots) is None


def test_an_image_changed_in_place_is_found_by_prepare(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REFERS_BENCH_ROOT_COVID19_IDC", str(root))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))
    (tmp_path / "m.yaml").write_text(MANIFEST)

    def run(*more: str) -> object:
        with pytest.raises(SystemExit) as ended:
            main(["run", "m.yaml", "--no-report", *more])
        return ended.value.code

    with pytest.raises(SystemExit):
        main(["plan", "m.yaml"])
    image = sorted((root / "images").iterdir())[0]
    content, times = image.read_bytes(), image.stat()
    with image.open("r+b") as stream:  # no folder's time changes
        stream.seek(0, os.SEEK_END)
        stream.write(b"\0" * 8)
    os.utime(image, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert run() == 4
    assert "data changed since planning" in capsys.readouterr().err
    assert run() == 0, "the next plan must see the files as they are"
    assert image.read_bytes() != content
