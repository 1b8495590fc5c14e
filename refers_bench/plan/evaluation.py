"""Adds the jobs that evaluate one row on one target: fine-tuning, frozen evaluation, cross-validation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import Any, NamedTuple

from refers_bench import identity
from refers_bench.evaluations import TRAINED
from refers_bench.manifest.schema import TargetPart
from refers_bench.plan.graph import Graph, specification
from refers_bench.plan.lock import CROSSED, Job, cell_name

#: Evaluation, or "heads" for linear probes -> constants of the section `frozen` that it depends on.
CONSTANTS: Mapping[str, tuple[str, ...]] = {
    "heads": ("components", "grid"),
    "knn": ("components", "neighbours", "temperature"),
    "attentive_probe": ("attentive_heads", "attentive_learning_rate", "attentive_weight_decay"),
}
#: Evaluation -> the readout that it needs, whatever the constants say.
READOUTS = {"attentive_probe": "tokens", "probe_then_finetune": "auto"}
#: Evaluations that begin with linear probes.
PROBED = ("linear_probe", "probe_then_finetune")
#: Evaluation -> seeds that it draws with, of those that can be crossed; on all labels there is one subset.
DRAWS: Mapping[str, tuple[str, ...]] = {
    "finetune": ("subset", "init", "order"),
    "probe_then_finetune": ("subset", "order"),
    "attentive_probe": ("subset", "init", "order"),
    "linear_probe": ("subset",),
    "knn": ("subset",),
}
#: Crossed seed -> its name in specifications: a label subset is that of the same seed in any plan.
IN_SPECIFICATIONS = {"subset": "seed", "init": "init_seed", "order": "order_seed"}
#: Evaluations that draw nothing but the label subset: on all labels, all seeds of one encoder give one result.
UNDRAWN = tuple(way for way, seeds in DRAWS.items() if seeds == ("subset",))


def published(target: TargetPart) -> Iterator[str]:
    """What a table must say of label subsets that were not drawn."""
    for name, ratio in target.subsets.items():
        yield f"{target.dataset} at {ratio * 100:g} %: the published label subset {name}, the same for all seeds"


class Result(NamedTuple):
    """Of a cell: what tells it apart from the others of its row and target, and the key of the job that gives it."""

    evaluation: str
    task: str
    label_ratio: float
    seed: int
    key: str
    crossed: tuple[int, ...]
    candidate: tuple[str, ...]


class Seeded(NamedTuple):
    """A seed, the pre-training that it starts from, and the combination that it stands for; see `lock.Cell`."""

    number: int
    encoder: Job | None
    crossed: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """A cell, or one fold of it: how it is evaluated, on which task, from which pre-training, with which own values.

    Its `training` is what its specification has in common with those of other label ratios and seeds.
    """

    name: str
    how: str
    task: str
    encoder: Job | None
    own: Mapping[str, Any]
    training: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """One row on one target.

    Attributes:
        graph: takes the jobs.
        row: its name.
        target: of the manifest.
        own: evaluation of the row whatever its columns are for; '' for theirs.
        images: job that prepares the target's images.
        seeds: each with the pre-training that it starts from.
        named: what specifications say of which dataset it is.
        training: candidate of tuning, () for the manifest's own constants -> task -> what the specifications of its
            fine-tuning have in common, with its classes.
        encoder: what the specification of features states of the encoder, besides its pre-training.
        frozen: constants of frozen evaluation.
        unavailable: why the row cannot be evaluated here.
        made: jobs that many cells share, filled here.
    """

    graph: Graph
    row: str
    target: TargetPart
    own: str
    images: Job
    seeds: tuple[Seeded, ...]
    named: Mapping[str, str]
    training: Mapping[tuple[str, ...], Mapping[str, Mapping[str, Any]]]
    encoder: Mapping[str, Any]
    frozen: Mapping[str, Any]
    unavailable: str
    made: dict[tuple[str, str, str], Job] = field(default_factory=dict)

    def results(self) -> Iterator[Result]:
        """Adds the jobs, and gives a cell for each evaluation, task, candidate of tuning, label ratio and seed."""
        for evaluation, task in product(self.target.evaluation, self.target.tasks):
            how = self.own or evaluation
            for candidate in self.candidates(how):
                training = self.training[candidate][task]
                texts = {name: identity.canonical_json(value) for name, value in training.items()}
                for ratio, one in product(self.target.label_ratios, self.seeds):
                    drawn, own = self.drawn(one, how, ratio)
                    where = (self.row, self.target.dataset, task, ratio, drawn)
                    asked = _Asked(
                        name=cell_name(*where, evaluation=how, candidate=candidate),
                        how=how,
                        task=task,
                        encoder=one.encoder,
                        own={"label_ratio": ratio, **self.published(ratio), **own},
                        training=training,
                    )
                    job = self.joined(asked, texts) if self.target.folds else self.single(asked, texts)
                    yield Result(evaluation, task, ratio, one.number, job.key, one.crossed, candidate)

    def candidates(self, how: str) -> list[tuple[str, ...]]:
        """The candidates of tuning of an evaluation; () alone where it does not fine-tune, or nothing is tuned."""
        tuned = [candidate for candidate in self.training if candidate]
        return tuned if tuned and how in TRAINED else [()]

    def published(self, ratio: float) -> dict[str, str]:
        """The published label subset that stands for a label ratio; {} where the subset is drawn."""
        name = next((name for name, one in self.target.subsets.items() if one == ratio), "")
        return {"subset": name} if name else {}

    @cached_property
    def numbers(self) -> dict[tuple[int, ...], int]:
        """Combination of crossed seeds -> its number."""
        return {one.crossed: one.number for one in self.seeds}

    def drawn(self, one: Seeded, how: str, ratio: float) -> tuple[int, dict[str, int]]:
        """The first seed that gives the result of this one, and the seeds that a specification holds."""
        fixed = ratio == 1 or bool(self.published(ratio))
        if not one.crossed:
            alike = how in UNDRAWN and fixed
            first = next(other.number for other in self.seeds if other.encoder is one.encoder) if alike else one.number
            return first, {"seed": first}
        # What is not drawn has one level: the first.
        drawn = [name for name in DRAWS[how] if name != "subset" or not fixed]
        levels = {name: level if name in drawn else 0 for name, level in zip(CROSSED, one.crossed, strict=True)}
        return self.numbers[tuple(levels.values())], {IN_SPECIFICATIONS[name]: levels[name] for name in DRAWS[how]}

    def joined(self, asked: _Asked, texts: Mapping[str, str]) -> Job:
        """The job that joins the folds of a cell."""
        jobs, count = [], self.target.folds or 0
        for fold in range(count):
            own = {**asked.own, "fold": {"count": count, "fold": fold}}
            jobs.append(self.single(replace(asked, name=f"{asked.name}.fold{fold}", own=own), texts))
        about = {**self.named, "task": asked.task, "classes": asked.training["classes"]}
        spec = specification("out_of_fold", **about, **asked.own, folds=[job.key for job in jobs])
        return self.graph.add(f"{asked.name}.{count}folds", spec, needs=jobs)

    def single(self, asked: _Asked, texts: Mapping[str, str]) -> Job:
        """The fine-tuning or frozen evaluation of a cell or fold."""
        heads = (self.shared("heads", asked),) if asked.how in PROBED else ()
        own = {**asked.own, **({"heads": heads[0].key} if heads else {})}
        if asked.how in TRAINED:
            needs = (self.images, asked.encoder) if asked.encoder else (self.images,)
            spec = {**asked.training, **own, "pretrain": asked.encoder.key if asked.encoder else None}
            return self.graph.add(asked.name, spec, needs=(*needs, *heads), unavailable=self.unavailable, texts=texts)
        features, common = self.shared("features", asked), asked.training
        sections: dict[str, Any] = {}
        if asked.how in CONSTANTS:
            sections["frozen"] = {name: self.frozen[name] for name in CONSTANTS[asked.how]}
        if asked.how == "attentive_probe":
            sections["finetune"] = common["finetune"]
        about = {**self.named, **{name: common[name] for name in ("prepare", "task", "classes")}}
        spec = specification("frozen", evaluation=asked.how, features=features.key, **about, **sections, **own)
        return self.graph.add(asked.name, spec, needs=(self.images, features, *heads))

    def shared(self, kind: str, asked: _Asked) -> Job:
        """The job of kind "features" or "heads" that this cell shares with others."""
        where = (kind, asked.how, asked.encoder.key if asked.encoder else "")
        if where not in self.made:
            self.made[where] = self.features(asked) if kind == "features" else self.heads(asked)
        return self.made[where]

    def features(self, asked: _Asked) -> Job:
        """The features of all prepared images."""
        readout = READOUTS.get(asked.how, self.frozen["readout"])
        dataset, encoder = self.target.dataset, asked.encoder
        about = {"dataset": dataset, "prepare": self.images.key, "pretrain": encoder.key if encoder else None}
        marks = [readout] if readout != "auto" else []
        if encoder and encoder.spec["seed"]:
            marks.append(f"p{encoder.spec['seed']}")
        return self.graph.add(
            ".".join(["features", self.row, dataset, *marks]),
            specification("features", **self.encoder, **about, readout=readout),
            needs=(self.images, encoder) if encoder else (self.images,),
            unavailable=self.unavailable,
        )

    def heads(self, asked: _Asked) -> Job:
        """The linear probes of all tasks, label ratios, seeds and folds on the features of one encoder."""
        features, count = self.shared("features", asked), self.target.folds or 0
        folds: list[dict[str, Any]] = [{"fold": {"count": count, "fold": fold}} for fold in range(count)] or [{}]
        here = [one for one in self.seeds if one.encoder is asked.encoder]
        groups = [
            {
                "task": task,
                "classes": self.training[()][task]["classes"],
                "label_ratio": ratio,
                **self.published(ratio),
                "seed": seed,
                **fold,
            }
            for task in self.target.tasks
            for ratio in self.target.label_ratios
            for seed in dict.fromkeys(one.crossed[0] if one.crossed else one.number for one in here)
            for fold in folds
        ]
        about = {**self.named, "prepare": self.images.key, "features": features.key}
        constants = {name: self.frozen[name] for name in CONSTANTS["heads"]}
        spec = specification("heads", **about, frozen=constants, groups=groups)
        name = f"heads.{features.name.removeprefix('features.')}" + (f".{count}folds" if count else "")
        return self.graph.add(name, spec, needs=(self.images, features))
