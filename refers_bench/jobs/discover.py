"""Finds the visual words of a source: an auto-encoder's features, and the patients nearest by them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch

from refers_bench import identity, plugins
from refers_bench.data.augment import Augment
from refers_bench.data.batches import RadiographSource
from refers_bench.data.visual_words import discovered, frontal
from refers_bench.errors import DataError
from refers_bench.jobs.pretrain import usable_rows
from refers_bench.jobs.record import Record
from refers_bench.jobs.roots import prepared_folder
from refers_bench.jobs.setup import open_prepared, outcome_facts, start, trained, write_history
from refers_bench.nets.auto_encoder import AutoEncoder
from refers_bench.store import schemas
from refers_bench.store.context import JobContext
from refers_bench.store.results import ResultStore
from refers_bench.training.seeding import seed_global_generators

#: How the auto-encoder is trained besides its parameters: as officially (Adam, no decay), or as everywhere here.
TRAINING: Mapping[str, Any] = {
    "optimizer": "adam",
    "momentum": 0.9,
    "weight_decay": 0.0,
    "decay_rule": "no_norm_bias",
    "warmup_steps": 0,
    "clip_norm": 0.0,
    "precision": "fp32",
    "accumulate": 1,
    "validate_every": 0,
}
#: Radiographs per forward pass of the finished auto-encoder.
FEATURE_BATCH = 64


def run(job: Mapping[str, Any], context: JobContext) -> None:
    """Find the words of a source and publish ``words.parquet``, history and record.

    Raises:
        DataError: fewer training patients than words, no prepared images, or places that do not fit.
        NotFiniteLoss: a loss became NaN or infinite.
        StorageError: results cannot be written.
    """
    key, spec = job["key"], job["spec"]
    settings, record = plugins.load("method", spec["method"]).Params(**spec["discovery"]), Record.start(job, context)
    store, device = ResultStore(context.results), start(context)
    images = open_prepared(context, spec["source"]["prepare"])
    rows, dropped = usable_rows(images.index, needs=frozenset(), task="")
    rows = frontal(rows)
    size = settings.feature_size
    source = RadiographSource(
        images.images_NHW,
        rows["place"].to_numpy(),
        np.zeros((len(rows), 0), np.float32),
        augment=Augment(size=size, channels=1, mean=(0.0,), std=(1.0,), crop="none", flip_probability=0.0),
        device=device,
        key=key,
    )
    if len(train := rows[rows["split"] == "train"]) < settings.words:
        raise DataError(
            f"{len(train)} training patients with a frontal radiograph",
            allowed=f"at least {settings.words}: each visual word needs a reference patient of its own",
            path=prepared_folder(context, spec["source"]["prepare"]),
        )
    seed_global_generators(identity.seed(key, "init"))
    model = AutoEncoder(size=size, width=settings.features).to(device)
    section = {
        **TRAINING,
        "steps": settings.feature_steps,
        "batch_size": settings.feature_batch_size,
        "learning_rate": settings.feature_learning_rate,
        "schedule": settings.feature_schedule,
    }
    outcome = trained(
        model,
        section,
        key=key,
        work=store.work_folder(key),
        context=context,
        source=_training_part(source, rows),
        losses=model.losses,
        validate=None,
        metric="",
        higher_is_better=False,
    )
    words = discovered(
        rows,
        _features(model, source),
        rng=np.random.default_rng(identity.seed(key, "words")),
        scales=(settings.smallest_scale, settings.largest_scale),
        distance=settings.side / 8,
        **{name: getattr(settings, name) for name in ("words", "patients", "val_patients", "side", "jitter", "border")},
    )
    facts = {
        "words": settings.words,
        "crops": {split: int((words["split"] == split).sum()) for split in ("train", "val")},
        "patients": {split: int((rows["split"] == split).sum()) for split in ("train", "val")},
        "dropped": dropped,
        "data_digest": images.meta["digest"],
        **outcome_facts(outcome),
    }
    with store.publish(key) as stage:
        schemas.write(stage / "words.parquet", words, "words")
        write_history(stage / "history.parquet", outcome)
        record.write(stage, facts=facts)


def _training_part(source: RadiographSource, rows: pd.DataFrame) -> RadiographSource:
    """The same source without the validation patients."""
    train = (rows["split"] == "train").to_numpy()
    return RadiographSource(
        source.images_NHW,
        source.places[train],
        np.zeros((int(train.sum()), 0), np.float32),
        augment=source.augment,
        device=source.device,
        key=source.key,
    )


@torch.no_grad()
def _features(model: AutoEncoder, source: RadiographSource) -> np.ndarray:
    model.eval()
    parts = [
        model.features(batch.images_BCHW).float().cpu().numpy() for batch in source.fixed(batch_size=FEATURE_BATCH)
    ]
    return np.concatenate(parts)
