"""Shows what was tuned on validation images: of how many candidates, which was chosen, and how far figures move."""

from __future__ import annotations

import math
from collections.abc import Sequence

from refers_bench.analysis.results import Results
from refers_bench.analysis.sensitivity import Candidate, Sensitivity, sensitivities
from refers_bench.plugins import Report
from refers_bench.render.table import MISSING, Cell, Note, Row, Table, columns, words
from refers_bench.reporting import grid


def build(results: Results) -> Table | None:
    """One row for each tuned row of the manifest in each column; None where nothing is tuned."""
    found = sensitivities(results)
    if not found:
        return None
    constants = list(dict.fromkeys(text.partition("=")[0] for one in found for c in one.means for text in c))
    short = ", ".join(name.rpartition(".")[2] for name in constants)
    alone = [f"range, {name} alone" for name in constants] if len(constants) > 1 else []
    return Table(
        id="tuning",
        caption=f"{grid.caption_prefix(results, results.targets)}Tuning on validation images, and how far the mean "
        "class AUC on the test images, in per cent, moves with it.",
        stub="Target and method",
        columns=columns("best of", "as chosen", "lowest", "highest", "range", *alone, f"chosen {short}"),
        rows=tuple(_row(results, one, constants if alone else []) for one in found),
        notes=(
            "Each candidate is fine-tuned with every seed. The one with the highest mean class AUC on the validation "
            "images is chosen, seed by seed, and stands in all other tables; of equals the manifest's first.",
            "'lowest' and 'highest' are of one candidate for all seeds, and are figures of the test images: nobody may "
            "choose by them.",
            "A gap between two rows that is smaller than their ranges may come from the recipe of fine-tuning.",
            *(("'alone': while the other constants stay, on average over their values.",) if alone else ()),
        ),
    )


def _row(results: Results, one: Sensitivity, constants: Sequence[str]) -> Row:
    complete, title = one.complete, grid.titles(results).get(one.method, one.method)
    lost = len(one.means) - len(complete)
    notes = (Note(text=f"{len(complete)} of {len(one.means)} candidates have a figure of every seed."),) if lost else ()
    ends = [_figure(find(complete.values())) if complete else MISSING for find in (min, max)]
    chosen = grid.auc_cell(results, one.method, one.target) if (one.method, one.target) in results.cells else MISSING
    return Row(
        title=f"{grid.where(one.target)}: {title}",
        cells=(
            grid.count_cell(len(one.means)),
            chosen,
            *ends,
            *(_figure(value) for value in (one.spread, *map(one.spread_of, constants))),
            *words("; ".join(f"{_values(c)} for {grid.seeds(seeds)}" for c, seeds in one.chosen.items())),
        ),
        notes=notes,
        keys=grid.keys(results, one.target, one.method) if one.method in results.methods else (),
    )


def _values(candidate: Candidate) -> str:
    """The values of a candidate, in the order of its constants: "0.01, mean"."""
    return ", ".join(text.partition("=")[2] for text in candidate)


def _figure(value: float) -> Cell:
    return MISSING if math.isnan(value) else Cell(value=value * 100, decimals=1)


REPORT = Report(label="Tuning", build=build, order=27, part="significance")
