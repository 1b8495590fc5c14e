"""The reader understands the NLM's folders of the Montgomery collection and its readings."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from refers_bench import plugins
from refers_bench.data.phantoms.radiographs import PhantomParams
from refers_bench.datasets.montgomery_tb import DATASET, LABEL, Params, index, label_of, reading
from refers_bench.errors import DataError

PHANTOM = PhantomParams(studies=30, size=40, views=1, seed=5)


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """The archive as it unpacks, by hand: masks bear the names of the images."""
    base = tmp_path / "nlm" / "MontgomerySet"
    for folder in ("CXR_png", "ClinicalReadings", "ManualMask/leftMask", "ManualMask/rightMask"):
        (base / folder).mkdir(parents=True)
    for number in range(1, 11):
        name = f"MCUCXR_{number:04d}_{int(number > 6)}"
        Image.new("L", (49, 40)).save(base / "CXR_png" / f"{name}.png")
        for side in ("left", "right"):
            Image.new("1", (49, 40)).save(base / "ManualMask" / f"{side}Mask" / f"{name}.png")
        text = (
            f"Patient's Sex: {'MF'[number % 2]}\nPatient's Age: {number:03d}Y\n{'scar' if number > 6 else 'normal'}\n"
        )
        (base / "ClinicalReadings" / f"{name}.txt").write_text(text)
    (base / "CXR_png" / "Thumbs.db").write_bytes(b"x")
    (base / "NLM-MontgomeryCXRSet-ReadMe.pdf").write_bytes(b"x")
    return tmp_path / "nlm"


def test_the_official_layout(official: Path) -> None:
    frame = index(official, Params(), {})
    assert len(frame) == 10 and frame["path"].str.contains("/CXR_png/").all(), "masks are no radiographs"
    assert (frame[LABEL] == frame["image_id"].str[-1].astype(int)).all() and frame[LABEL].sum() == 4
    assert frame["patient_id"].tolist() == [f"{number:04d}" for number in range(1, 11)]
    assert frame["about:age"].tolist() == list(range(1, 11)) and set(frame["about:sex"]) == {"male", "female"}
    assert frame["report"].tolist() == ["normal"] * 6 + ["scar"] * 4
    assert set(frame["about:width"]) == {49} and set(frame["split"]) == {"train", "val", "test"}
    assert index(official, Params(split_seed=1), {})["split"].tolist() != frame["split"].tolist()
    assert index(official / "MontgomerySet", Params(), {}).drop(columns="path").equals(frame.drop(columns="path"))


def test_names_and_readings() -> None:
    assert [label_of(name) for name in ("MCUCXR_0001_0", "MCUCXR_0383_1")] == [("0001", 0), ("0383", 1)]
    assert [label_of(name) for name in ("MCUCXR_001_0", "MCUCXR_0001_2", "CHNCXR_0001_0")] == [None] * 3
    assert reading(["Patient's Sex: M ", "Patient's Age: 64Y", "cavitary  lesion", "", "in RUL"]) == (
        "male",
        "64Y",
        "cavitary lesion in RUL",
    )
    assert reading(["sex: other", "normal"]) == ("", "", "normal") and reading([]) == ("", "", "")


def test_counts_are_those_of_the_library() -> None:
    assert DATASET.expected_of(Params()) == {"images": 138, "patients": 138}
    assert DATASET.quirks[0].startswith("80 normal and 58 with tuberculosis")


def test_readings_may_be_absent(official: Path) -> None:
    shutil.rmtree(official / "MontgomerySet" / "ClinicalReadings")
    frame = index(official, Params(), {})
    assert frame["report"].isna().all() and frame["about:age"].isna().all() and len(frame) == 10


def test_images_of_shenzhen_beside_are_left_alone(official: Path) -> None:
    folder = official / "ChinaSet_AllFiles" / "CXR_png"
    folder.mkdir(parents=True)
    Image.new("L", (9, 9)).save(folder / "CHNCXR_0001_0.png")
    assert len(index(official, Params(), {})) == 10


@pytest.fixture
def both(tmp_path: Path) -> Path:
    """Both collections in one folder, each in its official layout; the one is a link to where it lies."""
    montgomery, shenzhen = tmp_path / "both", tmp_path / "elsewhere"
    montgomery.mkdir()
    DATASET.write_layout(montgomery, PHANTOM)  # type: ignore[misc]
    plugins.load("dataset", "shenzhen_tb").write_layout(shenzhen, PHANTOM.model_copy(update={"studies": 66}))
    (montgomery / "ChinaSet_AllFiles").symlink_to(shenzhen / "ChinaSet_AllFiles")
    return montgomery


def test_trained_on_shenzhen_all_of_montgomery_test(both: Path) -> None:
    """By the names and the released rule alone; 66 numbers of Shenzhen are spread evenly over its 662."""
    frame = index(both, Params(training="shenzhen"), {}).set_index("image_id")
    montgomery = frame[frame.index.str.startswith("MCUCXR")]
    assert len(montgomery) == 30 and set(montgomery["split"]) == {"test"}
    own = plugins.load("dataset", "shenzhen_tb")
    shenzhen = own.index(both, own.Params(), {}).set_index("image_id")
    assert set(shenzhen["split"]) == {"train", "val", "test"} and len(shenzhen) == 66
    others = frame.drop(montgomery.index)
    kept = shenzhen[shenzhen["split"] != "test"]
    assert sorted(others.index) == sorted(kept.index), "Shenzhen's own test images stay those of shenzhen_tb"
    same = ["path", "split", "report", LABEL, "about:age", "about:sex"]
    pd.testing.assert_frame_equal(others[same].sort_index(), kept[same].sort_index())
    assert (frame["patient_id"] == frame.index).all() and (frame["study_id"] == frame.index).all()
    alone = index(both, Params(), {}).set_index("image_id")
    assert set(alone.index) == set(montgomery.index) and set(alone["split"]) == {"train", "val", "test"}
    pd.testing.assert_frame_equal(montgomery[same].drop(columns="split"), alone[same].drop(columns="split"))


def test_the_external_test_has_counts_a_note_and_a_key_of_its_own() -> None:
    params = Params(training="shenzhen")
    assert DATASET.expected_of(params) == {"images": 668, "train images": 463, "val images": 67, "test images": 138}
    (note,) = DATASET.notes(params)
    assert note.startswith("an external test: trained on Shenzhen's released training images, tested on all of")
    assert DATASET.notes(Params()) == ()
    assert Params().model_dump() == {"split_seed": 0}, "keys of the collection alone stand"
    assert params.model_dump() == {"split_seed": 0, "training": "shenzhen"}


def test_an_external_test_needs_both(both: Path, official: Path) -> None:
    with pytest.raises(DataError) as refused:
        index(official, Params(training="shenzhen"), {})
    assert str(refused.value) == (
        f"{official}: no radiograph here; allowed: CHNCXR_<number>_<label>.png in any folder, as the NLM or Kaggle "
        "archives unpack"
    )
    shutil.rmtree(both / "MontgomerySet")
    with pytest.raises(DataError, match=r"both: no radiograph here; allowed: MontgomerySet/CXR_png/MCUCXR_"):
        index(both, Params(training="shenzhen"), {})


def test_broken(official: Path, tmp_path: Path) -> None:
    images = official / "MontgomerySet" / "CXR_png"
    (images / "MCUCXR_0001_0.png").rename(images / "MCUCXR_0001_3.png")
    shutil.copy(images / "MCUCXR_0009_1.png", images / "MCUCXR_0009_0.png")
    with pytest.raises(DataError) as refused:
        index(official, Params(), {})
    assert "MCUCXR_0001_3.png: unknown image name 'MCUCXR_0001_3'; allowed: MCUCXR_<number" in str(refused.value)
    assert "MCUCXR_0009_1.png: number 0009 is at" in str(refused.value)
    shutil.rmtree(images)
    with pytest.raises(DataError, match=r"nlm: no radiograph here; allowed: MontgomerySet/CXR_png/MCUCXR"):
        index(official, Params(), {})


def test_phantoms_have_both_labels_in_the_real_proportion(original: Path) -> None:
    frame = index(original, Params(), {})
    assert frame[LABEL].mean() == pytest.approx(58 / 138, abs=0.2) and len(frame) == 30
    assert pd.notna(frame["report"]).all()
