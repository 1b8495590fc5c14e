"""Runs with crossed seeds: each seed decides its own draws alone, and a resumed run is the uninterrupted one."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

import tiny_jobs
from refers_bench.data.batches import RadiographSource
from refers_bench.errors import Interrupted
from refers_bench.jobs import entry, setup, streams
from refers_bench.store.context import JobContext
from refers_bench.store.results import ResultStore
from refers_bench.training.loop import Training

#: Evaluation -> seed -> what changes with it, of all that a training draws. Images of another label subset stand in the
#: same places of the same order.
CHANGES = {
    "finetune": {"seed": {"subset", "batches"}, "init_seed": {"weights"}, "order_seed": {"batches", "names"}},
    "attentive_probe": {"seed": {"subset", "batches"}, "init_seed": {"weights"}, "order_seed": {"batches", "names"}},
    # The head it starts from was fitted to the label subset.
    "probe_then_finetune": {"seed": {"subset", "batches", "weights"}, "order_seed": {"batches", "names"}},
}
Jobs = Callable[..., dict[str, Any]]


@pytest.fixture
def context(draw_images: Any, tmp_path: Path) -> JobContext:
    found: JobContext = draw_images({"train": 24, "val": 8, "test": 8}).context(tmp_path)
    return found


@pytest.fixture
def job(context: JobContext, finetuning: Jobs, featuring: Jobs, probing: Jobs, freezing: Jobs) -> Jobs:
    """A job of an evaluation with some seeds; what it needs has been run."""

    def made(evaluation: str, **seeds: int) -> dict[str, Any]:
        own = {"label_ratio": 0.5, **seeds}
        features = featuring(readout="tokens" if evaluation == "attentive_probe" else "auto")
        heads = probing(features, [{"label_ratio": 0.5, "seed": seed} for seed in (0, 1)])
        for needed in (features, heads)[: 2 - (evaluation == "attentive_probe")]:
            if ResultStore(context.results).state(needed["key"]) != "done":
                entry.run(needed, context)
        if evaluation == "attentive_probe":
            return freezing(evaluation, features, **own)
        return tiny_jobs.sent_job(**finetuning(**own, **({"heads": heads["key"]} if "probe" in evaluation else {})))

    return made


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch, context: JobContext) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Runs a job, and gives what it drew and predicted."""
    seen: dict[str, list[Any]] = {}
    draw, train = RadiographSource.draw, Training.run

    def drawing(self: RadiographSource, step: int, **how: Any) -> Any:
        batch = draw(self, step, **how)
        seen.setdefault("batches", []).append(batch.images_BCHW)
        seen.setdefault("names", []).append(self.key)
        return batch

    def training(self: Training) -> Any:
        seen["weights"] = [value.clone() for value in self.model.state_dict().values()]
        seen.setdefault("names", []).append(self.key)
        return train(self)

    monkeypatch.setattr(RadiographSource, "draw", drawing)
    monkeypatch.setattr(Training, "run", training)

    def run(sent: dict[str, Any]) -> dict[str, Any]:
        seen.clear()
        entry.run(sent, context)
        folder = ResultStore(context.results).folder(sent["key"])
        subset = json.loads((folder / "subset.json").read_text())["digest"]
        return {**seen, "subset": subset, "logits": pd.read_parquet(folder / "predictions.parquet")["logit"].tolist()}

    return run


def differ(one: Any, other: Any) -> bool:
    if isinstance(one, list):
        return len(one) != len(other) or any(differ(a, b) for a, b in zip(one, other, strict=True))
    return not torch.equal(one, other) if isinstance(one, Tensor) else bool(one != other)


@pytest.mark.parametrize(("evaluation", "seed"), [(way, seed) for way, seeds in CHANGES.items() for seed in seeds])
def test_each_seed_decides_its_own_draws_alone(
    job: Jobs, drawn: Callable[[dict[str, Any]], dict[str, Any]], evaluation: str, seed: str
) -> None:
    seeds = dict.fromkeys(CHANGES[evaluation], 0)
    first, other = drawn(job(evaluation, **seeds)), drawn(job(evaluation, **{**seeds, seed: 1}))
    changed = {name for name in ("subset", "weights", "batches", "names") if differ(first[name], other[name])}
    assert changed == CHANGES[evaluation][seed]
    assert first["logits"] != other["logits"]
    assert len(set(first["names"])) == 1, "dropout, batches and augmentation have one name"


def test_interrupted_and_resumed_gives_the_predictions_of_an_uninterrupted_run(
    job: Jobs,
    drawn: Callable[[dict[str, Any]], dict[str, Any]],
    context: JobContext,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent, asked = job("finetune", seed=1, init_seed=1, order_seed=1), itertools.count(1)
    whole = drawn(sent)
    ResultStore(context.results).folder(sent["key"]).rename(tmp_path / "whole")
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(setup.interruption, "preempted", lambda work, signalled: lambda: next(asked) >= 4)
        drawn(sent)
    resumed = drawn(sent)
    record = ResultStore(context.results).record(sent["key"])
    assert record is not None and 0 < record["facts"]["resumed_from"] < 8
    assert resumed["logits"] == whole["logits"] and resumed["subset"] == whole["subset"]


def test_without_crossed_seeds_the_job_names_all_streams() -> None:
    assert streams.of_cell("k", {"seed": 3}) == streams.Streams(init="k", order="k")


def test_streams_of_crossed_seeds_depend_on_all_else() -> None:
    spec = {"seed": 0, "init_seed": 0, "order_seed": 0, "task": "a"}
    one, other = streams.of_cell("k", spec), streams.of_cell("k", {**spec, "task": "b"})
    assert one.init != other.init and one.order != other.order and one.init != one.order
