"""Checks what a plan holds, whether it was just made or is read from a file."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from refers_bench.evaluations import SELECTED_ON, TITLES
from refers_bench.store import rules

#: Key of a job: it names a folder of the store.
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+%-]{0,199}")
#: Name of a plan: that of its folder below the results.
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.+%-]{0,199}")
_KIND = re.compile(r"[a-z][a-z0-9_]{0,39}")
#: Parts of a plan -> their JSON types.
_PARTS: Mapping[str, type] = {
    **dict.fromkeys(("name", "title", "manifest_path"), str),
    **dict.fromkeys(("manifest", "values", "roots", "execution", "images", "specs", "rows"), dict),
    **dict.fromkeys(("jobs", "cells", "tables", "changes", "plugins"), list),
}
#: Parts of its manifest that are read without another look, likewise.
_OF_MANIFEST: Mapping[str, type] = {
    **dict.fromkeys(("origin", "command", "title"), str),
    **dict.fromkeys(("protocol", "bundle", "data"), dict),
    **dict.fromkeys(("methods", "unread"), list),
    "probabilities": bool,
    "limit": int,
}
_WORDS = {str: "a text", dict: "a mapping", list: "a list", bool: "true or false", int: "a whole number"}
#: Least and largest seed, as a manifest takes them.
_SEEDS = range(2**31)
_MOST_FOLDS = 1000


def parts(content: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the types of a plan's parts, its jobs and cells aside.

    Args:
        content: of the plan, as JSON holds it.
    """
    for name, kind in _PARTS.items():
        if type(content.get(name, kind())) is not kind:
            yield f"'{name}' is not {_WORDS[kind]}"
            return
    if not _NAME.fullmatch(content.get("name", "")):
        yield "its 'name' is no name of a folder"
    manifest = content.get("manifest", {})
    for name, kind in _OF_MANIFEST.items():
        # A field at its default may stand as null.
        if (value := manifest.get(name)) is not None and type(value) is not kind:
            yield f"'manifest.{name}' is not {_WORDS[kind]}"
    yield from rules.wrong(manifest.get("analysis"))
    for name in ("tables", "changes", "plugins"):
        if not _texts(content.get(name, ())):
            yield f"'{name}' is not a list of texts"
    for name, kind in (("values", dict), ("images", int), ("roots", str)):
        if not all(type(value) is kind for value in content.get(name, {}).values()):
            yield f"'{name}' does not give {_WORDS[kind]} for each name"


class _Rule(NamedTuple):
    """What every job, or every cell, has in one field.

    Attributes:
        name: of the field.
        types: of its value.
        valid: whether a value of these types is accepted.
        words: what is accepted.
    """

    name: str
    types: Collection[type]
    valid: Callable[[Any], bool]
    words: str


def jobs(found: Sequence[Any]) -> Iterator[str]:
    """What is wrong with jobs: each has a key of its own, and needs jobs before it, so that no needs form a circle.

    Args:
        found: the jobs, `refers_bench.store.plan.Job`.
    """
    wrong = list(_wrong("job", found, _OF_JOBS))
    for name, kind in _OF_EACH_JOB.items():
        if not set(map(type, map(attrgetter(name), found))) <= {kind}:
            wrong.append(f"the '{name}' of a job is not {_WORDS[kind]}")
    if not wrong and not all(map(_KEY.fullmatch, map(attrgetter("key"), found))):
        lost = next(job.key for job in found if not _KEY.fullmatch(job.key))
        wrong.append(f"the 'key' of a job is {reprlib.repr(lost)}, not the name of a folder of the store")
    # What a result's cells are counted by; other values of specifications are read by those who know them.
    if not wrong and not {type(job.spec.get("classes", [])) for job in found} <= {list, tuple}:
        wrong.append("the 'classes' of a job's specification is not a list")
    yield from wrong
    keys: set[str] = set()
    for job in found if not wrong else ():
        if job.key in keys or not keys.issuperset(job.needs):
            reason = "its key occurs twice" if job.key in keys else "it needs a job that does not stand before it"
            yield f"job {job.key}: {reason}"
            return  # what follows from it is not worth reading
        keys.add(job.key)


def cells(found: Sequence[Any], keys: Collection[str], *, levels: int) -> Iterator[str]:
    """What is wrong with cells: each has values in their ranges and a place of its own, and names a job.

    Args:
        found: the cells, `refers_bench.store.plan.Cell`.
        keys: of the jobs.
        levels: crossed seeds that a cell has, where it has any.
    """
    crossed = _Rule("crossed", {tuple}, lambda one: len(one) in (0, levels) and all(map(_seed, one)), "a list of seeds")
    wrong = [*_wrong("cell", found, _OF_CELLS), *_wrong("cell", found, (_SEED, crossed))]
    if not set(keys).issuperset(map(attrgetter("key"), found)):
        lost = next(cell.key for cell in found if cell.key not in keys)
        wrong.append(f"the 'key' of a cell is {reprlib.repr(lost)}, not the key of a job of the plan")
    yield from wrong
    # A result may stand twice; two results in one place of a table may not.
    last = dict(zip(map(_PLACE, found), found, strict=True)) if not wrong else {}
    for cell in found if 0 < len(last) < len(found) else ():
        if last[_PLACE(cell)].key != cell.key:
            place = ", ".join(str(part) for part in _PLACE(cell) if part != ())
            yield f"several results for the row, column and seed {place}"
            return


def _wrong(what: str, found: Sequence[Any], rules: Sequence[_Rule]) -> Iterator[str]:
    """The first value of jobs or cells that breaks a rule.

    Each combination of the values is looked at once: where only a few values differ from job to job, few are left.
    """
    for values in set(map(attrgetter(*[rule.name for rule in rules]), found)):
        for (name, types, valid, words), value in zip(rules, values, strict=True):
            if type(value) not in types or not valid(value):
                yield f"the '{name}' of a {what} is {reprlib.repr(value)}, not {words}"
                return


def _seed(value: Any) -> bool:
    return type(value) is int and value in _SEEDS


def _texts(values: Iterable[Any]) -> bool:
    return all(type(value) is str for value in values)


def _any(value: Any) -> bool:
    return True


_PLACE = attrgetter("method", "dataset", "task", "label_ratio", "evaluation", "folds", "seed", "candidate")
_OF_JOBS = (
    _Rule("kind", {str}, lambda one: _KIND.fullmatch(one) is not None, "the kind of a job"),
    _Rule("unavailable", {str}, _any, "a text"),
    _Rule("needs", {tuple}, _texts, "a list of keys"),
)
#: Fields that differ from job to job -> their types.
_OF_EACH_JOB: Mapping[str, type] = {"key": str, "name": str, "spec": dict}
_SEED = _Rule("seed", {int}, _seed, "a whole number from 0, below 2^31")
_OF_CELLS = (
    *(_Rule(name, {str}, bool, "a name") for name in ("method", "dataset", "task")),
    *(_Rule(name, {str}, _any, "a text") for name in ("label", "best_of")),
    _Rule("label_ratio", {int, float}, lambda one: 0 < one <= 1, "a number above 0 and at most 1"),
    _Rule("folds", {int}, lambda one: 0 <= one <= _MOST_FOLDS, f"a whole number from 0 to {_MOST_FOLDS}"),
    *(_Rule(name, {bool}, _any, "true or false") for name in ("synthetic", "floor")),
    *(_Rule(name, {tuple}, _texts, "a list of texts") for name in ("footnotes", "leaks", "candidate")),
    _Rule("evaluation", {str}, TITLES.__contains__, f"one of {', '.join(TITLES)}"),
    _Rule("selected_on", {str}, ("", *SELECTED_ON).__contains__, f"empty or one of {', '.join(SELECTED_ON)}"),
)
