"""What do the jobs that explain a cell refuse, and what do they keep?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from refers_bench import plugins
from refers_bench.data.augment import Augment
from refers_bench.data.index import digest
from refers_bench.data.phantoms.radiographs import PhantomParams
from refers_bench.data.prepare import PreparedImages
from refers_bench.errors import DataError
from refers_bench.jobs.explain import attend, localise
from refers_bench.store import schemas
from refers_bench.store.context import JobContext

STORED = {
    "provenance": {"device": "cpu", "threads": 3, "packages": {"torch": "2.0"}, "hardware": {"cpu": "some processor"}},
    "facts": {"accumulation": {"parts": 2}},
}  # fmt: skip


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("phantoms") / "collection"
    root.mkdir()
    plugins.load("dataset", "phantom").write_layout(root, PhantomParams(studies=40, size=32, views=2))
    return root


def spec_of(root: Path, classes: tuple[str, ...], **data: Any) -> dict[str, Any]:
    dataset = plugins.load("dataset", "phantom")
    return {
        "spec": {"task": "findings", "classes": list(classes)},
        "data": {"dataset": "phantom", "params": {}, "phantom": None, **data},
        "boxes": digest(dataset.boxes(root, dataset.Params())),
    }


def test_annotated_boxes_of_the_test_split_alone(collection: Path, tmp_path: Path) -> None:
    dataset = plugins.load("dataset", "phantom")
    rows, boxes = dataset.index(collection, dataset.Params(), {}), dataset.boxes(collection, dataset.Params())
    context = JobContext(results=tmp_path, cache=tmp_path, roots={"phantom": str(collection)})
    classes = ("Effusion", "Nodule")
    annotated, counts = attend.annotated_boxes(rows, spec_of(collection, classes), context)
    split = rows.set_index("image_id")["split"]
    expected = boxes[boxes["class"].isin(classes) & (boxes["image_id"].map(split) == "test")]
    assert len(annotated) == len(expected) == counts["boxes"] > 0
    assert set(annotated["image_id"]) == set(expected["image_id"])
    assert list(annotated.columns) == schemas.SCHEMAS["annotated"].names
    every = boxes[boxes["class"].isin(classes)]["image_id"].map(split)
    assert counts["annotated_images"] == {
        name: boxes[boxes["class"].isin(classes) & (boxes["image_id"].map(split) == name)]["image_id"].nunique()
        for name in sorted(every.unique())
    }


def test_no_box_and_other_boxes_are_refused(collection: Path, tmp_path: Path) -> None:
    dataset = plugins.load("dataset", "phantom")
    rows = dataset.index(collection, dataset.Params(), {})
    context = JobContext(results=tmp_path, cache=tmp_path, roots={"phantom": str(collection)})
    spec = spec_of(collection, ("Effusion",))
    with pytest.raises(DataError, match=r"no test image of task 'findings' has .* split: \d+ in train"):
        attend.annotated_boxes(rows[rows["split"] != "test"], spec, context)
    with pytest.raises(DataError, match="annotated boxes changed since planning"):
        attend.annotated_boxes(rows, {**spec, "boxes": "other"}, context)


def frame(**logits: float) -> pd.DataFrame:
    rows = [("a", "p", "Mass", 1, 0.5, "test"), ("b", "q", "Mass", 0, -0.25, "val")]
    found = pd.DataFrame(rows, columns=["image_id", "patient_id", "class", "label", "logit", "split"])
    found["logit"] = [np.float32(logits.get(name, value)) for name, value in zip("ab", (0.5, -0.25), strict=True)]
    return found.astype({"logit": "float32", "label": "Int8"})


def test_predictions_must_be_equal_to_the_last_bit(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    schemas.write(path, frame(), "predictions")
    attend.check_predictions(frame(), path, STORED)
    moved = frame(b=float(np.nextafter(np.float32(-0.25), np.float32(0))))
    with pytest.raises(DataError, match=r"logits differ by up to 1.*some processor, torch 2\.0"):
        attend.check_predictions(moved, path, STORED)
    with pytest.raises(DataError, match="predicts other images or classes"):
        attend.check_predictions(frame().assign(image_id=["a", "c"]), path, STORED)
    with pytest.raises(DataError, match="predicts other images or classes"):
        attend.check_predictions(frame().head(1), path, STORED)


def test_the_circumstances_of_the_stored_run(tmp_path: Path) -> None:
    here = JobContext(results=tmp_path, cache=tmp_path, threads=1)
    then = attend.as_before(here, STORED)
    assert (then.threads, then.accumulate, then.device) == (3, 2, "cpu")
    assert attend.as_before(here, {"provenance": {}, "facts": {}}) == here
    with pytest.raises(DataError, match="the cell was trained on cuda, this job runs on cpu"):
        attend.as_before(here, {"provenance": {"device": "cuda:0"}, "facts": {}})
    with pytest.raises(DataError, match=r"in portable arithmetic, this job computes in native .*: portable"):
        attend.as_before(here, {"provenance": {"arithmetic": "portable"}, "facts": {}})


@pytest.mark.parametrize(("crop", "window"), [("random", (1 / 9, 1 / 9, 7 / 9, 7 / 9)), ("resized", (0, 0, 1, 1))])
def test_the_window_is_what_the_network_sees(crop: str, window: tuple[float, ...]) -> None:
    augment = Augment(size=28, channels=1, mean=(0.0,), std=(1.0,), crop=crop)
    found = augment.window(36)
    assert found == pytest.approx(window)
    # A mark at the window's top left corner arrives at the corner of what the network sees.
    pixels = torch.zeros(1, 36, 36, dtype=torch.uint8)
    corner = round(found[0] * 36)
    pixels[0, corner : corner + 2, corner : corner + 2] = 255
    seen = augment.evaluation(pixels)[0, 0]
    assert seen[0, 0] > 0.5 and seen[4:, 4:].max() == 0


def annotated() -> pd.DataFrame:
    rows = [
        ("a", "p", "Mass", "R1", 0.4, 0.4, 0.2, 0.2), ("a", "p", "Mass", "R2", 0.4, 0.4, 0.2, 0.2),
        ("a", "p", "Nodule", "", 0.0, 0.0, 0.1, 0.1), ("b", "q", "Mass", "", 0.0, 0.0, 0.4, 0.4),
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=schemas.SCHEMAS["annotated"].names)


def test_overlaps_stand_beside_a_centred_box_of_the_class_s_mean_size() -> None:
    boxes = localise.boxes_of(annotated())
    pairs = localise.pairs_of(annotated())
    found = {"class": [[(0.4, 0.4, 0.2, 0.2)], [], [(0.0, 0.0, 0.4, 0.2), (0.6, 0.6, 0.2, 0.2)]]}
    rows = localise.overlap_rows(pairs, found, boxes).set_index(["image_id", "class"])
    assert rows["n_annotated"].to_dict() == {("a", "Mass"): 2, ("a", "Nodule"): 1, ("b", "Mass"): 1}
    assert rows["iou"].tolist() == pytest.approx([1.0, 0.0, 0.08 / 0.2])
    # Mean of 0.2, 0.2 and 0.4 is the side; the box runs from 0.5 - 0.4 / 3 to 0.5 + 0.4 / 3.
    side = 0.8 / 3
    meets = 0.4 - (0.5 - side / 2)
    centred = [0.04 / side**2, 0.0, meets**2 / (0.16 + side**2 - meets**2)]
    assert rows["centred_iou"].tolist() == pytest.approx(centred)
    assert len(localise.predicted_rows(pairs, found)) == 3
    empty = localise.predicted_rows(pairs, {"class": [[], [], []]})
    assert list(empty.columns) == schemas.SCHEMAS["predicted"].names and empty["left"].dtype == float


def test_a_rollout_is_the_same_for_all_classes_of_an_image() -> None:
    pairs = localise.pairs_of(annotated())
    maps = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    assert localise.of_pairs(maps, pairs, "rollout")[:, 0, 0].tolist() == [0, 0, 4]
    three = np.zeros((3, 2, 2), np.float32)
    assert localise.of_pairs(three, pairs, "class") is three


def test_shown_radiographs_are_drawn_by_class_and_never_by_result() -> None:
    rows = [(f"i{i:02d}", f"p{i}", ("Mass", "Nodule", "Effusion")[i % 3]) for i in range(30)]
    pairs = pd.DataFrame(rows, columns=["image_id", "patient_id", "class"])
    found = localise.chosen(pairs, 6)
    assert pairs["class"].iloc[found].tolist() == ["Effusion", "Mass", "Nodule"] * 2
    assert localise.chosen(pairs, 3) == found[:3], "more radiographs begin with the same ones"
    backwards = pairs.iloc[::-1].reset_index(drop=True)
    names = backwards["image_id"].iloc[localise.chosen(backwards, 6)].tolist()
    assert names == pairs["image_id"].iloc[found].tolist()
    assert localise.chosen(pairs, 0) == [] and len(localise.chosen(pairs.head(2), 6)) == 2


def test_large_radiographs_are_made_smaller() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 192, 192), np.uint8)
    images = PreparedImages(images_NHW=pixels, index=pd.DataFrame({"image_id": ["x", "y", "z"]}), meta={})
    small = localise.thumbnails(images, pd.Series(["z", "x"]))
    assert small.shape == (2, 96, 96) and small.dtype == np.uint8
    means = pixels[[2, 0]].reshape(2, 96, 2, 96, 2).mean(axis=(2, 4))
    assert np.abs(small.astype(float) - means).max() <= 1


def test_boxes_that_are_no_squares_keep_their_place_and_shape() -> None:
    rows = [
        ("a", "p", "Mass", "R1", 0.1, 0.5, 0.4, 0.2),
        ("a", "p", "Mass", "R2", 0.1, 0.5, 0.4, 0.1),
        ("b", "q", "Mass", "", 0.6, 0.0, 0.1, 0.9),
    ]
    frame = pd.DataFrame(rows, columns=schemas.SCHEMAS["annotated"].names)
    boxes = localise.boxes_of(frame)
    assert boxes == {("a", "Mass"): [(0.1, 0.5, 0.4, 0.2), (0.1, 0.5, 0.4, 0.1)], ("b", "Mass"): [(0.6, 0.0, 0.1, 0.9)]}
    pairs = localise.pairs_of(frame)
    found = {"class": [[(0.1, 0.5, 0.2, 0.2), (0.7, 0.0, 0.1, 0.2)], [(0.6, 0.0, 0.1, 0.3)]]}
    drawn = localise.predicted_rows(pairs, found)
    assert drawn.to_numpy().tolist() == [
        ["class", "a", "Mass", 0.1, 0.5, 0.2, 0.2],
        ["class", "a", "Mass", 0.7, 0.0, 0.1, 0.2],
        ["class", "b", "Mass", 0.6, 0.0, 0.1, 0.3],
    ]
    overlaps = localise.overlap_rows(pairs, found, boxes)
    assert overlaps[["map", "image_id", "patient_id", "class", "n_annotated", "n_predicted"]].to_numpy().tolist() == [
        ["class", "a", "p", "Mass", 2, 2],
        ["class", "b", "q", "Mass", 1, 1],
    ]
    # a: 0.04 of 0.08 + 0.02; b: a third of the annotated box.
    assert overlaps["iou"].tolist() == pytest.approx([0.04 / 0.10, 1 / 3])
    # The centred box: 0.3 wide and 0.4 high on average, from 0.35 to 0.65 and from 0.3 to 0.7.
    meets = [0.15 * 0.2, 0.05 * 0.4]
    unions = [0.12 + 0.08 - meets[0], 0.12 + 0.09 - meets[1]]
    assert overlaps["centred_iou"].tolist() == pytest.approx(
        [meet / union for meet, union in zip(meets, unions, strict=True)]
    )
