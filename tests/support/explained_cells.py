"""A finished explanation of a cell, written as the jobs would write it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.numpy import save_file

from refers_bench.store import schemas
from refers_bench.store.explanations import Explained, add

NAMES = ("Mass", "Nodule <b>")


def explain(
    folder: Any, cell: str, *, name: str, iou: dict[str, list[float]], images: int = 2, side: int = 16, asked: str = ""
) -> None:
    """A finished explanation of a cell: image i is of patient i // 2, its class alternates.

    A kind of map that was asked for may be one that the network does not have.
    """
    store: Path = folder.results / "store"
    attend, localise = store / f"a-{cell}", store / f"l-{cell}"
    attend.mkdir(), localise.mkdir()
    count = len(next(iter(iou.values())))
    rows = [(f"i{i}", f"p{i // 2}", NAMES[i % 2]) for i in range(count)]
    box = {"left": 0.1, "top": 0.5, "width": 0.3, "height": 0.2}
    other = {"left": 0.55, "top": 0.0, "width": 0.1, "height": 0.7}
    annotated = [
        {"image_id": image, "patient_id": patient, "class": c, "reader": "", **box} for image, patient, c in rows
    ]
    schemas.write(attend / "annotated.parquet", pd.DataFrame(annotated), "annotated")
    predicted = [{"map": kind, "image_id": image, "class": c, **other} for kind in iou for image, _, c in rows]
    schemas.write(localise / "predicted.parquet", pd.DataFrame(predicted), "predicted")
    overlaps = [
        {
            "map": kind, "image_id": image, "patient_id": patient, "class": c, "n_annotated": 1, "n_predicted": 3,
            "iou": values[i], "centred_iou": 0.1,
        }
        for kind, values in iou.items()
        for i, (image, patient, c) in enumerate(rows)
    ]  # fmt: skip
    schemas.write(localise / "overlaps.parquet", pd.DataFrame(overlaps), "overlaps")
    rng = np.random.default_rng(0)
    tensors = {"pixels": rng.integers(0, 256, (images, side, side), np.uint8)}
    tensors |= {kind: rng.random((images, 14, 14), np.float32) for kind in iou}
    save_file(tensors, localise / "shown.safetensors")
    facts = {
        "annotated_images": {"test": count, "train": 7}, "maps": dict.fromkeys(iou, "made so"), "window": [0.1, 0.2, 0.8, 0.6],
        "shown": [{"image_id": image, "class": c} for image, _, c in (rows * images)[:images]],
    }  # fmt: skip
    for place, found in ((attend, {}), (localise, facts)):
        (place / "run.json").write_text(json.dumps({"key": place.name, "facts": found}))
    maps = (*iou, *([asked] if asked else []))
    explained = Explained(
        cell=cell, name=name, attend=attend.name, localise=localise.name, maps=maps, threshold=0.3, images=images
    )
    add(folder.results, folder.name, [explained])
