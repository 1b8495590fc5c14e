"""Tests of template_name: run them with `pytest` after each change of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from refers_bench import plugins
from refers_bench.errors import DataError

FILE = Path(__file__).with_name("template_name.py")


def refers_bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A command, as it is typed on the command line."""
    command = [sys.executable, "-m", "refers_bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_keeps_the_contract_of_a_dataset() -> None:
    done = refers_bench("plugins", "check", str(FILE))
    assert done.returncode == 0, done.stdout + done.stderr


def test_labels_are_those_of_the_table(tmp_path: Path) -> None:
    plugins.use([FILE])
    dataset = plugins.load("dataset", "template_name")
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png", "c.png"):
        Image.new("L", (8, 8)).save(tmp_path / "images" / name)
    table = tmp_path / "labels.csv"
    table.write_text("image,patient,finding\na.png,p1,1\nb.png,p1,0\nc.png,p2,\n")
    index = dataset.index(tmp_path, dataset.Params(), {}).set_index("image_id")
    assert index["finding:Finding"].astype(object).where(index["finding:Finding"].notna(), None).to_dict() == {
        "a.png": 1,
        "b.png": 0,
        "c.png": None,
    }
    table.write_text("image,patient,finding\na.png,p1,yes\n")
    with pytest.raises(DataError, match=r"labels\.csv:2: finding is 'yes'; allowed: 1, 0 or empty"):
        dataset.index(tmp_path, dataset.Params(), {})
