"""Predictions are read once for all that ask, and what is kept of them stays within its limit."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from refers_bench.analysis import predictions as room
from refers_bench.analysis.results import load
from refers_bench.contracts.reports import imported_runs
from refers_bench.errors import UserError
from refers_bench.jobs.imports.predictions import publish
from refers_bench.reporting import page
from refers_bench.store import schemas


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_KEPT", {})


def written(path: Path, *, images: int = 50, shift: float = 0.0) -> Path:
    """Scores of one class, that of image n being n + `shift`."""
    rows = [
        {"image_id": f"i{n:03}", "patient_id": "", "class": "a", "label": n % 2, "logit": n + shift, "split": "test"}
        for n in range(images)
    ]
    schemas.write(path, pd.DataFrame(rows).astype({"label": "Int8", "logit": "float32"}), "predictions")
    return path


def test_a_file_is_read_once_until_it_changes(tmp_path: Path) -> None:
    path = written(tmp_path / "one.parquet")
    first = room.read_once(path)
    assert room.read_once(path) is first and first.scores_NK[:, 0].tolist() == list(range(50))
    written(path, shift=1)
    os.utime(path, ns=(1, 1))
    assert room.read_once(path).scores_NK[0, 0] == 1


def test_runs_on_the_same_images_share_the_ids(tmp_path: Path) -> None:
    one, two = (room.read_once(written(tmp_path / name, shift=len(name))) for name in ("a", "bb"))
    assert one.image_ids is two.image_ids and one.scores_NK[0, 0] == 1 and two.scores_NK[0, 0] == 2
    assert room.read_once(written(tmp_path / "c", images=49)).image_ids == two.image_ids[:49]


def test_the_runs_used_last_are_kept_within_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [written(tmp_path / name) for name in "abcd"]
    # The first weighs its ids, and each 50 labels of a byte and 50 scores of four.
    monkeypatch.setattr(room, "MOST_KEPT", 50 * room._OF_IDS + 3 * 250)
    first = [room.read_once(path) for path in paths[:3]]
    assert room.read_once(paths[0]) is first[0]
    room.read_once(paths[3])  # one too many: the second was used longest ago
    assert [Path(key[0]).name for key in room._KEPT] == ["c", "a", "d"]
    assert sum(weight for _, weight in room._KEPT.values()) <= room.MOST_KEPT
    assert room.read_once(paths[1]) is not first[1]


def test_a_report_reads_each_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(imported_runs(), name="rich", origin="imported", title="", results=tmp_path, command="c")
    results, paths, read = load(tmp_path, "rich"), [], room.read
    monkeypatch.setattr(room, "read", lambda path: paths.append(path) or read(path))
    assert page.items(results)
    assert len(paths) == len(set(paths)) == 18


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read"):
        room.read_once(tmp_path / "gone.parquet")
    assert not room._KEPT and np.array_equal(room.read(written(tmp_path / "x")).labels_NK[:3, 0], [0, 1, 0])
