"""Pre-trains an encoder: source studies in, encoder weights out."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from refers_bench import identity
from refers_bench.data.augment import Augment
from refers_bench.data.batches import StudyBatch, StudySource
from refers_bench.data.index import label_columns, rows_of_task
from refers_bench.data.joined import SourceImages
from refers_bench.data.visual_words import CropSource
from refers_bench.errors import DataError
from refers_bench.files import publish_bytes
from refers_bench.jobs import parallel, setup
from refers_bench.jobs.record import Record
from refers_bench.jobs.reports import Tokenizers, tokenizers
from refers_bench.nets import distributed
from refers_bench.nets.facts import SourceFacts
from refers_bench.nets.parts import no_counts
from refers_bench.plugins import Method
from refers_bench.store import schemas
from refers_bench.store.context import JobContext
from refers_bench.store.plan import source_name, source_parts, source_task
from refers_bench.store.results import ResultStore
from refers_bench.training.checkpoints import publish_tensors


def run(job: Mapping[str, Any], context: JobContext) -> None:
    """Pre-train one method on one source, or on the union of several, in as many processes as its protocol says.

    Each of several processes runs this recipe; the first publishes checkpoint, history and record.

    Raises:
        UserError: more processes than GPUs.
        DataError: the source has no study that the method can use, or prepared images are missing.
        NotFiniteLoss: a loss became NaN or infinite.
        StorageError: results cannot be written.
    """
    key, spec, section = job["key"], job["spec"], job["spec"]["pretrain"]
    if section["processes"] > 1 and not parallel.inside():
        parallel.launched(job, context, processes=section["processes"])
        return
    store = ResultStore(context.results)
    record, device = Record(job, store, context), setup.start(context)
    method, params = setup.load_method(spec)
    assert method.build_objective is not None, f"{method.label} has no pre-training"

    # 1. The studies: training and validation splits only; a patient of the test split is never seen.
    images = setup.open_source(context, spec)
    rows, dropped = usable_rows(images.index, needs=method.needs, task=source_task(spec))

    # 2. Tokenizers from the training reports, and what networks must know of the source.
    words, known = known_of_source(rows, needs=method.needs, spec=spec, context=context)

    # 3. Encoder and objective, from one seed.
    encoder = setup.build_encoder(method, spec, seed=identity.seed(key, "init"))
    initial = setup.load_image_weights(encoder, spec["network"], context)
    objective = method.build_objective(params, known, spec["network"], spec["image"], section, encoder).to(device)

    # 4. Batches of step t, and the same validation batches every time.
    how = {"method": method, "params": params, "words": words, "classes": known.classes, "device": device, "key": key}
    parts, sources = sources_of(rows, spec, context, images=images, **how)
    select, batch_size = section["select"] if "val" in sources else "last", section["batch_size"]
    validate = validator(objective, sources["val"], batch_size=batch_size) if "val" in sources else None

    # 5. Train: named losses in, the chosen weights out.
    outcome = setup.trained(
        objective,
        section,
        key=key,
        work=store.work_folder(key),
        context=context,
        source=sources["train"],
        validate=validate,
        metric="val/loss" if select == "best_validation" else "",
        parts=method.parts,
        counts=getattr(objective, "counts", no_counts),
    )

    # 6. Publish the encoder, the tokenizer, the curves and the record: by one process.
    if distributed.rank():
        return
    facts = {
        "examples": {split: len(sources.get(split, ())) for split in parts},
        "patients": {split: part["patient_id"].nunique() for split, part in parts.items()},
        "dropped": dropped,
        "classes": list(known.classes),
        "vocabulary": known.vocabulary,
        "selected": select,
        "initial_weights": setup.initial_fact(initial),
        "data_digest": images.digest,
    }
    with setup.published(record, outcome, facts) as stage:
        publish_tensors(stage / "checkpoint.safetensors", encoder.state_dict())
        if words:
            publish_bytes(stage / "text.json", words.reports.to_json().encode())


def known_of_source(
    rows: pd.DataFrame, *, needs: frozenset[str], spec: Mapping[str, Any], context: JobContext
) -> tuple[Tokenizers | None, SourceFacts]:
    """Tokenizers of the training reports, for a method that needs any, and what networks must know of the source.

    Raises:
        DataError: no training study.
    """
    rows = rows[rows["split"] == "train"]
    if rows.empty:
        wanted, (first, *_) = ", ".join(sorted(needs)) or "images", source_parts(spec)
        found = f"no training study of '{source_name(spec)}' has what '{spec['method']}' needs ({wanted})"
        raise DataError(found, allowed="a source with them", path=context.prepared(first["prepare"]))
    section, task = spec["pretrain"], source_task(spec)
    labels = label_columns(rows, task) if "labels" in needs else []
    known = SourceFacts(
        radiographs=len(rows),
        studies=rows["study_id"].nunique(),
        classes=tuple(name.removeprefix(f"{task}:") for name in labels),
    )
    if "reports" not in needs:
        return None, known
    words = tokenizers(rows.drop_duplicates("study_id")["report"].astype(str), section, context)
    sizes: dict[str, Any] = {"vocabulary": words.reports.vocabulary, "text_vocabulary": words.text.vocabulary}
    sizes |= {"continues": words.reports.continues, "pieces": words.text.pieces()}
    sizes |= {"max_tokens": section["text_tokens"], "bert_path": words.bert_path}
    return words, replace(known, **sizes)


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


def sources_of(
    rows: pd.DataFrame, spec: Mapping[str, Any], context: JobContext, *, images: SourceImages, **how: Any
) -> tuple[dict[str, pd.DataFrame], dict[str, Any]]:
    """Split -> rows, and split -> batches of studies, or of crops that show visual words; see `study_source`."""
    images = replace(images, images_NHW=setup.near(images.images_NHW, [rows], context))
    if "discover" in spec:
        rows = schemas.read(ResultStore(context.results).file(spec["discover"], "words.parquet"), "words")
        augment = Augment.of(spec["image"], "pretrain_augment")
        where = {name: how[name] for name in ("device", "key")}
        source_of: Callable[..., Any] = functools.partial(CropSource, images.images_NHW, augment=augment, **where)
    else:
        source_of = functools.partial(study_source, images=images, spec=spec, **how)
    parts = {split: rows[rows["split"] == split] for split in ("train", "val")}
    return parts, {split: source_of(part) for split, part in parts.items() if len(part)}


def study_source(
    rows: pd.DataFrame,
    *,
    images: SourceImages,
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
    views, magnification = crops or method.views(params), method.magnification(params)
    return StudySource(
        images.images_NHW,
        rows,
        # Without reports and other views there is nothing a study adds to its radiographs.
        group="study_id" if not crops and (words or views > 1) else "image_id",
        tokenizer=words.reports if words else None,
        text_tokenizer=words.text if words else None,  # type: ignore[arg-type]
        max_tokens=section["text_tokens"],
        task=source_task(spec) if classes else "",
        classes=classes,
        views=views,
        view_sampling=section["view_sampling"],
        # Crops of one radiograph are flipped each on its own, as the released code flips views.
        report_flip="official_code" if crops else section["report_flip"],
        shuffled=method.report_pairing(params) == "shuffled",
        report_text=method.report_text(params),  # type: ignore[arg-type]
        augment=Augment.of({**spec["image"], "size": spec["image"]["size"] * magnification}, "pretrain_augment"),
        device=device,
        key=key,
    )


def validator(objective: nn.Module, source: Any, *, batch_size: int) -> Callable[[], dict[str, float]]:
    """Named losses over the validation studies, weighted by studies; drawn as in training, so they compare.

    Beside them stands what the objective `measures` of a batch, where it has such a method: figures that are no losses.
    """
    measures: Callable[[StudyBatch], Mapping[str, Tensor]] = getattr(objective, "measures", lambda batch: {})

    def validate() -> dict[str, float]:
        found: list[tuple[int, dict[str, Tensor], dict[str, Tensor]]] = []
        batch: StudyBatch
        for batch in source.fixed(batch_size=batch_size):
            found.append((len(batch.images_BVCHW), dict(objective(batch)), dict(measures(batch))))
        # Read only now: the device is set its next batch while it computes one.
        sums: dict[str, float] = {}
        for count, losses, figures in found:
            named = {name: loss.item() for name, loss in losses.items()}
            for name, value in {
                **named,
                "loss": sum(named.values()),
                **{name: value.item() for name, value in figures.items()},
            }.items():
                sums[name] = sums.get(name, 0.0) + value * count
        return {f"val/{name}": value / len(source) for name, value in sums.items()}

    return validate
