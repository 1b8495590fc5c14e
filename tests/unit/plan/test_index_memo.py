"""An index is read once, read again when its root changes, and never trusted over what `prepare` finds."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from command_line import Commands
from refers_bench import machine, plugins
from refers_bench.data.phantoms.radiographs import PhantomParams
from refers_bench.errors import UserError
from refers_bench.manifest.load import load
from refers_bench.manifest.roots import Roots
from refers_bench.plan import index_memo
from refers_bench.plan.expand import expand
from refers_bench.plan.lock import Plan


@pytest.fixture
def planned(
    tmp_path: Path, root: Path, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], tuple[Plan, int]]:
    """Plans with a cache; returns the plan and how often the index was read."""
    reads = []
    from refers_bench.plan import data

    read = data._read
    monkeypatch.setattr(data, "_read", lambda *given: reads.append(1) or read(*given))

    def plan() -> tuple[Plan, int]:
        reads.clear()
        made = expand(load(manifest), Roots(paths={"covid19_idc": root}), cache=tmp_path / "cache")
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
    for _ in range(2):
        path, found = index_memo.recall(Path("/proc/nowhere"), "x", {}, {"covid19_idc": root})
        assert found is None
        index_memo.keep(path, 1)


#: Dataset -> files below its root that its reader reads, as the archives lie once unpacked.
READ = {
    "nih_chestxray14": [
        "train_val_list.txt",
        "CXR8/test_list.txt",
        "CXR8/LongTailCXR/miccai2023_nih-cxr-lt_labels.csv",
    ],
    "openi": ["ecgen-radiology/1.xml", "NLMCXR_reports/ecgen-radiology/2.xml", "NLMCXR_reports.tgz"],
    "shenzhen_tb": ["ChinaSet_AllFiles/ClinicalReadings/CHNCXR_0001_0.txt"],
    "mimic_cxr_jpg": ["mimic-cxr-2.0.0-split.csv.gz", "files/p10/p10000032/s50414267.txt", "mimic-cxr-reports.zip"],
}


@pytest.mark.parametrize("name", [name for names in READ.values() for name in names])
@pytest.mark.parametrize("change", ["size", "time"])
def test_a_table_list_or_report_changed_in_place_is_seen(tmp_path: Path, name: str, change: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("before")
    before = index_memo.fingerprint(tmp_path)
    times = path.stat()
    assert index_memo.fingerprint(tmp_path) == before
    path.write_text("afterwards" if change == "size" else "change")
    os.utime(path, ns=(0, times.st_mtime_ns + (change == "time")))
    assert index_memo.fingerprint(tmp_path) != before


def test_only_so_much_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A level of more folders than allowed is not looked into, but one more of them is seen."""
    monkeypatch.setattr(index_memo, "FOLDERS", 5)
    monkeypatch.setattr(index_memo, "FILES", 2)
    for number in range(4):
        (tmp_path / "files" / f"p{number}").mkdir(parents=True)
        (tmp_path / "files" / f"p{number}" / "s.txt").write_text("before")
    for name in "abc":
        (tmp_path / name).write_text("before")

    looks = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda place: looks.append(place) or scandir(place))
    before = index_memo.fingerprint(tmp_path)
    assert looks == [str(tmp_path), str(tmp_path / "files")]
    (tmp_path / "files" / "p1" / "s.txt").write_text("afterwards")
    (tmp_path / "c").write_text("afterwards")
    assert index_memo.fingerprint(tmp_path) == before
    (tmp_path / "b").write_text("afterwards")
    changed = index_memo.fingerprint(tmp_path)
    assert changed != before
    (tmp_path / "files" / "p9").mkdir()
    assert index_memo.fingerprint(tmp_path) != changed


def test_a_file_that_changes_while_the_index_is_read_is_read_again(root: Path, tmp_path: Path) -> None:
    def recall() -> tuple[Path | None, object]:
        return index_memo.recall(tmp_path / "cache", "covid19_idc", {}, {"covid19_idc": root})

    path, found = recall()
    assert found is None
    (root / "metadata.csv").write_text("changed")
    index_memo.keep(path, 1)
    path, found = recall()
    assert found is None
    index_memo.keep(path, 2)
    assert recall() == (path, 2)


@pytest.fixture
def both(tmp_path: Path, root: Path, manifest: Path) -> Callable[[], Plan]:
    """Plans two datasets on disk, without a cache."""
    other = tmp_path / "shenzhen"
    other.mkdir()
    plugins.load("dataset", "shenzhen_tb").write_layout(other, PhantomParams(studies=12, size=32, views=1))
    text = manifest.read_text().replace("]}]", "]}, {dataset: shenzhen_tb, tasks: [tuberculosis]}]")
    manifest.write_text(text)
    return lambda: expand(load(manifest), Roots(paths={"covid19_idc": root, "shenzhen_tb": other}))


def test_several_indices_are_read_at_the_same_time(both: Callable[[], Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    from refers_bench.plan import data

    here: list[str] = []
    read = data._read
    monkeypatch.setattr(data, "_read", lambda one: here.append(one.planned.dataset) or read(one))
    plans = []
    for cores in (1, 2):
        monkeypatch.setattr(machine, "cores", lambda cores=cores: cores)
        plans.append(both())
    assert plans[0] == plans[1]
    # Which one this process takes depends on how long the other process needs to start.
    assert here[:2] == ["covid19_idc", "shenzhen_tb"]
    assert len(here) == 3 and here[2] in here[:2], "the other one is read by another process"


@pytest.mark.parametrize("cores", [1, 2])
def test_what_is_wrong_with_several_is_told_together(
    both: Callable[[], Plan], tmp_path: Path, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "cores", lambda: cores)
    shutil.rmtree(tmp_path / "shenzhen")
    (tmp_path / "shenzhen").mkdir()
    (tmp_path / "root" / "metadata.csv").write_text("a\n1\n")
    with pytest.raises(UserError) as raised:
        both()
    places = [str(problem.path) for problem in raised.value.problems]
    assert any("root" in place for place in places)
    assert any("shenzhen" in place for place in places)


def test_an_image_changed_in_place_is_found_by_prepare(
    root: Path, manifest: Path, cli: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFERS_BENCH_ROOT_COVID19_IDC", str(root))
    cli("plan", "m.yaml")
    image = sorted((root / "images").iterdir())[0]
    content, times = image.read_bytes(), image.stat()
    with image.open("r+b") as stream:  # no folder's time changes
        stream.seek(0, os.SEEK_END)
        stream.write(b"\0" * 8)
    os.utime(image, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert "data changed since planning" in cli("run", "m.yaml", "--no-report", code=4).err
    cli("run", "m.yaml", "--no-report")  # the next plan sees the files as they are
    assert image.read_bytes() != content
