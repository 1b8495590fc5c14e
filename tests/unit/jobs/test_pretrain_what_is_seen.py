"""Checks from outside which radiographs, reports and labels a pre-trained encoder and its tokenizer were made from."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from refers_bench import plugins
from refers_bench.data.batches import StudyBatch
from refers_bench.data.prepare import PreparedImages
from refers_bench.jobs import pretrain
from refers_bench.jobs.reports import tokenizers
from refers_bench.store.context import JobContext
from refers_bench.store.results import ResultStore
from refers_bench.training.checkpoints import read_tensors


@dataclass(frozen=True)
class Pretrained:
    """What a pre-training left: weights, the tokenizer's bytes, (step, name) -> loss, and its record's facts."""

    weights: Mapping[str, Tensor]
    tokenizer: bytes
    losses: Mapping[tuple[int, str], float]
    facts: Mapping[str, Any]

    def same_weights(self, other: Pretrained) -> bool:
        """Whether every weight is the same bits."""
        pairs = zip(self.weights.values(), other.weights.values(), strict=True)
        return self.weights.keys() == other.weights.keys() and all(torch.equal(a, b) for a, b in pairs)

    def curves(self, split: str) -> list[tuple[tuple[int, str], float]]:
        """Losses of a split: "loss" for training, "val" for validation."""
        return [row for row in self.losses.items() if row[0][1].startswith(f"{split}/")]


@pytest.fixture
def pretrained(tmp_path: Path) -> Callable[..., Pretrained]:
    """Pre-trains a specification on prepared images: ``pretrained(images, spec)``."""
    number = itertools.count()

    def run(images: Any, spec: Mapping[str, Any], key: str = "encoder") -> Pretrained:
        context = images.context(tmp_path / str(next(number)))
        pretrain.run({"key": key, "kind": "pretrain", "name": key, "needs": [], "spec": spec}, context)
        folder = ResultStore(context.results).folder(key)
        rows = pd.read_parquet(folder / "history.parquet")
        losses = {(row.step, row.name_): row.value for row in rows.rename(columns={"name": "name_"}).itertuples()}
        text = folder / "text.json"
        return Pretrained(
            read_tensors(folder / "checkpoint.safetensors")[0], text.read_bytes() if text.is_file() else b"",
            losses, json.loads((folder / "run.json").read_text())["facts"],
        )  # fmt: skip

    return run


def reports(split: str, *, study: int | None = None) -> Callable[[np.ndarray, pd.DataFrame], None]:
    """Other words in the reports of a split, or of one of its studies."""

    def change(pixels: np.ndarray, index: pd.DataFrame) -> None:
        where = index["split"] == split if study is None else index["study_id"] == f"{split}{study:02d}"
        assert where.any()
        index.loc[where, "report"] = "quite zealous jargon " + index.loc[where, "report"].str[::-1]

    return change


def test_the_tokenizer_and_the_weights_are_made_from_the_training_reports_alone(
    images: Any, pretraining: Callable[..., dict[str, Any]], pretrained: Callable[..., Pretrained]
) -> None:
    spec = pretraining()
    plain = pretrained(images, spec)
    assert sorted(step for step, name in plain.losses if name == "val/loss") == [2, 4]
    other = pretrained(images.changed(reports("test")), spec)
    assert other.tokenizer == plain.tokenizer and other.same_weights(plain)
    assert other.curves("loss") == plain.curves("loss") and other.curves("val") == plain.curves("val")
    other = pretrained(images.changed(reports("val")), spec)
    assert other.tokenizer == plain.tokenizer and other.same_weights(plain)
    assert other.curves("loss") == plain.curves("loss")
    found = [dict(one.curves("val")) for one in (plain, other)]
    assert all(found[0][2, name] != found[1][2, name] for name in ("val/loss", "val/report_generation"))
    for study in (0, 7):  # the first and the last one of the split
        other = pretrained(images.changed(reports("train", study=study)), spec)
        assert other.tokenizer != plain.tokenizer and not other.same_weights(plain)
    pieces = json.loads(plain.tokenizer)["model"]["vocab"]
    assert len(pieces) <= spec["pretrain"]["vocabulary"] and "z" not in pieces and "e" in pieces


def test_weights_are_chosen_by_the_validation_reports(
    images: Any, pretraining: Callable[..., dict[str, Any]], pretrained: Callable[..., Pretrained]
) -> None:
    wild = {"validate_every": 1, "text_learning_rate": 1.0, "decoder_learning_rate": 1.0, "steps": 4}
    spec = pretraining(select="best_validation", **wild)
    plain, poisoned = pretrained(images, spec), pretrained(images.changed(reports("test")), spec)
    assert poisoned.same_weights(plain) and poisoned.facts["best_step"] == plain.facts["best_step"]
    values = {step: value for (step, name), value in plain.losses.items() if name == "val/loss"}
    assert list(values) == [1, 2, 3, 4]
    assert plain.facts["best_step"] == min(values, key=values.__getitem__) != 4
    last = pretrained(images, pretraining(**wild))
    assert last.facts["best_step"] is None and not last.same_weights(plain)
    assert last.curves("loss") == plain.curves("loss")


def test_radiographs_of_the_test_split_and_its_patients_are_not_seen(
    images: Any, pretraining: Callable[..., dict[str, Any]], pretrained: Callable[..., Pretrained]
) -> None:
    """A patient who has a study in the test split has none in the pre-training."""
    spec, place = pretraining(), int(images.rows("train")[0])

    def another(pixels: np.ndarray, index: pd.DataFrame) -> None:
        index.loc[place, "patient_id"] = index.loc[images.rows("test")[0], "patient_id"]

    shared = images.changed(another)
    plain = pretrained(shared, spec)
    assert plain.facts["examples"] == {"train": 7, "val": 6} and plain.facts["patients"] == {"train": 7, "val": 6}
    assert plain.facts["dropped"] == {
        "test or unused split": len(images.rows("test")), "patient in the test split": 1, "no report": 0
    }  # fmt: skip

    def unseen(pixels: np.ndarray, index: pd.DataFrame) -> None:
        where = [place, *images.rows("test")]
        pixels[where] = 255 - pixels[where]
        index.loc[where, "report"] = "quite zealous"

    other = pretrained(shared.changed(unseen), spec)
    assert other.tokenizer == plain.tokenizer and other.same_weights(plain)
    assert other.curves("loss") == plain.curves("loss") and other.curves("val") == plain.curves("val")
    # Every training study is seen, in an epoch of one batch; one of validation changes its loss alone.
    short = pretraining(steps=1, batch_size=7)
    first = pretrained(shared, short)
    for study in (1, 4, 7):

        def one(pixels: np.ndarray, index: pd.DataFrame, study: int = study) -> None:
            where = (index["study_id"] == f"train{study:02d}").to_numpy()
            pixels[where] = 255 - pixels[where]

        assert not pretrained(shared.changed(one), short).same_weights(first), study


def test_reports_without_words_are_left_out_and_labels_are_those_of_the_task(
    images: Any, pretraining: Callable[..., dict[str, Any]], pretrained: Callable[..., Pretrained]
) -> None:
    labels = ["findings:Effusion", "findings:Nodule"]
    without, unlabelled = (np.flatnonzero(images.index["study_id"] == name) for name in ("train01", "train02"))

    def change(pixels: np.ndarray, index: pd.DataFrame) -> None:
        index.loc[without, "report"] = " \n"
        index.loc[unlabelled, labels] = pd.NA

    def pixels_of(*where: np.ndarray) -> Callable[[np.ndarray, pd.DataFrame], None]:
        def change(pixels: np.ndarray, index: pd.DataFrame) -> None:
            for one in where:
                pixels[one] = 255 - pixels[one]

        return change

    few = images.changed(change)
    for method, dropped, unseen, seen, classes in (
        ("refers", {"no report": 2}, without, unlabelled, []),
        ("lsp_transformer", {"no label": 3}, unlabelled, without, ["Effusion", "Nodule"]),
    ):
        spec = pretraining(method, steps=2, batch_size=16)
        plain = pretrained(few, spec)
        tested = {"test or unused split": len(images.rows("test")), "patient in the test split": 0}
        assert plain.facts["dropped"] == {**tested, **dropped} and plain.facts["classes"] == classes
        assert pretrained(few.changed(pixels_of(unseen)), spec).same_weights(plain)
        assert not pretrained(few.changed(pixels_of(seen)), spec).same_weights(plain)


class Losses(nn.Module):
    """Two losses of a batch and a figure, all of them affected by dropout and batch statistics in training."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.dropout = nn.BatchNorm1d(1), nn.Dropout(0.5)

    def forward(self, batch: StudyBatch) -> Mapping[str, Tensor]:
        x = self.dropout(self.norm(batch.images_BVCHW.mean((1, 2, 3, 4))[:, None]))
        return {"mean": x.mean(), "square": (x**2).mean()}

    def measures(self, batch: StudyBatch) -> Mapping[str, Tensor]:
        return {"largest": batch.images_BVCHW.max()}


def test_validation_is_the_mean_over_studies_of_each_loss() -> None:
    """Batches of 3, 3 and 1 studies weigh 3 : 3 : 1."""
    images = torch.randn(7, 2, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    empty = torch.zeros(7, 0)

    class Source:
        def __len__(self) -> int:
            return len(images)

        def fixed(self, *, batch_size: int) -> Any:
            for start in range(0, len(images), batch_size):
                rows = slice(start, start + batch_size)
                yield StudyBatch(
                    images_BVCHW=images[rows], tokens_BT=empty[rows], lengths_B=empty[rows, 0:0],
                    text_ids_BT=empty[rows], text_mask_BT=empty[rows], labels_BK=empty[rows],
                )  # fmt: skip

    objective = Losses().eval()
    before = copy.deepcopy(objective.state_dict())
    found = pretrain.validator(objective, Source(), batch_size=3)()
    x = images.mean((1, 2, 3, 4)) / np.sqrt(1 + 1e-5)
    largest = [images[rows].max().item() for rows in (slice(0, 3), slice(3, 6), slice(6, 7))]
    mean, square = x.mean().item(), (x**2).mean().item()
    expected = {
        "val/mean": mean, "val/square": square, "val/loss": mean + square,
        "val/largest": (3 * largest[0] + 3 * largest[1] + largest[2]) / 7,
    }  # fmt: skip
    assert found == pytest.approx(expected, rel=1e-5) and list(found) == [
        "val/mean",
        "val/square",
        "val/loss",
        "val/largest",
    ]
    assert all(torch.equal(value, before[name]) for name, value in objective.state_dict().items())


@pytest.mark.parametrize(
    ("method", "params", "section", "expected"),
    [
        ("refers", {"views": 2}, {}, {"group": "study", "views": 2, "alike": True, "repeats": False}),
        ("refers", {"views": 2}, {"report_flip": "official_code"}, {"alike": False}),
        ("refers", {"views": 2}, {"view_sampling": "official_code"}, {"repeats": True}),
        ("refers", {"views": 1, "view_fusion": False}, {}, {"group": "study", "views": 1}),
        ("refers", {"views": 2, "report_pairing": "shuffled"}, {}, {"own": False}),
        ("lsp_transformer", {}, {}, {"group": "image", "views": 1, "tokens": 0, "labels": 2}),
        ("c2l", {}, {}, {"group": "image", "views": 2, "tokens": 0, "alike": False}),
    ],
)
def test_batches_are_as_the_method_and_the_protocol_look_at_studies(
    images: Any, pretraining: Callable[..., dict[str, Any]], tmp_path: Path, method: str, params: dict[str, Any],
    section: dict[str, Any], expected: dict[str, Any],
) -> None:  # fmt: skip
    """Groups, views, flips, reports and labels, of radiographs that carry their number and a darker left half."""
    rows = images.index.iloc[images.rows("train")].assign(place=range(len(images.rows("train"))))
    number = np.arange(len(rows), dtype=np.uint8)
    pixels = np.zeros((len(rows), 16, 16), np.uint8) + number[:, None, None]
    pixels[:, :, 8:] += 100
    spec = pretraining(method, params, **section)
    still = {"jitter_probability": 0.0, "flip_probability": 0.5}
    spec["image"] |= {"mean": [0.0], "std": [1.0], "pretrain_augment": {**spec["image"]["pretrain_augment"], **still}}
    plugin = plugins.load("method", method)
    words = tokenizers(list(rows["report"]), spec["pretrain"], JobContext(results=tmp_path, cache=tmp_path))
    source = pretrain.study_source(
        rows, images=PreparedImages(images_NHW=pixels, index=rows, meta={}), spec=spec,
        method=plugin, params=plugin.Params(**spec["params"]), words=words if "reports" in plugin.needs else None,
        classes=("Effusion", "Nodule") if "labels" in plugin.needs else (), device=torch.device("cpu"), key="k",
    )  # fmt: skip
    found: dict[str, Any] = {"alike": True, "repeats": False, "own": True}
    found["group"] = "study" if len(source) == rows["study_id"].nunique() else "image"
    assert len(source) == rows["study_id" if found["group"] == "study" else "image_id"].nunique()
    for step in range(12):
        batch = source.draw(step, batch_size=8)
        left, right = ((batch.images_BVCHW[:, :, 0, 0, column] * 255).round().int().numpy() for column in (0, -1))
        which, flips = np.minimum(left, right), left > right
        found |= {"views": which.shape[1], "tokens": batch.tokens_BT.shape[1], "labels": batch.labels_BK.shape[1]}
        found["alike"] &= bool((flips == flips[:, :1]).all())
        for row, numbers in enumerate(which):
            shown = rows.iloc[numbers]
            assert shown["study_id" if found["group"] == "study" else "image_id"].nunique() == 1
            several = (rows["study_id"] == shown["study_id"].iloc[0]).sum() > 1
            found["repeats"] |= bool(several and found["group"] == "study" and len(set(numbers)) < len(numbers))
            if found["labels"]:
                assert batch.labels_BK[row].tolist() == list(shown.iloc[0][["findings:Effusion", "findings:Nodule"]])
            if found["tokens"]:
                report = shown["report"].iloc[0]
                if flips[row, 0]:
                    report = report.replace("left", "?").replace("right", "left").replace("?", "right")
                length = int(batch.lengths_B[row])
                found["own"] &= batch.tokens_BT[row, :length].tolist() == words.reports.encode(report, max_tokens=12)
    assert {**found, **expected} == found
