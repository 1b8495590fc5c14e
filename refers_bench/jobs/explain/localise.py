"""Draws boxes around what a classifier looked at, by a threshold, and compares them with the annotated ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image
from safetensors.numpy import load_file, save_file

from refers_bench import identity
from refers_bench.analysis.localisation import SIDES, Box, centred, overlap, pairs_of, predicted
from refers_bench.data.prepare import PreparedImages
from refers_bench.errors import DataError
from refers_bench.jobs.record import Record
from refers_bench.store import schemas
from refers_bench.store.context import JobContext
from refers_bench.store.results import ResultStore

#: Longest side of a stored radiograph, in pixels: enough to recognise a chest, and a report stays small.
SHOWN_SIDE = 96


def run(job: Mapping[str, Any], context: JobContext) -> None:
    """Threshold the maps of a cell, score the boxes, keep a few radiographs to show, publish.

    Raises:
        DataError: no maps, none of a kind that was asked for, or no prepared images.
        StorageError: results cannot be written.
    """
    spec, store = job["spec"], ResultStore(context.results)
    record = Record(job, store, context)
    attended = store.record(spec["attend"])
    folder = store.folder(spec["attend"])
    if attended is None:
        raise DataError("no maps here", allowed="an explained cell", path=folder)
    facts = attended["facts"]
    maps = load_file(store.file(spec["attend"], "maps.safetensors"))
    annotated = schemas.read(store.file(spec["attend"], "annotated.parquet"), "annotated")
    pairs = pairs_of(annotated)
    by_pair = {kind: of_pairs(maps[kind], pairs, kind) for kind in spec["maps"] if kind in maps}
    if not by_pair:
        asked, there = " and ".join(spec["maps"]), ", ".join(sorted(maps))
        raise DataError(f"this network has no map of the kind {asked}", allowed=there, path=folder)
    boxes = boxes_of(annotated)
    window: Box = tuple(facts["window"])
    found = {
        kind: [predicted(one, threshold=spec["threshold"], side=facts["side"], window=window) for one in maps_P]
        for kind, maps_P in by_pair.items()
    }
    shown = chosen(pairs, spec["images"])
    listed = pairs[["image_id", "class"]].iloc[shown].to_dict("records")
    with record.published({**facts, "threshold": spec["threshold"], "shown": listed}) as stage:
        schemas.write(stage / "predicted.parquet", predicted_rows(pairs, found), "predicted")
        schemas.write(stage / "overlaps.parquet", overlap_rows(pairs, found, boxes), "overlaps")
        if shown:
            images = PreparedImages.open(context.prepared(spec["prepare"]))
            tensors = {"pixels": thumbnails(images, pairs["image_id"].iloc[shown])}
            tensors |= {kind: np.ascontiguousarray(maps_P[shown]) for kind, maps_P in by_pair.items()}
            save_file(tensors, stage / "shown.safetensors")


def of_pairs(maps: npt.NDArray[np.float32], pairs: pd.DataFrame, kind: str) -> npt.NDArray[np.float32]:
    """One map for each image and class; a rollout is the same for all classes of an image."""
    if kind == "class":
        return maps
    return np.asarray(maps[pd.factorize(pairs["image_id"])[0]])


def boxes_of(annotated: pd.DataFrame) -> dict[tuple[str, str], list[Box]]:
    """Image and class -> its annotated boxes, those of all readers."""
    found: dict[tuple[str, str], list[Box]] = {}
    columns = [annotated[name].tolist() for name in ("image_id", "class", *SIDES)]
    for image, name, left, top, width, height in zip(*columns, strict=True):
        found.setdefault((image, name), []).append((left, top, width, height))
    return found


def predicted_rows(pairs: pd.DataFrame, found: Mapping[str, Sequence[Sequence[Box]]]) -> pd.DataFrame:
    """One row a predicted box."""
    rows = [
        (kind, image, name, *box)
        for kind, of_kind in found.items()
        for (image, _, name), boxes in zip(pairs.itertuples(index=False), of_kind, strict=True)
        for box in boxes
    ]
    frame = pd.DataFrame(rows, columns=["map", "image_id", "class", *SIDES])
    return frame.astype(dict.fromkeys(SIDES, float))


def overlap_rows(
    pairs: pd.DataFrame, found: Mapping[str, Sequence[Sequence[Box]]], annotated: Mapping[tuple[str, str], list[Box]]
) -> pd.DataFrame:
    """One row a map, image and class: how far its boxes meet the annotated ones, and how far a centred box does."""
    middle = {
        name: centred([box for (_, other), boxes in annotated.items() if other == name for box in boxes])
        for name in pairs["class"].unique()
    }
    rows = []
    for kind, of_kind in found.items():
        for (image, patient, name), boxes in zip(pairs.itertuples(index=False), of_kind, strict=True):
            truth = annotated[image, name]
            overlaps = overlap(boxes, truth), overlap([middle[name]], truth)
            rows.append((kind, image, patient, name, len(truth), len(boxes), *overlaps))
    names = ["map", "image_id", "patient_id", "class", "n_annotated", "n_predicted", "iou", "centred_iou"]
    return pd.DataFrame(rows, columns=names)


def chosen(pairs: pd.DataFrame, count: int) -> list[int]:
    """Rows of the pairs that a report shows: class by class in turn, by a hash of names, never by their result."""
    named = zip(pairs["image_id"], pairs["class"], strict=True)
    drawn = [identity.seed("shown", image, name) for image, name in named]
    order = pairs.assign(drawn=drawn).sort_values(["class", "drawn"])
    turn = order.groupby("class").cumcount()
    places = order.assign(turn=turn).sort_values(["turn", "class"]).index
    return [int(place) for place in places[:count]]


def thumbnails(images: PreparedImages, names: pd.Series) -> npt.NDArray[np.uint8]:
    """Prepared radiographs, made smaller where they are large: uint8 (S, side, side)."""
    place = pd.Series(np.arange(len(images.index)), index=images.index["image_id"])
    side = min(SHOWN_SIDE, images.images_NHW.shape[1])
    pictures = (Image.fromarray(np.asarray(images.images_NHW[place[name]])) for name in names)
    return np.stack([np.asarray(one.resize((side, side), Image.Resampling.BOX)) for one in pictures])
