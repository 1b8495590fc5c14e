"""DeLong's test of two methods by their places, as tests and measurements ask for it."""

from __future__ import annotations

import numpy as np

from refers_bench.analysis.statistics.delong import Delong, DelongTest, contrast
from refers_bench.analysis.statistics.significance import Refusal


def pair(found: Delong | Refusal, first: int, second: int) -> DelongTest | Refusal:
    """The test of the first method's AUC minus the second's."""
    if isinstance(found, Refusal):
        return found
    weights_M = np.zeros(len(found.auc_M))
    weights_M[first] += 1
    weights_M[second] -= 1
    return contrast(found, weights_M)
