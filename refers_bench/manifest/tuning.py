"""Reads what a manifest tunes: constants of fine-tuning, each with the values that every row tries."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from refers_bench import identity
from refers_bench.errors import Problem
from refers_bench.evaluations import TRAINED
from refers_bench.manifest.changes import TUNING
from refers_bench.manifest.checks import parts_of
from refers_bench.manifest.protocol_schema import CONSTANTS
from refers_bench.manifest.protocols import Override, Value, flat_overrides
from refers_bench.manifest.schema import MethodPart, TargetPart
from refers_bench.manifest.yaml_text import Document, Loc

#: Groups of the constants that only fine-tuning reads, and what the new head classifies.
GROUPS, READOUT = ("finetune.", "image.finetune_augment."), "network.readout"
TUNABLE = tuple(name for name in CONSTANTS if name.startswith(GROUPS) or name == READOUT)
#: Combinations of values.
MOST_CANDIDATES = 100
#: One value for each tuned constant.
Candidate = tuple[Override, ...]


def candidates(
    content: Mapping[str, Any], document: Document, overridden: Sequence[Override]
) -> tuple[tuple[Candidate, ...], list[Problem]]:
    """All combinations of the values that a manifest tries, and what is wrong with what it tunes.

    The first constant changes slowest. Types and ranges of values are those of the constants
    (`refers_bench.manifest.protocols.resolve`), and are not looked at here.

    Args:
        content: merged values of the manifest.
        document: the same with places.
        overridden: constants that the protocol, or a row, sets.

    Returns:
        The combinations, () where nothing is tuned or something is wrong; the problems.
    """
    given = content.get(TUNING)
    if not isinstance(given, dict) or not given:
        return (), []
    tuned, problems = flat_overrides(given, document, (TUNING,))
    for item in tuned:
        problems += _of_constant(item)
    places = {item.name: item.place for item in tuned}
    for item in overridden:
        if item.name in places:
            found = f"{item.name} is set here, and tuned in {places[item.name].origin}"
            problems.append(item.place.problem(found, allowed="one of the two"))
    problems += _of_targets(content, document, readout=READOUT in places)
    if problems or not tuned:  # of no constant there is one combination, which is no search
        return (), problems
    counts = [len(item.value) for item in tuned]
    if (size := math.prod(counts)) > MOST_CANDIDATES:
        found = f"{' x '.join(map(str, counts))} = {size} candidates for each row, column and seed"
        return (), [document.problem((TUNING,), found, allowed=f"at most {MOST_CANDIDATES}")]
    return tuple(product(*map(_values, tuned))), []


def texts(candidate: Candidate) -> tuple[str, ...]:
    """The values of a candidate as plans hold them: "finetune.learning_rate=0.01", "network.readout=mean"."""
    return tuple(said(item.name, item.value) for item in candidate)


def said(name: str, value: Any) -> str:
    """One constant of a candidate with its value; see `texts`."""
    return f"{name}={value if isinstance(value, str) else identity.canonical_json(value)}"


def values(found: Sequence[Candidate]) -> dict[str, dict[str, Any]]:
    """Name of each tuned constant -> all its values with their place, as plans record constants."""
    tried: dict[str, list[Override]] = {}
    for item in (item for candidate in found for item in candidate):
        if item.value not in [one.value for one in tried.setdefault(item.name, [])]:
            tried[item.name].append(item)
    return {
        name: Value(
            value=[item.value for item in items],
            origin=f"{TUNING}: {items[0].place.origin}",
            overridden=True,
            deviation=f"the best of {len(found)} candidates on validation, for each row, column and seed",
        ).recorded()
        for name, items in tried.items()
    }


def _values(item: Override) -> list[Override]:
    return [Override(name=item.name, value=value, place=item.place) for value in item.value]


def _of_constant(item: Override) -> Iterator[Problem]:
    """What is wrong with one constant and its list of values."""
    if item.name not in TUNABLE:
        found = f"{item.name} is no constant of fine-tuning alone, and a pre-training serves all candidates"
        yield item.place.problem(found, allowed=f"names that begin with {', '.join(GROUPS)}; {READOUT}")
    elif not isinstance(item.value, list) or len(item.value) < 2:
        found = f"{item.name} is {item.value!r}"[:200]
        yield item.place.problem(found, allowed="a list of two values or more")
    else:
        said = [identity.canonical_json(value) for value in item.value if _plain(value)]
        if twice := [text for i, text in enumerate(said) if text in said[:i]]:
            yield item.place.problem(f"{item.name} is to be {twice[0]} twice", allowed="each value once")


def _plain(value: Any) -> bool:
    """Whether a value is JSON; others are refused with the constant's type."""
    try:
        identity.canonical_json(value)
    except (TypeError, ValueError):
        return False
    return True


def _of_targets(content: Mapping[str, Any], document: Document, *, readout: bool) -> Iterator[Problem]:
    """Columns in which nothing can be chosen, or that tuning does not go with."""
    targets = parts_of(TargetPart, content.get("targets"))
    rows = [row.evaluation for _, row in parts_of(MethodPart, content.get("methods"))]
    ways = {way for _, target in targets for way in target.evaluation}
    if targets and rows and not any((row or way) in TRAINED for row in rows for way in ways):
        found, allowed = "no row is fine-tuned in any column", f"an evaluation of {', '.join(TRAINED)}; or no tuning"
        yield document.problem((TUNING,), found, allowed=allowed)
    for i, target in targets:
        here: Loc = ("targets", i)
        if target.folds and any((row or way) in TRAINED for row in rows for way in target.evaluation):
            found = f"folds of {target.dataset} with tuning: images validate in one fold and are tested in the next"
            yield document.problem((*here, "folds"), found, allowed="the dataset's own split, or no tuning")
        if readout and "probe_then_finetune" in (*target.evaluation, *rows):
            found = f"{READOUT} is tuned, and the linear probe that fine-tuning of {target.dataset} begins with is not"
            yield document.problem((*here, "evaluation"), found, allowed="finetune; or another constant")
