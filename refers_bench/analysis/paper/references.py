"""Sets our figures beside the published ones and those of the released prediction files."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from refers_bench.analysis.cells import Target
from refers_bench.analysis.paper.published import PublishedValue, column, published_values, row_of
from refers_bench.analysis.results import Results, load
from refers_bench.analysis.statistics.replication import Replication, replication
from refers_bench.analysis.statistics.seeds import DEPENDENT, SeedSummary
from refers_bench.analysis.statistics.significance import Refusal
from refers_bench.store.plan import LOCK

#: Plan that holds the released prediction files, below the results folder, once they were imported.
RELEASE = "refers-release"


@dataclass(frozen=True, kw_only=True)
class Reference:
    """One published figure with what else is known of it.

    Attributes:
        published: the figure, in per cent.
        target: our column.
        released: mean class AUC of the released prediction files in per cent; None where there are none.
        reproduced: our seeds; None where the manifest has no such cell.
        verdict: the published figure tested against our seeds, or why it is not.
    """

    published: PublishedValue
    target: Target
    released: float | None
    reproduced: SeedSummary | None
    verdict: Replication | Refusal


def release_of(results: Results) -> Results | None:
    """The imported release: the results themselves, or those beside them; None when it was never imported."""
    if results.origin == "released":
        return results
    folder = results.store.parent
    if not (folder / RELEASE / LOCK).is_file():
        return None
    found = load(folder, RELEASE)
    return found if found.origin == "released" else None


def references(results: Results) -> tuple[Reference, ...]:
    """Every published mean AUC of Tables 1 to 3 that the results have a cell on real data for, in the paper's order."""
    return tuple(_references(results))


def differences_of_release(results: Results) -> tuple[float, ...]:
    """Mean AUC of each row and column of an imported release minus the published one, in points."""
    if results.origin != "released":
        return ()
    return tuple(one.released - one.published.value for one in references(results) if one.released is not None)


def _references(results: Results) -> Iterator[Reference]:
    release = release_of(results)
    ours = results.origin != "released"
    seen: set[tuple[str | None, Target, float]] = set()
    for value in published_values():
        # Table 2 prints REFERS' figures of Table 1 again.
        if value.statistic != "mean_auc_percent" or (value.table == 2 and value.method == "REFERS"):
            continue
        target = column(value.target, value.label_ratio)
        if not results.as_documented(target):
            continue
        # Table 3 prints figures of Tables 1 and 2 again.
        figure = (row_of(value.method, results.methods), target, value.value)
        if figure[0] is not None and figure in seen:
            continue
        seen.add(figure)
        summary = _summary(results, value, target) if ours else None
        files = _summary(release, value, target) if release is not None and value.table != 3 else None
        # The release fills the column where our manifest has the target, or where it is the subject.
        if summary is None and (files is None or (ours and target not in results.targets)):
            continue
        yield Reference(
            published=value,
            target=target,
            released=files.mean * 100 if files is not None and files.n else None,
            reproduced=summary,
            verdict=_verdict(value, summary),
        )


def _summary(results: Results | None, value: PublishedValue, target: Target) -> SeedSummary | None:
    return None if results is None else results.cells.get((row_of(value.method, results.methods) or "", target))


def _verdict(value: PublishedValue, summary: SeedSummary | None) -> Replication | Refusal:
    if summary is None:
        return Refusal(reason="not run here")
    if not summary.n or math.isnan(summary.mean):
        return Refusal(reason="; ".join(summary.reasons) or "no figure")
    if not summary.complete:
        return Refusal(reason=f"only {summary.n} of {summary.n_planned} seeds are there")
    if summary.n_defined < summary.n_classes:
        return Refusal(reason=f"mean over {summary.n_defined} of {summary.n_classes} classes")
    if not summary.independent:
        return Refusal(reason=DEPENDENT)
    return replication(summary.values, value.value / 100)
