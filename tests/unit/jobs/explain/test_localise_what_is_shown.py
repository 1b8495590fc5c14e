"""Checks a cell's maps and boxes from outside: whose they are, of which class, in which order, and how far they meet."""

from __future__ import annotations

import copy
import dataclasses
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file

from refers_bench import plugins
from refers_bench.data.index import digest
from refers_bench.errors import DataError
from refers_bench.jobs import finetune
from refers_bench.jobs.explain import attend, localise
from refers_bench.nets import attention_maps
from refers_bench.store import schemas
from refers_bench.store.context import JobContext
from refers_bench.store.results import ResultStore
from results_folder import record_again

#: image, class, left, top, width, height; one of validation, one of another class, and two of one image and class.
BOXES = [
    ("test03.0", "Nodule", 0.5, 0.5, 0.25, 0.5), ("test01.1", "Effusion", 0.0, 0.0, 0.5, 0.25),
    ("test01.1", "Nodule", 0.25, 0.25, 0.5, 0.5), ("val01.0", "Effusion", 0.0, 0.0, 1.0, 1.0),
    ("test01.0", "Effusion", 0.0, 0.5, 0.25, 0.25), ("test01.0", "Effusion", 0.5, 0.0, 0.25, 0.25),
    ("test01.0", "Pneumothorax", 0.0, 0.0, 1.0, 1.0),
]  # fmt: skip
PAIRS = [("test01.0", "Effusion"), ("test01.1", "Effusion"), ("test01.1", "Nodule"), ("test03.0", "Nodule")]


@dataclass(frozen=True)
class Explained:
    """What the jobs left, and what they were given."""

    images: Any
    context: JobContext
    cell: dict[str, Any]
    attend: dict[str, Any]
    localise: dict[str, Any]

    def folder(self, key: str) -> Path:
        return ResultStore(self.context.results).folder(key)

    def facts(self, key: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder(key) / "run.json").read_text())["facts"]
        return found


def job(key: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"key": key, "kind": spec["kind"], "name": key, "needs": [], "spec": spec}


@pytest.fixture(scope="module")
def explained(
    images: Any, finetuning: Callable[..., dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Explained:
    """A cell with dropout, its maps, and the boxes around half of each map's range."""
    folder = tmp_path_factory.mktemp("explained")
    context, root = images.context(folder), folder / "boxes"
    root.mkdir()
    columns = ["image_id", "class", "left", "top", "width", "height"]
    pd.DataFrame(BOXES, columns=columns).to_csv(root / "boxes.csv", index=False)
    context = JobContext(results=context.results, cache=context.cache, roots={"phantom": str(root)})
    cell = finetuning({"steps": 4, "validate_every": 2})
    cell["network"]["dropout"] = 0.5
    dataset = plugins.load("dataset", "phantom")
    attending = {
        "kind": "attend", "cell": "cell", "spec": cell, "boxes": digest(dataset.boxes(root, dataset.Params())),
        "data": {"dataset": "phantom", "params": {}, "phantom": None},
    }  # fmt: skip
    localising = {
        "kind": "localise", "attend": "maps", "maps": ["rollout", "class"], "threshold": 0.5, "images": 3,
        "prepare": "prepare",
    }  # fmt: skip
    finetune.run(job("cell", cell), context)
    attend.run(job("maps", attending), context)
    localise.run(job("boxes", localising), context)
    return Explained(images, context, cell, attending, localising)


def test_maps_are_those_of_their_image_and_class_by_the_cell_s_own_weights(explained: Explained) -> None:
    maps = load_file(explained.folder("maps") / "maps.safetensors")
    fitted = finetune.fit("cell", explained.cell, explained.context, work=explained.context.results / "again")
    network = copy.deepcopy(fitted.classifier).eval()
    index = explained.images.index["image_id"].tolist()

    def seen(name: str) -> torch.Tensor:
        grey = explained.images.pixels[index.index(name)] / 255
        return torch.tensor((grey - 0.5) / 0.25, dtype=torch.float32)[None, None]

    expected = {
        "class": [
            attention_maps.class_activation(network, seen(name), torch.tensor([["Effusion", "Nodule"].index(label)]))
            for name, label in PAIRS
        ],
        "rollout": [attention_maps.rollout(network, seen(name)) for name in ("test01.0", "test01.1", "test03.0")],
    }
    assert set(maps) == {"class", "rollout"}
    for kind, found in expected.items():
        np.testing.assert_allclose(maps[kind], torch.cat(found).numpy(), rtol=1e-4, atol=1e-7)
        assert len(np.unique(maps[kind].round(7), axis=0)) == len(found), "no two of them are alike"
    annotated = pd.read_parquet(explained.folder("maps") / "annotated.parquet")
    rows = sorted(row for row in BOXES if row[0].startswith("test") and row[1] != "Pneumothorax")
    found_rows = annotated[["image_id", "class", "left", "top", "width", "height"]].itertuples(index=False)
    assert [tuple(row) for row in found_rows] == rows
    facts = explained.facts("maps")
    expected_facts = {
        "annotated_images": {"test": 3, "val": 1}, "images": 3, "boxes": 5, "pairs": 4, "grid": [2, 2], "side": 16,
        "window": [0.0, 0.0, 1.0, 1.0], "predictions": "equal to the stored ones", "steps": 4,
    }  # fmt: skip
    assert {name: facts[name] for name in expected_facts} == expected_facts


def test_boxes_are_drawn_on_each_map_and_compared_with_their_own_annotations(explained: Explained) -> None:
    """Maps of 2 x 2 cells: boxes and overlaps by counting pixels of the enlarged and cut map."""
    from scipy import ndimage

    maps = load_file(explained.folder("maps") / "maps.safetensors")
    overlaps = pd.read_parquet(explained.folder("boxes") / "overlaps.parquet")
    predicted = pd.read_parquet(explained.folder("boxes") / "predicted.parquet")
    order = [(kind, *pair) for kind in ("rollout", "class") for pair in PAIRS]
    assert list(overlaps[["map", "image_id", "class"]].itertuples(index=False, name=None)) == order
    assert overlaps["patient_id"].tolist() == [f"p.{name[:6]}" for _, name, _ in order]
    row_of = {"test01.0": 0, "test01.1": 1, "test03.0": 2}
    for row in overlaps.itertuples():
        _, kind, name, _, label = row[:5]
        one = maps[kind][row_of[name] if kind == "rollout" else PAIRS.index((name, label))].astype(float)
        boxes = [box[2:] for box in BOXES if box[:2] == (name, label)]
        own = predicted[(predicted["map"] == kind) & (predicted["image_id"] == name) & (predicted["class"] == label)]
        assert (row.n_annotated, row.n_predicted) == (len(boxes), len(own))
        if one.max() <= one.min():
            assert own.empty and row.iou == 0
            continue
        fine = ndimage.zoom(one, 8, order=1, mode="nearest", grid_mode=True)
        parts, count = ndimage.label((fine - fine.min()) / (fine.max() - fine.min()) >= 0.5)
        drawn = np.zeros((16, 16), bool)
        for place in ndimage.find_objects(parts):
            drawn[place] = True
        truth = np.zeros((16, 16), bool)
        for left, top, width, height in boxes:
            truth[int(top * 16) : int((top + height) * 16), int(left * 16) : int((left + width) * 16)] = True
        assert count == len(own)
        assert row.iou == pytest.approx((drawn & truth).sum() / (drawn | truth).sum())
    assert overlaps["n_predicted"].sum() > 0 and overlaps["iou"].nunique() > 2


def test_shown_radiographs_have_their_own_pixels_and_maps(explained: Explained) -> None:
    shown = explained.facts("boxes")["shown"]
    tensors = load_file(explained.folder("boxes") / "shown.safetensors")
    maps = load_file(explained.folder("maps") / "maps.safetensors")
    index = explained.images.index["image_id"].tolist()
    assert len(shown) == 3 and {one["class"] for one in shown} == {"Effusion", "Nodule"}
    assert explained.facts("boxes")["threshold"] == 0.5
    for place, one in enumerate(shown):
        assert np.array_equal(tensors["pixels"][place], explained.images.pixels[index.index(one["image_id"])])
        assert np.array_equal(tensors["class"][place], maps["class"][PAIRS.index((one["image_id"], one["class"]))])
        rolled = ["test01.0", "test01.1", "test03.0"].index(one["image_id"])
        assert np.array_equal(tensors["rollout"][place], maps["rollout"][rolled])


def test_what_is_not_there_is_refused(explained: Explained, tmp_path: Path) -> None:
    results = tmp_path / "results"
    shutil.copytree(explained.context.results, results)
    explained = dataclasses.replace(explained, context=dataclasses.replace(explained.context, results=results))
    with pytest.raises(DataError, match="no maps here; allowed: an explained cell"):
        localise.run(job("x", {**explained.localise, "attend": "none"}), explained.context)
    with pytest.raises(DataError, match="no map of the kind heat; allowed: class, rollout"):
        localise.run(job("x", {**explained.localise, "maps": ["heat"]}), explained.context)
    with pytest.raises(DataError, match="cell none has no result; allowed: a finished cell"):
        attend.run(job("x", {**explained.attend, "cell": "none"}), explained.context)
    localise.run(job("y", {**explained.localise, "maps": ["class"], "images": 0}), explained.context)
    assert not (explained.folder("y") / "shown.safetensors").exists() and explained.facts("y")["shown"] == []
    assert set(pd.read_parquet(explained.folder("y") / "overlaps.parquet")["map"]) == {"class"}
    path = explained.folder("cell") / "predictions.parquet"
    rows = schemas.read(path, "predictions")
    rows.loc[0, "logit"] += 1
    schemas.write(path, rows, "predictions")
    with pytest.raises(DataError, match="changed since it was written"):
        attend.run(job("z", explained.attend), explained.context)
    record_again(path.parent)
    with pytest.raises(DataError, match="does not give its stored predictions: logits differ by up to 1"):
        attend.run(job("z", explained.attend), explained.context)
