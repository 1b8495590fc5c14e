"""Sets the band within which a class AUC may differ from a baseline's, and tests over all seeds that it does not."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from refers_bench.analysis.statistics.equivalence import Equivalence, equivalence
from refers_bench.analysis.statistics.significance import Refusal

#: Where the band of a class comes from: one figure for all, or as much as its test images leave open.
FIXED, TEST_IMAGES = "fixed", "test-images"
#: Source of the band where the baseline names none.
STATED = "the baseline's tolerance for every class"
_Z = 1.959963984540054


@dataclass(frozen=True, kw_only=True)
class BandTest:
    """Whether a class AUC of a row is where the baseline has it, up to its band, over all seeds.

    Attributes:
        row: row name and column ("refers.covid19_idc.viral_vs_bacterial.100%").
        name: class.
        band: allowed absolute difference, AUC in [0, 1].
        source: where the band comes from.
        found: two one-sided t-tests on the differences seed by seed, or why there is none.
    """

    row: str
    name: str
    band: float
    source: str
    found: Equivalence | Refusal


def stored_band(stored: Mapping[str, Any], tolerance: float, bands: str) -> dict[str, Any]:
    """Band of a class and its source; {} where the baseline's own tolerance applies."""
    if bands == FIXED or stored["auc"] is None:
        return {}
    error = standard_error(stored["auc"], n_pos=stored["n_pos"], n_neg=stored["n_neg"])
    if _Z * error <= tolerance:
        return {}
    source = (
        f"1.96 standard errors (Hanley and McNeil) with {stored['n_pos']} positive, {stored['n_neg']} negative images"
    )
    return {"tolerance": round(_Z * error, 6), "tolerance_source": source}


def standard_error(auc: float, *, n_pos: int, n_neg: int) -> float:
    """Standard error of an AUC over test sets of this size, for exponentially distributed scores.

    Source: Hanley and McNeil, Radiology 143, 1982.

    Example:
        >>> round(standard_error(0.8, n_pos=50, n_neg=50), 3)
        0.045
    """
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (n_pos - 1) * (q1 - auc**2) + (n_neg - 1) * (q2 - auc**2)
    return math.sqrt(max(0.0, variance) / (n_pos * n_neg))


def band_tests(
    row: str, pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], *, seeds: int, tolerance: float, source: str
) -> Iterator[BandTest]:
    """Test every class of a row over its seeds.

    Args:
        row: row name and column.
        pairs: classes as they are and as they were stored, of every seed that both sides have.
        seeds: that there should be; with fewer on both sides nothing is tested.
        tolerance: the band of a class that has none of its own.
        source: where it comes from.
    """
    for name in dict.fromkeys(name for _, before in pairs for name in before):
        both = [(now[name]["auc"], before[name]) for now, before in pairs if name in now and name in before]
        band = max((float(stored.get("tolerance", tolerance)) for _, stored in both), default=tolerance)
        own = next((str(stored["tolerance_source"]) for _, stored in both if "tolerance_source" in stored), source)
        differences = [auc - stored["auc"] for auc, stored in both if auc is not None and stored["auc"] is not None]
        found: Equivalence | Refusal
        if len(differences) < seeds:
            found = Refusal(reason=f"an AUC on both sides in {len(differences)} of {seeds} seeds")
        elif not band:
            found = Refusal(reason="a band without width")
        else:
            found = equivalence(differences, 0.0, margin=band)
        yield BandTest(row=row, name=name, band=band, source=own, found=found)
