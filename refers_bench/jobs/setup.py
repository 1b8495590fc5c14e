"""Gives every job that trains what it needs first: a device, its prepared images, an encoder."""

from __future__ import annotations

import dataclasses
import os
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from refers_bench import plugins
from refers_bench.data.batches import generator_of
from refers_bench.data.prefetch import Prefetch
from refers_bench.data.prepare import PreparedImages
from refers_bench.errors import UserError
from refers_bench.jobs import interruption, memory
from refers_bench.jobs.roots import prepared_folder
from refers_bench.nets import distributed
from refers_bench.nets.foreign_layouts import Layout
from refers_bench.nets.parts import Counts, no_counts, split
from refers_bench.plugins import INDEX_COLUMNS, Method
from refers_bench.store import schemas
from refers_bench.store.context import JobContext
from refers_bench.training import arithmetic, weight_files
from refers_bench.training.checkpoints import Coverage
from refers_bench.training.loop import Outcome, train
from refers_bench.training.precision import be_deterministic
from refers_bench.training.progress import ProgressFile
from refers_bench.training.sections import rules
from refers_bench.training.seeding import seed_global_generators

#: Files of a job's work folder: the resumable state, and what a progress view reads.
STATE, PROGRESS = "state.safetensors", "progress.json"

#: Least share of an encoder's tensors that initial weights must fill.
INITIAL_COVERAGE = 0.9

#: Seconds between saves of a training's resumable state.
SAVE_VARIABLE, SAVE_EVERY_S = "REFERS_BENCH_SAVE_SECONDS", 30.0


def start(context: JobContext) -> torch.device:
    """Set threads and determinism; returns the device.

    Raises:
        UserError: the arithmetic asked for is not to be had.
    """
    arithmetic.check(context.device)
    torch.set_num_threads(context.threads)
    be_deterministic()
    device = torch.device(context.device)
    memory.free(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    return device


def save_every_s() -> float:
    """Seconds between saves of the resumable state, from the environment or 30."""
    return float(os.environ.get(SAVE_VARIABLE, SAVE_EVERY_S))


def trained(
    model: nn.Module,
    section: Mapping[str, Any],
    *,
    key: str,
    work: Path,
    context: JobContext,
    source: Any,
    losses: Callable[[Any], Mapping[str, Tensor]],
    validate: Callable[[], Mapping[str, float]] | None,
    metric: str,
    higher_is_better: bool,
    parts: str = "examples",
    counts: Counts = no_counts,
) -> Outcome:
    """Train a model as a protocol's section says, from its resumable state where there is one.

    Args:
        model: trained in place; ends with the chosen weights.
        section: `pretrain` or `finetune` of a protocol.
        key: of the job; names every random stream.
        work: folder of the resumable state and the progress.
        context: the device, and in how many parts a batch is processed.
        source: draws the batch of a step.
        losses: batch -> named losses; in each of several processes of its share of the batch.
        validate: named metrics of the current weights; None for none.
        metric: the one that chooses the weights; '' keeps the last ones.
        higher_is_better: whether a higher metric is a better one.
        parts: how batches may be cut; see `refers_bench.plugins.Method`.
        counts: batch -> items that losses are means over, where these are not its examples.

    Raises:
        Interrupted: a signal told it to make room; the state is saved.
        UserError: parts asked for that the losses do not allow.
        NotFiniteLoss: a loss became NaN or infinite.
        StorageError: the state cannot be written.
    """
    rule = rules(section, model, metric=metric, higher_is_better=higher_is_better, save_every_s=save_every_s())
    device, rank, world = torch.device(context.device), distributed.rank(), distributed.world()
    count, after = memory.parts_of(
        context, work / STATE, batch=-(-section["batch_size"] // (world * section["accumulate"])), how=parts
    )
    settings = dataclasses.replace(rule.settings, parts=count, split=parts != "features", after=after)
    if parts == "features":
        model.parts = count  # type: ignore[assignment]

    def drawn(step: int) -> Any:
        # All processes draw the whole batch from the same names, and each keeps its rows: equal for any number of them.
        batch = source.draw(step, batch_size=section["batch_size"])
        batch = batch if world == 1 else list(split(batch, world))[rank][0]
        prepared = getattr(model, "prepared", None)
        if prepared is None:
            return batch
        return prepared(batch, generator_of(key, "distortion", step, *([rank] if rank else [])))

    with (
        interruption.caught() as signalled,
        Prefetch(drawn, steps=section["steps"], ahead=device.type == "cuda", device=device) as draw,
    ):
        return train(
            model,
            key=key,
            settings=settings,
            optimizer=rule.optimizer,
            factor=rule.factor,
            losses=losses,
            draw=draw,
            validate=validate,
            state_path=work / STATE,
            device=device,
            counts=counts,
            progress=(lambda _: None) if rank else ProgressFile(work / PROGRESS, device=device),
            interrupted=interruption.told(work, signalled),
        )


def open_prepared(context: JobContext, key: str) -> PreparedImages:
    """The prepared images of a prepare job; their rows get their place in the store as column ``place``."""
    prepared = PreparedImages.open(prepared_folder(context, key))
    index = prepared.index.assign(place=np.arange(len(prepared.index)))
    return PreparedImages(images_NHW=prepared.images_NHW, index=index, meta=prepared.meta)


def rows_of_task(index: pd.DataFrame, task: str) -> pd.DataFrame:
    """Rows with at least one known label of a task."""
    columns = [name for name in index.columns if name not in INDEX_COLUMNS and name.startswith(f"{task}:")]
    return index[index[columns].notna().any(axis=1)]


def build_encoder(method: Method, spec: Mapping[str, Any], *, seed: int) -> nn.Module:
    """The method's encoder with random weights drawn from `seed`, on the CPU: equal on every device."""
    seed_global_generators(seed)
    encoder: nn.Module = method.build_encoder(method.Params(**spec["params"]), spec["network"], spec["image"])
    return encoder


def load_image_weights(
    encoder: nn.Module, network: Mapping[str, Any], context: JobContext
) -> tuple[Coverage, Layout] | None:
    """Fill an encoder from anybody's ImageNet weights where the protocol asks for it (``init: imagenet``).

    The paper's position projection, which no other network has, starts as the addition that the weights know.

    Returns:
        What was filled from which layout; None for random weights.

    Raises:
        UserError: the data root with the file is not set or holds no such file.
        DataError: unknown layout, or weights that do not fit the network.
    """
    if network["init"] == "random":
        return None
    path = Path(context.roots.get(network["init_path_name"], ""))
    if not path.is_file():
        raise UserError(
            f"no initial weights: data root '{network['init_path_name']}' names no file",
            allowed="the path of a weight file such as ViT-B_16.npz, or init: random",
            path=path,
        )
    return weight_files.load(encoder, path, minimum=INITIAL_COVERAGE)


def initial_fact(loaded: tuple[Coverage, Layout] | None) -> str:
    """What a record says of the weights that a pre-training started from."""
    if loaded is None:
        return "random"
    coverage, layout = loaded
    given = f"{len(coverage.loaded) - len(coverage.derived)} tensors given"
    derived = f"{len(coverage.derived)} derived from them" if coverage.derived else ""
    return "; ".join(text for text in (given, derived, layout.remark) if text)


def load_method(spec: Mapping[str, Any]) -> tuple[Method, Any]:
    """The method of a specification and its parameters."""
    method: Method = plugins.load("method", spec["method"])
    return method, method.Params(**spec["params"])


def outcome_facts(outcome: Outcome) -> dict[str, Any]:
    """What a record says of a training."""
    return {
        "steps": outcome.steps,
        "best_step": outcome.best_step,
        "best_value": outcome.best_value,
        "stopped_early": outcome.stopped_early,
        "resumed_from": outcome.resumed_from,
        "skipped_updates": outcome.skipped,
        "images_per_s": round(outcome.images_per_s, 2),
        "train_s": round(outcome.train_s, 3),
        "validations": len(outcome.validations),
        # The first one may pay for what a device does once.
        "validation_s": round(statistics.median(outcome.validations), 4) if outcome.validations else None,
        **memory.facts(outcome),
    }


def write_history(path: Path, outcome: Outcome) -> None:
    """Loss curves and throughput as Parquet."""
    schemas.write(path, pd.DataFrame(outcome.history, columns=["step", "name", "value"]), "history")
