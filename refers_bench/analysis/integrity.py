"""Finds facts about stored predictions that a reader should know before trusting a comparison.

Facts about files, never a judgement: equal scores may have an innocent reason, which files cannot tell.
"""

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt

from refers_bench.analysis.cells import Target
from refers_bench.analysis.kept import kept
from refers_bench.analysis.predictions import FILE, Predictions, read_once
from refers_bench.analysis.results import Results
from refers_bench.analysis.shared_scores import (
    AFFINE,
    ALL,
    IDENTICAL,
    NEAR,
    NEGATIVE,
    POSITIVE,
    STRENGTH,
    Relation,
    cliques,
    decimals_of,
    relations,
)

#: Raised when the same predictions would give other findings.
IMPL = 1

#: Scores that equal multiples of ten to the minus this many are called quantised.
MOST_DECIMALS = 4
#: Images that two runs must share for the scores of their runs to be compared.
FEWEST_SHARED = 10
_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Closeness:
    """How close the scores of related runs are, over all their pairs and classes.

    Attributes:
        relation: `IDENTICAL`, `AFFINE` or `NEAR`.
        part: `ALL`, `POSITIVE` or `NEGATIVE` images.
        pairs: (first, second, number of classes in which they are related).
        median_r: median of Pearson's r.
        lowest_r: the lowest.
        residual: largest distance of a score from the least-squares line, in units.
        unit: the last digit that the scores show (0.001); None where they show no common one: then the residual is in
            thousandths of their range.
    """

    relation: str
    part: str
    pairs: tuple[tuple[str, str, int], ...]
    median_r: float
    lowest_r: float
    residual: float
    unit: float | None


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One fact about the predictions of a target.

    Attributes:
        kind: what was looked for; one of `KINDS`.
        target: the table column.
        runs: names of the methods, or "method, seed 1" where a manifest has several seeds; for facts about single
            runs, all runs they hold for; for related scores, a group in which every run is related to every other.
        classes: where it was found, in the order of the task.
        text: the fact in words.
        methods: row names of the runs, each once.
        closeness: of related scores; None for all else.
    """

    kind: str
    target: Target
    runs: tuple[str, ...]
    classes: tuple[str, ...]
    text: str
    methods: tuple[str, ...] = ()
    closeness: Closeness | None = field(default=None, compare=False)


@dataclass(frozen=True, kw_only=True)
class _Findings:
    """The findings about one column, as they are kept."""

    findings: tuple[Finding, ...]


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """Two runs whose scores of a class are related, on images that both were tested on."""

    label: str
    runs: tuple[str, str]
    images: str
    relation: Relation

    @property
    def where(self) -> tuple[str, str, str, float | None]:
        """What a finding about several pairs has in common."""
        return self.relation.kind, self.relation.part, self.images, self.relation.unit


#: Part of the images -> kind of finding about identical scores; for other relations the part makes no difference.
SAME = {ALL: IDENTICAL, **{part: f"{IDENTICAL} of the {part} images" for part in (POSITIVE, NEGATIVE)}}
KINDS = (
    "labels differ",
    "test lists differ",
    *SAME.values(),
    AFFINE,
    NEAR,
    "constant scores",
    "quantised scores",
    "NaN scores",
    "infinite scores",
    "out of range",
)


def findings(results: Results) -> tuple[Finding, ...]:
    """Everything found in the test predictions of the finished runs, target by target, in the order of `KINDS`.

    Scores outside 0 to 1 are a finding where the import declared probabilities, and only there.
    """
    return tuple(finding for target in results.targets for finding in findings_of(results, target))


def findings_of(results: Results, target: Target) -> tuple[Finding, ...]:
    """Everything found in one column."""
    # Nothing is known of the range of other scores: logits have none.
    probabilities = bool(results.plan.manifest.get("probabilities"))
    return _found(results.store, target, results.predictions.get(target, ()), probabilities)


# A stored file never changes, and every table asks for the findings about its rows.
@functools.lru_cache(maxsize=10_000)
def _found(
    store: Path, target: Target, runs: tuple[tuple[str, str, str], ...], probabilities: bool
) -> tuple[Finding, ...]:
    """The findings about some runs (name, method, key), read back where they were computed before."""
    if not runs:
        return ()
    what = {"integrity": IMPL, "target": asdict(target), "runs": runs, "probabilities": probabilities}
    return kept(_Findings, what, store, functools.partial(_computed, store, target, runs, probabilities)).findings


def _computed(store: Path, target: Target, runs: Sequence[tuple[str, str, str]], probabilities: bool) -> _Findings:
    predictions = {name: read_once(store / key / FILE) for name, _, key in runs}
    methods = {name: method for name, method, _ in runs}
    alone = _alone(target, predictions, probabilities=probabilities)
    here = [*_lists(target, predictions), *_merged(alone), *_groups(target, predictions)]
    here = [replace(one, methods=tuple(dict.fromkeys(methods[run] for run in one.runs))) for one in here]
    return _Findings(findings=tuple(sorted(here, key=lambda finding: KINDS.index(finding.kind))))


def _merged(found: Iterable[Finding]) -> Iterator[Finding]:
    """Findings about single runs that differ in their class alone, as one; then those that differ in the run alone."""
    groups: dict[tuple[str, tuple[str, ...], str], list[Finding]] = {}
    for finding in found:
        groups.setdefault((finding.kind, finding.runs, finding.text), []).append(finding)
    alike: dict[tuple[object, ...], Finding] = {}
    for (kind, runs, text), same in groups.items():
        classes = tuple(dict.fromkeys(name for finding in same for name in finding.classes))
        finding = Finding(kind=kind, target=same[0].target, runs=runs, classes=classes, text=text)
        before = alike.get((kind, classes, text))
        alike[kind, classes, text] = finding if before is None else replace(before, runs=(*before.runs, *runs))
    yield from alike.values()


def _lists(target: Target, predictions: Mapping[str, Predictions]) -> Iterator[Finding]:
    """Differences between the runs' test images and labels."""
    (name, first), *others = predictions.items()
    for other_name, other in others:
        runs = (name, other_name)
        if other.image_ids != first.image_ids or other.classes != first.classes:
            shared = len(set(first.image_ids) & set(other.image_ids))
            text = f"{len(first.image_ids)} and {len(other.image_ids)} test images, {shared} in both"
            if set(other.classes) != set(first.classes):
                text += f"; {len(first.classes)} and {len(other.classes)} classes"
            if shared != len(first.image_ids) or shared != len(other.image_ids) or "classes" in text:
                yield Finding(kind="test lists differ", target=target, runs=runs, classes=(), text=text)
                continue
            other = other.sorted(first.classes)
        differ: dict[int, list[str]] = {}
        for label, count in zip(first.classes, (first.labels_NK != other.labels_NK).sum(axis=0), strict=True):
            differ.setdefault(int(count), []).append(label)
        for count, labels in differ.items():
            if count:
                text = f"labels of {count} images differ"
                yield Finding(kind="labels differ", target=target, runs=runs, classes=tuple(labels), text=text)


def _alone(target: Target, predictions: Mapping[str, Predictions], *, probabilities: bool) -> Iterator[Finding]:
    """Facts about the scores of single runs."""
    for name, found in predictions.items():
        for k, label in enumerate(found.classes):
            scores = found.scores_NK[:, k].astype(np.float64)
            for kind, text in _column(scores, probabilities=probabilities):
                yield Finding(kind=kind, target=target, runs=(name,), classes=(label,), text=text)


def _column(scores_N: _Floats, *, probabilities: bool) -> Iterator[tuple[str, str]]:
    nan = int(np.isnan(scores_N).sum())
    if nan:
        yield "NaN scores", f"{nan} of {len(scores_N)} scores are NaN: no AUC"
        scores_N = scores_N[~np.isnan(scores_N)]
    if not len(scores_N):
        return
    low, high = float(scores_N.min()), float(scores_N.max())
    if probabilities and not 0 <= low <= high <= 1:
        yield "out of range", "declared probabilities, but some scores lie outside 0 to 1"
    if not np.isfinite(scores_N).all():
        yield "infinite scores", f"{int(np.isinf(scores_N).sum())} of {len(scores_N)} scores are infinite"
        return
    if low == high:
        yield "constant scores", "all images have one score"
        return
    decimals = decimals_of(scores_N, most=MOST_DECIMALS)
    if decimals is not None:
        yield "quantised scores", f"all scores are multiples of {10.0**-decimals:g}"


def _groups(target: Target, predictions: Mapping[str, Predictions]) -> Iterator[Finding]:
    """Runs whose scores follow from one another, group by group: every run of a group is related to every other."""
    found = list(_pairs(predictions))
    known = {(one.runs, one.label, one.images, one.relation.part): STRENGTH[one.relation.kind] for one in found}
    order = list(predictions)
    for kind, part, images, unit in dict.fromkeys(one.where for one in found):
        alike = [one for one in found if (one.relation.part, one.images) == (part, images)]
        # A group may hold pairs that are related more closely; they have a finding of their own.
        edges = [one.runs for one in alike if STRENGTH[one.relation.kind] >= STRENGTH[kind]]
        pairs: dict[tuple[str, str], list[_Pair]] = {}
        for one in alike:
            if (one.relation.kind, one.relation.unit) == (kind, unit):
                pairs.setdefault(one.runs, []).append(one)
        for runs in cliques(edges, order):
            inside = {pair: several for pair, several in pairs.items() if set(pair) <= set(runs)}
            if not inside or all(_said(one, known) for several in inside.values() for one in several):
                continue
            held = {one.label for several in inside.values() for one in several}
            closeness = _closeness(inside, unit)
            yield Finding(
                kind=SAME[part] if kind == IDENTICAL else kind,
                target=target,
                runs=runs,
                classes=tuple(name for name in _classes(predictions) if name in held),
                text=_text(kind, f"of the {part} images" if part else images, closeness, len(runs), len(held)),
                closeness=closeness,
            )


def _said(one: _Pair, known: Mapping[tuple[tuple[str, str], str, str, str], int]) -> bool:
    """Whether a relation follows from that of all images; near relations are a fact about the parts."""
    whole, *parts = (known.get((one.runs, one.label, one.images, part), 0) for part in (ALL, POSITIVE, NEGATIVE))
    if one.relation.part:
        return one.relation.kind != NEAR and whole >= STRENGTH[one.relation.kind]
    return one.relation.kind == NEAR and any(parts)


def _closeness(pairs: Mapping[tuple[str, str], Sequence[_Pair]], unit: float | None) -> Closeness:
    found = [one.relation for several in pairs.values() for one in several]
    return Closeness(
        relation=found[0].kind,
        part=found[0].part,
        pairs=tuple((*pair, len(several)) for pair, several in pairs.items()),
        median_r=float(np.median([one.r for one in found])),
        lowest_r=min(one.r for one in found),
        residual=max(one.residual for one in found),
        unit=unit,
    )


def _text(kind: str, images: str, closeness: Closeness, runs: int, classes: int) -> str:
    """The fact about a group; where its pairs are related in different numbers of classes, with these."""
    if kind == IDENTICAL:
        text = f"identical scores {images}"
    else:
        how = "affine functions of each other, up to rounding" if kind == AFFINE else "nearly affine functions"
        unit = "thousandths of their range" if closeness.unit is None else f"units of {closeness.unit:g}"
        text = (
            f"the scores {images} are {how}: r {closeness.median_r:.6f} (median), {closeness.lowest_r:.6f} (lowest), "
            f"residual at most {closeness.residual:.2f} {unit}"
        )
    if len(closeness.pairs) == runs * (runs - 1) / 2 and {n for _, _, n in closeness.pairs} == {classes}:
        return text
    counts = [f"{one} and {two} in {n} class{'es' * (n > 1)}" for one, two, n in closeness.pairs]
    return f"{text}; {', '.join(counts)}"


def _classes(predictions: Mapping[str, Predictions]) -> list[str]:
    """The classes of any run, each once."""
    return list(dict.fromkeys(name for found in predictions.values() for name in found.classes))


def _pairs(predictions: Mapping[str, Predictions]) -> Iterator[_Pair]:
    """All related pairs, class by class, on the images that both were tested on."""
    for label in _classes(predictions):
        groups: dict[tuple[str, ...], list[str]] = {}
        for name, found in predictions.items():
            if label in found.classes:
                groups.setdefault(found.image_ids, []).append(name)
        for images, names in groups.items():
            yield from _pairs_on(predictions, label, images, [names])
        for images, other in combinations(groups, 2):
            both = tuple(sorted(set(images) & set(other)))
            if len(both) >= FEWEST_SHARED:
                yield from _pairs_on(predictions, label, both, [groups[images], groups[other]])


def _pairs_on(
    predictions: Mapping[str, Predictions], label: str, images: tuple[str, ...], groups: Sequence[Sequence[str]]
) -> Iterator[_Pair]:
    """The related pairs on some images, within one group of runs or between two."""
    names = [name for group in groups for name in group]
    scores, labels = [], []
    for name in names:
        found = predictions[name]
        k = found.classes.index(label)
        place = {image: row for row, image in enumerate(found.image_ids)} if found.image_ids != images else {}
        rows: Sequence[int] | slice = [place[image] for image in images] if place else slice(None)
        scores.append(found.scores_NK[rows, k])
        labels.append(found.labels_NK[rows, k])
    where = "of all images" if len(groups) == 1 else f"of all {len(images)} images in both"
    for relation in relations(np.stack(scores).astype(np.float64), labels[0]):
        one, other = relation.runs
        if len(groups) == 1 or (one < len(groups[0]) <= other):
            yield _Pair(label=label, runs=(names[one], names[other]), images=where, relation=relation)


def shared(results: Results, target: Target) -> tuple[Finding, ...]:
    """The findings of one column about scores that two rows or more share."""
    return tuple(one for one in findings_of(results, target) if one.closeness is not None and len(one.methods) > 1)
