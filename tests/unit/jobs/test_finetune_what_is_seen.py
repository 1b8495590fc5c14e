"""Checks from outside which images and labels a fine-tuned classifier was trained on and selected on."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import itertools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from places import place_of
from refers_bench.data.batches import RadiographBatch
from refers_bench.errors import DataError
from refers_bench.jobs import finetune, setup
from refers_bench.store.results import ResultStore
from refers_bench.training.checkpoints import publish_tensors

LABELS = ["findings:Effusion", "findings:Nodule"]


@pytest.fixture
def fitted(tmp_path: Path) -> Callable[..., finetune.Fitted]:
    """Fine-tunes a specification on prepared images: ``fitted(images, spec, key)``."""
    number = itertools.count()

    def fit(images: Any, spec: Mapping[str, Any], key: str = "cell") -> finetune.Fitted:
        context = images.context(tmp_path / str(next(number)))
        return finetune.fit(key, spec, context, work=context.results / "work")

    return fit


def weights(one: finetune.Fitted) -> dict[str, Tensor]:
    return one.classifier.state_dict()


def same(one: finetune.Fitted, other: finetune.Fitted) -> bool:
    """Whether weights, chosen step and its value, and loss curves are the same bits."""
    curves = [[row for row in each.outcome.counters.history if row[1] != "images_per_s"] for each in (one, other)]
    chosen = [
        (each.outcome.counters.best_step, each.outcome.counters.best_value, each.facts["selected"])
        for each in (one, other)
    ]
    pairs = zip(weights(one).values(), weights(other).values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs) and chosen[0] == chosen[1] and curves[0] == curves[1]


def predicted(one: finetune.Fitted, split: str) -> pd.DataFrame:
    rows = finetune.scored(one)[0]
    return rows[rows["split"] == split][["image_id", "class", "logit"]].reset_index(drop=True)


def flipped(split: str) -> Callable[[np.ndarray, pd.DataFrame], None]:
    """Every label of a split becomes the other one."""

    def change(pixels: np.ndarray, index: pd.DataFrame) -> None:
        index.loc[index["split"] == split, LABELS] = 1 - index.loc[index["split"] == split, LABELS]

    return change


def negative(split: str) -> Callable[[np.ndarray, pd.DataFrame], None]:
    """Every label of a split becomes 0, so that no class of it has an AUC."""

    def change(pixels: np.ndarray, index: pd.DataFrame) -> None:
        index.loc[index["split"] == split, LABELS] = 0

    return change


def inverted(split: str) -> Callable[[np.ndarray, pd.DataFrame], None]:
    """Every image of a split becomes its negative."""

    def change(pixels: np.ndarray, index: pd.DataFrame) -> None:
        where = (index["split"] == split).to_numpy()
        pixels[where] = 255 - pixels[where]

    return change


@pytest.mark.parametrize("select", ["best_auc", "best_loss"])
def test_the_test_split_plays_no_part_in_training_and_selection(
    images: Any, finetuning: Callable[..., dict[str, Any]], fitted: Callable[..., finetune.Fitted], select: str
) -> None:
    spec = finetuning({"select": select})
    plain = fitted(images, spec)
    assert plain.outcome.counters.best_step not in (None, plain.outcome.counters.step), (
        "the last weights would hide a wrong choice"
    )
    for poison in (flipped, negative, inverted):
        poisoned = fitted(images.changed(poison("test")), spec)
        assert same(plain, poisoned), poison.__name__
        pd.testing.assert_frame_equal(predicted(plain, "val"), predicted(poisoned, "val"), check_exact=True)
        test = predicted(plain, "test").equals(predicted(poisoned, "test"))
        assert test == (poison is not inverted), "the poison was given"
    # What could have seen the poison: the same change of the validation split chooses other weights.
    for poison in (flipped, inverted):
        other = fitted(images.changed(poison("val")), spec)
        assert other.outcome.counters.best_step != plain.outcome.counters.best_step, poison.__name__
        assert not predicted(plain, "test").equals(predicted(other, "test"))
    for poison in (flipped, inverted):
        other = fitted(images.changed(poison("train")), spec)
        assert all(not torch.equal(weights(plain)[name], value) for name, value in weights(other).items()), "trained on"


def test_without_validation_images_the_last_weights_are_kept_whatever_the_test_split_says(
    draw_images: Any, finetuning: Callable[..., dict[str, Any]], fitted: Callable[..., finetune.Fitted]
) -> None:
    one = fitted(draw_images({"train": 8, "test": 8}), finetuning())
    assert (one.outcome.counters.best_step, len(one.outcome.counters.validations), one.outcome.counters.step) == (
        None,
        0,
        8,
    )
    assert (one.facts["selected"], one.facts["selected_because"]) == ("last", "there is no validation image")
    assert not [row for row in one.outcome.counters.history if row[1].startswith("val/")]


def test_the_metric_of_the_selection_is_that_of_the_validation_split(
    images: Any, finetuning: Callable[..., dict[str, Any]], fitted: Callable[..., finetune.Fitted]
) -> None:
    """The chosen weights' AUC, by counting pairs of the predictions, and loss, from its formula."""
    for select in ("best_auc", "best_loss"):
        one = fitted(images, finetuning({"select": select}))
        rows = finetune.scored(one)[0]
        rows = rows[rows["split"] == "val"]
        label, logit = rows["label"].to_numpy(float), rows["logit"].to_numpy(float)
        loss = np.mean(np.log1p(np.exp(-np.where(label == 1, logit, -logit))))
        aucs = []
        for _, part in rows.groupby("class"):
            high, low = (part.loc[part["label"] == value, "logit"].to_numpy() for value in (1, 0))
            aucs.append(np.mean((high[:, None] > low) + 0.5 * (high[:, None] == low)))
        values = {step: value for step, name, value in one.outcome.counters.history if name == f"val/{select[5:]}"}
        best = max(values.values()) if select == "best_auc" else min(values.values())
        assert list(values) == list(range(1, 9))
        assert one.outcome.counters.best_value == best == values[one.outcome.counters.best_step]
        assert best == pytest.approx(np.mean(aucs) if select == "best_auc" else loss, abs=1e-6)


def test_only_the_label_subset_is_trained_on(
    images: Any, finetuning: Callable[..., dict[str, Any]], fitted: Callable[..., finetune.Fitted]
) -> None:
    spec = finetuning(label_ratio=0.4, seed=3)
    plain = fitted(images, spec)
    train = images.index["split"] == "train"
    # Whole patients in the order of a hash of their names, until there are enough images.
    patients = images.index["patient_id"][train]
    names = sorted(set(patients), key=lambda name: place_of("label subset", "phantom", "findings", 3, name))
    enough = next(n for n in range(len(names)) if patients.isin(names[:n]).sum() >= round(0.4 * train.sum()))
    chosen = train & images.index["patient_id"].isin(names[:enough])
    assert list(plain.chosen.image_ids) == list(images.index["image_id"][chosen])
    assert plain.facts["images"]["train"] == chosen.sum() < train.sum()

    def labels_of_others(pixels: np.ndarray, index: pd.DataFrame) -> None:
        index.loc[train & ~chosen, LABELS] = 1 - index.loc[train & ~chosen, LABELS]

    def pixels_of_others(pixels: np.ndarray, index: pd.DataFrame) -> None:
        pixels[train & ~chosen] = 255 - pixels[train & ~chosen]

    for change in (labels_of_others, pixels_of_others):
        other = fitted(images.changed(change), spec)
        assert other.chosen.image_ids == plain.chosen.image_ids
        assert same(plain, other), change.__name__
    whole = fitted(images, {**spec, "label_ratio": 1.0})
    assert set(whole.chosen.image_ids) == set(images.index["image_id"][train]) > set(plain.chosen.image_ids)
    assert not same(plain, whole)
    # Each chosen one counts, by its label and by its pixels.
    for place in np.flatnonzero(chosen)[:3]:

        def label(pixels: np.ndarray, index: pd.DataFrame, place: int = place) -> None:
            index.loc[place, LABELS[0]] = 1 - index.loc[place, LABELS[0]]

        def pixels(pixels: np.ndarray, index: pd.DataFrame, place: int = place) -> None:
            pixels[place] = 255 - pixels[place]

        for change in (label, pixels):
            other = fitted(images.changed(change), spec)
            assert other.chosen.image_ids == plain.chosen.image_ids
            assert not same(plain, other), (place, change.__name__)


def test_what_was_used_stands_in_the_store(
    images: Any, finetuning: Callable[..., dict[str, Any]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The whole subset file, and the record's facts: of a class that no training image shows, and one unknown label."""

    def change(pixels: np.ndarray, index: pd.DataFrame) -> None:
        index.loc[index["split"] == "train", LABELS[1]] = 0
        index.loc[0, LABELS[1]] = pd.NA

    few = images.changed(change)
    context = few.context(tmp_path)
    spec = finetuning({"steps": 4, "validate_every": 2, "select": "last"}, seed=5)
    finetune.run({"key": "cell", "kind": "finetune", "name": "a cell", "needs": [], "spec": spec}, context)
    folder = ResultStore(context.results).folder("cell")
    names = sorted(few.index["image_id"][few.rows("train")])
    positive = int((few.index["split"].eq("train") & few.index[LABELS[0]].eq(1)).sum())
    count = len(names)
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
    positives = {"Effusion": positive, "Nodule": 0}
    negatives = {"Effusion": count - positive, "Nodule": count - 1}
    assert json.loads((folder / "subset.json").read_text()) == {
        "version": 1, "dataset": "phantom", "task": "findings", "label_ratio": 1.0, "seed": 5, "image_ids": names,
        "digest": digest, "positives": positives, "negatives": negatives, "empty": ["Nodule"],
    }  # fmt: skip
    facts = json.loads((folder / "run.json").read_text())["facts"]
    expected = {
        "images": {split: len(few.rows(split)) for split in ("train", "val", "test")},
        "subset": {"digest": digest, "positives": positives, "negatives": negatives},
        "classes_without_positives": ["Nodule"], "encoder": {"from": None, "loaded": 0, "differ_from_random": 0},
        "selected": "last", "selected_because": "", "data_digest": "d", "steps": 4, "best_step": None,
        "best_value": None, "stopped_early": False, "resumed_from": 0, "skipped_updates": 0, "validations": 2,
    }  # fmt: skip
    times = {"images_per_s", "train_s", "validation_s"}
    assert {name: value for name, value in facts.items() if name not in times} == expected
    assert all(facts[name] > 0 for name in times)
    assert f"none of the {count} training images is positive for Nodule" in caplog.text
    history = pd.read_parquet(folder / "history.parquet")
    assert history.loc[history["name"] == "val/auc", "step"].tolist() == [2, 4]
    assert history.loc[history["name"] == "loss/bce", "step"].tolist() == [1, 2, 3, 4]
    assert set(history["name"]) == {"loss/bce", "loss/total", "lr", "images_per_s", "val/auc", "val/loss"}
    metrics = pd.read_parquet(folder / "metrics.parquet")
    assert metrics[["class", "split"]].values.tolist() == [
        [name, split] for split in ("test", "val") for name in ("Effusion", "Nodule")
    ]
    predictions = pd.read_parquet(folder / "predictions.parquet")
    for row in metrics.itertuples():
        part = predictions[(predictions["split"] == row.split) & (predictions["class"] == row[1])]
        high, low = (part.loc[part["label"] == value, "logit"].to_numpy() for value in (1, 0))
        assert row.auc == pytest.approx(np.mean((high[:, None] > low) + 0.5 * (high[:, None] == low)))


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_task_without_images_to_train_or_test_on_is_refused(
    split: str, draw_images: Any, finetuning: Callable[..., dict[str, Any]], fitted: Callable[..., finetune.Fitted]
) -> None:
    kept = {name: 4 for name in ("train", "val", "test") if name != split}
    with pytest.raises(DataError, match=f"task 'findings' of 'phantom' has no labelled image in its {split} split"):
        fitted(draw_images(kept), finetuning())


def test_an_image_without_a_label_of_the_task_is_no_image_of_it_and_an_unknown_label_no_target(
    images: Any, finetuning: Callable[..., dict[str, Any]], fitted: Callable[..., finetune.Fitted]
) -> None:
    places = {split: images.rows(split) for split in ("train", "val", "test")}
    gone = [int(rows[1]) for rows in places.values()]
    half = [int(rows[2]) for rows in places.values()]

    def unknown(pixels: np.ndarray, index: pd.DataFrame) -> None:
        index.loc[gone, LABELS] = pd.NA
        index.loc[half, LABELS[1]] = pd.NA

    few = images.changed(unknown)
    one = fitted(few, finetuning())
    assert not set(one.chosen.image_ids) & set(images.index["image_id"][gone])
    predictions, metrics = finetune.scored(one)
    counts = {split: len(rows) - 1 for split, rows in places.items()}
    assert one.facts["images"] == counts
    for split in ("val", "test"):
        rows = predictions[predictions["split"] == split]
        assert rows["image_id"].nunique() == counts[split]
        truth = few.index.set_index("image_id")
        for row in rows.itertuples():
            expected = truth.loc[row.image_id, f"findings:{row[3]}"]
            assert (pd.isna(row.label) and pd.isna(expected)) or row.label == expected
        for name, part in rows.groupby("class"):
            found = metrics[(metrics["split"] == split) & (metrics["class"] == name)].iloc[0]
            assert found["n_pos"] == (part["label"] == 1).sum() and found["n_neg"] == (part["label"] == 0).sum()

    def other_pixels(pixels: np.ndarray, index: pd.DataFrame) -> None:
        pixels[gone] = 255 - pixels[gone]

    assert same(one, fitted(few.changed(other_pixels), finetuning()))


def test_batches_in_parts_weigh_known_labels_alike(
    images: Any, finetuning: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """Of each image's labels another share is unknown: a mean of the parts' means would be another loss."""

    def unknown(pixels: np.ndarray, index: pd.DataFrame) -> None:
        index.loc[index["study_id"].isin(["train01", "train02", "train05"]), LABELS[1]] = pd.NA

    context = images.changed(unknown).context(tmp_path)
    still = {**finetuning()["network"], "dropout": 0.0}
    spec = finetuning({"select": "last", "learning_rate": 0.1, "steps": 3}, network=still)
    found = [
        finetune.fit("cell", spec, dataclasses.replace(context, accumulate=parts), work=tmp_path / str(parts))
        for parts in (1, 3)
    ]
    assert "accumulation" not in found[0].facts
    assert setup.outcome_facts(found[1].outcome)["accumulation"] == {"parts": 3, "after": "", "batch_statistics": False}
    for (name, value), other in zip(weights(found[0]).items(), weights(found[1]).values(), strict=True):
        torch.testing.assert_close(value, other, rtol=1e-3, atol=1e-4, msg=name)
    losses = [[value for _, name, value in one.outcome.counters.history if name == "loss/bce"] for one in found]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_logits_are_those_of_their_radiographs_in_evaluation_mode(
    images: Any, finetuning: Callable[..., dict[str, Any]], fitted: Callable[..., finetune.Fitted]
) -> None:
    """Of each radiograph alone, whole and unaugmented, by a copy of the network without dropout."""
    spec = finetuning(network={**finetuning()["network"], "dropout": 0.5})
    one = fitted(images, spec)
    copied = copy.deepcopy(one.classifier).eval()
    one.classifier.train()  # whatever was done with it before
    predictions, _ = finetune.scored(one)
    again, _ = finetune.scored(one)
    pd.testing.assert_frame_equal(predictions, again, check_exact=True)
    assert list(predictions["split"].unique()) == ["test", "val"]
    assert list(zip(predictions["image_id"], predictions["class"], strict=True)) == [
        (name, label)
        for split in ("test", "val")
        for name in sorted(images.index["image_id"][images.rows(split)])
        for label in ("Effusion", "Nodule")
    ]
    place = {name: number for number, name in enumerate(images.index["image_id"])}
    patient = dict(zip(images.index["image_id"], images.index["patient_id"], strict=True))
    assert [patient[name] for name in predictions["image_id"]] == list(predictions["patient_id"])
    for name, rows in predictions.groupby("image_id"):
        x = torch.tensor((images.pixels[place[name]] / 255 - 0.5) / 0.25, dtype=torch.float32)[None, None]
        with torch.no_grad():
            expected = copied(x)[0]
        np.testing.assert_allclose(rows["logit"], expected, rtol=1e-4, atol=1e-5)


def test_training_starts_from_the_checkpoint_and_a_head_of_the_key_s_own(
    images: Any, finetuning: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """With a learning rate of 0 the weights are those that it starts from."""
    context = images.context(tmp_path)
    still = {"learning_rate": 0.0, "select": "last", "steps": 1}

    def start(key: str, **changes: Any) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
        torch.manual_seed(len(key))
        one = finetune.fit(key, finetuning(still, **changes), context, work=tmp_path / key / str(len(changes)))
        return weights(one), one.facts["encoder"]

    random, facts = start("a")
    assert facts == {"from": None, "loaded": 0, "differ_from_random": 0}
    again, other = start("a")[0], start("other")[0]
    assert all(torch.equal(value, again[name]) for name, value in random.items())
    drawn = [name for name, value in random.items() if value.unique().numel() > 1]
    assert {"head.weight", "head.bias", "encoder.patch_embedding.weight"} <= set(drawn)
    assert not any(torch.equal(random[name], other[name]) for name in drawn), "another key draws other weights"
    bound = random["head.weight"].shape[1] ** -0.5
    assert all(random[f"head.{name}"].abs().max() <= bound for name in ("weight", "bias"))

    folder = ResultStore(context.results).folder("pre")
    folder.mkdir(parents=True)
    (folder / "run.json").write_text('{"key": "pre"}')
    stored = {name.removeprefix("encoder."): value + 1 for name, value in other.items() if name.startswith("encoder.")}
    path = folder / "checkpoint.safetensors"
    publish_tensors(path, stored)
    loaded, facts = start("a", pretrain="pre")
    assert facts == {"from": "pre", "loaded": len(stored), "differ_from_random": len(stored)}
    assert all(torch.equal(loaded[f"encoder.{name}"], value) for name, value in stored.items())
    assert all(torch.equal(loaded[f"head.{name}"], random[f"head.{name}"]) for name in ("weight", "bias"))
    publish_tensors(path, {name: value for name, value in stored.items() if name != "patch_embedding.bias"})
    with pytest.raises(DataError, match=r"holds \d+ of \d+ tensors, missing e\.g\. 'patch_embedding\.bias'"):
        start("a", pretrain="pre")
    publish_tensors(
        path, {name.removeprefix("encoder."): value for name, value in random.items() if "head" not in name}
    )
    with pytest.raises(DataError, match="the checkpoint equals the random initialisation"):
        start("a", pretrain="pre")
    path.unlink()
    with pytest.raises(DataError, match=r"checkpoint\.safetensors: missing; allowed: the file as it was written"):
        start("a", pretrain="pre")
    with pytest.raises(DataError, match="no such result; allowed: run its job first"):
        start("a", pretrain="none")


class WithStatistics(torch.nn.Module):
    """Normalises by statistics of the batch, and drops half of what it has."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.head = torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        logits: Tensor = self.head(torch.nn.functional.dropout(self.norm(x_BCHW.flatten(1)), training=self.training))
        return logits


class Fixed:
    """70 radiographs of 2 x 2 pixels, more than one batch of an evaluation."""

    def __init__(self, count: int = 70) -> None:
        self.images = torch.randn(count, 1, 2, 2, generator=torch.Generator().manual_seed(0))
        self.labels = torch.zeros(count, 2)

    def fixed(self, *, batch_size: int) -> Any:
        for start in range(0, len(self.images), batch_size):
            rows = slice(start, start + batch_size)
            yield RadiographBatch(images_BCHW=self.images[rows], labels_BK=self.labels[rows])


def test_batch_statistics_are_used_and_not_changed_by_a_prediction() -> None:
    torch.manual_seed(0)
    net, source = WithStatistics(), Fixed()
    net.norm.running_mean.fill_(0.3)
    net.norm.running_var.fill_(4.0)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    logits = finetune.predict(net.train(), source)
    x = (source.images.flatten(1).numpy() - 0.3) / np.sqrt(4.0 + 1e-5)
    expected = x @ net.head.weight.detach().numpy().T + net.head.bias.detach().numpy()
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)
    assert logits.dtype == np.float32
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), name
    empty = finetune.predict(net, Fixed(0))
    assert empty.shape == (0, 2) and empty.dtype == np.float32
