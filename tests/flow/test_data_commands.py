"""What `data verify` and `data audit` print, write and return."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from command_line import Commands
from refers_bench import plugins
from refers_bench.data.phantoms.radiographs import PhantomParams

Run = Callable[..., tuple[str, str]]


@pytest.fixture
def run(home: Path, cli: Commands, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a data command in a folder with three datasets' phantoms as data roots."""
    for name in ("phantom", "openi", "mimic_cxr_jpg"):
        root = home / name
        root.mkdir()
        plugins.load("dataset", name).write_layout(root, PhantomParams(studies=60, size=48, views=2, seed=1))
        monkeypatch.setenv(f"REFERS_BENCH_ROOT_{name.upper()}", str(root))
    return partial(cli, "data")


@pytest.mark.parametrize("name", ["phantom", "openi", "mimic_cxr_jpg"])
def test_verify_writes_what_it_prints(run: Run, tmp_path: Path, name: str) -> None:
    out, err = run("verify", name, "--workers", "0")
    folder = tmp_path / "results" / "data" / name
    written = (folder / "verify.txt").read_text()
    assert out == f"{written}written to {folder / 'verify'}.txt and .json\n"
    assert err == ""
    found = json.loads((folder / "verify.json").read_text())
    assert found["right"] is True
    assert found["images_read"] == sum(split["images"] for split in found["splits"].values())
    assert found["splits"]["train"]["studies with text"] > 20


def test_verify_tells_a_card_that_differs(run: Run, tmp_path: Path) -> None:
    out, _ = run("verify", "openi", "--no-decode")
    assert re.search(r"documented images: 7470, FOUND \d+", out)
    assert "images were not read" in out
    run("verify", "openi", "--no-decode", "--strict", code=2)
    run("verify", "phantom", "--no-decode", "--strict")


def test_verify_reports_unreadable_images(run: Run, tmp_path: Path) -> None:
    images = sorted((tmp_path / "phantom" / "images").iterdir())
    images[0].write_bytes(b"")
    images[4].write_bytes(images[4].read_bytes()[:100])
    _, err = run("verify", "phantom", "--report", "here", code=2)
    assert err.count("error: ") == 2
    found = json.loads((tmp_path / "here" / "verify.json").read_text())
    assert found["right"] is False
    assert [problem["path"] for problem in found["problems"]] == [str(images[0]), str(images[4])]
    assert "2 problems:" in (tmp_path / "here" / "verify.txt").read_text()


def test_verify_reports_what_the_reader_refuses(run: Run, tmp_path: Path) -> None:
    table = tmp_path / "phantom" / "images.csv"
    rows = table.read_text().splitlines()
    table.write_text("\n".join([*rows, rows[1]]) + "\n")
    _, err = run("verify", "phantom", code=2)
    assert "is listed twice" in err
    found = json.loads((tmp_path / "results" / "data" / "phantom" / "verify.json").read_text())
    assert "is listed twice" in found["problems"][0]["found"]
    assert found["splits"] == {}


def test_audit_finds_images_across_splits_and_datasets(run: Run, tmp_path: Path) -> None:
    # An image of the first test study is copied over one of the first training study.
    table = [line.split(",") for line in (tmp_path / "phantom" / "images.csv").read_text().splitlines()]
    path, split = table[0].index("path"), table[0].index("split")
    train, test = (next(row[path] for row in table[1:] if row[split] == name) for name in ("train", "test"))
    shutil.copy(tmp_path / "phantom" / test, tmp_path / "phantom" / train)
    _, err = run("audit", "phantom", "--size", "48", code=2)
    assert "not prepared at 48 px; allowed: 'refers-bench data prepare phantom --size 48' first" in err
    run("prepare", "phantom", "--size", "48", "--workers", "0")
    out, _ = run("audit", "phantom", "--size", "48")
    names = [Path(name).stem for name in (train, test)]
    assert re.search(rf"{names[0]} \(train\) = {names[1]} \(test\): 0 bits differ, agreement 1\.00\n", out)
    run("audit", "phantom", "--size", "48", "--strict", code=2)
    # Open-I is written from the same studies: the same pixels under other names.
    run("prepare", "openi", "--size", "48", "--workers", "0")
    out, _ = run("audit", "phantom", "--with", "openi", "--size", "48", "--distance", "0")
    found = json.loads((tmp_path / "results" / "data" / "phantom-openi" / "audit.json").read_text())
    assert found["images"]["splits of phantom"]["confirmed"] >= 1
    across = found["images"]["phantom and openi"]
    assert across["confirmed"] > 80
    assert {row["second"][:3] for row in across["rows"]} == {"CXR"}
    assert all(one["shared"] == 0 for one in found["overlaps"])


def test_croissant_describes_the_prepared_images(run: Run, tmp_path: Path) -> None:
    _, err = run("croissant", "openi", "--size", "48", code=2)
    assert "'refers-bench data prepare openi --size 48' first" in err
    run("prepare", "openi", "--size", "48", "--workers", "0")
    out, _ = run("croissant", "openi", "--size", "48")
    path = tmp_path / "results" / "data" / "openi" / "croissant.json"
    assert out.startswith(f"{path}: Croissant of the images in ")
    (pixels, index), folder = json.loads(path.read_text())["distribution"], Path(out.strip().rpartition(" in ")[2])
    for file in (pixels, index):
        assert file["sha256"] == hashlib.sha256((folder / file["contentUrl"]).read_bytes()).hexdigest()
    before = path.read_bytes()
    run("croissant", "openi", "--size", "48", "--out", "again.json")
    assert (tmp_path / "again.json").read_bytes() == before
    reports = {row["report"] for _, row in pd.read_parquet(folder / "index.parquet").iterrows() if row["report"]}
    assert reports and not any(text in before.decode() for text in reports)


def test_audit_compares_lists(run: Run, tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("image_id,label\nfolder/a.png,1\nb.png,0\ns000001_0.png,0\n")
    (tmp_path / "test.txt").write_text("a.dicom 1 0\nc.dicom 0 1\n")
    out, _ = run("audit", "--list", "train.csv:image_id", "--list", "test.txt")
    assert "train.csv and test.txt SHARE 1 images: a\n" in out
    found = json.loads((tmp_path / "results" / "data" / "lists" / "audit.json").read_text())
    assert found["overlaps"][0]["ids"] == ["a"]
    run("audit", "--list", "train.csv", "--list", "test.txt", "--strict", code=2)
    out, _ = run("audit", "phantom", "--no-images", "--list", "train.csv")
    assert re.search(r"phantom:\w+ and train\.csv SHARE 1 images: s000001_0\n", out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["audit"], "nothing to compare"),
        (["audit", "--list", "one.txt"], "nothing to compare"),
        (["audit", "--with", "phantom", "--list", "a", "--list", "b"], "--with takes another dataset than the first"),
        (["audit", "phantom", "--with", "phantom"], "--with takes another dataset than the first"),
        (["audit", "--list", "absent.txt", "--list", "absent.csv"], "absent.txt: missing list"),
        (["audit", "phantm", "--no-images"], "unknown dataset 'phantm'"),
        (["prepare", "phantom", "--param", "views=PA"], "--param views: no such parameter; allowed: none"),
        (["prepare", "shenzhen_tb", "--param", "views=PA"], "no such parameter; allowed: split, split_seed\n"),
    ],
)
def test_user_errors(run: Run, arguments: list[str], message: str) -> None:
    _, err = run(*arguments, code=2)
    assert message in err
