"""Writes the first sentences of a report: how complete it is, who leads, how sure that is, what was found."""

from collections.abc import Iterable, Sequence

from refers_bench.analysis.image_statistics import image_statistics
from refers_bench.analysis.paper.references import differences_of_release, references
from refers_bench.analysis.results import Results
from refers_bench.analysis.statistics.auc_intervals import Interval
from refers_bench.analysis.statistics.replication import CONSISTENT, DIFFERS, Replication
from refers_bench.analysis.statistics.significance import Refusal
from refers_bench.render.figure import Figure
from refers_bench.render.quantity import quantity
from refers_bench.render.table import Table
from refers_bench.reporting import comparisons, grid

#: Sentences of an answer.
MOST_ANSWERS = 3
#: Tables whose captions say what there is in them.
CAPTIONS = ("claims", "integrity", "frozen-plan", "deviations", "failures")


def facts(results: Results) -> str:
    """What was run, on which data, and how complete it is."""
    done = sum(planned.run.counts for planned in results.planned)
    datasets = dict.fromkeys(target.dataset for target in results.targets)
    seeds = {planned.run.seed for planned in results.planned}
    text = (
        f"{quantity(len(results.methods), 'method')} x {quantity(len(results.targets), 'column')} "
        f"({', '.join(datasets)}) x {quantity(len(seeds), 'seed')}: "
        f"{done} of {len(results.planned)} cells have a figure (a cell is one method, target, label ratio and seed)."
    )
    if results.synthetic:
        names = sorted(set(map(grid.target_title, results.synthetic)))
        which = "all of it" if results.synthetic >= set(results.targets) else ", ".join(names)
        text += f" Synthetic data, procedural radiographs and not patients': {which}."
    text += f" {grid.limited(results)}".rstrip()
    return text


def sentences(results: Results, items: Sequence[Table | Figure]) -> tuple[list[str], list[str]]:
    """What came out in at most three sentences (who leads, by how much, what that is worth), and further ones."""
    found = [*_leading(results), *_main_column(results), *_floors(results), *_verdicts(results), *_released(results)]
    more = [results.plan.title] if results.plan.title else []
    if results.plan.changes:
        more.append(f"Changed on the command line: {', '.join(results.plan.changes)}.")
    more += [*grid.unread_remarks(results), *found[MOST_ANSWERS:]]
    return found[:MOST_ANSWERS], more + [item.caption for item in items if item.id in CAPTIONS]


def _main_column(results: Results) -> Iterable[str]:
    """The reference beside the best other row, in the first column with most labels, with intervals."""
    most = max((target.label_ratio for target in results.targets), default=0.0)
    for target in (one for one in results.targets if one.label_ratio == most):
        found = image_statistics(results, target)
        rows = {} if found is None else {name: found.means[name] for name in found.differences if name in found.means}
        if found is None or not rows or found.reference not in found.means:
            continue
        rivals = [name for name in rows if name not in results.floors] or [*rows]
        names, other = grid.titles(results), max(rivals, key=lambda name: rows[name].estimate)
        means = (f"{names[row]} {_interval(found.means[row])}" for row in (found.reference, other))
        yield (
            f"{grid.where(target)}: {', '.join(means)}, difference {_interval(found.differences[other], sign='+')} "
            f"(mean class AUC in per cent; 95 % intervals over test {found.unit}s)."
        )
        return


def _interval(found: Interval, sign: str = "") -> str:
    middle, low, high = (f"{value * 100:{sign}.1f}" for value in (found.estimate, found.low, found.high))
    return f"{middle} ({low} to {high})" if found.se > 0 else middle


def _floors(results: Results) -> Iterable[str]:
    """In how many columns the reference is above the best floor."""
    above = compared = 0
    for target in results.targets:
        found = comparisons.against_best_floor(results, target) if results.floors else None
        difference = found.differences.get(results.reference) if found is not None else None
        if difference is not None:
            compared += 1
            above += difference.high < 0  # the floor minus the row
    if compared:
        yield (
            f"{grid.titles(results)[results.reference]} is above the best floor, which looks at no anatomy, in {above} "
            f"of {compared} columns (95 % interval of the difference over test images)."
        )


def _leading(results: Results) -> Iterable[str]:
    """Where the reference method leads in the primary columns, and where the test over seeds says so."""
    if len(results.methods) < 2:
        return
    tests, rules = comparisons.tested(results), results.rules
    compared = [test for test in tests if test.baseline and test.same_images]
    cells = [[results.cells[name, t.target] for name in (t.reference, t.baseline)] for t in compared if t.target]
    # Means over other seeds or classes say nothing about who leads.
    cells = [[one, other] for one, other in cells if one.complete and one.defined == other.defined]
    if not cells:
        return
    leads = sum(one.mean > other.mean for one, other in cells)
    named = comparisons.named_rows(results)
    other = comparisons.against(results, *named) if any(named) else "the best other complete row"
    kind = "comparisons" if len(named) > 1 else "primary columns" if rules.columns else "columns"
    text = f"{grid.titles(results)[compared[0].reference]} is above {other} in {leads} of {len(cells)} {kind}"
    p_values = [test.outcome.p for test in tests if not isinstance(test.outcome, Refusal)]
    if not p_values:
        yield f"{text}; no column has a P-value over seeds, for the reasons in the tables' footnotes."
        return
    small, corrected = (
        sum(p is not None and p < rules.alpha for p in values)
        for values in (p_values, comparisons.holm_of(test.outcome for test in tests))
    )
    yield (
        f"{text}; P < {rules.alpha:g} over seeds, whichever is higher, in {small} of {len(p_values)} tested "
        f"{kind.removeprefix('primary ')}, in {corrected} after Holm's correction{_directions(tests, rules.alpha)}."
    )


def _released(results: Results) -> Iterable[str]:
    """How many means of a release are the published ones, to the digit printed and to a point."""
    if found := differences_of_release(results):
        tenth, point = (sum(abs(difference) > most for difference in found) for most in (0.1, 1.0))
        yield (
            f"Of the {len(found)} mean AUCs of the released files, {tenth} differ from the published ones by more than "
            f"0.1 point, {point} by more than 1 point."
        )


def _directions(tests: Iterable[comparisons.Comparison], alpha: float) -> str:
    """In how many columns either direction is found once the choice of the best row is accounted for."""
    chosen = [test.best_of for test in tests if len(test.others) > 1]
    found = [one for one in chosen if not isinstance(one, Refusal)]
    if not found:
        return ""
    higher = sum(one.p_higher < alpha / 2 for one in found)
    lower = sum(one.p_lower < alpha / 2 for one in found)
    return f"; higher than every other row in {higher}, lower than the best in {lower} (one-sided, P < {alpha / 2:g})"


def _verdicts(results: Results) -> Iterable[str]:
    """How many published figures agree with seeds like ours, and how often a true difference would be noticed."""
    verdicts = [one.verdict for one in references(results)]
    tested = [one for one in verdicts if isinstance(one, Replication)]
    if tested:
        words = [one.verdict for one in tested]
        counts = ", ".join(f"{words.count(word)} {word}" for word in (CONSISTENT, DIFFERS))
        middle = sorted(one.power for one in tested)[len(tested) // 2]
        yield (
            f"Of {len(verdicts)} published figures: {counts}, {len(verdicts) - len(tested)} without a test. A true "
            "replication is called consistent in 95 % of repetitions; a true difference of 1 point is noticed in "
            f"{middle * 100:.0f} % (median)."
        )
