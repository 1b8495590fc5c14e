"""Lays out methods x targets as a table of mean AUCs with its marks, bold figures and P-values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from refers_bench import identity
from refers_bench.analysis.cells import Target
from refers_bench.analysis.held_out import DIFFER, same_images
from refers_bench.analysis.results import Results
from refers_bench.analysis.statistics.best_of import LOWER, BestOf, best_of
from refers_bench.analysis.statistics.seeds import DONE, FAILED, UNAVAILABLE, SeedSummary
from refers_bench.analysis.statistics.significance import STUDENT, Refusal, TTest, best, compare
from refers_bench.render.table import DAGGER, NO_VALUE, Cell, Column, Note, Row, slug
from refers_bench.reporting import cell_notes
from refers_bench.reporting import sharing as _sharing

#: Panels of one figure, and figures of one kind: more cannot be read.
MOST_PANELS = 12
#: Incomplete cells that a figure's caption names.
MOST_NAMED = 6
#: P-values below this get a dagger.
ALPHA = 0.05
SIGNIFICANT = Note(text="P < 0.05 in the test named at the P-value; not corrected for several columns.", mark=DAGGER)
SIGNIFICANT_HOLM = Note(text="P < 0.05 after Holm's correction over the tests of this table.", mark=DAGGER)
#: What choosing the best of several rows does to the paper's test; measured in tests/oracle/test_best_of.py.
CHOICE = (
    "The paper's test is two-sided and made against the best of several rows, chosen on the figures that are tested. "
    "Where nothing differs it says P < 0.05 in 8 % of repetitions with five other rows of three seeds, and in 9 % "
    "with seven: choosing the best makes it stricter where the tested row is higher (0.2 %) and less strict where it "
    "is lower (7.6 %). The P-values for higher and for lower account for the choice."
)
SYNTHETIC = Note(text="synthetic: procedural radiographs, not patients'.")


@dataclass(frozen=True, kw_only=True)
class Line:
    """A row of methods: its title and its name in the manifest, None when the manifest has no such row."""

    title: str
    method: str | None


def percent(ratio: float) -> str:
    """A label ratio in words: "1 % of labels"."""
    return f"{ratio * 100:g} % of labels"


def anchor(results: Results, method: str, target: Target) -> str:
    """Id of the provenance block of a table cell."""
    parts = (results.name, method, target.dataset, target.task, f"{target.label_ratio:g}")
    # The slug is for readers; two names may share it, so the hash tells them apart.
    return f"cell-{slug('-'.join(parts))}-{identity.key(parts)[:8]}"


def target_title(target: Target) -> str:
    """A column group's title where the paper gives none: "covid19_idc: viral_vs_bacterial"."""
    return f"{target.dataset}: {target.task}"


def auc_cell(results: Results, method: str | None, target: Target | None, *, bold: bool = False) -> Cell:
    """Mean class AUC in per cent with its standard deviation over seeds, or the reason why there is none."""
    summary = None if method is None or target is None else results.cells.get((method, target))
    if summary is None or method is None or target is None:
        return Cell(kind="missing", notes=(Note(text="not in this manifest."),))
    link = anchor(results, method, target)
    if not summary.n:
        reason = "; ".join(summary.reasons) or "no figure"
        kind = {FAILED: "failed", UNAVAILABLE: "unavailable", DONE: "value"}.get(summary.state, "missing")
        text = {FAILED: "failed", UNAVAILABLE: "n/a"}.get(summary.state, NO_VALUE)
        return Cell(text=text, kind=kind, link=link, title=reason, notes=(Note(text=f"{reason}."),))
    return Cell(
        value=summary.mean * 100,
        sd=summary.sd * 100 if summary.n > 1 else None,
        n=(summary.n,),
        best=bold,
        tag=summary_tag(summary),
        link=link,
        title=f"{summary.n} of {summary.n_planned} seeds, {summary.n_defined} of {summary.n_classes} classes",
        notes=(*summary_notes(summary), *cell_notes.notes(results, method, target=target)),
    )


def summary_tag(summary: SeedSummary) -> str:
    """What must be seen beside a mean that is not over all seeds or all classes: "n=2/3", "13/14 classes"."""
    seeds = f"n={summary.n}/{summary.n_planned}" if summary.n < summary.n_planned else ""
    some = summary.same_classes and summary.n_defined < summary.n_classes
    classes = f"{summary.n_defined}/{summary.n_classes} classes" if some else ""
    return ", ".join(text for text in (seeds, classes) if text)


def summary_notes(summary: SeedSummary) -> Iterable[Note]:
    """What must be said of a mean: missing seeds, undefined classes, a single seed."""
    if summary.n < summary.n_planned:
        reasons = "; ".join(summary.reasons)
        yield Note(text=f"n={summary.n}/{summary.n_planned}: incomplete ({reasons}); not ranked, not tested.")
    elif summary.n == 1:
        yield Note(text="n=1: one seed, no standard deviation.")
    if not summary.same_classes:
        yield Note(text="its seeds average over different classes; not ranked, not tested.")
    elif summary.n_defined < summary.n_classes:
        yield Note(
            text=f"{summary.n_defined}/{summary.n_classes} classes: the others have no AUC on the test images "
            "(no positive or no negative image)."
        )


def grid_rows(results: Results, lines: Sequence[Line], targets: Sequence[Target | None]) -> list[Row]:
    """One row per method; the best complete figure of each column in bold where there are at least two."""
    leaders = [_leaders(results, lines, target) for target in targets]
    rows = []
    for line in lines:
        cells = [
            auc_cell(results, line.method, target, bold=line.method in winners)
            for target, winners in zip(targets, leaders, strict=True)
        ]
        notes = tuple(Note(text=text) for text in results.footnotes.get(line.method or "", ()))
        rows.append(Row(title=line.title, cells=tuple(cells), notes=notes))
    return rows


def _summaries(results: Results, methods: Iterable[str], target: Target | None) -> dict[str, SeedSummary]:
    if target is None:
        return {}
    return {method: results.cells[method, target] for method in methods if (method, target) in results.cells}


def _leaders(results: Results, lines: Sequence[Line], target: Target | None) -> tuple[str, ...]:
    cells = _summaries(results, [line.method for line in lines if line.method is not None], target)
    comparable = [cell for cell in cells.values() if cell.complete]
    # Means over different classes or images do not rank.
    if len(comparable) < 2 or len({cell.defined for cell in comparable}) > 1 or target is None:
        return ()
    if not same_images(results, [method for method, cell in cells.items() if cell.complete], target):
        return ()
    return best(cells)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A column's test of the reference method against its best baseline.

    Attributes:
        target: the column.
        baseline: row name of the best baseline; '' when there is none.
        outcome: the test, or why there is none.
        left_out: baselines without all their seeds: any of them could have been the best.
        same_images: whether the method and all complete baselines were tested on the same labelled images.
        values: mean AUCs of the reference's seeds; () without a test.
        others: those of each complete baseline.
    """

    target: Target | None
    baseline: str
    outcome: TTest | Refusal
    left_out: tuple[str, ...] = ()
    same_images: bool = True
    values: tuple[float, ...] = ()
    others: tuple[tuple[float, ...], ...] = ()

    @property
    def best_of(self) -> BestOf | Refusal:
        """The test with the choice of the best baseline accounted for."""
        if isinstance(self.outcome, Refusal):
            return self.outcome
        return best_of(self.values, self.others)


def comparisons(
    results: Results, targets: Sequence[Target | None], *, reference: str, baselines: Sequence[str], welch: bool = False
) -> list[Comparison]:
    """The reference method against the best complete one of `baselines`, column by column."""
    found = []
    for target in targets:
        cells = _summaries(results, baselines, target)
        outcome: TTest | Refusal
        name, same = "", True
        if target is None or (reference, target) not in results.cells:
            outcome = Refusal(reason="the method is not in this manifest")
        elif not (winners := best(cells)):
            outcome = Refusal(reason="no baseline is complete")
        elif len({cells[other].defined for other in cells if cells[other].complete}) > 1:
            outcome = Refusal(reason="the baselines average over different classes")
        else:
            name = winners[0]
            outcome = compare(results.cells[reference, target], cells[name], welch=welch)
            compared = [reference, *(other for other in cells if cells[other].complete)]
            same = same_images(results, compared, target)
            if isinstance(outcome, TTest) and not same:
                outcome = Refusal(reason=DIFFER)
        tested = target is not None and isinstance(outcome, TTest)
        found.append(
            Comparison(
                target=target,
                baseline=name,
                outcome=outcome,
                left_out=tuple(other for other in cells if not cells[other].complete),
                same_images=same,
                values=results.cells[reference, target].values if target is not None and tested else (),
                others=tuple(cell.values for cell in cells.values() if cell.complete) if tested else (),
            )
        )
    return found


def p_text(p: float) -> str:
    """A P-value as the paper prints it: "8.35e-4"; from 0.01 on as "0.023"."""
    if p >= 0.01:
        return f"{p:.3f}"
    if p < 1e-300:
        return "< 1e-300"
    mantissa, _, exponent = f"{p:.2e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def p_cell(
    p: float | None,
    *,
    test: str,
    n: tuple[int, ...],
    df: float | None = None,
    unadjusted: float | None = None,
    notes: tuple[Note, ...] = (),
    title: str = "",
) -> Cell:
    """A P-value with what it takes to say so: test, n and df; `unadjusted` of one corrected after Holm."""
    if p is None:
        return Cell(kind="p", notes=notes)
    name = f"{test}; adjusted after Holm" if unadjusted is not None else test
    return Cell(
        text=p_text(p), value=p, kind="p", test=name, n=n, df=df, unadjusted=unadjusted, notes=notes, title=title
    )


def interval_cell(
    low: float,
    high: float,
    *,
    decimals: int,
    signed: bool = False,
    test: str = "",
    n: tuple[int, ...] = (),
    df: float | None = None,
) -> Cell:
    """An interval: "1.2 to 3.4"."""
    text = " to ".join(f"{end:{'+' if signed else ''}.{decimals}f}" for end in (low, high))
    return Cell(text=text, kind="text", low=low, high=high, test=test, n=n, df=df)


def count_cell(count: int) -> Cell:
    """A number of things."""
    return Cell(text=str(count), value=count, kind="text")


def test_row(results: Results, title: str, tests: Sequence[Comparison], *, reference: str, name: str = STUDENT) -> Row:
    """The row of P-values; every one of them says test, n and df in its footnote."""
    cells = []
    for test in tests:
        if isinstance(test.outcome, Refusal):
            cells.append(Cell(kind="p", notes=(Note(text=f"no P-value: {test.outcome.reason}."),)))
            continue
        outcome = test.outcome
        first, second = results.methods[reference], results.methods[test.baseline]
        text = (
            f"{first} against {second}: {name}, two-sided, on mean class AUCs; "
            f"n = {outcome.n[0]} and {outcome.n[1]} seeds, df = {outcome.df:.3g}."
        )
        text += _with_choice(test)
        if test.left_out:
            missing = ", ".join(results.methods[method] for method in test.left_out)
            text += f" Best of the complete rows; without {missing}."
        notes: tuple[Note, ...] = (Note(text=text),)
        if outcome.p < ALPHA:
            notes = (SIGNIFICANT, *notes)
        cells.append(p_cell(outcome.p, test=outcome.test, n=outcome.n, df=outcome.df, notes=notes))
    return Row(title=title, cells=tuple(cells), block="test")


def unread_remarks(results: Results) -> tuple[str, ...]:
    """One sentence that names what of an imported source was not read; nothing where all of it was."""
    unread = results.plan.manifest.get("unread") or ()
    if not unread:
        return ()
    more = f" and {len(unread) - MOST_NAMED} more, all named in plan.lock.json" if len(unread) > MOST_NAMED else ""
    return (f"Not read by the import: {', '.join(map(str, unread[:MOST_NAMED]))}{more}.",)


def _with_choice(test: Comparison) -> str:
    """What a P-value's footnote says of the choice of the best row; '' where there was none."""
    if len(test.others) < 2:
        return ""
    found = test.best_of
    if isinstance(found, Refusal):
        return f" Best of {len(test.others)} rows; no P-value that accounts for the choice: {found.reason}."
    return (
        f" Best of {len(test.others)} rows; one-sided, higher than each of them: P = {p_text(found.p_higher)} "
        f"(t-tests, df = {found.df:.3g}); lower than the best: P = {p_text(found.p_lower)} ({LOWER})."
    )


def choice_remarks(tests: Iterable[Comparison]) -> tuple[str, ...]:
    """What a table with a test against the best of several rows must say; () where no row was chosen."""
    return (CHOICE,) if any(len(test.others) > 1 for test in tests) else ()


def unavailable_remarks(results: Results) -> tuple[str, ...]:
    """One sentence that names the methods no cell of which can run; the footnotes give the reasons."""
    can_run = {planned.method for planned in results.planned if planned.run.state != UNAVAILABLE}
    names = [title for method, title in titles(results, results.methods).items() if method not in can_run]
    return (f"Not available here, reasons in the footnotes: {', '.join(names)}.",) if names else ()


def columns_of(results: Results, targets: Sequence[Target]) -> tuple[Column, ...]:
    """Columns for any manifest: grouped by dataset and task, synthetic data marked."""
    return tuple(
        Column(
            title=percent(target.label_ratio),
            group=target_title(target) + (" (synthetic)" if target in results.synthetic else ""),
        )
        for target in targets
    )


def titles(results: Results, methods: Iterable[str]) -> Mapping[str, str]:
    """Row name -> title that no other row has: the label, with the row name where labels are equal."""
    labels = results.methods
    shared = {label for label in labels.values() if list(labels.values()).count(label) > 1}
    return {
        method: f"{labels[method]} ({method})" if labels[method] in shared else labels[method] for method in methods
    }


def caption_prefix(results: Results, targets: Iterable[Target | None]) -> str:
    """The caption's first words when columns were measured on procedural images; '' when none was."""
    columns = [target for target in targets if target is not None]
    synthetic = [target for target in columns if target in results.synthetic]
    if not synthetic:
        return ""
    return "Synthetic data. " if len(synthetic) == len(columns) else "Partly synthetic data. "


def incomplete(results: Results, targets: Iterable[Target]) -> str:
    """The caption's words about what is drawn from fewer seeds or classes than there are, and about shared scores."""
    targets = list(targets)
    names = titles(results, results.methods)
    found = [
        f"{names[method]}, {target_title(target)}, {percent(target.label_ratio)} ({tag})"
        for target in targets
        for method in results.methods
        if (cell := results.cells.get((method, target))) is not None and cell.n and (tag := summary_tag(cell))
    ]
    return _listed("Not from all seeds or classes", found) + sharing(results, targets)


def sharing(results: Results, targets: Iterable[Target]) -> str:
    """The caption's words about rows whose scores follow from one another; '' where there are none."""
    found = [
        f"{_sharing.names(results, group)} on {target_title(target)}, {percent(target.label_ratio)}"
        for target in targets
        for group in _sharing.groups(results, target)
    ]
    return _listed("Rows that share scores (see the table of integrity)", found)


def _listed(title: str, found: Sequence[str]) -> str:
    """A sentence that names the first few; '' where there are none."""
    if not found:
        return ""
    more = f"; and {len(found) - MOST_NAMED} more, marked in the tables" if len(found) > MOST_NAMED else ""
    return f" {title}: {'; '.join(found[:MOST_NAMED])}{more}."


def not_drawn(shown: int, total: int) -> str:
    """The caption's last words where a figure leaves columns out; '' where it has all."""
    return f" The first {shown} of {total} columns; the others stand in the tables." if total > shown else ""
