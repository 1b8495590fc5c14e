"""Lays out methods x targets as a table of mean AUCs, and words what titles, captions and remarks have in common."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from refers_bench import identity
from refers_bench.analysis.cells import Target
from refers_bench.analysis.held_out import same_images
from refers_bench.analysis.results import Results
from refers_bench.analysis.statistics.seeds import DONE, FAILED, UNAVAILABLE
from refers_bench.analysis.statistics.significance import best
from refers_bench.render.figure import Figure, Panel, Series
from refers_bench.render.table import NO_VALUE, Cell, Column, Keys, Note, Row, slug
from refers_bench.reporting import comparisons, notes

#: Panels of one figure, and figures of one kind: more cannot be read.
MOST_PANELS = 12
#: Incomplete cells that a figure's note names.
MOST_NAMED = 6

#: Names that stand in an id as they are.
_PLAIN = re.compile(r"[a-z0-9_]+")

SYNTHETIC = Note(text="synthetic: procedural radiographs, not patients'.")


def limited(results: Results) -> str:
    """What every table, figure and page says where only some images of each split were used; '' else."""
    return f"Limited data: at most {results.limit} images of each split. " if results.limit else ""


def percent(ratio: float) -> str:
    """A label ratio in words: "1 % of labels"."""
    return f"{ratio * 100:g} % of labels"


def anchor(results: Results, method: str, target: Target) -> str:
    """Id of the provenance block of a table cell."""
    parts = (results.name, method, target.dataset, target.task, f"{target.label_ratio:g}{target.suffix}")
    # The slug is for readers; two names may share it, so the hash tells them apart.
    return f"cell-{slug('-'.join(parts))}-{identity.key(parts)[:8]}"


def target_title(target: Target) -> str:
    """A column group's title where the paper gives none: "covid19_idc: viral_vs_bacterial"."""
    return f"{target.dataset}: {target.task}{target.suffix}"


def where(target: Target) -> str:
    """A column in words: "covid19_idc: viral_vs_bacterial, 10 % of labels"."""
    return f"{target_title(target)}, {percent(target.label_ratio)}"


def keys(results: Results, target: Target | None = None, *methods: str | None) -> Keys:
    """What a column, a row, a table or a figure is about, for the filters of a page.

    Args:
        results: the results.
        target: the column it is about; None for several.
        methods: the row it is about; none, or several, where it is about no single one.
    """
    where = (("dataset", target.dataset), ("labels", percent(target.label_ratio))) if target is not None else ()
    rows = [method for method in methods if method is not None]
    return (*where, ("method", titles(results)[rows[0]])) if len(rows) == 1 else where


def listed(targets: Sequence[Target]) -> str:
    """The first few columns in words, and how many more there are."""
    more = f" and {len(targets) - MOST_NAMED} more" if len(targets) > MOST_NAMED else ""
    return "; ".join(map(where, targets[:MOST_NAMED])) + more


def item_id(kind: str, target: Target) -> str:
    """Id of a column's own table or figure of some kind, and the name of its files: no other column has it."""
    found = slug(f"{kind}-{target.dataset}-{target.task}-{target.label_ratio:g}{target.suffix}".replace(".", "_"))
    if _PLAIN.fullmatch(target.dataset) and _PLAIN.fullmatch(target.task):
        return found
    # As an id, another name may be the same text, or on some file systems the same but for capitals.
    return f"{found}-{identity.key(vars(target))[:8]}"


def marked_title(results: Results, target: Target) -> str:
    """A panel's title: the column, and whether its images are synthetic."""
    return where(target) + synthetic_mark(results, target)


def synthetic_mark(results: Results, *targets: Target) -> str:
    """What a title says of columns of which any is measured on procedural images: ' (synthetic)'; else ''."""
    return " (synthetic)" if results.synthetic.intersection(targets) else ""


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
        tag=notes.tag(summary),
        link=link,
        title=f"{summary.n} of {summary.n_planned} seeds, {summary.n_defined} of {summary.n_classes} classes",
        notes=(*notes.of_summary(summary), *notes.of_runs(results, method, target=target, brief=True)),
    )


def grid_rows(results: Results, lines: Sequence[tuple[str, str | None]], targets: Sequence[Target | None]) -> list[Row]:
    """One row per title; the best complete figure of each column in bold where there are at least two.

    Args:
        results: the results.
        lines: (title, row name); None where the manifest has no such row.
        targets: the columns; None where the manifest has no such column.
    """
    leaders = [_leaders(results, lines, target) for target in targets]
    rows = []
    for title, method in lines:
        cells = [
            auc_cell(results, method, target, bold=method in winners)
            for target, winners in zip(targets, leaders, strict=True)
        ]
        about = keys(results, None, method)
        rows.append(Row(title=title, cells=tuple(cells), notes=row_note(results, method), keys=about))
    return rows


def row_note(results: Results, method: str | None) -> tuple[Note, ...]:
    """One footnote with all that is said of a row: what it is first, values of parameters and constants after it."""
    texts = results.footnotes.get(method or "", ())
    values = [text for text in texts if " = " in text]
    words = [text for text in texts if text not in values] or values[:1]
    if not words:
        return ()
    more = tuple(f"{text}." for text in values if text not in words)
    return (Note(text=f"{'; '.join(words)}.", more=more),)


def _leaders(results: Results, lines: Sequence[tuple[str, str | None]], target: Target | None) -> tuple[str, ...]:
    methods = [method for _, method in lines if method is not None and method not in results.floors]
    cells = comparisons.summaries(results, methods, target)
    complete = {method: cell for method, cell in cells.items() if cell.complete}
    # Means over different classes or images do not rank.
    if len(complete) < 2 or len({cell.defined for cell in complete.values()}) > 1 or target is None:
        return ()
    return best(cells) if same_images(results, list(complete), target) else ()


def count_cell(count: int) -> Cell:
    """A number of things."""
    return Cell(text=str(count), value=count, kind="text")


def seeds(numbers: Iterable[int]) -> str:
    """Names, not numbers: "seed 0", "seeds 0, 2"."""
    names = list(map(str, numbers))
    return f"seed{'s' * (len(names) > 1)} {', '.join(names)}"


def unread_remarks(results: Results) -> tuple[str, ...]:
    """One sentence that names what of an imported source was not read; nothing where all of it was."""
    unread = results.plan.manifest.get("unread") or ()
    if not unread:
        return ()
    more = f" and {len(unread) - MOST_NAMED} more, all named in plan.lock.json" if len(unread) > MOST_NAMED else ""
    return (f"Not read by the import: {', '.join(map(str, unread[:MOST_NAMED]))}{more}.",)


def unavailable_remarks(results: Results) -> tuple[str, ...]:
    """One sentence that names the methods no cell of which can run; the footnotes give the reasons."""
    can_run = {planned.method for planned in results.planned if planned.run.state != UNAVAILABLE}
    names = [title for method, title in titles(results).items() if method not in can_run]
    return (f"Not available here, reasons in the footnotes: {', '.join(names)}.",) if names else ()


def columns_of(results: Results, targets: Sequence[Target]) -> tuple[Column, ...]:
    """Columns for any manifest: grouped by dataset and task, synthetic data marked."""
    return tuple(
        Column(
            title=percent(target.label_ratio),
            group=target_title(target) + synthetic_mark(results, target),
            keys=keys(results, target),
        )
        for target in targets
    )


def titles(results: Results) -> Mapping[str, str]:
    """Row name -> title that no other row has: the label, with the row name where labels are equal."""
    times = Counter(results.methods.values())
    return {method: f"{label} ({method})" if times[label] > 1 else label for method, label in results.methods.items()}


def caption_prefix(results: Results, targets: Iterable[Target | None]) -> str:
    """The caption's first words when columns were measured on procedural images; '' when none was."""
    columns = [target for target in targets if target is not None]
    synthetic = [target for target in columns if target in results.synthetic]
    if not synthetic:
        return ""
    return "Synthetic data. " if len(synthetic) == len(columns) else "Partly synthetic data. "


def incomplete(results: Results, targets: Iterable[Target]) -> str:
    """A note's words about what leaks, lacks seeds or classes, was chosen on test images, or shares scores."""
    targets = list(targets)
    cells = [
        (f"{title}, {where(target)}", cell)
        for target in targets
        for method, title in titles(results).items()
        if (cell := results.cells.get((method, target))) is not None and cell.n
    ]
    lacking = [f"{name} ({lack})" for name, cell in cells if (lack := notes.lacks(cell))]
    chosen = [name for name, cell in cells if cell.selected_on_test]
    said = _listed("Not from all seeds or classes", lacking) + _listed("Chosen on test images", chosen)
    return leaking(results, targets) + said + sharing(results, targets)


def leaking(results: Results, targets: Iterable[Target]) -> str:
    """A note's words about test images that are in training, or in a source; '' where there are none."""
    targets = set(targets)
    texts = (text for planned in results.planned if planned.target in targets for text in planned.leaks)
    return "".join(f" {text}." for text in dict.fromkeys(texts))


def sharing(results: Results, targets: Iterable[Target]) -> str:
    """A note's words about rows whose scores follow from one another; '' where there are none."""
    found = [
        f"{notes.names(results, group)} on {where(target)}"
        for target in targets
        for group in notes.groups(results, target)
    ]
    return _listed("Rows that share scores (see the table of integrity)", found)


def _listed(title: str, found: Sequence[str]) -> str:
    """A sentence that names the first few; '' where there are none."""
    if not found:
        return ""
    more = f"; and {len(found) - MOST_NAMED} more, marked in the tables" if len(found) > MOST_NAMED else ""
    return f" {title}: {'; '.join(found[:MOST_NAMED])}{more}."


def panel_of_rows(results: Results, target: Target, series: Sequence[Series]) -> Panel | None:
    """A panel of mean class AUCs with a line for each row; None without series, whose places are those of the rows."""
    if not series:
        return None
    return Panel(
        title=marked_title(results, target),
        x_label="mean class AUC, %",
        series=tuple(series),
        y_names=tuple(titles(results).values()),
    )


def figure_of_columns(
    results: Results,
    panel: Callable[[Results, Target], Panel | None],
    *,
    name: str,
    caption: str,
    alt: str,
    columns: int = 3,
    shared: str = "",
) -> Figure | None:
    """A figure with a panel for each of the first columns; None where `panel` draws none of them.

    Args:
        results: the results.
        panel: draws a column, or returns None.
        name: id of the figure.
        caption: what is drawn; the note says what is left out.
        alt: see `Figure`, with "{}" for the number of panels.
        columns: see `Figure`.
        shared: see `Figure`.
    """
    targets = results.targets[:MOST_PANELS]
    panels = tuple(drawn for target in targets if (drawn := panel(results, target)) is not None)
    if not panels:
        return None
    return Figure(
        id=name,
        caption=caption_prefix(results, results.targets) + caption,
        alt=alt.format(len(panels)),
        panels=panels,
        columns=columns,
        shared=shared,
        note=(not_drawn(MOST_PANELS, len(results.targets)) + incomplete(results, targets)).strip(),
    )


def not_drawn(shown: int, total: int) -> str:
    """A note's words where a figure leaves columns out; '' where it has all."""
    return f" The first {shown} of {total} columns; the others stand in the tables." if total > shown else ""
