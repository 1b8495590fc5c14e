"""Pre-trains an encoder: source studies in, encoder weights out."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from refers_bench import identity
from refers_bench.data.augment import Augment
from refers_bench.data.batches import StudyBatch, StudySource
from refers_bench.data.prepare import PreparedImages
from refers_bench.data.visual_words import CropSource
from refers_bench.errors import DataError
from refers_bench.files import publish_bytes
from refers_bench.jobs import parallel
from refers_bench.jobs.record import Record
from refers_bench.jobs.reports import Tokenizers, tokenizers
from refers_bench.jobs.roots import prepared_folder
from refers_bench.jobs.setup import (
    build_encoder,
    initial_fact,
    load_image_weights,
    load_method,
    open_prepared,
    outcome_facts,
    rows_of_task,
    start,
    trained,
    write_history,
)
from refers_bench.nets import distributed
from refers_bench.nets.facts import SourceFacts
from refers_bench.nets.parts import no_counts
from refers_bench.plugins import INDEX_COLUMNS, Method
from refers_bench.store import schemas
from refers_bench.store.context import JobContext
from refers_bench.store.results import ResultStore
from refers_bench.training.checkpoints import publish_tensors


def run(job: Mapping[str, Any], context: JobContext) -> None:
    """Pre-train one method on one source, in as many processes as its protocol says.

    Raises:
        UserError: more processes than GPUs.
        DataError: the source has no study that the method can use, or prepared images are missing.
        NotFiniteLoss: a loss became NaN or infinite.
        StorageError: results cannot be written.
    """
    processes = job["spec"]["pretrain"]["processes"]
    if processes > 1 and not parallel.inside():
        parallel.launched(job, context, processes=processes)
    else:
        pretrain(job, context)


def pretrain(job: Mapping[str, Any], context: JobContext) -> None:
    """Pre-train in this process (one of several, perhaps); the first publishes checkpoint, history and record.

    Raises:
        DataError: the source has no study that the method can use, or prepared images are missing.
        NotFiniteLoss: a loss became NaN or infinite.
        StorageError: results cannot be written.
    """
    key, spec, section = job["key"], job["spec"], job["spec"]["pretrain"]
    record, store, device = Record.start(job, context), ResultStore(context.results), start(context)
    method, params = load_method(spec)

    # 1. The studies: training and validation splits only; a patient of the test split is never seen.
    images = open_prepared(context, spec["source"]["prepare"])
    rows, dropped = usable_rows(images.index, needs=method.needs, task=spec["source"]["task"])
    train_rows, val_rows = rows[rows["split"] == "train"], rows[rows["split"] == "val"]
    _check_some(train_rows, method.needs, spec=spec, context=context)

    # 2. Tokenizers from the training reports, and what networks must know of the source.
    words = tokenizers(_texts(train_rows), section, context) if "reports" in method.needs else None
    classes = classes_of(images.index, spec["source"]["task"]) if "labels" in method.needs else ()
    source_facts = _source_facts(words, classes, section, radiographs=len(train_rows))

    # 3. Encoder and objective, from one seed.
    encoder = build_encoder(method, spec, seed=identity.seed(key, "init"))
    initial = load_image_weights(encoder, spec["network"], context)
    objective: nn.Module = _objective_of(method)(
        params, source_facts, spec["network"], spec["image"], section, encoder
    ).to(device)

    # 4. Batches of step t, and the same validation batches every time: of studies, or of crops that show visual words.
    if "discover" in spec:
        crops = schemas.read(store.folder(spec["discover"]) / "words.parquet", "words")
        train_rows, val_rows = crops[crops["split"] == "train"], crops[crops["split"] == "val"]
        source_of: Callable[..., Any] = crop_sources(images, spec)
    else:
        source_of = study_sources(images, spec, method=method, params=params, words=words, classes=classes)
    training = source_of(train_rows, device=device, key=key)
    validation = source_of(val_rows, device=device, key=key) if len(val_rows) else None
    select = section["select"] if validation else "last"

    # 5. Train: named losses in, the chosen weights out.
    forward = DistributedDataParallel(objective, find_unused_parameters=True) if distributed.world() > 1 else objective
    outcome = trained(
        objective,
        section,
        key=key,
        work=store.work_folder(key),
        context=context,
        source=training,
        losses=forward,
        validate=validator(objective, validation, batch_size=section["batch_size"]) if validation else None,
        metric="val/loss" if select == "best_validation" else "",
        higher_is_better=False,
        parts=method.parts,
        counts=getattr(objective, "counts", no_counts),
    )

    # 6. Publish the encoder, the tokenizer, the curves and the record: by one process.
    if distributed.rank():
        return
    facts = {
        "examples": {"train": len(training), "val": len(validation) if validation else 0},
        "patients": {"train": int(train_rows["patient_id"].nunique()), "val": int(val_rows["patient_id"].nunique())},
        "dropped": dropped,
        "classes": list(classes),
        "vocabulary": source_facts.vocabulary,
        "selected": select,
        "initial_weights": initial_fact(initial),
        "data_digest": images.meta["digest"],
        **outcome_facts(outcome),
    }
    with store.publish(key) as stage:
        publish_tensors(stage / "checkpoint.safetensors", encoder.state_dict())
        if words:
            publish_bytes(stage / "text.json", words.reports.to_json().encode())
        write_history(stage / "history.parquet", outcome)
        record.write(stage, facts=facts)


def _check_some(rows: pd.DataFrame, needs: frozenset[str], *, spec: Mapping[str, Any], context: JobContext) -> None:
    if rows.empty:
        needed, source = ", ".join(sorted(needs)) or "images", spec["source"]
        raise DataError(
            f"no training study of '{source['dataset']}' has what '{spec['method']}' needs ({needed})",
            allowed="a source with them",
            path=prepared_folder(context, source["prepare"]),
        )


def _objective_of(method: Method) -> Callable[..., nn.Module]:
    if method.build_objective is None:
        raise ValueError(f"{method.label} has no pre-training")
    return method.build_objective


def _source_facts(
    words: Tokenizers | None, classes: tuple[str, ...], section: Mapping[str, Any], *, radiographs: int
) -> SourceFacts:
    if words is None:
        return SourceFacts(radiographs=radiographs, classes=classes)
    return SourceFacts(
        radiographs=radiographs,
        classes=classes,
        vocabulary=words.reports.vocabulary,
        max_tokens=section["text_tokens"],
        text_vocabulary=words.text.vocabulary,
        bert_path=words.bert_path,
    )


def usable_rows(index: pd.DataFrame, *, needs: frozenset[str], task: str) -> tuple[pd.DataFrame, dict[str, int]]:
    """Rows a method may be pre-trained on, and how many were left out for which reason.

    Args:
        index: of the source.
        needs: "reports": rows without text are left out; "labels": rows without a label of `task`.
        task: of the source's labels.
    """
    dropped = {}
    rows = index[index["split"].isin(["train", "val"])]
    dropped["test or unused split"] = len(index) - len(rows)
    tested = set(index.loc[index["split"] == "test", "patient_id"])
    kept = rows[~rows["patient_id"].isin(tested)]
    dropped["patient in the test split"] = len(rows) - len(kept)
    if "reports" in needs:
        rows, kept = kept, kept[kept["report"].notna() & (kept["report"].fillna("").str.strip() != "")]
        dropped["no report"] = len(rows) - len(kept)
    if "labels" in needs:
        rows, kept = kept, rows_of_task(kept, task)
        dropped["no label"] = len(rows) - len(kept)
    return kept, dropped


def classes_of(index: pd.DataFrame, task: str) -> tuple[str, ...]:
    """Classes of a task, in the index's order."""
    prefix = f"{task}:"
    return tuple(
        name.removeprefix(prefix) for name in index.columns if name not in INDEX_COLUMNS and name.startswith(prefix)
    )


def _texts(rows: pd.DataFrame) -> list[str]:
    """The report of each study once."""
    return [str(report) for report in rows.drop_duplicates("study_id")["report"]]


def crop_sources(images: PreparedImages, spec: Mapping[str, Any]) -> Callable[..., CropSource]:
    """``(rows, device, key) -> source`` of crops that show visual words."""
    return functools.partial(CropSource, images.images_NHW, augment=Augment.of(spec["image"], "pretrain_augment"))


def study_sources(images: PreparedImages, spec: Mapping[str, Any], **what: Any) -> Callable[..., StudySource]:
    """``(rows, device, key) -> source`` of studies, or of radiographs and crops of one."""
    return functools.partial(study_source, images=images, spec=spec, **what)


def study_source(
    rows: pd.DataFrame,
    *,
    images: PreparedImages,
    spec: Mapping[str, Any],
    method: Method,
    params: Any,
    words: Tokenizers | None,
    classes: tuple[str, ...],
    device: torch.device,
    key: str,
) -> StudySource:
    """Studies (or single radiographs, or crops of one, as the method looks at them) as batches."""
    section = spec["pretrain"]
    crops = method.crops(params)
    views = crops or method.views(params)
    return StudySource(
        images.images_NHW,
        rows,
        # Without reports and other views there is nothing a study adds to its radiographs.
        group="study_id" if not crops and (words or views > 1) else "image_id",
        tokenizer=words.reports if words else None,
        text_tokenizer=words.text if words else None,  # type: ignore[arg-type]
        max_tokens=section["text_tokens"],
        task=spec["source"]["task"] if classes else "",
        classes=classes,
        views=views,
        view_sampling=section["view_sampling"],
        # Crops of one radiograph are flipped each on its own, as the released code flips views.
        report_flip="official_code" if crops else section["report_flip"],
        shuffled=method.report_pairing(params) == "shuffled",
        augment=Augment.of(spec["image"], "pretrain_augment"),
        device=device,
        key=key,
    )


def validator(objective: nn.Module, source: Any, *, batch_size: int) -> Callable[[], dict[str, float]]:
    """Named losses over the validation studies, weighted by studies; drawn as in training, so they compare.

    Beside them stands what the objective `measures` of a batch, where it has such a method: figures that are no losses.
    """
    measures: Callable[[StudyBatch], Mapping[str, Tensor]] = getattr(objective, "measures", lambda batch: {})

    def validate() -> dict[str, float]:
        sums: dict[str, float] = {}
        batch: StudyBatch
        for batch in source.fixed(batch_size=batch_size):
            named = {name: loss.item() for name, loss in objective(batch).items()}
            figures = {name: value.item() for name, value in measures(batch).items()}
            for name, value in {**named, "loss": sum(named.values()), **figures}.items():
                sums[name] = sums.get(name, 0.0) + value * len(batch.images_BVCHW)
        return {f"val/{name}": value / len(source) for name, value in sums.items()}

    return validate
