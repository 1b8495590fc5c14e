"""The reader understands TBX11K's folders and lists; tuberculosis, its activity and other disease are tasks."""

from __future__ import annotations

import copy as copies
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from refers_bench.data.phantoms.radiographs import PhantomParams
from refers_bench.datasets.tbx11k import DATASET, TRAIN, VAL, Params, boxes, index
from refers_bench.errors import DataError

PHANTOM = PhantomParams(studies=48, size=32, views=1, seed=4)
CATEGORIES = [
    {"id": number, "name": name, "supercategory": "Tuberculosis"}
    for number, name in enumerate(("ActiveTuberculosis", "ObsoletePulmonaryTuberculosis", "PulmonaryTuberculosis"), 1)
]
#: List -> image -> (category, box) of each of its boxes.
LISTS: dict[str, dict[str, list[tuple[int, list[float]]]]] = {
    TRAIN: {
        "health/h0001.png": [],
        "sick/s0003.png": [],
        "tb/tb0005.png": [(1, [256, 64, 128, 32])],
        "tb/tb1199.png": [],
        "health/h0002.png": [],
    },
    VAL: {
        "health/h0004.png": [],
        "sick/s0001.png": [],
        "tb/tb0003.png": [(2, [0, 0, 512, 256]), (1, [16, 16, 16, 16]), (1, [32, 32, 16, 16])],
        "tb/tb0009.png": [(2, [51.2, 0, 51.2, 51.2])],
    },
}


def listed(name: str) -> dict[str, Any]:
    """A list in the COCO format, images of 512 x 512; ids begin anew in each list."""
    images, annotations = [], []
    for number, (file, found) in enumerate(LISTS[name].items(), start=1):
        images.append({"id": number, "file_name": file, "width": 512, "height": 512})
        annotations += [{"image_id": number, "category_id": kind, "bbox": box, "iscrowd": 0} for kind, box in found]
    return {"images": images, "annotations": annotations, "categories": CATEGORIES}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / TRAIN).parent.mkdir(parents=True)
    for name, images in LISTS.items():
        (tmp_path / name).write_text(json.dumps(listed(name)))
        for file in images:
            (tmp_path / "imgs" / file).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 40), (len(file),) * 3).save(tmp_path / "imgs" / file)
    # Other collections, and test images without labels.
    for file in ("extra/shenzhen/CHNCXR_0001_0.png", "extra/tb0005.png", "test/t0001.png"):
        (tmp_path / "imgs" / file).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40)).save(tmp_path / "imgs" / file)
    return tmp_path


def column(frame: pd.DataFrame, name: str) -> dict[str, int | None]:
    return {image: None if pd.isna(value) else int(value) for image, value in frame[name].items()}  # type: ignore[misc]


def test_the_official_layout(root: Path) -> None:
    frame = index(root, Params(val_share=0.2), {}).set_index("image_id")
    assert set(frame.index) == {"h0001", "h0002", "h0004", "s0001", "s0003", "tb0003", "tb0005", "tb0009", "tb1199"}
    tested = {"h0004", "s0001", "tb0003", "tb0009"}
    assert set(frame.index[frame["split"] == "test"]) == tested, "the official test images have no labels"
    assert frame["split"].value_counts().to_dict() == {"train": 4, "test": 4, "val": 1}
    assert not frame["path"].str.contains("extra|test/").any(), "Shenzhen and Montgomery are not read"
    assert frame.loc["tb0005", "path"] == "imgs/tb/tb0005.png"


def test_labels_of_the_three_tasks(root: Path) -> None:
    frame = index(root, Params(), {}).set_index("image_id")
    ill = {"tb0003", "tb0005", "tb0009", "tb1199"}
    assert {image for image, value in column(frame, "tuberculosis:Tuberculosis").items() if value} == ill
    kinds = frame[[name for name in frame.columns if name.startswith("three_classes:")]]
    assert (kinds.sum(axis=1) == 1).all()
    assert set(kinds.index[kinds["three_classes:Sick, no tuberculosis"] == 1]) == {"s0001", "s0003"}
    active, latent = (column(frame, f"activity:{name} tuberculosis") for name in ("Active", "Latent"))
    both = {image: (active[image], latent[image]) for image in sorted(ill)}
    assert both == {"tb0003": (1, 1), "tb0005": (1, 0), "tb0009": (0, 1), "tb1199": (None, None)}
    assert (active["h0001"], latent["s0003"]) == (0, 0)


def test_tuberculosis_without_a_box_may_be_left_out(root: Path) -> None:
    frame = index(root, Params(unannotated="leave_out"), {})
    assert len(frame) == 8 and "tb1199" not in set(frame["image_id"])
    assert DATASET.expected_of(Params()) == {"images": 8_400, "test images": 1_800}
    assert DATASET.expected_of(Params(unannotated="leave_out"))["images"] == 8_399, "as BenchX's lists"


def test_the_documented_counts_are_sums_of_the_parts() -> None:
    """Healthy, sick, active, latent (one of them unannotated) and both, of train and val."""
    train, val = (3_000, 3_000, 473, 104, 23), (800, 800, 157, 36, 7)
    assert (sum(train), sum(val)) == (6_600, 1_800) and train[4] + val[4] == 30
    assert sum(train) + sum(val) == DATASET.expected_of(Params())["images"]


def test_boxes_are_shares_of_the_listed_size(root: Path) -> None:
    """Not of the pixels on disk, which may be a smaller copy."""
    rows = [list(row) for row in boxes(root, Params()).itertuples(index=False)]
    assert rows == [
        ["tb0003", "Active tuberculosis", "", 16 / 512, 16 / 512, 16 / 512, 16 / 512],
        ["tb0003", "Active tuberculosis", "", 32 / 512, 32 / 512, 16 / 512, 16 / 512],
        ["tb0003", "Latent tuberculosis", "", 0, 0, 1, 0.5],
        ["tb0005", "Active tuberculosis", "", 0.5, 0.125, 0.25, 0.0625],
        ["tb0009", "Latent tuberculosis", "", pytest.approx(0.1), 0, pytest.approx(0.1), pytest.approx(0.1)],
    ]


def test_phantoms_have_all_kinds_in_both_lists(original: Path) -> None:
    frame = index(original, Params(), {})
    for _, rows in frame.groupby(frame["split"] == "test"):
        labels = rows[[name for name in frame.columns if ":" in name]]
        assert (labels.sum() > 0).all() and (labels.sum() < len(rows)).all()
    found = boxes(original, Params())
    assert set(found["image_id"]) == set(frame.loc[frame["tuberculosis:Tuberculosis"] == 1, "image_id"])


def edit(change: Callable[[dict[str, Any]], object], name: str = TRAIN) -> Callable[[Path], None]:
    def breaker(root: Path) -> None:
        content = copies.deepcopy(json.loads((root / name).read_text()))
        change(content)
        (root / name).write_text(json.dumps(content))

    return breaker


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "no list": (lambda root: (root / VAL).unlink(), r"TBX11K_val\.json: missing list"),
    "no JSON": (lambda root: (root / VAL).write_text('{"images": [\n  {"id" 1}]}'), r"TBX11K_val\.json:2:9: no JSON"),
    "not text": (lambda root: (root / VAL).write_bytes(b"\xff\xfe{}"), r"TBX11K_val\.json: no JSON"),
    "no categories": (edit(lambda all_: all_.pop("categories")), r"TBX11K_train\.json: categories: Field required"),
    "a box of two numbers": (
        edit(lambda all_: all_["annotations"][0].update(bbox=[1, 2])),
        r"TBX11K_train\.json: annotations\.0\.bbox\.2: Field required; allowed: images, annotations and categories",
    ),
    "no size": (edit(lambda all_: all_["images"][0].update(width=0)), r"images\.0\.width: .*greater than 0"),
    "a category": (
        edit(lambda all_: all_["categories"].append({"id": 4, "name": "ActiveTuberculoses"})),
        r"TBX11K_train\.json: unknown category 'ActiveTuberculoses'.*did you mean 'ActiveTuberculosis'",
    ),
    "a box of the empty category": (
        edit(lambda all_: all_["annotations"][0].update(category_id=3)),
        r"box of category 'PulmonaryTuberculosis' in image 'tb/tb0005\.png'; allowed: Active.*, in an image of tb/",
    ),
    "a box in a healthy image": (
        edit(lambda all_: all_["annotations"][0].update(image_id=1)),
        r"box of category 'ActiveTuberculosis' in image 'health/h0001\.png'; allowed: .* in an image of tb/",
    ),
    "a box in no image": (edit(lambda all_: all_["annotations"][0].update(image_id=99)), r"an unknown image \(99\)"),
    "a name of another folder": (
        edit(lambda all_: all_["images"][0].update(file_name="health/tb0001.png")),
        r"image 'health/tb0001\.png'; allowed: health/hNNNN\.png, sick/sNNNN\.png or tb/tbNNNN\.png",
    ),
    "a way out": (
        edit(lambda all_: all_["images"][0].update(file_name="../../h0001.png")),
        r"image '\.\./\.\./h0001\.png'; allowed: health/hNNNN\.png",
    ),
    "an image twice": (
        edit(lambda all_: all_["images"].append({**all_["images"][0], "id": 77})),
        r"image 'health/h0001\.png' with id 77 is listed twice; allowed: each image and id once",
    ),
    "an image in both lists": (
        edit(lambda all_: all_["images"][0].update(file_name="health/h0001.png"), VAL),
        r"image 'h0001' is listed twice",
    ),
    "no image": (
        lambda root: (root / "imgs" / "sick" / "s0003.png").unlink(),
        r"1 of 9 images are not there \(missing=skip.*\n.*TBX11K_train\.json: image 's0003\.png' is not below",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken(what: str, root: Path) -> None:
    breaker, message = BROKEN[what]
    breaker(root)
    with pytest.raises(DataError, match=f"(?s){message}"):
        index(root, Params(), {})


def test_a_file_is_no_folder(root: Path) -> None:
    with pytest.raises(DataError, match=r"h0001\.png/annotations/json/TBX11K_train\.json: no JSON \(.*Not a directory"):
        index(root / "imgs" / "health" / "h0001.png", Params(), {})


def test_a_box_outside_its_image_is_refused(root: Path) -> None:
    edit(lambda all_: all_["annotations"][0].update(bbox=[500, 0, 100, 10]))(root)
    with pytest.raises(DataError, match=r"box of 'tb0005' at .*; allowed: left, top, width, height within the image"):
        boxes(root, Params())


def test_missing_images_may_be_left_out(root: Path) -> None:
    shutil.rmtree(root / "imgs" / "sick")
    assert len(index(root, Params(missing="skip"), {})) == 7
