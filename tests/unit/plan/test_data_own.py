"""One's own images are planned by what their table says: never by where they are, always by what it says now."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import own_images
from refers_bench.errors import UserError
from refers_bench.manifest.load import load
from refers_bench.manifest.roots import Roots
from refers_bench.plan import data
from refers_bench.plan.expand import expand
from refers_bench.plan.lock import Plan

TEXT = """version: 1
protocol: {preset: smoke}
data:
  mine: {table: {file: labels.csv, images: img, image: file, patient: patient, labels: [spot, stripe], split: split, missing: -1}}
source: {dataset: mine}
methods: [lsp_transformer, scratch, {id: pixels, evaluation: linear_probe}]
targets: [{dataset: mine, tasks: [labels]}]
seeds: [0]
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    rows = own_images.rows(20)
    own_images.write_images(folder / "img", rows)
    own_images.write_table(folder / "labels.csv", rows)
    (folder / "m.yaml").write_text(TEXT)
    return folder


@pytest.fixture
def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], tuple[Plan, int]]:
    """Plans a folder's manifest with a cache; the plan, and how often an index was read."""
    reads, read = [], data._read
    monkeypatch.setattr(data, "_read", lambda *given: reads.append(1) or read(*given))

    def plan(folder: Path) -> tuple[Plan, int]:
        reads.clear()
        return expand(load(folder / "m.yaml"), Roots(), cache=tmp_path / "cache"), len(reads)

    return plan


def keys(plan: Plan) -> dict[str, str]:
    return {job.name: job.key for job in plan.jobs}


def test_every_specification_names_the_reader_and_the_classes(
    planned: Callable[..., tuple[Plan, int]], mine: Path
) -> None:
    plan, _ = planned(mine)
    specs = {job.kind: job.spec for job in plan.jobs}
    for kind in ("prepare", "finetune", "frozen", "heads"):
        assert (specs[kind]["dataset"], specs[kind]["reader"]) == ("mine", "table"), kind
    assert specs["finetune"]["classes"] == ["spot", "stripe"]
    assert specs["pretrain"]["source"]["classes"] == ["spot", "stripe"]
    assert specs["pretrain"]["source"]["task"] == "labels" and not specs["pretrain"]["source"]["has_reports"]
    assert plan.roots == {"mine": "mine", "mine_file": "mine_file"}
    assert list(plan.images.values()) == [20]


def test_no_key_depends_on_where_things_are(
    planned: Callable[..., tuple[Plan, int]], mine: Path, tmp_path: Path
) -> None:
    before, _ = planned(mine)
    assert str(tmp_path) not in json.dumps([dict(job.spec) for job in before.jobs])
    moved = Path(shutil.move(mine, tmp_path / "moved"))
    (moved / "elsewhere").mkdir()
    shutil.move(moved / "labels.csv", moved / "elsewhere" / "table.csv")
    shutil.move(moved / "img", moved / "pictures")
    text = TEXT.replace("file: labels.csv, images: img", "file: elsewhere/table.csv, images: pictures")
    (moved / "m.yaml").write_text(text)
    assert keys(planned(moved)[0]) == keys(before)


def test_an_edited_table_is_read_again_even_with_its_old_size_and_time(
    planned: Callable[..., tuple[Plan, int]], mine: Path
) -> None:
    before, reads = planned(mine)
    assert reads == 1 and planned(mine)[1] == 0
    path, status = mine / "labels.csv", (mine / "labels.csv").stat()
    path.write_text(path.read_text().replace("000.png,p000,1", "000.png,p000,0"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    after, reads = planned(mine)
    assert reads == 1
    assert not set(keys(after).values()) & set(keys(before).values())


def test_another_option_reads_again(planned: Callable[..., tuple[Plan, int]], mine: Path) -> None:
    before, _ = planned(mine)
    (mine / "m.yaml").write_text(TEXT.replace("split: split", "split: {train: 0.5, val: 0.2, test: 0.3}"))
    after, reads = planned(mine)
    assert reads == 1 and keys(after)["prepare.mine.36px"] != keys(before)["prepare.mine.36px"]


def test_remarks_are_footnotes_of_every_row(planned: Callable[..., tuple[Plan, int]], mine: Path) -> None:
    assert not any("mine: " in note for cell in planned(mine)[0].cells for note in cell.footnotes)
    (mine / "m.yaml").write_text(TEXT.replace(" patient: patient,", "").replace(" split: split,", ""))
    said = {
        "mine: no patients are known: each image counts as a patient of its own",
        "mine: split drawn by patient, 70/10/20 (seed 0); folds do without it",
    }
    assert all(said <= set(cell.footnotes) for cell in planned(mine)[0].cells)


def test_a_source_that_lacks_what_a_method_needs_says_so(planned: Callable[..., tuple[Plan, int]], mine: Path) -> None:
    (mine / "m.yaml").write_text(TEXT.replace("lsp_transformer", "refers"))
    (job,) = (job for job in planned(mine)[0].jobs if job.kind == "pretrain")
    assert job.unavailable == "method refers needs reports, which mine does not have"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("labels: [spot, stripe], ", "", r"m\.yaml:7:27: mine has no labels; allowed: 'labels' in data\.mine\.table"),
        ("images: img", "images: imgs", r"m\.yaml:4:\d+: images is .*imgs, which is not there; allowed: a path relative to the manifest; did you mean 'img'\?"),
    ],
)  # fmt: skip
def test_what_a_target_lacks_is_said_at_its_place(mine: Path, old: str, new: str, message: str) -> None:
    (mine / "m.yaml").write_text(TEXT.replace(old, new).replace("lsp_transformer, ", ""))
    with pytest.raises(UserError, match=message):
        expand(load(mine / "m.yaml"), Roots())


def test_folds_need_no_split(mine: Path) -> None:
    text = (mine / "labels.csv").read_text()
    for split in ("Train", "training", "valid", "TEST"):
        text = text.replace(f",{split},", ",train,")
    (mine / "labels.csv").write_text(text)
    (mine / "m.yaml").write_text(TEXT.replace("lsp_transformer, ", ""))
    with pytest.raises(UserError, match=r"m\.yaml:7:11: mine has no image in its test split; allowed: .*'folds: 5'"):
        expand(load(mine / "m.yaml"), Roots())
    (mine / "m.yaml").write_text(
        TEXT.replace("lsp_transformer, ", "").replace("tasks: [labels]", "tasks: [labels], folds: 5")
    )
    assert {cell.folds for cell in expand(load(mine / "m.yaml"), Roots()).cells} == {5}
