"""The reader understands Kaggle's and Mendeley's layouts of the paediatric collection, and keeps groups together."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from refers_bench.data.phantoms.radiographs import PhantomParams
from refers_bench.datasets.kermany_pneumonia import Params, index, kind_and_group
from refers_bench.errors import DataError
from refers_bench.files import sha256_of

PHANTOM = PhantomParams(studies=60, size=40, views=2, seed=4)
NAMES = {
    "person1000_bacteria_2931": ("Bacterial", "person1000"),
    "person1000_virus_1681": ("Viral", "person1000"),
    "person447_virus_921_1": ("Viral", "person447"),
    "IM-0115-0001": ("Normal", "IM-0115"),
    "IM-0429-0001-0002": ("Normal", "IM-0429"),
    "NORMAL2-IM-0587-0001-0001": ("Normal", "NORMAL2-IM-0587"),
    "NORMAL2-IM-0381-0001": ("Normal", "NORMAL2-IM-0381"),
    "BACTERIA-1008087-0001": ("Bacterial", "1008087"),
    "VIRUS-1008087-0002": ("Viral", "1008087"),
    "NORMAL-1049278-0001": ("Normal", "1049278"),
}


def plain(root: Path, split: str = "seeded") -> pd.DataFrame:
    return index(root, Params(split=split), {})


def test_names() -> None:
    assert {name: kind_and_group(name) for name in NAMES} == NAMES
    others = ("person1000_fungus_1", "person_bacteria_1", "IM-0115", "NORMAL2-0115-0001", "BACTERIA-7-1 (2)", "Thumbs")
    assert [kind_and_group(name) for name in others] == [None] * 6


def test_labels_are_those_of_folder_and_name(original: Path) -> None:
    frame = plain(original)
    ill = frame["path"].str.contains("/PNEUMONIA/")
    assert (frame["pneumonia:Pneumonia"] == ill).all()
    viral = frame["viral_vs_bacterial:Viral"]
    assert viral[~ill].isna().all(), "normal images are no part of the task"
    assert (viral[ill] == frame.loc[ill, "path"].str.contains("_virus_")).all()
    assert (frame[[f"findings:{kind}" for kind in ("Normal", "Bacterial", "Viral")]].sum(axis=1) == 1).all()
    assert {1, 0} == set(viral.dropna())


def test_a_person_is_one_group_with_bacteria_and_viruses(copy: Path) -> None:
    folder = copy / "chest_xray" / "train" / "PNEUMONIA"
    first, second = sorted(folder.iterdir())[:2]
    for number, image in enumerate((first, second)):
        image.rename(folder / f"person9999_{('bacteria', 'virus')[number]}_{number + 1}.jpeg")
    frame = plain(copy).set_index("image_id")
    rows = frame.loc[["person9999_bacteria_1", "person9999_virus_2"]]
    assert rows["patient_id"].tolist() == ["person9999"] * 2
    assert rows["split"].nunique() == 1
    assert rows["viral_vs_bacterial:Viral"].tolist() == [0, 1]


def test_groups_that_share_a_file_are_joined(copy: Path) -> None:
    train = copy / "chest_xray" / "train"
    image = next((train / "PNEUMONIA").iterdir())
    shutil.copy(image, train / "PNEUMONIA" / "person9998_virus_1.jpeg")
    shutil.copy(image, copy / "chest_xray" / "test" / "PNEUMONIA" / "person9997_virus_1.jpeg")
    frame = plain(copy).set_index("image_id")
    names = [image.stem, "person9998_virus_1", "test-person9997_virus_1"]
    assert frame.loc[names, "patient_id"].nunique() == 1
    assert frame.loc[names, "split"].nunique() == 1
    official = plain(copy, "official").set_index("image_id")
    assert official.loc[names, "split"].tolist() == ["", "", "test"], "a test image is not trained with"


def test_the_official_split_tests_the_folder_test(original: Path) -> None:
    frame = plain(original, "official")
    assert ((frame["split"] == "test") == frame["path"].str.startswith("chest_xray/test/")).all()
    assert set(frame["split"]) == {"train", "val", "test"}
    assert frame.loc[frame["split"] == "test", "image_id"].str.startswith("test-").all()
    assert index(original, Params(split="official", split_seed=1), {})["split"].tolist() != frame["split"].tolist()


def test_a_number_of_both_parts_is_one_group_of_the_seeded_split_and_two_of_the_official_one(copy: Path) -> None:
    for part in ("train", "test"):
        folder = copy / "chest_xray" / part / "PNEUMONIA"
        next(folder.iterdir()).rename(folder / "person9999_virus_1.jpeg")
    names = ["person9999_virus_1", "test-person9999_virus_1"]
    assert plain(copy).set_index("image_id").loc[names, "split"].nunique() == 1
    official = plain(copy, "official").set_index("image_id").loc[names]
    assert official["patient_id"].tolist() == ["person9999", "test-person9999"]
    assert official["split"].iloc[1] == "test" != official["split"].iloc[0]


def test_the_training_folder_alone_and_a_second_copy_inside(copy: Path, tmp_path: Path) -> None:
    whole = plain(copy)
    shutil.copytree(copy / "chest_xray", copy / "chest_xray" / "chest_xray")
    (copy / "chest_xray" / "train" / "NORMAL" / ".DS_Store").write_bytes(b"x")
    assert plain(copy).equals(whole)
    alone = plain(copy / "chest_xray" / "train")
    assert set(alone["image_id"]) == set(whole["image_id"][~whole["image_id"].str.startswith("test-")])
    assert set(alone["split"]) == {"train", "val", "test"}


def test_the_layout_of_mendeley(copy: Path) -> None:
    for number, image in enumerate(sorted((copy / "chest_xray").rglob("*.jpeg"))):
        kind, _ = kind_and_group(image.stem) or ("", "")
        word = {"Normal": "NORMAL", "Bacterial": "BACTERIA", "Viral": "VIRUS"}[kind]
        image.rename(image.with_name(f"{word}-{1000 + number // 2}-{number % 2 + 1:04d}.jpeg"))
    frame = plain(copy)
    assert frame["patient_id"].nunique() < len(frame)
    assert frame["pneumonia:Pneumonia"].nunique() == 2


def renamed(old: str, new: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        image = next((root / "chest_xray" / "train").glob(old))
        target = root / "chest_xray" / "train" / new
        image.rename(target)

    return change


def without(*folders: str) -> Callable[[Path], None]:
    return lambda root: [shutil.rmtree(root / "chest_xray" / folder) for folder in folders][-1]


def emptied(root: Path) -> None:
    for image in (root / "chest_xray").rglob("*.jpeg"):
        image.unlink()


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "name": (renamed("PNEUMONIA/*", "PNEUMONIA/x1.jpeg"), r"PNEUMONIA/x1.jpeg: unknown image name 'x1'; allowed: personN"),
    "folder": (renamed("PNEUMONIA/*virus*", "NORMAL/person1_virus_1.jpeg"), r"NORMAL/person1_virus_1.jpeg: viral by its name; allowed: normal"),
    "normal": (renamed("NORMAL/IM*", "PNEUMONIA/IM-0001-0001.jpeg"), r"normal by its name; allowed: bacterial or viral"),
    "one class": (without("train/NORMAL"), r"chest_xray/train/NORMAL: missing folder"),
    "no image": (emptied, r"no radiograph here; allowed: JPEG files in NORMAL and PNEUMONIA"),
    "no layout": (without("train", "test"), r"no radiograph here; allowed: chest_xray/\{train,val,test\}"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_broken(what: str, copy: Path) -> None:
    breaker, message = BROKEN[what]
    breaker(copy)
    with pytest.raises(DataError, match=message):
        plain(copy)


def test_the_official_split_needs_its_folder(copy: Path) -> None:
    with pytest.raises(DataError, match=r"no image in test/; allowed: .*split: seeded"):
        plain(copy / "chest_xray" / "train", "official")


def test_an_image_in_two_formats_is_refused(copy: Path) -> None:
    image = next((copy / "chest_xray" / "train" / "NORMAL").iterdir())
    shutil.copy(image, image.with_suffix(".png"))
    with pytest.raises(DataError, match=f"image '{image.stem}' is listed twice"):
        plain(copy)


def test_the_real_training_folder(real_data: Path) -> None:
    root = real_data / "kermany-pneumonia"
    if not root.is_dir():
        pytest.skip(f"no {root}")
    frame = plain(root)
    assert frame[[f"findings:{kind}" for kind in ("Normal", "Bacterial", "Viral")]].sum().tolist() == [1341, 2530, 1345]
    assert len(frame) == 5216
    assert frame["viral_vs_bacterial:Viral"].notna().sum() == 3875
    numbers = frame["path"].str.extract(r"(person\d+)")[0]
    assert numbers.nunique() == 1635
    assert frame["patient_id"].nunique() == 1635 + 1211
    assert frame.groupby("patient_id")["split"].nunique().max() == 1
    assert frame.groupby(numbers)["split"].nunique().max() == 1
    content = pd.Series([sha256_of(root / path) for path in frame["path"]])
    repeats = content.value_counts()
    assert (repeats > 1).sum() == 24
    assert frame.groupby(content)["split"].nunique().max() == 1
    shares = frame.drop_duplicates("patient_id")["split"].value_counts(normalize=True).round(2)
    assert shares.to_dict() == {"train": 0.7, "test": 0.2, "val": 0.1}
