"""Results without unreadable images are kept apart from those with all of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from command_line import Commands
from refers_bench.data.cache_meta import META
from refers_bench.data.prepare import INDEX, PIXELS, PreparedImages
from refers_bench.jobs import prepare
from refers_bench.manifest.load import load
from refers_bench.manifest.roots import Roots
from refers_bench.plan.expand import expand
from refers_bench.plan.lock import Job, Plan
from refers_bench.store.context import JobContext


@pytest.fixture(autouse=True)
def _folders(home: Path, root: Path, manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFERS_BENCH_ROOT_COVID19_IDC", str(root))
    monkeypatch.setenv("REFERS_BENCH_CACHE", str(home / "cache"))


def planned(root: Path) -> tuple[Plan, Job]:
    """The plan and its preparation."""
    plan = expand(load(Path("m.yaml")), Roots(paths={"covid19_idc": root}), cache=Path("cache").absolute())
    return plan, next(job for job in plan.jobs if job.kind == "prepare")


def test_keys_tell_which_images_were_left_out(root: Path, cli: Commands) -> None:
    cli("plan", "m.yaml")
    whole, images = planned(root)
    size = str(images.spec["prepared_size"])
    image = sorted((root / "images").iterdir())[5]
    content = image.read_bytes()
    image.write_bytes(bytes(len(content)))  # the index, with its file sizes, stays as it is
    cli("data", "prepare", "covid19_idc", "--size", size, "--workers", "0", "--allow-missing", "1")

    less, fewer = planned(root)
    assert not {job.key for job in whole.jobs} & {job.key for job in less.jobs}
    assert fewer.spec == {**images.spec, "left_out": [f"images/{image.name}"]}
    assert less.images[fewer.key] == whole.images[images.key] - 1
    note = f"1 of {whole.images[images.key]} images of covid19_idc left out as unreadable"
    assert {cell.footnotes[-1:] for cell in less.cells} == {(note,)}
    store = Path("cache/prepared") / fewer.key
    assert len(PreparedImages.open(store).index) == less.images[fewer.key]
    assert not (Path("cache/prepared") / images.key).exists()
    said = cli("plan", "m.yaml", "--no-write").out
    assert f"{fewer.name}: 1 image left out as unreadable" in said
    assert (
        f"left_out: None -> ['images/{image.name}'] (files that" in cli("plan", "m.yaml", "--explain", "scratch.*").out
    )

    # A job makes the same store, whether the file can be read by then or not.
    image.write_bytes(content)
    shutil.copytree(store, "made")
    shutil.rmtree(store)
    context = JobContext(results=Path("results"), cache=Path("cache"), roots={"covid19_idc": str(root)})
    prepare.run({"key": fewer.key, "kind": "prepare", "name": fewer.name, "spec": fewer.spec}, context)
    for name in (PIXELS, INDEX):
        assert (store / name).read_bytes() == (Path("made") / name).read_bytes()

    cli("data", "prepare", "covid19_idc", "--size", size, "--workers", "0")
    assert planned(root)[0] == whole
    assert len(PreparedImages.open(Path("cache/prepared") / images.key).index) == whole.images[images.key]
    assert (store / META).is_file(), "what was computed on it can still be looked at"


def test_audit_opens_the_images_that_are_there(root: Path, cli: Commands) -> None:
    image = sorted((root / "images").iterdir())[5]
    image.write_bytes(bytes(image.stat().st_size))
    cli("data", "prepare", "covid19_idc", "--size", "32", "--workers", "0", "--allow-missing", "1")
    assert "written to" in cli("data", "audit", "covid19_idc", "--size", "32").out
