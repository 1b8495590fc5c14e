"""Gives a probe what it trains on: a few prepared images, or random pixels and texts of the shape that a job sees."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from refers_bench import plugins
from refers_bench.data.index import rows_of_task, with_task
from refers_bench.data.prepare import PreparedImages, write_store
from refers_bench.jobs.pretrain import usable_rows
from refers_bench.jobs.setup import load_method
from refers_bench.plan.forecast.cost_model import batch_size
from refers_bench.store.plan import reader_of, source_parts, source_task

#: Crops that a probe of a pre-training on visual words draws from, by split.
CROPS: Mapping[str, int] = {"train": 1024, "val": 128}
#: Letters of random words.
LETTERS = np.array(list("abcdefghijklmnopqrstuvwxyz"))


def sampled(prepared: Path, folder: Path, *, spec: Mapping[str, Any], sample: Mapping[str, int]) -> None:
    """A small prepared store from a large one: whole studies that the job can use, of each split.

    Args:
        prepared: the store.
        folder: where the small one appears.
        spec: of the job.
        sample: split -> images.
    """
    images = PreparedImages.open(prepared)
    index = images.index.assign(place=np.arange(len(images.index)))
    if spec["kind"] == "finetune":
        index = rows_of_task(with_task(index, reader_of(spec), spec["task"]), spec["task"])
    else:
        needs = plugins.load("method", spec["method"]).needs if spec["kind"] == "pretrain" else frozenset()
        index, _ = usable_rows(index, needs=needs, task=source_task(spec))
    rng = np.random.default_rng(0)
    parts = []
    for split, count in sample.items():
        rows = index[index["split"] == split]
        studies = rows["study_id"].unique()
        rank = pd.Series(rng.permutation(len(studies)), index=studies)
        parts.append(rows.iloc[np.argsort(rank[rows["study_id"]].to_numpy(), kind="stable")][:count])
    chosen = pd.concat(parts).sort_values("place")
    _write(folder, np.ascontiguousarray(images.images_NHW[chosen["place"].to_numpy()]), chosen.drop(columns="place"))


def synthetic(folder: Path, *, spec: Mapping[str, Any], sample: Mapping[str, int]) -> None:
    """A prepared store of random pixels, reports as long as the job cuts them, and random labels.

    Args:
        folder: where it appears.
        spec: of the job.
        sample: split -> images.
    """
    rng = np.random.default_rng(0)
    # A batch larger than the sample would draw the same images twice; that costs the same, yet let it be rare.
    counts = {**sample, "train": max(sample["train"], 2 * batch_size(spec))}
    if spec["kind"] != "finetune":
        counts["test"] = 0
    total = sum(counts.values())
    views = magnification = 1
    if spec["kind"] == "pretrain":
        method, params = load_method(spec)
        views, magnification = method.views(params), method.magnification(params)
    split = np.repeat(list(counts), list(counts.values()))
    starts = np.repeat(np.cumsum([0, *counts.values()])[:-1], list(counts.values()))
    # Studies are of one split.
    study = [f"{name}{(i - start) // views}" for i, (name, start) in enumerate(zip(split, starts, strict=True))]
    columns = {
        "image_id": [f"i{i:06d}" for i in range(total)],
        "path": [f"{i}.png" for i in range(total)],
        "patient_id": study,
        "study_id": study,
        "view": "PA",
        "split": split,
        "report": _reports(spec, study, rng),
    }
    index = pd.DataFrame(columns)
    for column in _label_columns(spec):
        index[column] = pd.array(rng.integers(0, 2, total), dtype="Int8")
    # A discovery resizes whatever is prepared; its specification does not say to what.
    found = spec["kind"] == "discover"
    size = int(2 * spec["discovery"]["feature_size"] if found else magnification * spec["image"]["prepared_size"])
    _write(folder, rng.integers(0, 256, (total, size, size), dtype=np.uint8), index)


def words(index: pd.DataFrame, *, spec: Mapping[str, Any]) -> pd.DataFrame:
    """Random crops of visual words over a small source.

    Args:
        index: of the source.
        spec: of a pre-training on visual words.
    """
    rng, parts = np.random.default_rng(0), []
    method, params = load_method(spec)
    settings = method.discovery(params) if method.discovery else {}
    side, classes = float(settings["side"]), int(settings["words"])
    for split, count in CROPS.items():
        places = np.flatnonzero((index["split"] == split).to_numpy())
        if not len(places):
            continue
        chosen = rng.choice(places, count)
        columns = {
            "word": rng.integers(0, classes, count),
            "place": chosen.astype(np.int64),
            "patient_id": index["patient_id"].to_numpy()[chosen].astype(str),
            "split": split,
            "top": rng.uniform(0, 1 - side, count),
            "left": rng.uniform(0, 1 - side, count),
            "side": side,
        }
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def _reports(spec: Mapping[str, Any], studies: list[str], rng: np.random.Generator) -> list[str] | None:
    """One text a study of as many random words as the job keeps tokens; None where it reads none."""
    if spec["kind"] != "pretrain" or not all(part["has_reports"] for part in source_parts(spec)):
        return None
    section = spec["pretrain"]
    vocabulary = ["".join(word) for word in LETTERS[rng.integers(0, 26, (section["vocabulary"], 6))]]
    texts = {study: " ".join(rng.choice(vocabulary, section["text_tokens"])) for study in dict.fromkeys(studies)}
    return [texts[study] for study in studies]


def _label_columns(spec: Mapping[str, Any]) -> list[str]:
    if spec["kind"] == "finetune":
        return [f"{spec['task']}:{name}" for name in spec["classes"]]
    task = source_task(spec)
    if not task:
        return []
    (part,) = source_parts(spec)
    return [
        f"{task}:{name}" for name in part.get("classes") or plugins.load("dataset", reader_of(part)).tasks[task].classes
    ]


def _write(folder: Path, pixels_NHW: npt.NDArray[np.uint8], index: pd.DataFrame) -> None:
    folder.mkdir(parents=True)
    write_store(folder, [pixels_NHW], index, size=pixels_NHW.shape[1])
