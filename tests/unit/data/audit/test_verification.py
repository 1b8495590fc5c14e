"""Counts, classes and unreadable files of a dataset are found and reported, to people and to programs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from refers_bench.data.audit.verification import (
    CHUNK,
    Documented,
    Verification,
    class_counts,
    count,
    lines,
    record,
    split_counts,
    unreadable,
)
from refers_bench.errors import Problem

FRAME = pd.DataFrame(
    {
        "image_id": ["a", "b", "c", "d", "e"],
        "study_id": ["1", "1", "2", "3", "4"],
        "patient_id": ["p", "p", "p", "q", "r"],
        "split": ["train", "train", "train", "test", ""],
        "report": ["t", "t", None, "u", None],
        "task:Edema": pd.array([1, 0, None, 0, 1], dtype="Int8"),
    }
)


@pytest.mark.parametrize(
    ("what", "listed", "found"),
    [
        ("images", False, 5), ("studies", False, 4), ("patients", False, 3), ("studies with text", False, 2),
        ("images with text", False, 3), ("train images", False, 3), ("train studies", False, 2), ("train patients", False, 1),
        ("val images", False, 0), ("unused images", False, 1), ("listed train images", True, 3),
        ("listed train images", False, None), ("boxes", False, None), ("train images of the release", False, None),
    ],
)  # fmt: skip
def test_count(what: str, listed: bool, found: int | None) -> None:
    assert count(FRAME, what, listed=listed) == found


def test_counts_of_splits_and_classes() -> None:
    assert split_counts(FRAME) == {
        "unused": {"images": 1, "studies": 1, "patients": 1, "studies with text": 0},
        "test": {"images": 1, "studies": 1, "patients": 1, "studies with text": 1},
        "train": {"images": 3, "studies": 2, "patients": 1, "studies with text": 1},
    }
    assert class_counts(FRAME) == {
        "unused": {"task:Edema": [1, 0, 0]}, "test": {"task:Edema": [0, 1, 0]}, "train": {"task:Edema": [1, 1, 1]},
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images over several chunks, four of them unreadable in ways of their own."""
    for number in range(2 * CHUNK + 10):
        noise = np.random.default_rng(number).integers(0, 256, (20, 20), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{number:03d}.png")
    (tmp_path / "001.png").write_bytes((tmp_path / "001.png").read_bytes()[:200])
    (tmp_path / "070.png").write_bytes(b"")
    (tmp_path / "100.png").write_text("no image")
    (tmp_path / "137.png").unlink()
    return tmp_path


@pytest.mark.parametrize("workers", [0, 2])
def test_every_unreadable_file_is_named_once(folder: Path, workers: int) -> None:
    seen: list[tuple[int, int]] = []
    paths = [f"{number:03d}.png" for number in range(2 * CHUNK + 10)]
    found = unreadable(paths, root=folder, workers=workers, progress=lambda *at: seen.append(at))
    assert [Path(str(problem.path)).name for problem in found] == ["001.png", "070.png", "100.png", "137.png"]
    for problem, reason in zip(found, ("damaged", "empty", "not an image", "missing"), strict=True):
        assert reason in problem.found
    assert seen[-1] == (138, 138)


def verification(**changes: object) -> Verification:
    known: dict[str, object] = {
        "dataset": "d", "label": "The Dataset", "root": Path("/data/d"), "params": {"views": ["PA"]},
        "splits": split_counts(FRAME), "classes": class_counts(FRAME), "read": 5,
        "documented": (
            Documented(what="images", documented=5, found=5), Documented(what="studies", documented=9, found=4),
            Documented(what="boxes", documented=7, found=None),
        ),
    }  # fmt: skip
    return Verification(**{**known, **changes})  # type: ignore[arg-type]


def test_for_people() -> None:
    assert list(lines(verification())) == [
        "The Dataset (d): 5 images in /data/d",
        "  read with views=['PA']",
        "  unused: 1 images, 1 studies, 1 patients, 0 studies with text",
        "    task:Edema: 1 positive, 0 negative, 0 unknown",
        "  test: 1 images, 1 studies, 1 patients, 1 studies with text",
        "    task:Edema: 0 positive, 1 negative, 0 unknown  NO POSITIVE",
        "  train: 3 images, 2 studies, 1 patients, 1 studies with text",
        "    task:Edema: 1 positive, 1 negative, 1 unknown",
        "  documented images: 5, found",
        "  documented studies: 9, FOUND 4",
        "  documented boxes: 7, not counted here",
        "  each image once, no patient in two splits, no file missing",
        "every image could be read",
    ]
    none = {"unused": {"task:Edema": [0, 1, 0]}, "test": {"task:Edema": [1, 0, 0]}, "train": {"task:Edema": [1, 0, 0]}}
    unread = list(lines(verification(read=None, classes=none, params={}, documented=())))
    assert not any("NO POSITIVE" in line or "read with" in line for line in unread), "unused images need no positive"
    assert unread[-1] == "images were not read"


def test_missing_files_and_rows_left_out_are_told_to_people_and_programs(tmp_path: Path) -> None:
    gone = [Problem(found="missing image", path=Path(f"/data/d/{name}.png")) for name in "abc"]
    found = verification(problems=tuple(gone[:2]), missing=2, skipped=tuple(gone[2:]), read=None)
    assert list(lines(found))[-7:] == [
        "  each image once, no patient in two splits, 3 FILES MISSING, their rows left out", "images were not read",
        "1 rows left out:", "  /data/d/c.png: missing image", "2 problems:", "  /data/d/a.png: missing image",
        "  /data/d/b.png: missing image",
    ]  # fmt: skip
    written = record(found)
    assert (written["missing"], written["right"], written["images_read"]) == (2, False, None)
    assert [one["path"] for one in written["skipped"]] == ["/data/d/c.png"]
    assert [one["path"] for one in written["problems"]] == ["/data/d/a.png", "/data/d/b.png"]
    refused = verification(splits={}, classes={}, documented=(), problems=tuple(gone), read=None)
    assert list(lines(refused))[:3] == [
        "The Dataset (d): 0 images in /data/d", "  read with views=['PA']", "images were not read"
    ]  # fmt: skip


def test_problems_for_people_and_programs() -> None:
    broken = verification(problems=(Problem(found="an empty file", path=Path("/data/d/x.png"), allowed="PNG"),))
    assert list(lines(broken))[-2:] == ["1 problems:", "  /data/d/x.png: an empty file; allowed: PNG"]
    assert record(broken)["right"] is False
    assert record(broken)["problems"] == [
        {"found": "an empty file", "allowed": "PNG", "path": "/data/d/x.png", "line": None, "column": None}
    ]


def test_for_programs() -> None:
    written = json.loads(json.dumps(record(verification())))
    named = {
        "images": {"unused": 1, "test": 1, "train": 3}, "studies": {"unused": 1, "test": 1, "train": 2},
        "patients": {"unused": 1, "test": 1, "train": 1}, "studies with text": {"unused": 0, "test": 1, "train": 1},
    }  # fmt: skip
    edema = {"unused": (1, 0, 0), "test": (0, 1, 0), "train": (1, 1, 1)}
    assert written == {
        "version": 1, "dataset": "d", "label": "The Dataset", "root": "/data/d", "params": {"views": ["PA"]},
        "right": True,
        "splits": {split: {noun: counts[split] for noun, counts in named.items()} for split in edema},
        "classes": {
            split: {"task:Edema": dict(zip(("positive", "negative", "unknown"), numbers, strict=True))}
            for split, numbers in edema.items()
        },
        "documented": [
            {"what": "images", "documented": 5, "found": 5, "same": True},
            {"what": "studies", "documented": 9, "found": 4, "same": False},
            {"what": "boxes", "documented": 7, "found": None, "same": None},
        ],
        "images_read": 5, "missing": 0, "skipped": [], "problems": [],
    }  # fmt: skip
    assert [one.what for one in verification().differing] == ["studies"]
