"""The reader understands PadChest's table; the meaning of a label, and whose labels are tested on, are choices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from refers_bench.data.decode import decode
from refers_bench.data.phantoms.radiographs import PhantomParams
from refers_bench.datasets.padchest import (
    CLASSES,
    DATASET,
    NETWORK,
    PHYSICIAN,
    TABLE,
    UNREADABLE,
    Params,
    exact_labels,
    index,
    label_list,
    torchxrayvision_labels,
)
from refers_bench.errors import DataError

PHANTOM = PhantomParams(studies=60, size=32, views=2, seed=4)
HEADER = (
    "ImageID,ImageDir,StudyDate_DICOM,StudyID,PatientID,PatientBirth,PatientSex_DICOM,Projection,Pediatric,"
    "MethodLabel,Labels"
)
#: Image, study, patient, projection, method and labels.
ROWS = (
    ("a_1.png", "s1", "p1", "PA", PHYSICIAN, "['normal']"),
    ("a_2.png", "s1", "p1", "L", PHYSICIAN, "['normal']"),
    ("b.png", "s2", "p2", "AP_horizontal", NETWORK, "['pleural effusion', ' consolidation', 'pleural effusion ']"),
    ("c.png", "s3", "p3", "PA", NETWORK, "['subcutaneous emphysema', 'air bronchogram', 'pericardial effusion']"),
    ("d.png", "s4", "p4", "AP", PHYSICIAN, "['lobar atelectasis', 'pulmonary mass', 'pseudonodule']"),
    ("e.png", "s5", "p5", "PA", NETWORK, ""),
    ("f.png", "s6", "p6", "PA", NETWORK, "[]"),
    ("g.png", "s7", "p7", "PA", PHYSICIAN, "['exclude']"),
    ("h.png", "s8", "p8", "COSTAL", NETWORK, "['rib fracture']"),
    (UNREADABLE[0], "s9", "p9", "PA", NETWORK, "['normal']"),
    ("i.png", "s3", "p10", "L", NETWORK, "['unchanged']"),
    ("j.png", "s10", "p11", "PA", NETWORK, "['']"),
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    lines = [HEADER]
    for number, (image, study, patient, projection, method, labels) in enumerate(ROWS):
        facts = f'{number},20150312,{study},{patient},1950.0,F,{projection},No,{method},"{labels}"'
        lines.append(f"{image},{facts}")
        if image not in UNREADABLE:
            (tmp_path / str(number)).mkdir()
            pixels = np.tile(np.linspace(0, 65_535, 40).round().astype(np.uint16), (32, 1))
            Image.fromarray(pixels).save(tmp_path / str(number) / image)
    (tmp_path / TABLE).write_text("\n".join(lines) + "\n")
    return tmp_path


def positives(values: pd.Series, task: str) -> set[str]:
    return {name for name in CLASSES if values[f"{task}:{name}"] == 1}


def test_the_layout_of_the_archives(root: Path) -> None:
    frame = index(root, Params(views=()), {}).set_index("image_id")
    assert set(frame.index) == {"a_1", "a_2", "b", "c", "d", "h", "i"}, (
        "no labels, excluded, and a broken file are left out"
    )
    assert frame.loc["a_2", ["path", "patient_id", "study_id", "view"]].tolist() == ["1/a_2.png", "p1", "p1/s1", "L"]
    assert set(frame["about:age"]) == {65} and set(frame["about:sex"]) == {"F"}
    assert set(index(root, Params(), {})["view"]) == {"PA", "AP", "AP_horizontal"}
    assert set(index(root, Params(views=("L",)), {})["image_id"]) == {"a_2", "i"}
    assert set(index(root, Params(excluded="keep"), {})["image_id"]) == {"a_1", "b", "c", "d", "g"}


def test_a_number_of_a_study_that_two_patients_have(root: Path) -> None:
    frame = index(root, Params(views=()), {}).set_index("image_id")
    assert frame.loc[["c", "i"], "study_id"].tolist() == ["p3/s3", "p10/s3"]


def test_documented_counts_are_of_what_was_counted() -> None:
    assert DATASET.expected_of(Params()) == {"images": 109_053, "patients": 66_613}
    assert DATASET.expected_of(Params(views=(), excluded="keep"))["images"] == 159_961
    assert (
        DATASET.expected_of(Params(views=("PA",))) == {} and DATASET.documented_images(Params(views=("PA",))) == 109_053
    )


def test_sixteen_bits_are_scaled(root: Path) -> None:
    grey = decode(root / index(root, Params(), {})["path"].iloc[0])
    assert (grey[0] == np.linspace(0, 255, 40).round()).all(), "v / 257, as torchxrayvision's v / 65,535"


def test_equal_labels_and_parts_of_texts_are_two_tasks(root: Path) -> None:
    frame = index(root, Params(), {}).set_index("image_id")
    found = {image: [positives(frame.loc[image], f"findings14_{task}") for task in ("exact", "txv")] for image in "bcd"}
    assert found["b"] == [{"Effusion", "Consolidation"}, {"Effusion", "Consolidation", "Infiltration"}]
    assert found["c"] == [set(), {"Emphysema", "Effusion", "Infiltration", "Consolidation"}]
    assert found["d"] == [{"Mass"}, {"Atelectasis", "Mass", "Nodule"}]
    assert not positives(frame.loc["a_1"], "findings14_txv")


def torchxrayvision(cells: pd.Series) -> pd.DataFrame:
    """What torchxrayvision's `PC_Dataset` computes: pandas' `str.contains` of the class's name and its synonyms."""
    synonyms = {
        "Infiltration": "infiltrates|interstitial pattern|ground glass pattern|reticular interstitial pattern|"
        "reticulonodular interstitial pattern|alveolar pattern|consolidation|air bronchogram",
        "Pleural_Thickening": "pleural thickening",
        "Consolidation": "air bronchogram",
    }
    columns = {}
    for name in CLASSES:
        columns[name] = cells.str.contains(name.lower())
        if name in synonyms:
            columns[name] |= cells.str.contains(synonyms[name])
    return pd.DataFrame(columns).astype(int)


def test_parts_of_texts_are_those_of_torchxrayvision() -> None:
    labels = (
        "air bronchogram",
        "apical pleural thickening",
        "atypical pneumonia",
        "breast mass",
        "calcified pleural thickening",
        "cardiomegaly",
        "ground glass pattern",
        "hiatal hernia",
        "hydropneumothorax",
        "infiltrates",
        "laminar atelectasis",
        "loculated pleural effusion",
        "multiple nodules",
        "post radiotherapy changes",
        "pseudonodule",
        "pulmonary edema",
        "pulmonary fibrosis",
        "reticular interstitial pattern",
        "subcutaneous emphysema",
    )
    cells = pd.Series([str([labels[place], labels[(3 * place + 1) % len(labels)]]) for place in range(len(labels))])
    ours = pd.DataFrame([torchxrayvision_labels(cell) for cell in cells])
    pd.testing.assert_frame_equal(ours, torchxrayvision(cells))
    assert ours.sum().min() > 0


def test_lists_as_texts() -> None:
    assert label_list("['a', ' a', 'b ', '']") == ("a", "b")
    assert label_list("[]") == ()
    assert [label_list(cell) for cell in ("normal", "('a',)", "[1]", "['a'", "__import__('os')", "")] == [None] * 6
    assert exact_labels(("cardiomegaly", "hiatal hernia"))["Hernia"] == 1


def test_tested_on_are_physicians_labels(original: Path) -> None:
    table = pd.read_csv(original / TABLE, dtype=str).set_index("ImageID")
    method = table["MethodLabel"].rename(lambda name: name.removesuffix(".png"))
    frame, any_of = (index(original, Params(views=(), test_labels=whose), {}) for whose in ("physician", "any"))
    assert set(method[frame.loc[frame["split"] == "test", "image_id"]]) == {PHYSICIAN}
    assert set(method[any_of.loc[any_of["split"] == "test", "image_id"]]) == {PHYSICIAN, NETWORK}
    assert set(method[frame.loc[frame["split"] == "train", "image_id"]]) == {PHYSICIAN, NETWORK}
    moved = frame["split"] != any_of["split"]
    assert set(frame.loc[moved, "split"]) == {""} and set(any_of.loc[moved, "split"]) == {"test"}


def test_views_do_not_move_the_other_patients(original: Path) -> None:
    """All images of a patient are in one split, and studies of two views stay together."""
    frame = index(original, Params(views=(), test_labels="any"), {})
    assert frame.groupby("patient_id")["split"].nunique().max() == 1
    assert (frame.groupby("study_id").size() > 1).any()


def table(old: str, new: str) -> Callable[[Path], None]:
    def breaker(root: Path) -> None:
        text = (root / TABLE).read_text()
        assert old in text
        (root / TABLE).write_text(text.replace(old, new, 1))

    return breaker


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "no table": (lambda root: (root / TABLE).unlink(), r"160K_01\.02\.19\.csv: missing table"),
    "no column": (table("MethodLabel", "Method"), r"csv:1: no column 'MethodLabel'"),
    "no list": (table("\"['normal']\"", "normal"), r"csv:2: labels \"normal\"; allowed: a list of texts"),
    "half a list": (table("'exclude']", "'exclude'"), r"csv:9: labels \"\['exclude'\"; allowed: a list of texts"),
    "a method": (table(NETWORK, "CNN_model"), r"csv:4: MethodLabel 'CNN_model'; allowed: Physician or RNN_model"),
    "no PNG": (table("b.png", "b.dcm"), r"csv:4: ImageID 'b\.dcm'; allowed: a name that ends with \.png"),
    "no patient": (table(",p3,", ",,"), r"csv:5: PatientID ''; allowed: the id of a patient"),
    "an image twice": (table("c.png", "b.png"), r"image 'b' is listed twice; allowed: each image once"),
    "no image": (
        lambda root: (root / "4" / "d.png").unlink(),
        r"1 of 4 images are not there \(missing=skip.*\n.*image 'd\.png' is not below",
    ),
    "an image in two folders": (
        lambda root: (root / "3" / "b.png").write_bytes(b"x"),
        r"'b' is at .*, too; allowed: one file",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken(what: str, root: Path) -> None:
    breaker, message = BROKEN[what]
    breaker(root)
    with pytest.raises(DataError, match=f"(?s){message}"):
        index(root, Params(), {})


def test_a_projection_that_nobody_has_is_refused(root: Path) -> None:
    with pytest.raises(DataError, match=r"no image of the projections AP Supine; allowed: AP, AP_horizontal, COSTAL"):
        index(root, Params(views=("AP Supine",)), {})


def test_missing_images_may_be_left_out(root: Path) -> None:
    (root / "4" / "d.png").unlink()
    assert set(index(root, Params(missing="skip"), {})["image_id"]) == {"a_1", "b", "c"}
