"""The prediction files of the REFERS release: where they stand, what a line is, and what is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from refers_bench.data.imported.refers_release import read_file, read_release
from refers_bench.errors import UserError

CLASSES = {
    ("nih_chestxray14", "findings"): ("Mass", "Pleural Thickening"),
    ("covid19_idc", "covid19_vs_other"): ("COVID-19",),
}
FILES = {
    "NIH ChestX-ray/code/data10/TransVW/Mass.txt": "0 0.25\n1 0.75\n0 0.5\n",
    "NIH ChestX-ray/code/data10/TransVW/Pleural_Thickening.txt": "1 0.1\n1.0 0.2\n0.0 3e-1\n",
    "NIH ChestX-ray/data1/REFERS/Mass.txt": "1 1\n",
    "NIH ChestX-ray/data1/REFERS/pleural thickening.txt": "0 0\n",
    "COVID-19 Image Data Collection/covid_others/C2L/covid_others.txt": "1 0.5\n0 0.5\n",
}


@pytest.fixture
def release(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "Results_of_fine-tuning" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_runs_in_the_order_of_datasets_parts_and_methods(release: Path) -> None:
    """The same from the folder itself and from the one that holds it; hidden files are no predictions."""
    hidden = release / "Results_of_fine-tuning" / "NIH ChestX-ray" / ".ipynb_checkpoints" / "x.txt"
    hidden.parent.mkdir()
    hidden.write_text("?")
    runs, unread = read_release(release, CLASSES)
    inside, _ = read_release(release / "Results_of_fine-tuning", CLASSES)
    assert [run.files for run in inside] == [run.files for run in runs]
    assert unread == ("NIH ChestX-ray/.ipynb_checkpoints/x.txt",)
    assert [(run.method, run.label, run.dataset, run.task, run.label_ratio, run.seed) for run in runs] == [
        ("refers", "REFERS", "nih_chestxray14", "findings", 0.01, 0),
        ("transvw", "TransVW", "nih_chestxray14", "findings", 0.1, 0),
        ("c2l", "C2L", "covid19_idc", "covid19_vs_other", 1.0, 0),
    ]
    run = runs[1]
    assert run.classes == ("Mass", "Pleural Thickening")
    assert run.image_ids == ("line 000001", "line 000002", "line 000003") and run.patient_ids == ("",) * 3
    assert run.labels_NK.tolist() == [[0, 1], [1, 1], [0, 0]]
    np.testing.assert_array_equal(run.scores_NK, np.float32([[0.25, 0.1], [0.75, 0.2], [0.5, 0.3]]))
    assert run.files == {
        name: hashlib.sha256(text.encode()).hexdigest() for name, text in FILES.items() if "data10" in name
    }
    assert runs[2].classes == ("COVID-19",) and runs[2].merged == 0


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        (
            "NIH ChestX-ray/data10/Trans-VW/Mass.txt",
            "0 1\n",
            r"1 file that no rule reads: NIH ChestX-ray/data10/Trans-VW/Mass\.txt;",
        ),
        ("NIH ChestX-ray/data10/TransVW/more/Mass.txt", "0 1\n", "1 file that no rule reads"),
        ("NIH ChestX-ray/data10/TransVW/Mass.csv", "0 1\n", "1 file that no rule reads"),
        (
            "NIH ChestX-ray/data1/REFERS/Hernia.txt",
            "0 1\n",
            r"Hernia\.txt: a class 'Hernia'; allowed: Mass, Pleural Thickening",
        ),
        ("NIH ChestX-ray/data1/MG/Mass.txt", "0 1\n", "no file of Pleural Thickening; allowed: one file per class"),
        (
            "NIH ChestX-ray/data1/REFERS/Mass.txt",
            "0 1\n1 0\n",
            r"files of one run with 2 \(Mass\.txt\), 1 \(pleural thickening\.txt\)",
        ),
    ],
)
def test_what_is_refused(release: Path, name: str, text: str, says: str) -> None:
    path = release / "Results_of_fine-tuning" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    with pytest.raises(UserError, match=says):
        read_release(release, CLASSES)


def test_other_files_may_be_allowed_and_20_are_named(release: Path) -> None:
    for number in range(22):
        (release / "Results_of_fine-tuning" / f"note{number:02d}.md").write_text("")
    with pytest.raises(UserError, match=r"22 files that no rule reads: note00\.md, .*note19\.md, and 2 more;"):
        read_release(release, CLASSES)
    runs, unread = read_release(release, CLASSES, allow_unread=True)
    assert len(runs) == 3 and len(unread) == 22


def test_no_folder_and_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone: no such folder; allowed: the release's Results_of_fine-tuning"):
        read_release(tmp_path / "gone", CLASSES)
    with pytest.raises(UserError, match=r"no prediction file; allowed: <target>/<ratio or task>/<method>/<class>.txt"):
        read_release(tmp_path, CLASSES)


@pytest.mark.parametrize("text", ["2 0.5\n", "0 high\n", "0\n", "", "0 0.5\n0.5 0.5\n"])
def test_lines_that_are_no_label_and_score(tmp_path: Path, text: str) -> None:
    path = tmp_path / "Mass.txt"
    path.write_text(text)
    with pytest.raises(UserError, match=r"Mass\.txt"):
        read_file(path)
