"""Draws the mean ranks of the methods over all targets together (critical-difference plot)."""

from dataclasses import dataclass

from refers_bench.analysis.held_out import same_images
from refers_bench.analysis.kept import kept
from refers_bench.analysis.results import Results
from refers_bench.analysis.statistics.ranks import Ranks, ranks
from refers_bench.plugins import Report
from refers_bench.render.figure import Figure, Panel, Series
from refers_bench.reporting import comparisons, grid

#: Raised when the same AUCs would give other ranks.
IMPL = 1


@dataclass(frozen=True, kw_only=True)
class _Found:
    """Ranks, or None where they are refused."""

    ranks: Ranks | None


def build(results: Results) -> Figure | None:
    """Mean ranks over the columns in which every drawn method is complete; None for fewer than two such columns."""
    complete = {where: cell for where, cell in results.cells.items() if cell.complete}
    methods = [method for method in results.methods if any((method, target) in complete for target in results.targets)]
    targets = [target for target in results.targets if all((method, target) in complete for method in methods)]
    alike = {target: len({complete[method, target].defined for method in methods}) < 2 for target in targets}
    targets = [target for target in targets if alike[target] and same_images(results, methods, target)]
    if len(methods) < 3 or len(targets) < 2:
        return None
    aucs = [[results.cells[method, target].mean for method in methods] for target in targets]
    found = kept(_Found, {"ranks": IMPL, "aucs": aucs}, results.store, lambda: _found(aucs)).ranks
    if found is None:
        return None
    titles = grid.titles(results)
    order = sorted(range(len(methods)), key=lambda place: (found.means[place], methods[place]))
    names = tuple(titles[methods[place]] for place in order)
    half = found.critical / 2
    means = [found.means[place] for place in order]
    series = [
        Series.with_ends(
            [(mean, float(y), mean - half, mean + half)],
            label=names[y],
            style="intervals",
            colour=list(results.methods).index(methods[place]),
        )
        for y, (place, mean) in enumerate(zip(order, means, strict=True))
    ]
    return Figure(
        id="figure-ranks",
        caption=f"{grid.caption_prefix(results, targets)}Mean rank over {len(targets)} columns (1 is best); bars: half "
        "the critical difference to each side (Nemenyi).",
        alt="Mean ranks of the methods with the critical difference.",
        panels=(Panel(x_label="mean rank", series=tuple(series), y_names=names),),
        note=f"Methods whose bars do not overlap differ at 5 %: the critical difference is {found.critical:.2f}. "
        f"{found.test}: chi-squared = {found.statistic:.2f}, df = {found.df}, n = {found.n_targets} columns, "
        f"P = {comparisons.p_text(found.p)}. Columns of one dataset are not independent, which this ignores."
        + grid.leaking(results, targets)
        + grid.sharing(results, targets),
    )


def _found(aucs: list[list[float]]) -> _Found:
    found = ranks(aucs)
    return _Found(ranks=found if isinstance(found, Ranks) else None)


REPORT = Report(label="Ranks", build=build, order=55, part="figures")
