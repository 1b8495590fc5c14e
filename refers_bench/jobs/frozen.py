"""Evaluates frozen features on one cell: by a linear probe, by nearest neighbours, or by an attentive probe."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from refers_bench import identity
from refers_bench.data.batches import AsStored, RadiographSource, labels_of
from refers_bench.data.features import CachedFeatures
from refers_bench.errors import UserError
from refers_bench.jobs import cells, finetune, heads, setup, streams
from refers_bench.jobs.cells import SCORED
from refers_bench.jobs.features import opened
from refers_bench.jobs.record import Record
from refers_bench.nets.attentive_probe import AttentiveProbe
from refers_bench.store.context import JobContext
from refers_bench.store.results import ResultStore
from refers_bench.training.heads import Group, choose, principal_axes, scores
from refers_bench.training.loop import Outcome
from refers_bench.training.neighbours import UNCHOSEN, squared_error, vote
from refers_bench.training.precision import seed_global_generators


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell, or one fold of it, and the features that it is evaluated on.

    Attributes:
        key: of the job; names the random streams (`refers_bench.jobs.streams`).
        spec: of the job.
        cached: features of all prepared images.
        rows: split -> index rows; of the training split those of the label subset.
        labels: split -> (N, K), NaN where unknown.
        context: folders and device.
    """

    key: str
    spec: Mapping[str, Any]
    cached: CachedFeatures
    rows: Mapping[str, pd.DataFrame]
    labels: Mapping[str, NDArray[np.float32]]
    context: JobContext

    def places(self, split: str) -> NDArray[np.int64]:
        """Rows of a split in the prepared index."""
        return self.rows[split]["place"].to_numpy(np.int64)


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """What an evaluation gives.

    Attributes:
        scores: split -> (N, K) of each split that is scored: logits, or shares of votes.
        facts: for the record.
        outcome: of the training, where there was one.
    """

    scores: Mapping[str, NDArray[np.float32]]
    facts: Mapping[str, Any]
    outcome: Outcome | None = None


def run(job: Mapping[str, Any], context: JobContext) -> None:
    """Evaluate one cell and publish its predictions, metrics, label subset and record, as a fine-tuning does.

    Raises:
        DataError: no training or test image of the task, no features or changed ones, no linear probe of the cell, or
            nothing to choose k by.
        UserError: heads that do not divide the features' width.
        NotFiniteLoss: a loss became NaN or infinite.
        StorageError: results cannot be written.
    """
    key, spec, store = job["key"], job["spec"], ResultStore(context.results)
    record = Record(job, store, context)
    setup.start(context)
    images = setup.open_prepared(context, spec["prepare"])
    cached = opened(spec["features"], images, context)
    rows, chosen = cells.labelled_rows(images.index, spec, context)
    labels = {split: labels_of(part, spec["task"], spec["classes"]) for split, part in rows.items()}
    cell = Cell(key=key, spec=spec, cached=cached, rows=rows, labels=labels, context=context)
    found = EVALUATIONS[spec["evaluation"]](cell)
    facts = {
        **cells.facts(rows, chosen),
        "evaluation": spec["evaluation"],
        **found.facts,
        "encoder": cached.meta["encoder"],
        "features_digest": cached.meta["digest"],
        "data_digest": images.meta["digest"],
    }
    tables = cells.scored(found.scores, rows=rows, labels=labels, classes=spec["classes"])
    with published(record, found.outcome, facts) as stage:
        cells.write(stage, tables, spec=spec, chosen=chosen)


def published(
    record: Record, outcome: Outcome | None, facts: Mapping[str, Any]
) -> contextlib.AbstractContextManager[Path]:
    """As `Record.published`, with the history of a training where there was one."""
    return setup.published(record, outcome, facts) if outcome else record.published(facts)


def linear_probe(cell: Cell) -> Evaluated:
    """Logits of the chosen linear probe of this cell."""
    head = heads.read(ResultStore(cell.context.results), cell.spec)
    linear = partial(scores, weight_KD=head.weight_KD.numpy(), bias_K=head.bias_K.numpy())
    logits = {split: linear(cell.cached.features, rows_n=cell.places(split)) for split in SCORED}
    return Evaluated(scores=logits, facts={"head": head.about})


def nearest_neighbours(cell: Cell) -> Evaluated:
    """Shares of the votes of the k nearest training images, k chosen by the mean AUC on validation."""
    section, device = cell.spec["frozen"], torch.device(cell.context.device)
    x_ND: NDArray[Any] = cell.cached.features
    group = Group(rows_n=cell.places("train"), labels_nK=cell.labels["train"])
    if section["components"]:
        mean_D, axes_DR = principal_axes(x_ND, rows_n=group.rows_n, components=section["components"], device=device)
        x_ND = scores(x_ND, weight_KD=axes_DR.T, bias_K=-mean_D @ axes_DR, device=device)
    values = section["neighbours"]
    how: dict[str, Any] = {"group": group, "k_C": values, "temperature": section["temperature"], "device": device}
    (test, reasons), (val, _) = (vote(x_ND, rows_n=cell.places(split), **how) for split in SCORED)
    rule: dict[str, Any] = {"mean_auc": heads.mean_auc, "loss": squared_error, "otherwise": UNCHOSEN}
    choice = choose(val, cell.labels["val"], candidates=values, **rule)
    # Without votes all images are scored alike: the class's AUC is one half.
    shares = {split: np.nan_to_num(found[choice.index]) for split, found in zip(SCORED, (test, val), strict=True)}
    about = heads.described(choice, values, reasons, cell.spec["classes"])
    return Evaluated(scores=shares, facts={"neighbours": {"k": int(choice.value), **about}})


def attentive_probe(cell: Cell) -> Evaluated:
    """Logits of a query that was trained on the cached tokens, as fine-tuning is: the same loop, another rate.

    Raises:
        UserError: heads that do not divide the tokens' width.
    """
    spec, device, tokens = cell.spec, torch.device(cell.context.device), cell.cached.features
    own, width = spec["frozen"], tokens.shape[-1]
    if width % own["attentive_heads"]:
        found = f"frozen.attentive_heads is {own['attentive_heads']}, and the tokens are {width} wide"
        raise UserError(found, allowed="a number of heads that divides the width")
    rates = {name: own[f"attentive_{name}"] for name in ("learning_rate", "weight_decay")}
    section = {**spec["finetune"], "optimizer": "adamw", **rates}
    names = streams.of_cell(cell.key, spec)
    seed_global_generators(identity.seed(names.init, "init"))
    probe = AttentiveProbe(width=width, classes=len(spec["classes"]), heads=own["attentive_heads"]).to(device)
    how: dict[str, Any] = {"augment": AsStored(), "device": device, "key": names.order}
    sources = {
        split: RadiographSource(tokens[:, None], part["place"].to_numpy(), cell.labels[split], **how)
        for split, part in cell.rows.items()
    }
    work = ResultStore(cell.context.results).work_folder(cell.key)
    how = {"key": names.order, "work": work, "context": cell.context, "sources": sources}
    outcome, facts = finetune.trained(probe, section, **how)
    logits = {split: finetune.predict(probe, sources[split]) for split in SCORED}
    return Evaluated(scores=logits, facts=facts, outcome=outcome)


EVALUATIONS: Mapping[str, Callable[[Cell], Evaluated]] = {
    "linear_probe": linear_probe,
    "knn": nearest_neighbours,
    "attentive_probe": attentive_probe,
}
