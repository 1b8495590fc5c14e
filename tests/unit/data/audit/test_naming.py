"""Which collection a list is of, by its names, and under which other names its images are known."""

from __future__ import annotations

import pytest

from refers_bench.data.audit.naming import (
    FILES,
    NAMINGS,
    NIH,
    NIH_PATIENTS,
    RSNA,
    SHORT,
    naming_of,
    plain,
    view_names,
    views_of,
)

UUID = "0004cfab-14fd-4e49-80ba-63a80b6bddd6"
OF = {
    "nih": ["images_012/00028178_000.png", "00000001_002"],
    "rsna": [f"stage_2_train_images/{UUID}.dcm", UUID],
    "vindr": ["train_jpeg/000434271f63a053c4128a0ba6352c7f", "0c469843f3e05f73485ef54a73967a81.dicom"],
    "chexpert": [
        "CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg",
        "valid/patient64541/study1/view2.jpg",
    ],
    "siim_uid": ["1.2.276.0.7230010.3.1.4.8323329.12896.1517875242.420356"],
    "siim_png": ["424_train_1_", "0_test_1_.png"],
    "shenzhen": ["CHNCXR_0402_1.png"],
    "montgomery": ["MCUCXR_0001_0.png"],
    "tbx11k": ["s1306", "h0412", "imgs/tb/tb0029.png"],
    "mimic": ["02aa804e-bde0afdd-112c0b34-7bc16630-4e384014"],
    "files": ["wong-0002.jpg", "00028178_000.png"],
}


@pytest.mark.parametrize("naming", OF)
def test_a_list_is_of_the_collection_whose_pattern_all_its_names_follow(naming: str) -> None:
    assert naming_of(OF[naming]) == naming
    assert naming_of([*OF[naming], "something else.png"]) == "files"


def test_no_names_are_of_no_collection() -> None:
    assert naming_of([]) == "files"


def test_views_of_a_patient_and_of_renamed_images() -> None:
    views = views_of(["00000007_001.png", "a/00000007_003.png", "00000009_000.png"])
    assert views[NIH_PATIENTS]["00000007"] == {"00000007_001.png", "a/00000007_003.png"}
    assert set(views) == {NIH, NIH_PATIENTS}
    seen = views_of([f"{UUID}.dcm"], rsna_to_nih={UUID: "00000007_001"})
    assert seen[NIH] == {"00000007_001": {f"{UUID}.dcm"}} and seen[NIH_PATIENTS].keys() == {"00000007"}
    assert NIH not in views_of([UUID]), "without the table nobody knows"
    assert views_of([UUID], rsna_to_nih={"other": "00000007_001"})[NIH] == {}, "compared, and in no NIH list"


def test_files_are_told_apart_by_their_endings() -> None:
    views = views_of(["000001.png", "000001.jpg", f"train/{UUID}.png"])
    assert views[FILES].keys() == {"000001.png", "000001.jpg", f"{UUID}.png"}
    assert views[RSNA] == {UUID: {f"train/{UUID}.png"}}, "COVIDx holds RSNA images"


@pytest.mark.parametrize("naming", OF)
def test_names_of_views_are_those_of_the_views(naming: str) -> None:
    names = [*OF[naming], f"{UUID}.png"] if naming == "files" else OF[naming]
    assert set(view_names(names)) == set(views_of(names)) - {SHORT}


def test_chexpert_ids_do_not_depend_on_the_folder() -> None:
    image = NAMINGS["chexpert"].image
    assert image("train/patient1/study2/view1_frontal.jpg") == image("x/y/patient1/study2/view1_frontal.png")


def test_plain_is_idempotent() -> None:
    for names in OF.values():
        for name in names:
            assert plain(plain(name)) == plain(name)
