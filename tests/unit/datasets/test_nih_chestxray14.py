"""The reader finds NIH's tables, lists, images and boxes in every layout, and names what is wrong with them."""

from __future__ import annotations

import gzip
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pydantic import ValidationError

from refers_bench.data.decode import decode
from refers_bench.data.index import metadata_columns
from refers_bench.data.phantoms.radiographs import PhantomParams, studies
from refers_bench.datasets.nih_chestxray14 import (
    BOXES,
    CLASSES,
    DATASET,
    TABLES,
    TEST,
    TRAIN_VAL,
    Params,
    boxes,
    index,
    read_findings,
)
from refers_bench.errors import DataError

PHANTOM = PhantomParams(studies=60, size=40, views=2, seed=5)
TABLE = TABLES["v2020"]


def test_phantoms_have_the_real_layout(original: Path) -> None:
    assert (original / TABLE).read_text().startswith("Image Index,Finding Labels,Follow-up #,Patient ID,")
    assert {path.name for path in original.iterdir() if path.is_dir()} == {"images_001", "images_002", "images_003"}
    frontal = sum(view.view != "L" for study in studies(PHANTOM) for view in study.views)
    assert len(list(original.glob("images_*/images/*.png"))) == frontal
    coloured = {path.stem for path in original.rglob("*.png") if Image.open(path).mode == "RGBA"}
    assert {Image.open(path).mode for path in original.rglob("*.png")} == {"L", "RGBA"}
    # Of every tenth study, as in the real archives a few files are.
    patients = {study.patient for study in studies(PHANTOM) if study.number % 10 == 0}
    assert 6 <= len(coloured) <= 12 and {int(name[:8]) - 1 for name in coloured} == patients


def test_lateral_radiographs_alone_are_left_out(tmp_path: Path) -> None:
    """A frontal radiograph that comes after a lateral one is kept."""
    params = PhantomParams(studies=10, size=32, views=4, seed=5)
    DATASET.write_layout(tmp_path, params)  # type: ignore[misc]
    frontal = [[view.view for view in study.views if view.view != "L"] for study in studies(params)]
    assert max(map(len, frontal)) == 3
    assert len(list(tmp_path.glob("images_*/images/*.png"))) == sum(map(len, frontal))


def test_labels_are_the_findings_of_each_study(original: Path) -> None:
    frame = index(original, Params(), {})
    drawn = list(studies(PHANTOM))
    positives = {name: int(frame[f"findings:{name}"].sum()) for name in CLASSES}
    for ours, name in (("Effusion", "Effusion"), ("Nodule", "Nodule"), ("Interstitial", "Edema")):
        frontal = [sum(view.view != "L" for view in study.views) for study in drawn if ours in study.findings]
        assert positives[name] == sum(frontal)
    assert positives["Hernia"] == 0


def test_official_split_follows_the_lists_and_validates_with_whole_patients(original: Path) -> None:
    frame = index(original, Params(), {})
    test = {line.removesuffix(".png") for line in (original / TEST).read_text().split()}
    assert set(frame.loc[frame["split"] == "test", "image_id"]) == test
    patients = frame[frame["split"] != "test"].groupby("patient_id")["split"].first()
    assert (patients == "val").sum() == round(0.125 * len(patients))
    other = index(original, Params(split_seed=1), {})
    assert set(other.loc[other["split"] == "val", "patient_id"]) != set(patients.index[patients == "val"])
    assert set(other.loc[other["split"] == "test", "image_id"]) == test


def test_images_lie_in_any_folders(copy: Path) -> None:
    before = index(copy, Params(), {})
    flat = copy / "CXR8" / "images" / "all"
    flat.mkdir(parents=True)
    for path in list(copy.glob("images_*/images/*.png")):
        path.rename(flat / path.name)
    for name in (TABLE, BOXES, TRAIN_VAL, TEST):
        (copy / name).rename(copy / "CXR8" / name)
    after = index(copy, Params(), {})
    assert set(after["path"].str.rpartition("/")[0]) == {"CXR8/images/all"}
    assert after.drop(columns="path").equals(before.drop(columns="path"))


def test_older_and_gzipped_tables(copy: Path) -> None:
    before = index(copy, Params(), {})
    text = (copy / TABLE).read_text().splitlines()
    with gzip.open(copy / f"{TABLES['2017']}.gz", "wt") as file:
        file.write("\n".join(f"{line}," for line in text) + "\n")  # the older table ends in an empty column
    assert index(copy, Params(table="2017"), {}).equals(before)
    (copy / TABLE).unlink()
    assert index(copy, Params(), {}).equals(before)
    with pytest.raises(DataError, match=r"Data_Entry_2017_v2020\.csv"):
        index(copy, Params(table="v2020"), {})


def test_views_missing_images_and_seeded_splits(copy: Path) -> None:
    frame = index(copy, Params(views=("PA",)), {})
    assert set(frame["view"]) == {"PA"}
    seeded = index(copy, Params(split="seeded"), {})
    assert set(seeded["split"]) == {"train", "val", "test"}
    gone = sorted(copy.glob("images_*/images/*.png"))[0]
    gone.unlink()
    with pytest.raises(DataError, match=f"image '{gone.name}' is not below"):
        index(copy, Params(), {})
    assert gone.stem not in set(index(copy, Params(missing="skip"), {})["image_id"])


def released(copy: Path) -> dict[str, Path]:
    folder = copy.parent / "lists"
    folder.mkdir(exist_ok=True)
    names = sorted(copy.rglob("*.png"))
    patients = sorted({path.name[:8] for path in names})
    for split, chosen in (("val", patients[:5]), ("test", patients[5:15])):
        labels = " ".join(["1", *["0"] * 13])
        lines = [f"images_001/{path.name} {labels}" for path in names if path.name[:8] in chosen]
        (folder / f"{split}.txt").write_text("\n".join(lines) + "\n")
    return {"lists": folder}


def test_released_lists_split_and_may_label(copy: Path) -> None:
    lists = released(copy)
    frame = index(copy, Params(split="released", lists="lists"), lists)
    assert frame.loc[frame["split"] == "val", "patient_id"].nunique() == 5
    assert frame.loc[frame["split"] == "test", "patient_id"].nunique() == 10
    assert (frame["split"] == "train").any()
    listed = index(copy, Params(split="released", lists="lists", labels="lists"), lists)
    held = listed["split"] != "train"
    assert (listed.loc[held, "findings:Atelectasis"] == 1).all()
    assert listed.loc[held, [f"findings:{name}" for name in CLASSES[1:]]].sum().sum() == 0
    assert listed[~held].equals(frame[~held])


@pytest.mark.parametrize(
    "params", [{"split": "released"}, {"lists": "x"}, {"labels": "lists"}, {"split": "official", "lists": "x"}]
)
def test_lists_and_split_belong_together(params: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Params(**params)  # type: ignore[arg-type]


def test_boxes_frame_what_was_drawn(original: Path) -> None:
    """All four sides of every box, whatever its shape, and on no other image."""
    expected, shots = [], Counter[int]()
    for study in studies(PHANTOM):
        for view in (view for view in study.views if view.view != "L"):
            name = f"{study.patient + 1:08d}_{shots[study.patient]:03d}"
            shots[study.patient] += 1
            expected += [
                (name, lesion.finding, *view.box(lesion))
                for lesion in study.lesions
                if lesion.finding != "Interstitial"
            ]
    assert any(abs(width - height) > 0.01 for *_, width, height in expected)
    frame = boxes(original, Params())
    found = [tuple(row) for row in frame[["image_id", "class", "left", "top", "width", "height"]].to_numpy()]
    assert len(found) == len(expected)
    for one, other in zip(found, sorted(expected), strict=True):
        # The list has three digits of a pixel of 1,024.
        assert one[:2] == other[:2] and one[2:] == pytest.approx(other[2:], abs=1e-6)


def test_boxes_surround_what_is_seen(original: Path) -> None:
    frame = boxes(original, Params())
    assert set(frame["class"]) <= set(CLASSES)
    indexed = index(original, Params(), {}).set_index("image_id")
    assert set(frame["image_id"]) <= set(indexed.index)
    assert (frame[["left", "top", "width", "height"]] >= 0).all().all()
    # A consolidation is brighter than the same place of a study without it, on average.
    inside, around = [], []
    for row in frame[frame["class"] == "Consolidation"].itertuples():
        grey = decode(original / indexed.loc[row.image_id, "path"]).astype(float) / 255
        side = len(grey)
        left, top = int(row.left * side), int(row.top * side)
        inside.append(grey[top : top + int(row.height * side), left : left + int(row.width * side)].mean())
        mirrored = grey[:, ::-1]
        around.append(mirrored[top : top + int(row.height * side), left : left + int(row.width * side)].mean())
    assert np.mean(inside) > np.mean(around) + 0.03


def test_a_line_of_the_real_box_list_in_shares_of_1024_pixels(tmp_path: Path) -> None:
    lines = (
        "Image Index,Finding Label,Bbox [x,y,w,h],,,",
        "00013118_008.png,Infiltrate,225,547,86,79,,,",
        "00004533_014.png,Atelectasis,512,128,256,64,,,",
    )
    (tmp_path / BOXES).write_text("\n".join(lines) + "\n")
    assert boxes(tmp_path, Params()).to_dict("list") == {
        "image_id": ["00004533_014", "00013118_008"],
        "class": ["Atelectasis", "Infiltration"],
        "reader": ["", ""],
        "left": [0.5, 225 / 1024],
        "top": [0.125, 547 / 1024],
        "width": [0.25, 86 / 1024],
        "height": [0.0625, 79 / 1024],
    }


def edit(name: str, old: str, new: str) -> Callable[[Path], None]:
    def breaker(root: Path) -> None:
        text = (root / name).read_text()
        assert old in text
        (root / name).write_text(text.replace(old, new, 1))

    return breaker


def drop(name: str) -> Callable[[Path], None]:
    return lambda root: (root / name).unlink()


def copied_image(root: Path) -> None:
    path = sorted(root.rglob("*.png"))[0]
    shutil.copy(path, root / path.name)


def listed_nowhere(root: Path) -> None:
    lines = (root / TRAIN_VAL).read_text().splitlines()
    (root / TRAIN_VAL).write_text("\n".join(lines[1:]))


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "no table": (drop(TABLE), r"no table of findings here; allowed: Data_Entry_2017_v2020.csv or Data_Entry_2017.csv"),
    "no column": (edit(TABLE, "Finding Labels", "Labels"), r"v2020.csv:1: no column 'Finding Labels'"),
    "finding": (
        edit(TABLE, ",No Finding,", ",Nodul,"),
        r"v2020.csv:\d+: unknown finding 'Nodul'.*did you mean 'Nodule'",
    ),
    "both": (edit(TABLE, ",No Finding,", ",No Finding|Mass,"), r"v2020.csv:\d+: 'No Finding\|Mass'"),
    "no list": (drop(TEST), r"no test_list.txt here; allowed: .* split: released or seeded"),
    "in no list": (listed_nowhere, r"is in neither of the lists"),
    "two files": (copied_image, r"is at .*, too"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken(what: str, copy: Path) -> None:
    breaker, message = BROKEN[what]
    breaker(copy)
    with pytest.raises(DataError, match=message):
        index(copy, Params(), {})


BROKEN_BOXES: dict[str, tuple[Callable[[Path], None], str]] = {
    "none": (drop(BOXES), r"BBox_List_2017.csv: missing table"),
    "class": (edit(BOXES, "Consolidation", "Lump"), r"BBox_List_2017.csv:\d+: unknown finding 'Lump'"),
    "outside": (lambda root: (root / BOXES).write_text("Image Index,Finding Label,Bbox [x,y,w,h]\na.png,Mass,900,10,200,5\n"),
                r"box of 'a' at 0.87.*allowed: left, top"),
    "no number": (lambda root: (root / BOXES).write_text("Image Index,Finding Label,Bbox [x,y,w,h]\na.png,Mass,x,1,2,5\n"),
                  r"box of 'a' at nan"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN_BOXES)
def test_broken_boxes(what: str, copy: Path) -> None:
    breaker, message = BROKEN_BOXES[what]
    breaker(copy)
    with pytest.raises(DataError, match=message):
        boxes(copy, Params())


LINES = {
    "too few labels": ("a.png 0 1\n", r"val.txt:1: 'a.png 0 1'; allowed: a name and 14 labels"),
    "no label": (f"a.png {'0 ' * 13}2\n", r"val.txt:1"),
    "not text": ("\xff\xfe", r"val.txt: not UTF-8"),
    "twice": (f"images_001/a.png {'0 ' * 14}\nimages_002/a.png {'0 ' * 14}\n", r"'a' is listed twice"),
}


@pytest.mark.parametrize("what", LINES)
def test_broken_lists(what: str, copy: Path) -> None:
    lists = released(copy)
    text, message = LINES[what]
    (lists["lists"] / "val.txt").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=message):
        index(copy, Params(split="released", lists="lists"), lists)
    (lists["lists"] / "val.txt").unlink()
    with pytest.raises(DataError, match=r"val.txt: missing list"):
        index(copy, Params(split="released", lists="lists"), lists)


AGES = {"2017": ("058Y", 58.0), "v2020": ("58", 58.0), "months": ("006M", 0.5)}


@pytest.mark.parametrize("version", AGES)
def test_metadata_of_a_table(version: str, tmp_path: Path) -> None:
    text, age = AGES[version]
    header = (
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
        "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
    )
    if version != "v2020":
        header = header.replace("Gender", "Sex")
    (tmp_path / "a.csv").write_text(f"{header}\n1_000.png,Mass,3,1,{text},F,PA,2500,2048,0.168,0.171\n")
    (row,) = read_findings(tmp_path / "a.csv").to_dict("records")
    assert {name: value for name, value in row.items() if name.startswith("about:")} == {
        "about:age": age, "about:sex": "F", "about:follow_up": 3.0,
        "about:width": 2500.0, "about:height": 2048.0, "about:pixel_spacing": 0.168,
    }  # fmt: skip


def test_a_table_without_metadata_is_read(tmp_path: Path) -> None:
    header = "Image Index,Finding Labels,Patient ID,View Position"
    (tmp_path / "a.csv").write_text(f"{header}\n1_000.png,Mass,1,PA\n")
    assert metadata_columns(read_findings(tmp_path / "a.csv")) == []


def test_the_real_sample(real_data: Path) -> None:
    root = real_data / "nih-chestxray14-sample"
    lists = {"nih": real_data / "official-splits" / "nih"}
    frame = index(root, Params(split="released", lists="nih"), lists)
    assert frame["split"].value_counts().to_dict() == {"train": 704, "test": 219, "val": 77}
    assert (frame[[f"findings:{name}" for name in CLASSES]].sum(axis=1) == 0).sum() == 500
    found = boxes(root, Params())
    assert found.loc[found["image_id"].isin(frame["image_id"]), "image_id"].nunique() == 44
    table = pd.read_csv(root / "Data_Entry_2017_v2020.csv").set_index("Image Index")
    rows = table.loc[frame["image_id"] + ".png"]
    for column, theirs in (("age", "Patient Age"), ("sex", "Patient Gender"), ("follow_up", "Follow-up #")):
        assert frame[f"about:{column}"].tolist() == rows[theirs].tolist(), column
    assert frame["about:width"].tolist() == rows["OriginalImage[Width"].tolist()
