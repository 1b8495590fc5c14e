"""Writes what came of claims, and which figures of others compare with a run, as JSON for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from refers_bench.analysis.cells import TARGET, Target
from refers_bench.analysis.paper.claims import VERDICTS, Claim, Outcome
from refers_bench.analysis.paper.comparability import Verdict, judged, published_on
from refers_bench.analysis.paper.registry import Entry
from refers_bench.analysis.results import Results
from refers_bench.render.escape import encodable

#: Incremented when a reader of the previous version would misread the output.
VERSION = 1
#: Fields of a published figure that are written as they are; its label ratio is its column's, `labels` as printed.
OF_ENTRY = (
    *("method", "backbone", "pretraining", "target", "labels", "metric", "spread_kind", "n_seeds", "protocol", "how"),
    *("head", "split", "selection", "selected", "source", "table", "address", "first_hand", "note"),
)


def as_json(
    claims: Sequence[Claim], outcomes: Mapping[str, Sequence[Outcome]], *, others: Results | None = None
) -> str:
    """Everything as one JSON object; figures and their intervals in per cent, as the paper has them.

    Args:
        claims: in the order of their file.
        outcomes: title of a column of evidence -> one for each claim.
        others: results beside which figures of others are to stand; None for none: then "others" is null.
    """
    value = {
        "version": VERSION,
        "claims": [
            {
                "id": claim.id,
                "place": claim.place,
                "statement": claim.statement,
                "expression": claim.text,
                "demanded": _demanded(claim),
                "note": claim.note,
                "evidence": {title: _outcome(found[place]) for title, found in outcomes.items()},
            }
            for place, claim in enumerate(claims)
        ],
        "counts": {
            title: {verdict: sum(one.verdict == verdict for one in found) for verdict in VERDICTS}
            for title, found in outcomes.items()
        },
        "others": None if others is None else _others(others),
    }
    return encodable(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)) + "\n"


def _demanded(claim: Claim) -> dict[str, Any]:
    """Between which numbers the value must lie; null for any."""
    low, high, strict = claim.bounds
    return {
        "low": None if math.isinf(low) else low,
        "high": None if math.isinf(high) else high,
        "ends_excluded": strict,
    }


def _outcome(found: Outcome) -> dict[str, Any]:
    ends = (None if end is None or math.isinf(end) else end for end in (found.low, found.high))
    numbers = dict(zip(("low", "high"), ends, strict=True))
    return {
        "verdict": found.verdict,
        "value": found.value,
        **numbers,
        "reason": found.reason,
        "places": list(found.places),
    }


def _others(results: Results) -> list[dict[str, Any]]:
    """Each column that others published figures of, with ours and theirs."""
    return [
        {
            **{name: getattr(column, name) for name in TARGET},
            "ours": _ours(results, column),
            "figures": [_figure(*one) for one in figures],
            "left_out": len(published_on(column)) - len(figures),
        }
        for column, figures in judged(results).items()
    ]


def _ours(results: Results, column: Target) -> list[dict[str, Any]]:
    """Mean class AUC of each row over its seeds; null where no seed has one."""
    return [
        {
            "method": method,
            "value_percent": summary.mean * 100 if summary.n else None,
            "sd_percent": summary.sd * 100 if summary.n > 1 else None,
            "n_seeds": summary.n,
            "n_seeds_planned": summary.n_planned,
        }
        for (method, target), summary in results.cells.items()
        if target == column
    ]


def _figure(entry: Entry, verdict: Verdict) -> dict[str, Any]:
    return {
        **{name: getattr(entry, name) for name in OF_ENTRY},
        "value_percent": entry.value,
        "spread_percent": list(entry.spread),
        "comparable": verdict.comparable,
        "reasons": list(verdict.reasons),
    }
