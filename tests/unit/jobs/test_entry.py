"""The recipes work end to end: they prepare phantoms, pre-train, fine-tune and leave what the store promises."""

from __future__ import annotations

import copy
import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from refers_bench import machine
from refers_bench.errors import DataError, NotFiniteLoss, UserError
from refers_bench.files import publish_json, read_json, sha256_of
from refers_bench.jobs import entry, setup
from refers_bench.store import schemas
from refers_bench.store.context import JobContext, prepared_folder
from refers_bench.store.results import ResultStore
from refers_bench.training import loop
from refers_bench.training.checkpoints import read_tensors
from tiny_jobs import NETWORK, finetune_job, prepare_job, pretrain_job, sent_job


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> JobContext:
    folder = tmp_path_factory.mktemp("bench")
    return JobContext(results=folder / "results", cache=folder / "cache")


@pytest.fixture(scope="module")
def prepared(context: JobContext) -> dict[str, Any]:
    one = prepare_job()
    entry.run(one, context)
    return one


@pytest.fixture(scope="module")
def pretrained(context: JobContext, prepared: dict[str, Any]) -> dict[str, Any]:
    one = pretrain_job("refers", prepared)
    entry.run(one, context)
    return one


@pytest.fixture(scope="module")
def finetuned(context: JobContext, prepared: dict[str, Any], pretrained: dict[str, Any]) -> dict[str, Any]:
    one = finetune_job("refers", prepared, pretrained["key"])
    entry.run(one, context)
    return one


def folder(context: JobContext, one: dict[str, Any]) -> Path:
    return ResultStore(context.results).folder(one["key"])


def record(context: JobContext, one: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder(context, one) / "run.json").read_text())
    return content


def elsewhere(context: JobContext, tmp_path: Path, *needs: dict[str, Any]) -> JobContext:
    """Another results folder that shares the cache and holds copies of `needs`."""
    other = JobContext(results=tmp_path / "results", cache=context.cache)
    for need in needs:
        shutil.copytree(folder(context, need), folder(other, need))
    return other


def test_prepare_leaves_index_and_pixels(context: JobContext, prepared: dict[str, Any]) -> None:
    index = pd.read_parquet(folder(context, prepared) / "index.parquet")
    assert index["image_id"].is_monotonic_increasing
    facts = record(context, prepared)["facts"]
    assert facts["train"]["images"] + facts["val"]["images"] + facts["test"]["images"] == len(index)
    pixels = context.cache / "prepared" / prepared["key"] / "images.u8"
    assert pixels.stat().st_size == len(index) * 36 * 36
    assert not ResultStore(context.results).work_folder(prepared["key"]).exists()


def test_prepare_again_elsewhere_reads_the_cache(
    context: JobContext, prepared: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("refers_bench.jobs.prepare.prepare", None)
    other = elsewhere(context, tmp_path)
    entry.run(prepared, other)
    ours, theirs = ((folder(c, prepared) / "index.parquet").read_bytes() for c in (context, other))
    assert ours == theirs


def test_real_data_that_changed_since_planning(context: JobContext, prepared: dict[str, Any], tmp_path: Path) -> None:
    drawn = next((context.cache / "phantoms").iterdir())
    spec = {**prepared["spec"], "phantom": None}
    other = JobContext(results=tmp_path, cache=tmp_path / "cache", roots={"phantom": str(drawn)})
    with pytest.raises(DataError, match="data changed since planning"):
        entry.run(sent_job(**spec), other)
    planned = record(context, prepared)["facts"]["index_digest"]
    entry.run(sent_job(**{**spec, "digest": planned}), other)
    with pytest.raises(UserError, match="data root 'phantom' is not set"):
        entry.run(sent_job(**{**spec, "digest": planned, "seed": 1}), JobContext(results=tmp_path, cache=tmp_path))


def test_pretrain_leaves_encoder_tokenizer_and_curves(context: JobContext, pretrained: dict[str, Any]) -> None:
    where = folder(context, pretrained)
    weights, _ = read_tensors(where / "checkpoint.safetensors")
    assert any(name.startswith("blocks.1.") for name in weights)
    assert not any("text_encoder" in name or "report_transformer" in name for name in weights)
    assert json.loads((where / "text.json").read_text())["model"]["type"] == "BPE"
    history = schemas.read(where / "history.parquet", "history")
    names = set(history["name"])
    assert {"loss/report_generation", "loss/study_report_consistency", "loss/total", "val/loss", "lr"} <= names
    assert list(history.loc[history["name"] == "val/loss", "step"]) == [4, 8, 12]
    facts = record(context, pretrained)["facts"]
    assert facts["selected"] == "best_validation"
    assert facts["best_step"] in (4, 8, 12)


def test_pretraining_never_sees_the_test_split(
    context: JobContext, prepared: dict[str, Any], pretrained: dict[str, Any]
) -> None:
    index = pd.read_parquet(folder(context, prepared) / "index.parquet")
    facts = record(context, pretrained)["facts"]
    for split in ("train", "val"):
        rows = index[index["split"] == split]
        assert facts["examples"][split] == rows["study_id"].nunique()
        assert facts["patients"][split] == rows["patient_id"].nunique()
    assert facts["dropped"]["test or unused split"] == (index["split"] == "test").sum() > 0


def test_finetune_leaves_predictions_metrics_and_subset(
    context: JobContext, prepared: dict[str, Any], pretrained: dict[str, Any], finetuned: dict[str, Any]
) -> None:
    where = folder(context, finetuned)
    index = pd.read_parquet(folder(context, prepared) / "index.parquet")
    predictions = schemas.read(where / "predictions.parquet", "predictions")
    assert predictions["logit"].dtype == np.float32
    for split in ("test", "val"):
        rows = predictions[predictions["split"] == split]
        assert len(rows) == 6 * (index["split"] == split).sum()
        truth = index.set_index("image_id")
        assert all(
            truth.loc[r["image_id"], f"findings:{r['class']}"] == r["label"] for _, r in rows.head(30).iterrows()
        )
    assert predictions[["split", "image_id", "class"]].apply(tuple, axis=1).is_monotonic_increasing
    metrics = schemas.read(where / "metrics.parquet", "metrics")
    assert len(metrics) == 12
    assert set(metrics["split"]) == {"test", "val"}
    subset = json.loads((where / "subset.json").read_text())
    train = index[index["split"] == "train"]
    assert set(subset["image_ids"]) < set(train["image_id"])
    facts = record(context, finetuned)["facts"]
    assert facts["encoder"]["from"] == pretrained["key"]
    assert facts["encoder"]["differ_from_random"] > 10
    assert facts["subset"]["digest"] == subset["digest"]
    assert not ResultStore(context.results).work_folder(finetuned["key"]).exists()


def test_another_dataset_drawn_as_phantoms(context: JobContext) -> None:
    prepare = prepare_job("covid19_idc")
    entry.run(prepare, context)
    pretrain = pretrain_job("refers", prepare, steps=2)
    entry.run(pretrain, context)
    spec = finetune_job("refers", prepare, pretrain["key"], steps=2)["spec"]
    one = sent_job(**{**spec, "dataset": "covid19_idc", "task": "viral_vs_bacterial", "classes": ["Viral"]})
    entry.run(one, context)
    predictions = schemas.read(folder(context, one) / "predictions.parquet", "predictions")
    index = pd.read_parquet(folder(context, prepare) / "index.parquet").set_index("image_id")
    labelled = index[index["viral_vs_bacterial:Viral"].notna()]
    assert set(predictions["image_id"]) == set(labelled.index[labelled["split"].isin(["val", "test"])])
    assert len(labelled) < len(index)


def with_index(prepared: Path, index: pd.DataFrame) -> None:
    """Another index of prepared images, with its digest."""
    index.to_parquet(prepared / "index.parquet")
    meta = read_json(prepared / "meta.json")
    meta["files"]["index.parquet"] = sha256_of(prepared / "index.parquet")
    publish_json(prepared / "meta.json", meta)


def test_undefined_auc_is_null_with_a_reason(context: JobContext, prepared: dict[str, Any], tmp_path: Path) -> None:
    other = elsewhere(context, tmp_path)
    one = finetune_job("scratch", prepared, None, steps=2)
    one = sent_job(**{**one["spec"], "classes": ["Nodule"], "label_ratio": 0.01})
    shutil.copytree(context.cache / "prepared" / prepared["key"], tmp_path / "cache" / "prepared" / prepared["key"])
    path = tmp_path / "cache" / "prepared" / prepared["key"] / "index.parquet"
    index = pd.read_parquet(path)
    index.loc[index["split"] != "train", "findings:Nodule"] = 0
    with_index(path.parent, index)
    other = JobContext(results=other.results, cache=tmp_path / "cache")
    entry.run(one, other)
    metrics = schemas.read(folder(other, one) / "metrics.parquet", "metrics")
    assert metrics["auc"].isna().all()
    assert set(metrics["undefined"]) == {"no positives"}
    facts = record(other, one)["facts"]
    assert facts["selected"] == "best_loss"
    assert facts["selected_because"] == "no class has positive and negative validation images"


def test_same_cell_twice_gives_the_same_bytes(
    context: JobContext, pretrained: dict[str, Any], finetuned: dict[str, Any], tmp_path: Path
) -> None:
    other = elsewhere(context, tmp_path)
    torch.manual_seed(123)  # whatever ran before in this process does not matter
    entry.run(pretrained, other)
    entry.run(finetuned, other)
    for one, name in [
        (pretrained, "checkpoint.safetensors"), (pretrained, "text.json"), (finetuned, "predictions.parquet"),
        (finetuned, "metrics.parquet"), (finetuned, "subset.json"),
    ]:  # fmt: skip
        assert (folder(context, one) / name).read_bytes() == (folder(other, one) / name).read_bytes(), name


def test_killed_and_resumed_gives_the_same_bytes(
    context: JobContext, pretrained: dict[str, Any], finetuned: dict[str, Any], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    other = elsewhere(context, tmp_path)
    monkeypatch.setenv(setup.SAVE_VARIABLE, "0")
    update = loop.Training.update
    for one, name in [(pretrained, "checkpoint.safetensors"), (finetuned, "predictions.parquet")]:
        for kill_at in (3, 9):

            def dying(run: Any, kill_at: int = kill_at) -> None:
                if run.state.counters.step == kill_at:
                    raise KeyboardInterrupt
                update(run)

            monkeypatch.setattr(loop.Training, "update", dying)
            with pytest.raises(KeyboardInterrupt):
                entry.run(one, other)
            assert not folder(other, one).exists()
        monkeypatch.setattr(loop.Training, "update", update)
        entry.run(one, other)
        assert record(other, one)["facts"]["resumed_from"] == 9
        assert (folder(context, one) / name).read_bytes() == (folder(other, one) / name).read_bytes()


@pytest.mark.parametrize(
    ("method", "section"),
    [
        ("lsp_transformer", {}),
        ("refers", {"precision": "bf16", "accumulate": 2}),
        ("context_restoration", {}),
        ("model_genesis", {"precision": "bf16"}),
        ("c2l", {}),
    ],
)
def test_other_methods_and_precisions(
    context: JobContext, prepared: dict[str, Any], method: str, section: dict[str, Any]
) -> None:
    one = pretrain_job(method, prepared, steps=3, select="last", **section)
    entry.run(one, context)
    facts = record(context, one)["facts"]
    assert facts["selected"] == "last"
    assert facts["best_step"] is None
    if method == "lsp_transformer":
        assert len(facts["classes"]) == 6
        assert not (folder(context, one) / "text.json").exists()


@pytest.mark.parametrize("method", ["context_restoration", "model_genesis"])
def test_distortions_are_made_where_batches_are_drawn(
    context: JobContext, prepared: dict[str, Any], method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In training never within the forward pass; two runs distort alike, whatever else was drawn."""
    from refers_bench.nets.restoration import RestorationObjective

    inside, pairs = [False], []

    def forward(self: Any, batch: Any, inner: Any = RestorationObjective.forward) -> Any:
        inside[0] = self.training
        found = inner(self, batch)
        inside[0] = False
        return found

    def pair(self: Any, *given: Any, inner: Any = RestorationObjective.pair) -> Any:
        assert not inside[0], "distorted within the forward pass of an update"
        pairs.append(inner(self, *given))
        return pairs[-1]

    monkeypatch.setattr(RestorationObjective, "forward", forward)
    monkeypatch.setattr(RestorationObjective, "pair", pair)
    one = pretrain_job(method, prepared, steps=4, select="last", validate_every=0, accumulate=2)
    entry.run(one, context)
    first = pairs[:4]
    pairs.clear()
    shutil.rmtree(folder(context, one))
    torch.rand(7)
    entry.run(one, context)
    for before, after in zip(first, pairs[:4], strict=True):
        assert torch.equal(before[0], after[0]) and torch.equal(before[1], after[1])
    assert not torch.equal(first[0][1], first[1][1])


def test_scratch_needs_no_pretraining(context: JobContext, prepared: dict[str, Any]) -> None:
    one = finetune_job("scratch", prepared, None, steps=3)
    entry.run(one, context)
    assert record(context, one)["facts"]["encoder"] == {"from": None, "loaded": 0, "differ_from_random": 0}


def test_diverging_loss_fails_and_publishes_nothing(context: JobContext, prepared: dict[str, Any]) -> None:
    one = finetune_job(
        "scratch", prepared, None, learning_rate=1e30, clip_norm=0.0, schedule="constant", warmup_steps=0
    )
    with pytest.raises(NotFiniteLoss):
        entry.run(one, context)
    assert not folder(context, one).exists()


def test_missing_checkpoint_and_missing_images(context: JobContext, prepared: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such result; allowed: run its job first"):
        entry.run(finetune_job("refers", prepared, "0" * 20), context)
    empty = JobContext(results=tmp_path, cache=tmp_path)
    with pytest.raises(DataError, match="no prepared images"):
        entry.run(finetune_job("scratch", prepared, None), empty)


def test_one_byte_of_a_checkpoint_fails_what_starts_from_it(
    context: JobContext, prepared: dict[str, Any], pretrained: dict[str, Any], tmp_path: Path
) -> None:
    """Such a weight still loads, and would change every figure without a word."""
    other = elsewhere(context, tmp_path, pretrained)
    path = folder(other, pretrained) / "checkpoint.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    one = finetune_job("refers", prepared, pretrained["key"])
    with pytest.raises(DataError, match=r"checkpoint\.safetensors: changed since it was written: SHA-256 "):
        entry.run(one, other)
    assert not folder(other, one).exists()


def test_a_checkpoint_of_another_network_is_refused(
    context: JobContext, prepared: dict[str, Any], pretrained: dict[str, Any]
) -> None:
    one = copy.deepcopy(finetune_job("refers", prepared, pretrained["key"])["spec"])
    with pytest.raises(DataError, match="of this network"):
        entry.run(sent_job(**{**one, "network": {**NETWORK, "width": 32}}), context)


def test_initial_weights_must_exist(context: JobContext, prepared: dict[str, Any]) -> None:
    spec = pretrain_job("refers", prepared)["spec"]
    spec = {**spec, "network": {**NETWORK, "init": "imagenet", "init_path_name": "vit_b16"}}
    with pytest.raises(UserError, match="data root 'vit_b16' names no file"):
        entry.run(sent_job(**spec), context)


def test_a_source_without_reports(context: JobContext, prepared: dict[str, Any], tmp_path: Path) -> None:
    target = tmp_path / "prepared" / prepared["key"]
    shutil.copytree(context.cache / "prepared" / prepared["key"], target)
    index = pd.read_parquet(target / "index.parquet")
    with_index(target, index.assign(report=None))
    with pytest.raises(DataError, match="no training study of 'phantom' has what 'refers' needs"):
        entry.run(pretrain_job("refers", prepared), JobContext(results=tmp_path, cache=tmp_path))


def test_visual_words_are_found_and_transvw_trains_on_them(
    context: JobContext, prepared: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import pandas as pd

    from refers_bench.jobs import discover, setup
    from refers_bench.nets.auto_encoder import AutoEncoder
    from refers_bench.plugins import load

    method = load("method", "transvw")
    params = method.Params(
        words=4, patients=6, val_patients=2, features=8, feature_size=16, feature_steps=3, feature_batch_size=5,
        feature_schedule="constant", feature_learning_rate=0.002,
    ).model_dump()  # fmt: skip
    assert method.discovery is not None
    settings = dict(method.discovery(method.Params(**params)))
    source = {"dataset": "phantom", "params": {}, "prepare": prepared["key"], "task": "findings", "has_reports": True}
    words = sent_job(kind="discover", method="transvw", discovery=settings, source=source, recipe=1)
    sections: list[Mapping[str, Any]] = []
    trained = setup.trained

    def trained_and_noted(model: Any, section: Mapping[str, Any], **more: Any) -> Any:
        sections.append(section)
        return trained(model, section, **more)

    monkeypatch.setattr(setup, "trained", trained_and_noted)
    seen: dict[str, list[torch.Tensor]] = {"losses": [], "features": []}

    def losses(model: Any, batch: Any, inner: Any = AutoEncoder.losses) -> Any:
        seen["losses"] += list(batch.images_BCHW)
        return inner(model, batch)

    def features(model: Any, images: torch.Tensor, inner: Any = AutoEncoder.features) -> Any:
        seen["features"] += list(images)
        return inner(model, images)

    monkeypatch.setattr(AutoEncoder, "losses", losses)
    monkeypatch.setattr(AutoEncoder, "features", features)
    discover.run(words, context)
    # It describes the images that it was trained on: resized without aliasing in both places.
    assert len(seen["losses"]) == 3 * 5
    for image in seen["losses"]:
        assert any(torch.equal(image, other) for other in seen["features"])
    (section,) = sections
    wanted = {"steps": 3, "batch_size": 5, "schedule": "constant", "learning_rate": 0.002, "optimizer": "adam"}
    assert {name: section[name] for name in wanted} == wanted
    found = pd.read_parquet(folder(context, words) / "words.parquet")
    assert set(found["word"]) == set(range(4))
    assert (found.groupby(["split", "word"])["patient_id"].nunique().loc["train"] <= 6).all()
    splits = found.groupby("patient_id")["split"].nunique()
    assert (splits == 1).all() and set(found["split"]) <= {"train", "val"}
    spec = {**pretrain_job("transvw", prepared)["spec"], "params": params, "discover": words["key"]}
    one = sent_job(**spec)
    entry.run(one, context)
    assert (folder(context, one) / "checkpoint.safetensors").is_file()
    assert record(context, one)["category"] == "ok"


def test_images_are_prepared_by_as_many_processes_as_there_are_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one thread a worker, as a run gives it, and the same bytes for any number."""
    begun: list[str] = []
    popen = machine.subprocess.Popen

    def counted(command: Any, **how: Any) -> Any:
        if command[-1] == "refers_bench.machine":  # others ask git, say
            begun.append(command[-1])
        return popen(command, **how)

    monkeypatch.setattr(machine.subprocess, "Popen", counted)
    monkeypatch.setattr(machine, "cores", lambda: 3)
    monkeypatch.setattr("refers_bench.data.prepare.CHUNK", 8)  # few images stand for many
    monkeypatch.setattr("refers_bench.data.prepare.WORTH", 1, raising=False)
    monkeypatch.setattr("refers_bench.jobs.prepare.cores", lambda: 3, raising=False)
    spec = {**prepare_job()["spec"], "phantom": {"seed": 1, "studies": 20, "size": 32, "views": 3}}
    stores = {}
    for name, processes in (("offered", None), ("two", 2), ("one", 1)):
        begun.clear()
        context = JobContext(results=tmp_path / name, cache=tmp_path / name / "cache", threads=1)
        if processes:
            context = dataclasses.replace(context, processes=processes)
        one = sent_job(**spec)
        entry.run(one, context)
        assert len(begun) == (processes or 3) - 1, "one of them is the job's own"
        stores[name] = (prepared_folder(context.cache, one["key"]) / "images.u8").read_bytes()
    assert stores["offered"] == stores["two"] == stores["one"]
