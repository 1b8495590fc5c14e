"""Gives every job that trains what it needs first: a device, its prepared images, an encoder."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import math
import os
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from refers_bench import identity, plugins
from refers_bench.data.batches import generator_of
from refers_bench.data.joined import SourceImages, joined
from refers_bench.data.pixels import Pixels
from refers_bench.data.prefetch import Prefetch
from refers_bench.data.prepare import PreparedImages
from refers_bench.data.transfer import OnDevice, arriving, kept
from refers_bench.errors import DataError, UserError
from refers_bench.jobs import interruption
from refers_bench.jobs.record import Record
from refers_bench.nets import distributed
from refers_bench.nets.foreign_layouts import Layout
from refers_bench.nets.parts import Counts, no_counts
from refers_bench.plugins import Method
from refers_bench.store import schemas
from refers_bench.store.context import JobContext
from refers_bench.store.plan import source_parts
from refers_bench.store.results import ResultStore
from refers_bench.training import weight_files
from refers_bench.training.checkpoints import Coverage, load_weights, read_tensors
from refers_bench.training.compilation import compile_networks
from refers_bench.training.loop import Outcome, Training
from refers_bench.training.precision import be_deterministic, check_arithmetic, seed_global_generators
from refers_bench.training.progress import ProgressFile
from refers_bench.training.sections import rules
from refers_bench.training.state import saved_micro_batches

#: Files of a job's work folder: the resumable state, and what a progress view reads.
STATE, PROGRESS = "state.safetensors", "progress.json"

#: Least share of an encoder's tensors that initial weights must fill.
INITIAL_COVERAGE = 0.9

#: Radiographs per forward pass of an evaluation: bounds memory, and is part of the numerics.
EVALUATION_BATCH = 64

#: Seconds between saves of a training's resumable state.
SAVE_VARIABLE, SAVE_EVERY_S = "REFERS_BENCH_SAVE_SECONDS", 30.0


def start(context: JobContext) -> torch.device:
    """Set threads and determinism, and free what an earlier job of this worker left reserved; returns the device.

    Raises:
        UserError: the arithmetic asked for is not available.
    """
    check_arithmetic(context.device)
    torch.set_num_threads(context.threads)
    be_deterministic()
    device = torch.device(context.device)
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    return device


def micro_batches_of(context: JobContext, state: Path, *, batch: int, parts: str) -> tuple[int, str]:
    """Number of micro-batches, and the failure that raised it ('' where the user asked for it).

    A resumed training keeps the number of its saved state, unless more are asked for: whoever resumes it need not know
    that memory ran out before.

    Args:
        context: holds the number that is asked for.
        state: file of the resumable state.
        batch: examples that one process has of a batch.
        parts: see `refers_bench.plugins.Method`.

    Raises:
        UserError: more than one micro-batch of a batch that must be seen as a whole.
    """
    # Equally large ones, the last perhaps smaller.
    wanted = math.ceil(batch / math.ceil(batch / min(context.accumulate, batch)))
    saved, after = saved_micro_batches(state)
    if wanted > 1 and not parts:
        found = f"{context.accumulate} micro-batches asked for by a method whose losses mix the examples of a batch"
        raise UserError(found, allowed="accumulate: 1; or a method whose field `parts` states how to split batches")
    if saved > wanted:
        return saved, after
    return wanted, context.after or (after if saved == wanted else "")


def trained(
    model: nn.Module,
    section: Mapping[str, Any],
    *,
    key: str,
    work: Path,
    context: JobContext,
    source: Any,
    losses: Callable[[Any], Mapping[str, Tensor]] | None = None,
    validate: Callable[[], Mapping[str, float]] | None = None,
    parts: str = "examples",
    counts: Counts = no_counts,
    **chosen_by: Any,
) -> Outcome:
    """Train a model as a protocol's section says, from its resumable state where there is one.

    Args:
        model: trained in place; ends with the chosen weights.
        section: `pretrain` or `finetune` of a protocol.
        key: of the job; names every random stream.
        work: folder of the resumable state and the progress.
        context: the device, and the number of micro-batches.
        source: draws the batch of a step.
        losses: batch -> named losses; None for the model's forward pass, in each of several processes on its share of
            the batch.
        validate: named metrics of the current weights; None for none.
        parts: how batches may be processed in micro-batches; see `refers_bench.plugins.Method`.
        counts: batch -> items that losses are means over, where these are not its examples.
        **chosen_by: `metric` and `higher_is_better` of the training settings; without them the last weights are kept.

    Raises:
        Interrupted: preempted by a signal; the state is saved.
        UserError: more micro-batches than the losses allow.
        NotFiniteLoss: a loss became NaN or infinite.
        StorageError: the state cannot be written.
    """
    device, rank, world = torch.device(context.device), distributed.rank(), distributed.world()
    size, whole = -(-section["batch_size"] // (world * section["accumulate"])), section["batch_size"]
    micro_batches, after = micro_batches_of(context, work / STATE, batch=size, parts=parts)
    if parts == "features":
        model.parts = micro_batches  # type: ignore[assignment]
    if context.compile:
        compile_networks(model)
    if world > 1:
        losses = DistributedDataParallel(model, find_unused_parameters=True)
    save_every_s = float(os.environ.get(SAVE_VARIABLE, SAVE_EVERY_S))
    more = {"in_objective": parts == "features", "micro_batches": micro_batches, "after": after}
    rule = rules(section, model, **chosen_by, **more, save_every_s=save_every_s)

    def drawn(step: int) -> Any:
        # All processes draw the numbers of the whole batch from the same names: equal for any number of them.
        batch = source.draw(step, batch_size=whole, part=(rank, world))
        if not hasattr(model, "prepared"):
            return batch
        return model.prepared(batch, generator_of(key, "distortion", step, *([rank] if rank else [])))  # type: ignore[operator]

    with (
        interruption.caught() as signalled,
        Prefetch(drawn, steps=section["steps"], ahead=device.type == "cuda", device=device) as draw,
    ):
        return Training(
            model,
            key=key,
            settings=rule.settings,
            optimizer=rule.optimizer,
            factor=rule.factor,
            losses=losses or model,
            draw=draw,
            validate=validate,
            state_path=work / STATE,
            device=device,
            counts=counts,
            progress=(lambda _: None) if rank else ProgressFile(work / PROGRESS, device=device),
            interrupted=interruption.preempted(work, signalled),
            compiles=context.compile,
        ).run()


def open_source(context: JobContext, spec: Mapping[str, Any]) -> SourceImages:
    """The prepared images of a discovery's or pre-training's source datasets, as one source (`data.joined`)."""
    parts = source_parts(spec)
    return joined({part["dataset"]: PreparedImages.open(context.prepared(part["prepare"])) for part in parts})


def open_prepared(context: JobContext, key: str) -> PreparedImages:
    """The prepared images of a prepare job; their rows get their place in the store as column ``place``."""
    prepared = PreparedImages.open(context.prepared(key))
    return dataclasses.replace(prepared, index=prepared.index.assign(place=np.arange(len(prepared.index))))


def near(images: Pixels | OnDevice, rows: Iterable[pd.DataFrame], context: JobContext) -> Pixels | OnDevice:
    """The store, or on a GPU with room what these index rows (with ``place``) show of it, kept in the GPU's memory.

    A job that has run out of memory once leaves the images where they are.
    """
    if context.after == "cuda_oom" or isinstance(images, OnDevice):
        return images
    places = [part["place"].to_numpy(np.int64) for part in rows]
    return kept(images, np.concatenate([np.zeros(0, np.int64), *places]), torch.device(context.device))


@torch.no_grad()
def outputs(network: nn.Module, source: Any, of: Callable[[Tensor], Tensor] | None = None) -> list[NDArray[Any]]:
    """What a network gives in eval mode for all unaugmented radiographs of a source, in float32, batch by batch.

    Args:
        network: on the device.
        source: has the radiographs in order.
        of: function of the network that is wanted; None for its forward pass.
    """
    network.eval()
    found = []
    for batch in source.fixed(batch_size=EVALUATION_BATCH):
        found.append(arriving((of or network)(batch.images_BCHW).float()))
    return [arrived() for arrived in found]


def build_encoder(method: Method, spec: Mapping[str, Any], *, seed: int) -> nn.Module:
    """The method's encoder with random weights drawn from `seed`, on the CPU: equal on every device."""
    seed_global_generators(seed)
    encoder: nn.Module = method.build_encoder(method.Params(**spec["params"]), spec["network"], spec["image"])
    return encoder


def start_encoder(key: str, spec: Mapping[str, Any], context: JobContext) -> tuple[nn.Module, dict[str, Any]]:
    """An encoder, on the CPU, with the weights that its method brings or was pre-trained to; what was loaded.

    Raises:
        UserError: the data root is not set.
        DataError: no checkpoint or weights, or some that do not fit or change nothing.
    """
    method, params = load_method(spec)
    encoder = build_encoder(method, spec, seed=identity.seed(key, "init"))
    if spec.get("weights"):
        return encoder, load_brought(encoder, method, params, context)
    return encoder, load_pretrained(encoder, ResultStore(context.results), spec)


def load_pretrained(encoder: nn.Module, store: ResultStore, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Fill the encoder from its pre-training, and check that this changed it.

    Returns:
        What was loaded: names filled, and how many of them differ from the random initialisation.

    Raises:
        DataError: no checkpoint, or one that does not fit or changes nothing.
    """
    key = spec["pretrain"]
    if key is None:
        return {"from": None, "loaded": 0, "differ_from_random": 0}
    path = store.file(key, "checkpoint.safetensors")
    weights, _ = read_tensors(path)
    coverage = load_weights(encoder, weights, path=path)
    if not coverage.changed:
        raise DataError("the checkpoint equals the random initialisation", path=path)
    return {"from": key, "loaded": len(coverage.loaded), "differ_from_random": coverage.changed}


def load_brought(encoder: nn.Module, method: Method, params: Any, context: JobContext) -> dict[str, Any]:
    """Fill the encoder from the weights that the method brings, and check that this changed it.

    Returns:
        As `load_pretrained`, with the tensors that neither side has a place for.

    Raises:
        UserError: the data root is not set.
        DataError: weights that do not fit, are not finite, or change nothing.
    """
    name = method.weights(params)
    path = context.data_root(name, folder=False)
    coverage, layout = weight_files.load(encoder, path, minimum=method.coverage(params))
    if not coverage.changed:
        raise DataError("the weights equal the random initialisation", path=path)
    return {
        "from": name,
        "layout": layout.name,
        "remark": layout.remark,
        "loaded": len(coverage.loaded),
        "differ_from_random": coverage.changed,
        **{name: list(getattr(coverage, name)) for name in ("derived", "missing", "unexpected")},
    }


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
        allowed = "the path of a weight file such as ViT-B_16.npz, or init: random"
        found = f"no initial weights: data root '{network['init_path_name']}' names no file"
        raise UserError(found, allowed=allowed, path=path)
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
    counters, settings = outcome.counters, outcome.settings
    facts: dict[str, Any] = {
        "steps": counters.step,
        "best_step": counters.best_step,
        "best_value": counters.best_value,
        "stopped_early": counters.stopped,
        "resumed_from": outcome.resumed_from,
        "skipped_updates": counters.skipped,
        "images_per_s": round(counters.images_per_s, 2),
        "train_s": round(counters.seconds, 3),
        **({"compile_s": round(counters.compile_seconds, 3)} if counters.compile_seconds else {}),
        "validations": len(counters.validations),
        # The first one may pay for what a device does once.
        "validation_s": round(statistics.median(counters.validations), 4) if counters.validations else None,
    }
    if settings.micro_batches > 1:
        about = {"parts": settings.micro_batches, "after": settings.after}
        facts["accumulation"] = {**about, "batch_statistics": outcome.batch_statistics}
    return facts


@contextlib.contextmanager
def published(record: Record, outcome: Outcome, facts: Mapping[str, Any]) -> Iterator[Path]:
    """As `Record.published`, with the facts and the history (loss curves and throughput) of a training."""
    with record.published({**facts, **outcome_facts(outcome)}) as stage:
        history = pd.DataFrame(outcome.counters.history, columns=["step", "name", "value"])
        schemas.write(stage / "history.parquet", history, "history")
        yield stage
