"""What would a reader want to know first: how complete is it, who leads, how sure is that, what was found?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from refers_bench.analysis.equivalence import INCONCLUSIVE, NOT_REPRODUCED, REPRODUCED, Equivalence
from refers_bench.analysis.references import differences_of_release, references
from refers_bench.analysis.results import Results
from refers_bench.analysis.significance import Refusal, holm
from refers_bench.render.figure import Figure
from refers_bench.render.table import Table
from refers_bench.reports import _grid

#: Tables whose captions say what there is in them.
CAPTIONS = ("claims", "integrity", "deviations", "failures")


def sentences(results: Results, items: Sequence[Table | Figure]) -> list[str]:
    """The summary of one manifest, a sentence each."""
    total = len(results.planned)
    done = sum(planned.run.counts for planned in results.planned)
    found = [str(results.lock["title"])] if results.lock.get("title") else []
    found.append(f"{done} of {total} cells have a figure (a cell is one method, target, label ratio and seed).")
    if results.synthetic:
        names = sorted({f"{target.dataset}: {target.task}" for target in results.synthetic})
        found.append(f"Synthetic data, procedural radiographs and not patients': {', '.join(names)}.")
    found += [*_grid.unread_remarks(results), *_leading(results), *_verdicts(results), *_released(results)]
    return found + [item.caption for item in items if item.id in CAPTIONS]


def _leading(results: Results) -> Iterable[str]:
    """Where the reference method leads, and where the test over seeds says so."""
    if len(results.methods) < 2:
        return
    reference = "refers" if "refers" in results.methods else next(iter(results.methods))
    baselines = [method for method in results.methods if method != reference]
    tests = _grid.comparisons(results, results.targets, reference=reference, baselines=baselines)
    compared = [test for test in tests if test.baseline and test.target and test.same_images]
    cells = [(results.cells[reference, t.target], results.cells[t.baseline, t.target]) for t in compared if t.target]
    # Means over other seeds or classes say nothing about who leads.
    cells = [(one, other) for one, other in cells if one.complete and one.defined == other.defined]
    if not cells:
        return
    leads = sum(one.mean > other.mean for one, other in cells)
    p_values = [None if isinstance(test.outcome, Refusal) else test.outcome.p for test in tests]
    tested = [p for p in p_values if p is not None]
    text = (
        f"{_grid.titles(results, results.methods)[reference]} is above the best other complete row in {leads} of "
        f"{len(cells)} columns"
    )
    if not tested:
        yield f"{text}; no column has a P-value over seeds, for the reasons in the tables' footnotes."
        return
    small = sum(p < _grid.ALPHA for p in tested)
    corrected = sum(p is not None and p < _grid.ALPHA for p in holm(p_values))
    yield (
        f"{text}; P < {_grid.ALPHA:g} over seeds, whichever is higher, in {small} of {len(tested)} tested columns, "
        f"in {corrected} after Holm's correction."
    )


def _released(results: Results) -> Iterable[str]:
    """How many means of a release are the published ones, to the digit printed and to a point."""
    found = differences_of_release(results)
    if found:
        tenth, point = (sum(abs(difference) > most for difference in found) for most in (0.1, 1.0))
        yield (
            f"Of the {len(found)} mean AUCs of the released files, {tenth} differ from the published ones by more than "
            f"0.1 point, {point} by more than 1 point."
        )


def _verdicts(results: Results) -> Iterable[str]:
    """How many published figures were reproduced within the margin."""
    verdicts = [one.verdict for one in references(results)]
    tested = [one.verdict for one in verdicts if isinstance(one, Equivalence)]
    if tested:
        counts = ", ".join(f"{tested.count(one)} {one}" for one in (REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE))
        yield f"Of {len(verdicts)} published figures: {counts}, {len(verdicts) - len(tested)} without a test."
