"""The reader understands the layouts of CheXpert's releases; policies, views and the two official sets are choices."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from refers_bench.data.chexpert import FINDINGS_14
from refers_bench.data.phantoms.radiographs import PhantomParams
from refers_bench.datasets.chexpert import (
    COMPETITION,
    DATASET,
    MIXED,
    OBSERVATIONS,
    TEST,
    TRAIN,
    VALID,
    Params,
    index,
    patient_folders,
)
from refers_bench.errors import DataError

PHANTOM = PhantomParams(studies=60, size=32, views=3, seed=4)
OFFICIAL_TEST = Params(split="official_test", views="all")
#: As the owners write them.
HEADER = (
    "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,"
    "Edema,Consolidation,Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices"
)
TEST_HEADER = "Path," + HEADER.partition("AP/PA,")[2]
#: Atelectasis, cardiomegaly, consolidation, edema, effusion: uncertain in the first study, positive, negative and not
#: mentioned in the second.
ROWS = {
    TRAIN: (
        "{top}/train/patient00001/study1/view1_frontal.jpg,Female,68,Frontal,AP,,,-1.0,,,-1.0,-1.0,,-1.0,,-1.0,,,1.0",
        "{top}/train/patient00002/study2/view1_frontal.jpg,Unknown,0,Frontal,LL,,,1.0,,,0.0,,,1.0,,1.0,,,",
        "{top}/train/patient00002/study2/view2_lateral.jpg,Unknown,0,Lateral,,,,1.0,,,0.0,,,1.0,,1.0,,,",
        "{top}/train/patient00003/study1/view1_frontal.jpg,Male,90,Frontal,PA,1.0,,,,,,,,,,,,,",
    ),
    VALID: (
        "{top}/valid/patient64541/study1/view1_frontal.jpg,Male,73,Frontal,PA," + ",".join(["1.0", *["0.0"] * 13]),
        "{top}/valid/patient64542/study1/view1_frontal.jpg,Male,70,Frontal,AP," + ",".join(["0.0", *["1.0"] * 13]),
        "{top}/valid/patient64542/study1/view2_lateral.jpg,Male,70,Lateral,," + ",".join(["0.0", *["1.0"] * 13]),
    ),
    TEST: ("test/patient64741/study1/view1_frontal.jpg," + ",".join(["0.0"] * 14),),
}


def written(root: Path, top: str, places: dict[str, str]) -> Path:
    """The rows above as a release: `places` of a table is the folder of its patients."""
    for table, rows in ROWS.items():
        place = root / places[table]
        for row in rows:
            file = place / row.partition(",")[0].format(top=top).partition("patient")[2].join(["patient", ""])
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (40, 32), len(row)).save(file)
    return root


def tables(root: Path, top: str, folders: dict[str, str]) -> Path:
    for table, rows in ROWS.items():
        lines = [TEST_HEADER if table == TEST else HEADER, *(row.format(top=top) for row in rows)]
        (root / folders[table] / table).write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Kaggle's small release, and the test set beside it as CheXlocalize unpacks."""
    top = "CheXpert-v1.0-small"
    written(tmp_path, top, {TRAIN: f"{top}/train", VALID: f"{top}/valid", TEST: "CheXpert/test"})
    return tables(tmp_path, top, {TRAIN: top, VALID: top, TEST: "CheXpert"})


def test_the_layout_of_the_small_release(small: Path) -> None:
    frame = index(small, OFFICIAL_TEST, {}).set_index("image_id")
    assert frame["split"].to_dict() == {
        "patient00001/study1/view1_frontal": "train",
        "patient00002/study2/view1_frontal": "train",
        "patient00002/study2/view2_lateral": "train",
        "patient00003/study1/view1_frontal": "train",
        "patient64541/study1/view1_frontal": "val",
        "patient64542/study1/view1_frontal": "val",
        "patient64542/study1/view2_lateral": "val",
        "patient64741/study1/view1_frontal": "test",
    }
    lateral = frame.loc["patient00002/study2/view2_lateral"]
    assert lateral["path"] == "CheXpert-v1.0-small/train/patient00002/study2/view2_lateral.jpg"
    assert (lateral["patient_id"], lateral["study_id"]) == ("patient00002", "patient00002/study2")
    assert frame["view"].tolist() == ["AP", "LL", "L", "PA", "PA", "AP", "L", ""]
    assert frame["about:age"].tolist()[:4] == [68, 0, 0, 90] and pd.isna(frame["about:age"].iloc[-1])
    assert frame["about:sex"].tolist()[:2] == ["Female", "Unknown"] and frame["about:sex"].iloc[-1] is None


def test_the_root_may_be_the_release_itself(small: Path) -> None:
    release = small / "CheXpert-v1.0-small"
    inside, above = index(release, Params(), {}), index(small, Params(), {})
    assert inside.drop(columns="path").equals(above.drop(columns="path"))
    assert ("CheXpert-v1.0-small/" + inside["path"]).equals(above["path"])


def test_the_batches_of_the_full_release(small: Path, tmp_path: Path) -> None:
    """Training patients lie right in the folder of their batch; the paths of the tables do not say so."""
    root, first = tmp_path / "full", "CheXpert-v1.0 batch 1 (validate & csv)"
    root.mkdir()
    places = {TRAIN: "CheXpert-v1.0 batch 2 (train 1)", VALID: f"{first}/valid", TEST: "CheXpert/test"}
    written(root, "CheXpert-v1.0", places)
    third = root / "CheXpert-v1.0 batch 3 (train 2)"
    third.mkdir()
    (root / places[TRAIN] / "patient00003").rename(third / "patient00003")
    tables(root, "CheXpert-v1.0", {TRAIN: first, VALID: first, TEST: "CheXpert"})
    full = index(root, OFFICIAL_TEST, {})
    assert full["path"].iloc[3] == "CheXpert-v1.0 batch 3 (train 2)/patient00003/study1/view1_frontal.jpg"
    assert full.drop(columns="path").equals(index(small, OFFICIAL_TEST, {}).drop(columns="path"))


def test_policies(small: Path) -> None:
    """Atelectasis, cardiomegaly, consolidation, edema, effusion of the study in which all of them are uncertain."""
    frame = index(small, Params(), {}).set_index("image_id")
    uncertain, known = frame.loc["patient00001/study1/view1_frontal"], frame.loc["patient00002/study2/view1_frontal"]
    found = {
        policy: [uncertain[f"competition_{policy}:{name}"] for name in COMPETITION]
        for policy in ("u_zeros", "u_ones", "mrm", "libauc")
    }
    assert found == {
        "u_zeros": [0, 0, 0, 0, 0],
        "u_ones": [1, 1, 1, 1, 1],
        "mrm": [1, 0, 0, 1, 1],
        "libauc": [1, 0, 0, 1, 0],
    }
    assert all(pd.isna(uncertain[f"competition_u_ignore:{name}"]) for name in COMPETITION)
    for policy in (*found, "u_ignore"):
        # Consolidation is not mentioned: negative under every policy.
        assert [known[f"competition_{policy}:{name}"] for name in COMPETITION] == [1, 1, 0, 0, 1]


def test_fourteen_classes_in_the_order_of_the_tables(small: Path) -> None:
    assert HEADER.split(",")[5:] == list(OBSERVATIONS) and sorted(OBSERVATIONS) == list(FINDINGS_14)
    frame = index(small, Params(), {}).set_index("image_id")
    values = frame.loc["patient64542/study1/view1_frontal", [f"findings14_u_zeros:{name}" for name in OBSERVATIONS]]
    assert values.tolist() == [0, *[1] * 13]
    assert set(MIXED["mrm"]) - set(MIXED["libauc"]) == {"Pleural Effusion"}


def test_the_valid_set_never_selects_and_tests(original: Path) -> None:
    valid = set(index(original, OFFICIAL_TEST, {}).query("split == 'val'")["image_id"])
    for seed in range(3):
        frame = index(original, Params(views="all", split_seed=seed), {})
        assert set(frame.loc[frame["split"] == "test", "image_id"]) == valid
        held = set(frame.loc[frame["split"] == "val", "patient_id"])
        assert held and not held & set(frame.loc[frame["split"] != "val", "patient_id"])
    assert set(index(original, OFFICIAL_TEST, {})["split"]) == {"train", "val", "test"}


def test_lateral_images_are_a_choice(original: Path) -> None:
    frontal, both = index(original, Params(), {}), index(original, Params(views="all"), {})
    assert (both["view"] == "L").any()
    assert both[both["view"] != "L"].reset_index(drop=True).equals(frontal), "views do not change the split"


def test_documented_counts() -> None:
    both = DATASET.expected_of(Params(views="all"))
    assert both == {"images": 223_648, "test images": 234, "patients": 64_740, "studies": 187_841}
    assert DATASET.expected_of(Params()) == {"images": 191_229, "test images": 202}
    test = DATASET.expected_of(OFFICIAL_TEST)
    assert (test["images"], test["test images"], test["val images"]) == (224_316, 668, 234)
    assert (test["patients"], test["train images"]) == (65_240, 223_414), "65,240 patients, as the paper says"


def table(old: str, new: str) -> Callable[[Path], None]:
    def breaker(root: Path) -> None:
        path = root / "CheXpert-v1.0-small" / TRAIN
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return breaker


def both_releases(root: Path) -> None:
    shutil.copytree(root / "CheXpert-v1.0-small" / "train", root / "CheXpert-v1.0" / "train")


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "no valid table": (lambda root: (root / "CheXpert-v1.0-small" / VALID).unlink(), r"valid\.csv: missing table"),
    "no column": (table("Lung Lesion", "Lung Leison"), r"train\.csv:1: no column 'Lung Lesion'.*'Lung Leison'"),
    "a path": (table("patient00001/", "patient1/"), r"train\.csv:2: path '.*/patient1/study1/.*; allowed: \[\.\.\.\]/"),
    "a way out": (table("study1/view1", "../view1"), r"train\.csv:2: path '.*\.\./view1_frontal\.jpg'"),
    "a label": (
        table("LL,,,1.0", "LL,,,yes"),
        r"train\.csv:3: Cardiomegaly is 'yes'; allowed: 1\.0, 0\.0, -1\.0 or empty",
    ),
    "a view": (table(",Lateral,,", ",Frontal,,"), r"train\.csv:4: 'Frontal' of another view than its file's name says"),
    "a patient in both sets": (table("patient00003", "patient64541"), r"patient '\w+' is in .*; allowed: one split"),
    "an image twice": (table("view2_lateral.jpg,Unknown,0,Lateral", "view1_frontal.jpg,Unknown,0,Frontal"), "twice"),
    "both releases": (both_releases, r"'patient00001' is at .*, too; allowed: one release below a root"),
    "no image": (
        lambda root: next(root.rglob("patient00003/study1/*.jpg")).unlink(),
        r"1 of 5 images are not there \(missing=skip.*\n.*'patient00003/study1/view1_frontal\.jpg' is not below",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken(what: str, small: Path) -> None:
    breaker, message = BROKEN[what]
    breaker(small)
    with pytest.raises(DataError, match=f"(?s){message}"):
        index(small, Params(views="all" if what != "no image" else "frontal"), {})


def test_missing_images_may_be_left_out(small: Path) -> None:
    shutil.rmtree(small / "CheXpert-v1.0-small" / "train" / "patient00003")
    assert len(index(small, Params(missing="skip"), {})) == 4
    assert "patient00003" not in patient_folders(small)


def test_a_file_is_no_folder(small: Path) -> None:
    with pytest.raises(DataError, match=r"valid\.csv/train\.csv: a damaged file .*Not a directory"):
        index(small / "CheXpert-v1.0-small" / VALID, Params(), {})


def test_the_official_test_set_must_be_there(small: Path) -> None:
    shutil.rmtree(small / "CheXpert")
    assert len(index(small, Params(), {})) == 5
    with pytest.raises(DataError, match=r"test_labels\.csv: missing table"):
        index(small, OFFICIAL_TEST, {})
