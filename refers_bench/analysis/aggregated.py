"""Finds the columns and rows that can be aggregated: complete cells of one evaluation, the same columns in each row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from refers_bench.analysis.cells import Target
from refers_bench.analysis.held_out import same_images
from refers_bench.analysis.results import Results


@dataclass(frozen=True, kw_only=True)
class Aggregated:
    """Columns of one evaluation, and the rows that are complete in all of them.

    Attributes:
        targets: the columns, two or more.
        rows: row name -> mean AUC of each seed, column by column.
        lacking: row name -> columns of `targets` in which it is not complete, of rows that are in one of them.
        left_out: columns of the evaluation that are not aggregated.
    """

    targets: tuple[Target, ...]
    rows: Mapping[str, tuple[tuple[float, ...], ...]]
    lacking: Mapping[str, tuple[Target, ...]]
    left_out: tuple[Target, ...]


def aggregated(results: Results) -> list[Aggregated]:
    """What can be aggregated, evaluation by evaluation (fine-tuning, linear probe, folds, ...).

    A column is aggregated where at least half as many rows are complete as in the fullest one, all of them tested on
    the same images and classes: a column that few rows were asked for would leave out all others.
    """
    evaluations = dict.fromkeys(target.suffix for target in results.targets)
    every = (_of([target for target in results.targets if target.suffix == one], results) for one in evaluations)
    return [one for one in every if len(one.targets) > 1 and one.rows]


def _of(targets: list[Target], results: Results) -> Aggregated:
    complete = {target: [name for name in results.methods if _complete(results, name, target)] for target in targets}
    most = max(map(len, complete.values()))
    chosen = [one for one in targets if 0 < most <= 2 * len(complete[one]) and _alike(results, complete[one], one)]
    lacking = {
        name: tuple(one for one in chosen if name not in complete[one])
        for name in results.methods
        if any((name, one) in results.cells for one in chosen)
    }
    rows = {
        name: tuple(results.cells[name, one].values for one in chosen) for name, some in lacking.items() if not some
    }
    return Aggregated(
        targets=tuple(chosen),
        rows=rows,
        lacking={name: some for name, some in lacking.items() if some},
        left_out=tuple(one for one in targets if one not in chosen),
    )


def _complete(results: Results, method: str, target: Target) -> bool:
    cell = results.cells.get((method, target))
    return cell is not None and cell.complete and cell.independent


def _alike(results: Results, methods: list[str], target: Target) -> bool:
    """Whether some complete rows average over the same classes of the same images."""
    classes = {results.cells[method, target].defined for method in methods}
    return len(classes) == 1 and same_images(results, methods, target)
