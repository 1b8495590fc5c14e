"""For each way in which one's own table or folders can be wrong a user sees the place, and exit code 2."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import own_images
from command_line import Commands

Breaker = Callable[[Path], None]
HEAD = "version: 1\nprotocol: {preset: smoke}\ndata:\n"
TAIL = """
source: {dataset: mine}
methods: [{id: pixels, evaluation: linear_probe}]
targets: [{dataset: mine, tasks: [labels]}]
seeds: [0]
"""
TABLE = (
    "table: {file: labels.csv, images: img, image: file, patient: patient, labels: [spot, stripe], split: split, "
    'text: report, age: age, missing: "-1"}'
)
FOLDERS = "folder: {root: photos, patient: '^(person[0-9]+)_'}"


def cell(line: int, column: str, value: str) -> Breaker:
    """Another value in a cell of the table; lines count from 1."""
    at = own_images.COLUMNS.index(column)

    def change(home: Path) -> None:
        lines = (home / "labels.csv").read_text().splitlines()
        # No cell before the reports holds a comma.
        parts = lines[line - 1].split(",")
        place = at if at < 5 else at - len(own_images.COLUMNS)
        parts[place] = value
        lines[line - 1] = ",".join(parts)
        (home / "labels.csv").write_text("\n".join(lines) + "\n")

    return change


def text(old: str, new: str, count: int = 1) -> Breaker:
    """The first `old` in the table becomes `new`."""

    def change(home: Path) -> None:
        content = (home / "labels.csv").read_text()
        assert old in content
        (home / "labels.csv").write_text(content.replace(old, new, count))

    return change


def manifest(old: str, new: str) -> Breaker:
    """The first `old` in the manifest becomes `new`."""

    def change(home: Path) -> None:
        content = (home / "mine.yaml").read_text()
        assert old in content
        (home / "mine.yaml").write_text(content.replace(old, new, 1))

    return change


def both(*breakers: Breaker) -> Breaker:
    """One after the other."""

    def change(home: Path) -> None:
        for one in breakers:
            one(home)

    return change


def listed(home: Path) -> None:
    """A column of names instead of two of 0 and 1."""
    frame = pd.read_csv(home / "labels.csv", dtype=str, keep_default_na=False)
    frame["spot"] = ["Edema|Effusion", "Edema", "No Finding", ""] * (len(frame) // 4)
    frame.to_csv(home / "labels.csv", index=False)
    manifest("[spot, stripe]", "spot, classes: [Edema, Effusion], negative: No Finding")(home)


def parquet(home: Path) -> None:
    """The same as a Parquet file."""
    pd.read_csv(home / "labels.csv", dtype=str, keep_default_na=False).to_parquet(home / "labels.parquet")
    manifest("labels.csv", "labels.parquet")(home)


def move(old: str, new: str) -> Breaker:
    return lambda home: shutil.move(home / old, home / new) and None


#: How the table, its images or its declaration are broken, and the message (a regular expression).
TABLES: dict[str, tuple[Breaker, str]] = {
    "no table": (lambda home: (home / "labels.csv").unlink(), r"mine\.yaml:4:18: file is .*labels\.csv, which is not there; allowed: a path relative to the manifest$"),
    "misspelt table": (manifest("file: labels.csv", "file: lables.csv"), r"mine\.yaml:4:18: file is .*lables\.csv, which is not there; .*did you mean 'labels\.csv'\?"),
    "misspelt folder": (manifest("images: img", "images: imgs"), r"mine\.yaml:4:\d+: images is .*imgs, which is not there; .*did you mean 'img'\?"),
    "a file for a folder": (manifest("images: img", "images: labels.csv"), r"mine\.yaml:4:\d+: images is .*labels\.csv, which is no folder"),
    "a spreadsheet": (both(move("labels.csv", "labels.xlsx"), manifest("labels.csv", "labels.xlsx")), r"labels\.xlsx: a \.xlsx file; allowed: \.csv, \.tsv or \.parquet"),
    "an empty table": (lambda home: (home / "labels.csv").write_text(""), r"labels\.csv: an empty file; allowed: a line of column names"),
    "a header alone": (lambda home: (home / "labels.csv").write_text(",".join(own_images.COLUMNS)), r"labels\.csv:1:1: no row; allowed: a line for each image"),
    "not UTF-8": (lambda home: (home / "labels.csv").write_bytes(b"file,patient\n1.png,M\xfcller\n"), r"labels\.csv:2:8: not UTF-8 text; allowed: UTF-8"),
    "no such column": (manifest("patient: patient", "patient: patiend"), r"labels\.csv:1:1: no column 'patiend', which 'patient' names; allowed: file, patient, .*did you mean 'patient'\?"),
    "a label without column": (manifest("[spot, stripe]", "[spot, strip]"), r"labels\.csv:1:1: no column 'strip', which 'labels' names; .*did you mean 'stripe'\?"),
    "semicolons": (lambda home: own_images.write_table(home / "labels.csv", own_images.rows(20), separator=";"), r"labels\.csv:1:1: a single column, 'file;patient;.*'; its cells seem to be separated by ';'; allowed: .*'separator'"),
    "a column twice": (text("stripe", "spot"), r"labels\.csv:1:1: column 'spot' twice; allowed: each column once"),
    "a cell too many": (text("000.png,p000,", "000.png,p000,,"), r"labels\.csv:2:1: 11 cells; allowed: 10, as in line 1"),
    "an open quotation mark": (text('"A spot', '""A spot'), r"labels\.csv:2:1: not a table: .*; allowed: quotation marks in pairs"),
    "no 0 or 1": (cell(3, "spot", "yes"), r"labels\.csv:3:14: label 'yes' of class 'spot'; allowed: 0, 1, empty, -1"),
    "two labels": (cell(3, "stripe", "2"), r"labels\.csv:3:16: label '2' of class 'stripe'"),
    "an image that is not there": (cell(4, "file", "002.jpg"), r"labels\.csv:4:1: image '002\.jpg' is not there; allowed: a file below .*img; did you mean '002\.png'\?"),
    "an image twice": (cell(5, "file", "000.png"), r"labels\.csv:5:1: image '000\.png' stands in line 2, too; allowed: each image once"),
    "no image": (cell(5, "file", ""), r"labels\.csv:5:1: no image; allowed: the file of an image"),
    "an image outside": (cell(5, "file", "../labels.csv"), r"labels\.csv:5:1: image '\.\./labels\.csv' leads outside the folder of the images"),
    "an image of another kind": (both(move("img/003.png", "img/003.tif"), cell(5, "file", "003.tif")), r"labels\.csv:5:1: image '003\.tif' is a \.tif file; allowed: \.png, \.jpg, \.jpeg, \.dcm, \.dicom"),
    "no patient": (cell(6, "patient", ""), r"labels\.csv:6:9: no patient; allowed: the patient of each image"),
    "an unknown split": (cell(6, "split", "trian"), r"labels\.csv:6:\d+: split 'trian'; allowed: train, val or test; did you mean 'train'\?"),
    "a patient in two splits": (cell(3, "split", "test"), r"labels\.csv:3:\d+: patient 'p000' is in test here and in train in line 2; allowed: one split for each patient"),
    "no age": (cell(7, "age", "old"), r"labels\.csv:7:\d+: age 'old'; allowed: years, such as 63 or 063Y, or empty"),
    "a study of two patients": (manifest("patient: patient", "patient: patient, study: view"), r"labels\.csv:\d+:9: study 'AP' has another patient in line \d+; allowed: one patient for each study"),
    "an unknown name in a list": (both(listed, text("Edema|Effusion", "Edma|Effusion")), r"labels\.csv:2:14: label 'Edma'; allowed: Edema, Effusion, No Finding; did you mean 'Edema'\?"),
    "nothing and something": (both(listed, text("Edema|Effusion", "Edema|No Finding")), r"labels\.csv:2:14: 'No Finding' beside other labels in 'Edema\|No Finding'"),
    "0 and 1 as names": (manifest("[spot, stripe]", "spot"), r"labels\.csv:2:14: column 'spot' holds 0 and 1.*; allowed: labels: \[spot\]"),
    "a wrong cell of a Parquet file": (both(cell(3, "spot", "yes"), parquet), r"labels\.parquet: row 2, column 'spot': label 'yes' of class 'spot'"),
    "no Parquet file": (both(move("labels.csv", "labels.parquet"), manifest("labels.csv", "labels.parquet")), r"labels\.parquet: cannot read: "),
    "no test image": (text("TEST", "train", 100), r"mine\.yaml:7:\d+: mine has no image in its test split; allowed: images of train and test, or 'folds: 5'"),
    "no labels": (manifest("labels: [spot, stripe], ", ""), r"mine\.yaml:7:\d+: mine has no labels; allowed: 'labels' in data\.mine\.table"),
    "an unknown key": (manifest("patient: patient", "pateint: patient"), r"mine\.yaml:4:\d+: unknown parameter 'pateint'; allowed: .*did you mean 'patient'\?"),
    "an unknown reader": (manifest("table:", "tabel:"), r"mine\.yaml:4:10: unknown key 'tabel'; allowed: root, phantom, folder, table; did you mean 'table'\?"),
    "shares that do not sum to 1": (manifest("split: split", "split: {train: 0.7, val: 0.2, test: 0.2}"), r"mine\.yaml:4:\d+: split is .*; allowed: a column, or shares of train, val and test that sum to 1"),
    "a name of a dataset": (lambda home: (home / "mine.yaml").write_text((home / "mine.yaml").read_text().replace("mine", "openi")), r"mine\.yaml:4:3: the name 'openi' of one's own images; allowed: .*no dataset's id"),
    "parameters at the target": (manifest("tasks: [labels]", "tasks: [labels], params: {image: a}"), r"mine\.yaml:7:\d+: params of 'mine'; allowed: its parameters in data\.mine\.table"),
    "the reader as a dataset": (manifest("{dataset: mine, tasks", "{dataset: table, tasks"), r"mine\.yaml:7:\d+: 'table' reads one's own images, which have a name of their own"),
    "another task": (manifest("tasks: [labels]", "tasks: [label]"), r"mine\.yaml:7:\d+: unknown task of mine 'label'; allowed: labels"),
    "labels as a number": (manifest("[spot, stripe]", "7"), r"mine\.yaml:4:\d+: labels is 7; allowed: a list of columns of 0 and 1, or the name of one column of names"),
}  # fmt: skip

#: The same of folders.
FOLDER: dict[str, tuple[Breaker, str]] = {
    "no folder": (lambda home: shutil.rmtree(home / "photos"), r"mine\.yaml:4:19: root is .*photos, which is not there"),
    "an empty folder": (lambda home: [shutil.rmtree(path) for path in (home / "photos").iterdir()] and None, r"photos: no folder here; allowed: a folder for each class, or train, val and test"),
    "a single class": (lambda home: shutil.rmtree(home / "photos" / "spot"), r"photos: 1 class; allowed: two folders of classes or more"),
    "a class without images": (lambda home: (home / "photos" / "other").mkdir(), r"photos/other: no image in this folder; allowed: \.png"),
    "an image beside the classes": (move("photos/spot/person000_0.png", "photos/person000_0.png"), r"photos/person000_0\.png: an image in no folder of a class"),
    "an image of another kind": (move("photos/spot/person000_0.png", "photos/spot/person000_0.bmp"), r"person000_0\.bmp: a \.bmp file; allowed: \.png"),
    "no patient in a name": (move("photos/spot/person000_0.png", "photos/spot/somebody.png"), r"photos/spot/somebody\.png: no patient in the file's name; allowed: a name that"),
    "splits beside classes": (move("photos/spot", "photos/train"), r"photos/plain: neither train, val nor test, which stand beside it"),
    "a split twice": (both(move("photos/spot", "photos/train"), move("photos/plain", "photos/training")), r"photos/training: 'training' and 'train' are both the train split"),
    "an unknown class": (manifest("root: photos", "root: photos, classes: [spott]"), r"photos: no folder of the class 'spott'; allowed: plain, spot; did you mean 'spot'\?"),
    "a pattern without group": (manifest("^(person[0-9]+)_", "^person"), r"mine\.yaml:4:\d+: patient is '\^person'; allowed: a regular expression with one group"),
    "no pattern": (manifest("^(person[0-9]+)_", "("), r"mine\.yaml:4:\d+: patient is '\('; allowed: a regular expression \("),
    "a column of folders": (manifest("root: photos", "root: photos, split: split"), r"photos: split: split, a column; allowed: shares"),
    "a share of val alone": (manifest("root: photos", "root: photos, split: {val: 0.1}"), r"photos: a share of val alone, and no folder train; allowed: shares of all three"),
}  # fmt: skip


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images with their table, and the same as folders."""
    folder = tmp_path_factory.mktemp("originals")
    table = own_images.rows(20)
    own_images.write_images(folder / "img", table)
    own_images.write_table(folder / "labels.csv", table)
    own_images.write_folders(folder / "photos", count=20)
    return folder


@pytest.fixture
def copied(originals: Path, home: Path) -> Path:
    return Path(shutil.copytree(originals, home, dirs_exist_ok=True))


@pytest.mark.parametrize("declared", [TABLE, FOLDERS], ids=["table", "folder"])
def test_the_good_ones_are_right(declared: str, copied: Path, cli: Commands) -> None:
    (copied / "mine.yaml").write_text(f"{HEAD}  mine: {{{declared}}}{TAIL}")
    assert "mine: 20 images" in cli("validate", "mine.yaml").out


def broken(breaker: Breaker, declared: str, folder: Path, cli: Commands) -> str:
    """What `validate` says; `plan` says the same."""
    (folder / "mine.yaml").write_text(f"{HEAD}  mine: {{{declared}}}{TAIL}")
    breaker(folder)
    said = cli("validate", "mine.yaml", code=2).err
    assert cli("plan", "mine.yaml", code=2).err == said
    return said


@pytest.mark.parametrize("name", TABLES)
def test_a_broken_table(name: str, copied: Path, cli: Commands) -> None:
    breaker, message = TABLES[name]
    said = broken(breaker, TABLE, copied, cli)
    assert re.search(message, said, re.MULTILINE), said


@pytest.mark.parametrize("name", FOLDER)
def test_a_broken_folder(name: str, copied: Path, cli: Commands) -> None:
    breaker, message = FOLDER[name]
    said = broken(breaker, FOLDERS, copied, cli)
    assert re.search(message, said, re.MULTILINE), said


def test_folders_of_splits_that_do_not_fit(home: Path, cli: Commands) -> None:
    own_images.write_folders(home / "photos", count=40, splits=True)
    first = next((home / "photos" / "train" / "spot").iterdir())
    shutil.copy(first, home / "photos" / "test" / "spot" / first.name)
    shutil.move(home / "photos" / "val" / "plain", home / "photos" / "val" / "plains")
    said = broken(lambda home: None, FOLDERS, home, cli)
    assert (
        "photos: class 'plains' is in the val split and not in train; allowed: plain, spot; did you mean 'plain'?"
        in said
    )
    assert re.search(r"person\d+_\d+\.png: patient 'person\d+' is in (test|train) here, and in (test|train) by ", said)


def test_everything_wrong_is_said_at_once_by_line(copied: Path, cli: Commands) -> None:
    wrong = both(cell(9, "spot", "x"), cell(3, "stripe", "y"), cell(5, "file", "no.png"))
    lines = broken(wrong, TABLE, copied, cli).splitlines()
    assert [line.partition("labels.csv:")[2].partition(":")[0] for line in lines[:3]] == ["3", "5", "9"]
    assert lines[3] == "3 errors"
