"""Finds the visual words of a source: an auto-encoder's features, and the patients nearest by them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from refers_bench import identity, plugins
from refers_bench.data.augment import Augment
from refers_bench.data.batches import RadiographSource
from refers_bench.data.visual_words import discovered, frontal
from refers_bench.errors import DataError
from refers_bench.jobs import setup
from refers_bench.jobs.pretrain import usable_rows
from refers_bench.jobs.record import Record
from refers_bench.nets.auto_encoder import AutoEncoder
from refers_bench.store import schemas
from refers_bench.store.context import JobContext
from refers_bench.store.plan import source_parts
from refers_bench.store.results import ResultStore
from refers_bench.training.precision import seed_global_generators

#: Training constants that are parameters of the method: ``feature_steps`` and so on.
OWN = ("steps", "batch_size", "learning_rate", "schedule")
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


def run(job: Mapping[str, Any], context: JobContext) -> None:
    """Find the words of a source, or of the union of several, and publish ``words.parquet``, history and record.

    Raises:
        DataError: fewer training patients than words, no prepared images, or places that do not fit.
        NotFiniteLoss: a loss became NaN or infinite.
        StorageError: results cannot be written.
    """
    key, spec = job["key"], job["spec"]
    store = ResultStore(context.results)
    record, device = Record(job, store, context), setup.start(context)
    settings = plugins.load("method", spec["method"]).Params(**spec["discovery"])
    images = setup.open_source(context, spec)
    rows, dropped = usable_rows(images.index, needs=frozenset(), task="")
    rows = frontal(rows)
    train = rows[rows["split"] == "train"]
    if len(train) < settings.words:
        found = f"{len(train)} training patients with a frontal radiograph"
        allowed = f"at least {settings.words}: each visual word needs a reference patient of its own"
        raise DataError(found, allowed=allowed, path=context.prepared(source_parts(spec)[0]["prepare"]))
    augment = Augment(
        size=settings.feature_size, channels=1, mean=(0.0,), std=(1.0,), crop="none", flip_probability=0.0
    )
    how: dict[str, Any] = {"augment": augment, "device": device, "key": key}
    no_labels = np.zeros((len(rows), 0), np.float32)
    source = RadiographSource(images.images_NHW, rows["place"].to_numpy(), no_labels, **how)
    training = RadiographSource(images.images_NHW, train["place"].to_numpy(), no_labels[: len(train)], **how)
    seed_global_generators(identity.seed(key, "init"))
    model = AutoEncoder(size=settings.feature_size, width=settings.features).to(device)
    named = {name: getattr(settings, f"feature_{name}") for name in OWN}
    section = {**TRAINING, **named}
    work = store.work_folder(key)
    outcome = setup.trained(model, section, key=key, work=work, context=context, source=training, losses=model.losses)
    words = discovered(
        rows,
        np.concatenate(setup.outputs(model, source, of=model.features)),
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
        "data_digest": images.digest,
    }
    with setup.published(record, outcome, facts) as stage:
        schemas.write(stage / "words.parquet", words, "words")
