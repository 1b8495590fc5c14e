"""Writes the footnotes of table cells: missing seeds and classes, leaks, choice, imports, memory, shared scores."""

from collections.abc import Iterator, Mapping
from typing import Any

from refers_bench.analysis.cells import Target
from refers_bench.analysis.integrity import Finding, shared
from refers_bench.analysis.results import Results
from refers_bench.analysis.shared_scores import AFFINE, ALL, IDENTICAL, NEAR, NEGATIVE, POSITIVE
from refers_bench.analysis.statistics.seeds import SeedSummary
from refers_bench.evaluations import CHOSEN_ON_TEST, WHY_NOT_TEST
from refers_bench.render.table import Note

#: Kind of a job that a cell needs -> how a note begins that is about it.
ABOUT = {"pretrain": "pre-training: ", "discover": "discovery of visual words: "}
#: What is the same as in a run without micro-batches, and what is not.
SAME = "the effective batch is the same, rounding and what is drawn while losses are computed (dropout) are not"
SHARED = Note(text="shares scores with other rows of its column: see the table of integrity.")
_WORDS = {IDENTICAL: "identical", AFFINE: "affine up to rounding", NEAR: "nearly identical"}
_IMAGES = {ALL: "all images", POSITIVE: "positive images", NEGATIVE: "negative images"}


def of_runs(results: Results, *methods: str | None, target: Target | None, brief: bool = False) -> tuple[Note, ...]:
    """What every table must say of the runs behind some rows in a column: leaks, choice, memory, shared scores.

    Args:
        results: the results.
        methods: names of the rows.
        target: the column.
        brief: whether all rows that share scores get one footnote, for tables of many columns.
    """
    found = sharing(results, *methods, target=target)
    parts = (leaks, selection, imported, micro_batches)
    alike = (note for part in parts for note in part(results, *methods, target=target))
    return (*alike, *((SHARED,) if found and brief else found))


def leaks(results: Results, *methods: str | None, target: Target | None) -> tuple[Note, ...]:
    """One footnote for each way in which test images of a column are in training, or in a source of some rows."""
    if target is None:
        return ()
    runs = (planned for method in methods if method is not None for planned in results.runs(method, target))
    texts = (text for planned in runs for text in planned.leaks)
    return tuple(Note(text=f"{text}.") for text in dict.fromkeys(texts))


def selection(results: Results, *methods: str | None, target: Target | None) -> tuple[Note, ...]:
    """A footnote where the checkpoint of any of some rows in a column was chosen on test images."""
    cells = [results.cells.get((method, target)) for method in methods if method is not None and target is not None]
    chosen = any(cell is not None and cell.selected_on_test for cell in cells)
    return (Note(text=f"{CHOSEN_ON_TEST}, as its importer states: {WHY_NOT_TEST}."),) if chosen else ()


def imported(results: Results, *methods: str | None, target: Target | None) -> tuple[Note, ...]:
    """One footnote for each bundle that brought a figure of some rows in a column, or what it started from."""
    if target is None or not results.bundles:
        return ()
    runs = (planned.run.key for method in methods if method is not None for planned in results.runs(method, target))
    texts = (text for key in runs for text in results.imported(key))
    return tuple(Note(text=f"{text}.") for text in dict.fromkeys(texts))


def micro_batches(results: Results, *methods: str | None, target: Target | None) -> tuple[Note, ...]:
    """One footnote for each way in which batches behind some rows in a column were split to save memory."""
    if target is None:
        return ()
    texts = (text for method in methods if method is not None for text in _splits(results, method, target))
    return tuple(Note(text=text) for text in dict.fromkeys(texts))


def _splits(results: Results, method: str, target: Target) -> Iterator[str]:
    """Sentences about the cell's own jobs, with their seeds where not all are meant, then about those they need."""
    runs = [planned.run for planned in results.runs(method, target) if planned.run.key in results.records]
    seeds: dict[str, list[str]] = {}
    for run in runs:
        if text := split(results.records[run.key]):
            seeds.setdefault(text, []).append(str(run.seed))
    for text, some in seeds.items():
        which = "" if len(some) == len(runs) else f" (seed{'s' * (len(some) > 1)} {', '.join(some)})"
        yield f"{text}{which}; {SAME}."
    for key in dict.fromkeys(key for run in runs for key in results.needed(run.key)):
        if text := split(results.records.get(key, {})):
            yield f"{ABOUT.get(results.jobs[key].kind, '')}{text}; {SAME}."


def split(record: Mapping[str, Any]) -> str:
    """How a job split its batches: "batch processed in 2 parts after running out of memory"; '' where it did not."""
    about = (record.get("facts") or {}).get("accumulation")
    if not about:
        return ""
    why = "after running out of memory" if about.get("after") else "as asked for"
    norm = ", whose batch statistics are those of a part" if about.get("batch_statistics") else ""
    return f"batch processed in {about['parts']} parts {why}{norm}"


def sharing(results: Results, *methods: str | None, target: Target | None) -> tuple[Note, ...]:
    """One footnote for each group of rows that share scores in a column and to which one of the methods belongs."""
    if target is None:
        return ()
    return tuple(
        Note(text=f"{names(results, group)} share scores in this column ({_how(inside)}): see the table of integrity.")
        for group, inside in groups(results, target).items()
        if set(methods) & set(group)
    )


def groups(results: Results, target: Target) -> dict[tuple[str, ...], list[Finding]]:
    """Rows of a column that share scores -> the findings about them; the largest groups alone."""
    found = shared(results, target)
    known = dict.fromkeys(one.methods for one in found)
    # A group within a larger one has nothing to add but closeness, which the table of findings gives.
    largest = [group for group in known if not any(set(group) < set(other) for other in known)]
    return {
        group: [one for m in known for one in found if one.methods == m and set(m) <= set(group)] for group in largest
    }


def names(results: Results, group: tuple[str, ...]) -> str:
    """The titles of some rows: "A, B and C"."""
    labels = [results.methods[method] for method in group]
    known = labels if len(set(labels)) == len(labels) else list(group)
    return f"{', '.join(known[:-1])} and {known[-1]}"


def _how(found: list[Finding]) -> str:
    """In which way the scores follow from one another: "positive images: identical"."""
    about = [one.closeness for one in found if one.closeness is not None]
    ways = []
    for part, images in _IMAGES.items():
        kinds = {one.relation for one in about if one.part == part}
        ways += [f"{images}: {' or '.join(word for kind, word in _WORDS.items() if kind in kinds)}"] if kinds else []
    return "; ".join(ways)


def tag(summary: SeedSummary) -> str:
    """What must be seen beside a mean: what `lacks`, and whether it was chosen on test images."""
    chosen = CHOSEN_ON_TEST if summary.selected_on_test else ""
    return ", ".join(text for text in (lacks(summary), chosen) if text)


def lacks(summary: SeedSummary) -> str:
    """What a mean lacks that is not over all seeds or all classes: "n=2/3", "13/14 classes"."""
    seeds = f"n={summary.n}/{summary.n_planned}" if summary.n < summary.n_planned else ""
    some = summary.same_classes and summary.n_defined < summary.n_classes
    classes = f"{summary.n_defined}/{summary.n_classes} classes" if some else ""
    return ", ".join(text for text in (seeds, classes) if text)


def of_summary(summary: SeedSummary) -> Iterator[Note]:
    """What must be said of a mean: missing seeds, undefined classes, a single seed."""
    if summary.n < summary.n_planned:
        reasons = "; ".join(summary.reasons)
        yield Note(text=f"n={summary.n}/{summary.n_planned}: incomplete ({reasons}); not ranked, not tested.")
    elif summary.n == 1:
        yield Note(text="n=1: one seed, no standard deviation.")
    if not summary.same_classes:
        yield Note(text="its seeds average over different classes; not ranked, not tested.")
    elif summary.n_defined < summary.n_classes:
        why = "the others have no AUC on the test images (no positive or no negative image)."
        yield Note(text=f"{summary.n_defined}/{summary.n_classes} classes: {why}")
