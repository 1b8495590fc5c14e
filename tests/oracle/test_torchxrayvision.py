"""Do labels read from the real tables of PadChest and CheXpert equal those that torchxrayvision reads, cell by cell?

The library carries both tables. It is no dependency: where it is not installed, nothing is checked.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from refers_bench.datasets import chexpert, padchest

PROJECTIONS = ("PA", "AP", "AP Supine", "L", "COSTAL", "EXCLUDE", "UNK")


@pytest.fixture(scope="module")
def library() -> Any:
    reason = "needs torchxrayvision (1.5.7), which carries the tables"
    return pytest.importorskip("torchxrayvision.datasets", reason=reason)


def tables(library: Any) -> Path:
    return Path(library.__file__).parent / "data"


@pytest.fixture(scope="module")
def padchest_rows(library: Any) -> pd.DataFrame:
    return padchest.read_labels(tables(library) / f"{padchest.TABLE}.gz")


def test_padchest_labels_are_those_of_torchxrayvision(
    library: Any, padchest_rows: pd.DataFrame, tmp_path: Path
) -> None:
    theirs = library.PC_Dataset(imgpath=str(tmp_path), views=list(PROJECTIONS), unique_patients=False)
    names = theirs.csv["ImageID"].str.removesuffix(".png")
    given = pd.DataFrame(theirs.labels, columns=list(theirs.pathologies), index=names).astype(int)
    ours = padchest_rows.set_index("image_id")
    # It keeps rows whose one label is an empty text, and no child.
    both = given.index.intersection(ours.index)
    assert len(both) == 157_873
    columns = [f"findings14_txv:{name}" for name in padchest.CLASSES]
    found = ours.loc[both, columns].astype(int).to_numpy()
    assert (found == given.loc[both, list(padchest.CLASSES)].to_numpy()).all()
    gone = given.drop(both)
    assert len(gone) == 743 and not gone[list(padchest.CLASSES)].any(axis=None)
    listed = library.PC_Dataset.__init__.__code__.co_consts
    assert set(padchest.UNREADABLE) <= {
        text for const in listed for text in (const if isinstance(const, tuple) else (const,))
    }


def test_padchest_counts(library: Any, padchest_rows: pd.DataFrame) -> None:
    """Of the table, by pandas alone."""
    table = pd.read_csv(tables(library) / f"{padchest.TABLE}.gz", dtype=str)
    assert (len(table), table["PatientID"].nunique()) == (160_861, 67_625)
    empty = table["Labels"].str.strip() == "['']"
    assert (table["Labels"].isna().sum(), empty.sum(), len(padchest_rows)) == (103, 777, 160_861 - 103 - 777)
    assert round(100 * (table["MethodLabel"] == padchest.PHYSICIAN).mean(), 1) == 24.3
    used = table[table["Labels"].notna() & ~empty & ~table["ImageID"].isin(padchest.UNREADABLE)]
    # Blanks may stand around a label.
    excluded = used["Labels"].str.contains(r"'\s*exclude\s*'")
    for (views, what), counts in padchest.COUNTS.items():
        rows = used[used["Projection"].isin(views)] if views else used
        rows = rows if what == "keep" else rows[~excluded[rows.index]]
        assert (len(rows), rows["PatientID"].nunique()) == counts, (views, what)
    assert padchest_rows.groupby("study_id")["patient_id"].nunique().max() == 1
    assert table.groupby("StudyID")["PatientID"].nunique().eq(2).sum() == 1


def test_chexpert_labels_are_those_of_torchxrayvision(library: Any, tmp_path: Path) -> None:
    shutil.copy(tables(library) / "chexpert_train.csv.gz", tmp_path / "train.csv.gz")
    ours = chexpert.read_part(tmp_path, chexpert.TRAIN).set_index("image_id")
    counts = {"images": len(ours), "patients": ours["patient_id"].nunique(), "studies": ours["study_id"].nunique()}
    assert {**counts, "frontal": int((ours["kind"] == "frontal").sum())} == chexpert.COUNTS[chexpert.TRAIN]
    csv = str(tmp_path / "train.csv.gz")
    views = ["PA", "AP", "L", "LL", "RL"]
    theirs = library.CheX_Dataset(imgpath=str(tmp_path), csvpath=csv, views=views, unique_patients=False)
    names = theirs.csv["Path"].str.extract(r"(patient.*)\.jpg$")[0]
    given = pd.DataFrame(theirs.labels, columns=list(theirs.pathologies), index=names)
    assert set(given.index) == set(ours.index)
    # Of a healthy person it sets all to 0 but devices; what is not mentioned, or uncertain, is unknown there.
    ours = ours.loc[given.index]
    for name in given.columns:
        here = "Pleural Effusion" if name == "Effusion" else name
        known = given[name].notna().to_numpy()
        ignored = ours.loc[known, f"findings14_u_ignore:{here}"].astype("float64").to_numpy()
        differing = ignored != given.loc[known, name].to_numpy()
        healthy = ours.loc[known, "findings14_u_ignore:No Finding"].eq(1).to_numpy()
        assert not (differing & ~healthy).any(), name
        unknown = ours.loc[~known]
        assert not unknown[f"findings14_u_zeros:{here}"].eq(1).any(), name


def test_chexpert_policies_against_counts_of_the_table(library: Any, tmp_path: Path) -> None:
    """Positives of the table, and its uncertain mentions, by pandas alone."""
    shutil.copy(tables(library) / "chexpert_train.csv.gz", tmp_path / "train.csv.gz")
    ours, table = chexpert.read_part(tmp_path, chexpert.TRAIN), pd.read_csv(tmp_path / "train.csv.gz")
    for name in chexpert.COMPETITION:
        positive, uncertain = int((table[name] == 1).sum()), int((table[name] == -1).sum())
        counted = {
            policy: int(ours[f"competition_{policy}:{name}"].sum()) for policy in ("u_zeros", "u_ones", "u_ignore")
        }
        assert counted == {"u_zeros": positive, "u_ones": positive + uncertain, "u_ignore": positive}
        assert int(ours[f"competition_u_ignore:{name}"].isna().sum()) == uncertain
        for policy, ones in chexpert.MIXED.items():
            assert int(ours[f"competition_{policy}:{name}"].sum()) == positive + (uncertain if name in ones else 0)
