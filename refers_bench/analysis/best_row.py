"""Says how far the row with the highest mean AUC of a column may be trusted to be the best, from stored predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from refers_bench.analysis.predictions import Predictions, stacked
from refers_bench.analysis.statistics.outperformance import (
    FalseOutperformance,
    Outperformance,
    false_outperformance,
    mean_auc_draws,
    outperformance,
)
from refers_bench.analysis.statistics.significance import Refusal


@dataclass(frozen=True, kw_only=True)
class BestRow:
    """The best row of one column against the others.

    Attributes:
        found: the row, and each row's probability to be truly the best.
        over: other row -> P(a run of the best row beats one of this row).
        refusals: other row -> why there is no such probability.
        n_units: images or patients.
    """

    found: FalseOutperformance
    over: Mapping[str, Outperformance]
    refusals: Mapping[str, str]
    n_units: int


def best_row(rows: Mapping[str, Sequence[Predictions]]) -> BestRow | None:
    """The best of some rows; None where they were not tested on the same labelled images, or have one seed.

    Args:
        rows: name -> predictions of its seeds, in the order of the seeds.
    """
    every = [one for several in rows.values() for one in several]
    if len(rows) < 2 or any(every[0].differs(one) or np.isnan(one.scores_NK).any() for one in every):
        return None
    first = every[0]
    scores_RNK, places = stacked(rows, first.classes)
    try:
        draws_RB = mean_auc_draws(first.labels_NK, scores_RNK, first.units)
    except ValueError:
        return None  # no class has an AUC
    draws = {name: draws_RB[several] for name, several in places.items()}
    found = false_outperformance(draws)
    if isinstance(found, Refusal):
        return None
    over = {name: outperformance(draws[found.row], own) for name, own in draws.items() if name != found.row}
    return BestRow(
        found=found,
        over={name: one for name, one in over.items() if isinstance(one, Outperformance)},
        refusals={name: one.reason for name, one in over.items() if isinstance(one, Refusal)},
        n_units=first.units.count,
    )
