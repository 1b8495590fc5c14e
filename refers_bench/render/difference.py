"""Writes the difference of two results: lines for people, JSON for programs."""

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

from refers_bench.analysis.compare.difference import CellDifference, Difference, MeanDifference
from refers_bench.analysis.statistics.significance import Refusal
from refers_bench.printable import printable
from refers_bench.render.escape import encodable

#: Incremented when a reader of the previous version would misread the output.
VERSION = 1
#: Lines of one kind, unless more are asked for.
LIMIT = 20


def text(found: Difference, *, limit: int = LIMIT) -> str:
    """Lines for a terminal: what differs, largest first; the last line says whether anything does.

    Args:
        found: the difference.
        limit: most lines of each kind; the rest is counted. 0 for all.
    """
    changed = sorted((one for one in found.means if not one.same), key=lambda one: -abs(one.difference))
    blocks: dict[str, Iterable[str]] = {
        "cells only in A": found.only[0],
        "cells only in B": found.only[1],
        "settings that differ": _settings(found),
        "specifications that differ, in cells of one name": (
            f"{name}: {was} -> {now} ({count} cells)" for name, was, now, count in found.specifications
        ),
        "states that differ": (
            f"{cell.name}: {cell.states[0]} -> {cell.states[1]}" for cell in found.cells if _state(cell)
        ),
        "predictions that differ": _predictions(found),
        "means that differ, B minus A in AUC points": map(_mean, changed),
        "classes that differ, B minus A in AUC points": _classes(found),
    }
    heads = (f"A: {found.names[0]}", f"B: {found.names[1]}", *found.notes)
    lines = [*map(printable, heads), *(line for title, some in blocks.items() for line in _listed(title, some, limit))]
    return "\n".join([*lines, _verdict(found)]) + "\n"


def _listed(title: str, lines: Iterable[str], limit: int) -> list[str]:
    """A title with its lines; nothing without any."""
    found = [f"  {printable(line)}" for line in lines]
    shown = found[: limit or None]
    more = [f"  and {len(found) - len(shown)} more"] if len(found) > len(shown) else []
    return [f"{title}: {len(found)}", *shown, *more] if found else []


def _settings(found: Difference) -> Iterator[str]:
    for one in found.settings:
        sides = [
            "none" if value is None and not origin else f"{json.dumps(value, ensure_ascii=False)} ({origin})"
            for value, origin in zip(one.values, one.origins, strict=True)
        ]
        yield f"{one.name}: {sides[0]} -> {sides[1]}"


def _state(cell: CellDifference) -> bool:
    return cell.states[0] != cell.states[1]


def _predictions(found: Difference) -> Iterator[str]:
    cells = [cell for cell in found.cells if not cell.same and not _state(cell)]
    for cell in sorted(cells, key=lambda cell: -(math.inf if cell.largest is None else cell.largest)):
        size = "" if cell.largest is None else f", max |difference of scores| {cell.largest:.3g}"
        key = "same key" if cell.same_key else "another key"
        yield f"{cell.name}: {cell.predictions}{size} ({key})"


def _where(one: MeanDifference) -> str:
    target = one.target
    return f"{one.method}, {target.dataset} {target.task}, {target.label_ratio * 100:g} % of labels{target.suffix}"


def _mean(one: MeanDifference) -> str:
    parts = [f"{_where(one)}: {one.means[0] * 100:.2f} -> {one.means[1] * 100:.2f} ({one.difference * 100:+.2f})"]
    if isinstance(one.seeds, Refusal):
        parts.append(f"no interval over seeds: {one.seeds.reason}")
    else:
        found = one.seeds
        interval = f"95 % {found.low * 100:+.2f} to {found.high * 100:+.2f}"
        parts.append(f"over seeds {interval} (n = {found.n[1]} and {found.n[0]}, df = {found.df:g})")
    if one.images is not None:
        parts.append(f"over test images 95 % {one.images.low * 100:+.2f} to {one.images.high * 100:+.2f}")
    return "; ".join(parts)


def _classes(found: Difference) -> Iterator[str]:
    rows: list[tuple[float, str]] = []
    for one in found.means:
        for name, (was, now) in one.classes.items():
            if was == now:
                continue
            sides = ["no AUC" if auc is None else f"{auc * 100:.2f}" for auc in (was, now)]
            size = math.inf if was is None or now is None else abs(now - was)
            difference = "" if was is None or now is None else f" ({(now - was) * 100:+.2f})"
            rows.append((size, f"{_where(one)}, {name}: {sides[0]} -> {sides[1]}{difference}"))
    yield from (line for _, line in sorted(rows, key=lambda row: -row[0]))


def _verdict(found: Difference) -> str:
    compared = [cell for cell in found.cells if cell.predictions]
    identical = sum(cell.predictions == "same bytes" for cell in compared)
    counted = f"{len(found.cells)} cells in both, predictions of {identical} of {len(compared)} byte-identical"
    return f"{'same' if found.same else 'different'}: {counted}"


def as_json(found: Difference) -> str:
    """Everything as one JSON object; intervals and differences as AUCs in [-1, 1]."""
    value = {
        "version": VERSION,
        "same": found.same,
        "a": found.names[0],
        "b": found.names[1],
        "only_in_a": list(found.only[0]),
        "only_in_b": list(found.only[1]),
        "settings": [
            {"name": one.name, "a": one.values[0], "b": one.values[1], "origins": list(one.origins)}
            for one in found.settings
        ],
        "specifications": [
            {"name": name, "a": was, "b": now, "cells": count} for name, was, now, count in found.specifications
        ],
        "cells": [
            {
                "name": cell.name,
                "states": list(cell.states),
                "same_key": cell.same_key,
                "predictions": cell.predictions or None,
                "largest_score_difference": _finite(cell.largest),
                "same": cell.same,
            }
            for cell in found.cells
        ],
        "means": [_mean_json(one) for one in found.means],
        "notes": list(found.notes),
    }
    return encodable(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)) + "\n"


def _finite(value: float | None) -> float | str | None:
    """JSON has no infinity: NaN or infinite scores on one side alone."""
    return "infinite" if value is not None and math.isinf(value) else value


def _mean_json(one: MeanDifference) -> dict[str, Any]:
    if isinstance(one.seeds, Refusal):
        seeds = {"refused": one.seeds.reason}
    else:
        seeds = {name: getattr(one.seeds, name) for name in ("low", "high", "df", "p", "test")}
    return {
        "method": one.method,
        "dataset": one.target.dataset,
        "task": one.target.task,
        "label_ratio": one.target.label_ratio,
        "evaluation": one.target.evaluation,
        "folds": one.target.folds,
        "a": one.means[0],
        "b": one.means[1],
        "difference": one.difference,
        "n": list(one.n),
        "over_seeds": seeds,
        "over_test_images": None if one.images is None else {"low": one.images.low, "high": one.images.high},
        "classes": {name: {"a": was, "b": now} for name, (was, now) in one.classes.items()},
        "same": one.same,
    }
