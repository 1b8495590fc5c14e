"""One's own images, from nothing to a report in three commands, as docs/own_images.md has them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from sybil import Sybil
from sybil.parsers.markdown import CodeBlockParser

import own_images
from command_line import Commands
from refers_bench.store.plan import read

PAGE = Path(__file__).resolve().parents[2] / "docs" / "own_images.md"


def blocks(language: str) -> list[str]:
    """The code of a language on the page."""
    parser = CodeBlockParser(language=language, evaluator=lambda example: None)
    return [str(example.parsed) for example in Sybil(parsers=[parser], pattern="*.md").parse(PAGE).examples()]


def write_manifest(folder: Path, number: int) -> Path:
    """A manifest of the page, under the name that its first line gives."""
    text = blocks("yaml")[number]
    path = folder / text.splitlines()[0].removeprefix("# ")
    path.write_text(text)
    return path


def call_all(cli: Commands, block: str) -> list[str]:
    """Call the commands of a block; what each printed."""
    lines = [shlex.split(line) for line in block.splitlines()]
    assert all(line[0] == "refers-bench" for line in lines)
    return [cli(*line[1:]).out for line in lines]


@pytest.fixture
def mine(home: Path) -> Path:
    """The table and the images of the page, and its manifest."""
    table = own_images.rows()
    own_images.write_images(home / "img", table)
    own_images.write_table(home / "labels.csv", table)
    return write_manifest(home, 0)


@pytest.fixture
def cells(home: Path, cli: Commands) -> Callable[[str], pd.DataFrame]:
    """Cells of a report, by row."""

    def of(name: str) -> pd.DataFrame:
        cli("report", name, "--format", "csv")
        return pd.read_csv(home / "results" / name / "report" / "tidy-cells.csv").set_index("method")

    return of


def test_the_page_shows_the_columns_of_the_table(mine: Path) -> None:
    (shown,) = blocks("csv")
    assert shown.splitlines()[0] == (mine.parent / "labels.csv").read_text().splitlines()[0]


def test_a_table_and_three_commands_give_a_report(
    mine: Path, cli: Commands, cells: Callable[[str], pd.DataFrame]
) -> None:
    said, _, _ = call_all(cli, blocks("bash")[0])
    assert said == (
        "mine.yaml: right (4 methods, 1 target, 2 seeds)\n"
        "  mine: 200 images (test 40, train 120, val 40); classes spot, stripe\n"
    )
    page = (mine.parent / "results" / "mine" / "report" / "index.html").read_text()
    assert "mine" in page and "spot" in page and "stripe" in page
    found = cells("mine")
    assert set(found["dataset"]) == {"mine"} and set(found["task"]) == {"labels"}
    assert found.loc["pixels", "mean_auc"].min() > 0.95, "what was drawn into the images is learned"
    assert set(found.index) == {"refers", "scratch", "pixels", "metadata_only"}


def test_a_folder_for_each_class_and_three_commands_give_a_report(
    home: Path, cli: Commands, cells: Callable[[str], pd.DataFrame]
) -> None:
    own_images.write_folders(home / "photos")
    write_manifest(home, 1)
    said, _, _ = call_all(cli, blocks("bash")[1])
    assert re.search(
        r"photos: 200 images \(test 40, train 120, val 40\); classes spot; split drawn by patient, 60/20/20", said
    )
    assert (home / "results" / "folders" / "report" / "index.html").is_file()
    found = cells("folders")
    assert found.loc["pixels", "mean_auc"].min() > 0.95


def test_folders_of_splits_are_taken_as_they_are(home: Path, cli: Commands) -> None:
    own_images.write_folders(home / "photos", splits=True)
    path = write_manifest(home, 1)
    said = cli("validate", "folders.yaml", code=2).err
    assert "photos: shares of train and test, and folders that say which is which" in said
    path.write_text(path.read_text().replace("      split: {train: 0.6, val: 0.2, test: 0.2}\n", ""))
    assert "photos: 200 images (test 40, train 120, val 40); classes spot\n" in cli("validate", "folders.yaml").out


def test_the_page_shows_messages_as_they_are(mine: Path, cli: Commands) -> None:
    lines = (mine.parent / "labels.csv").read_text().splitlines()
    for number, old, new in ((17, ",0,", ",yes,"), (40, "038.png", "038.jpg"), (63, ",Train,", ",test,")):
        assert old in lines[number - 1], lines[number - 1]
        lines[number - 1] = lines[number - 1].replace(old, new, 1)
    (mine.parent / "labels.csv").write_text("\n".join(lines) + "\n")
    said = cli("validate", "mine.yaml", code=2).err.replace("error: ", "").replace(f"{mine.parent}/", "")
    assert said == blocks("text")[0] + "3 errors\n"


def test_verification_goes_on_where_images_are_missing(mine: Path, cli: Commands) -> None:
    for number in (3, 4):
        (mine.parent / "img" / f"00{number}.png").unlink()
    done = cli("data", "verify", "mine", "--manifest", "mine.yaml", "--workers", "0", code=2)
    assert "(mine): 198 images" in done.out and "no file missing" not in done.out
    assert "labels.csv:5:1: image '003.png' is not there" in done.err


def test_data_commands_take_the_manifest(mine: Path, cli: Commands) -> None:
    option = ("--manifest", "mine.yaml")
    out = cli("data", "verify", "mine", *option, "--workers", "0").out
    assert "Own images, described by a table (mine): 200 images" in out
    assert "every image could be read" in out and "labels:spot: 54 positive, 54 negative, 12 unknown" in out
    said = cli("data", "audit", "mine", *option, "--size", "36", code=2).err
    assert "'refers-bench data prepare mine --manifest mine.yaml --size 36' first" in said
    prepared = cli("data", "prepare", "mine", *option, "--size", "36", "--workers", "0").out
    cli("run", "mine.yaml", "--only", "prepare*", "--no-report")
    (job,) = (job for job in read(mine.parent / "results" / "mine" / "plan.lock.json").jobs if job.kind == "prepare")
    assert prepared.strip().endswith(f"prepared/{job.key}"), "a run finds what was prepared by hand"
    assert "0 confirmed" in cli("data", "audit", "mine", *option, "--size", "36").out
    cli("data", "croissant", "mine", *option, "--size", "36")
    assert "unknown dataset 'mine'" in cli("data", "verify", "mine", code=2).err
    assert "did you mean 'mine'" in cli("data", "verify", "mien", *option, code=2).err
    assert "--manifest FILE" in cli("data", "verify", "table", code=2).err
    assert "none: the parameters of mine stand in data.mine.table" in (
        cli("data", "verify", "mine", *option, "--param", "image=x", code=2).err
    )


def test_what_reads_cards_and_boxes_takes_them_as_they_are(mine: Path, cli: Commands) -> None:
    only = ("--only", "scratch*", "--no-report")
    cli("run", "mine.yaml", *only, code=0)
    said = cli("explain", "mine.yaml", "--cell", "scratch*", code=2).err
    assert "dataset mine has no annotated boxes; allowed: " in said
    assert "done" in cli("plan", "mine.yaml", "--explain", "scratch.mine.labels.100%.s0").out
    cli("report", "mine", "--checklist", "claim")
    checklist = (mine.parent / "results" / "mine" / "report" / "checklist-claim.md").read_text()
    assert "Own images, described by a table (mine)" in checklist.replace("\\", "")
    assert re.search(r"^refers +\d", cli("plan", "mine.yaml", "--forecast").out, re.MULTILINE)


def test_folds_belong_to_the_target(mine: Path, cli: Commands) -> None:
    text = mine.read_text()
    mine.write_text(text.replace("      split: split\n", "      folds: 5\n"))
    assert "folds as a key of the target" in cli("validate", "mine.yaml", code=2).err
    text = text.replace("      split: split\n", "").replace("label_ratios: [100%]", "label_ratios: [100%], folds: 3")
    mine.write_text(re.sub(r"  - refers\n|  - scratch\n|  - .id: metadata_only.*\n", "", text))
    cli("run", "mine.yaml")
    predictions = list((mine.parent / "results" / "store").glob("*/predictions.parquet"))
    counts = [pd.read_parquet(path).query("split == 'test'")["image_id"].nunique() for path in predictions]
    assert max(counts) == 200, "every image with a label is scored once"


def test_own_labels_train_a_source_and_are_forecast_before_they_are_prepared(mine: Path, cli: Commands) -> None:
    text = mine.read_text().replace("  - refers\n", "  - lsp_transformer\n")
    mine.write_text(re.sub(r"  - .id: (metadata_only|pixels).*\n", "", text).replace("[0, 1]", "[0]"))
    assert re.search(r"^lsp_transformer +\d", cli("plan", "mine.yaml", "--forecast").out, re.MULTILINE)
    cli("run", "mine.yaml", "--no-report")
    (job,) = (job for job in read(mine.parent / "results" / "mine" / "plan.lock.json").jobs if job.kind == "pretrain")
    assert job.spec["source"]["classes"] == ["spot", "stripe"] and job.spec["source"]["reader"] == "table"
