"""Shows the AUC of each class and method, and on how many test images it was measured."""

from dataclasses import replace

from refers_bench.analysis.cells import ClassMetric, Target
from refers_bench.analysis.held_out import DIFFER, same_images
from refers_bench.analysis.image_statistics import ImageStatistics, image_statistics
from refers_bench.analysis.results import Results
from refers_bench.analysis.statistics.auc_intervals import INTERVAL
from refers_bench.analysis.statistics.seeds import mean_sd
from refers_bench.plugins import Report
from refers_bench.render.table import Cell, Column, Note, Row, Table, columns
from refers_bench.reporting import grid, notes


def build(results: Results) -> list[Table]:
    """One table per target and label ratio with more than one class: classes x methods."""
    tables = [_table(results, target) for target in results.targets]
    return [table for table in tables if table is not None]


def _table(results: Results, target: Target) -> Table | None:
    # Test metrics of every finished seed, by class.
    seeds = {
        method: [run.metrics.by_class("test") for run in results.runs(method, target) if run.metrics]
        for method in results.methods
    }
    classes: dict[str, ClassMetric] = {}
    for runs in seeds.values():
        for metrics in runs:
            for name, metric in metrics.items():
                classes.setdefault(name, metric)
    if len(classes) < 2:
        return None
    methods = [method for method in results.methods if (method, target) in results.cells]
    alike = same_images(results, methods, target)
    images = image_statistics(results, target)
    rows = []
    for name, metric in classes.items():
        figures = [
            _ranged(_cell(seeds[method], name, results.cells[method, target].n_planned), images, method, name)
            for method in methods
        ]
        # A mean over fewer seeds or other classes than its neighbours' does not rank.
        ranked = {
            method: figure.value
            for method, figure in zip(methods, figures, strict=True)
            if figure.value is not None and not figure.notes and results.cells[method, target].complete
        }
        top = max(ranked.values()) if len(ranked) > 1 and alike else None
        best = [top is not None and ranked.get(method) == top for method in methods]
        cells = [replace(figure, best=one) for figure, one in zip(figures, best, strict=True)]
        rows.append(Row(title=name, cells=(*map(grid.count_cell, (metric.n_pos, metric.n_neg)), *cells)))
    titles = grid.titles(results)
    return Table(
        id=grid.item_id("classes", target),
        caption=f"{grid.caption_prefix(results, [target])}AUC of each class in per cent, {grid.where(target)}; "
        "mean ± SD over seeds, best in bold.",
        stub="Class",
        columns=(
            *columns("positive", "negative", group="test images"),
            *(
                Column(
                    title=titles[method],
                    group="AUC",
                    notes=notes.of_runs(results, method, target=target),
                    keys=grid.keys(results, None, method),
                )
                for method in methods
            ),
        ),
        rows=tuple(rows),
        notes=(
            *(() if alike else (f"Not ranked: the methods were {DIFFER}; counts of images are the first method's.",)),
            *((f"{_RANGES}: {INTERVAL[images.unit]}; {_RARE}.",) if images is not None and images.class_means else ()),
        ),
        view="class",
        keys=grid.keys(results, target),
    )


#: What is said of the intervals.
_RANGES = "In small type (HTML), and as low and high for programs: 95 % interval over test images, trained models fixed"
_RARE = "a class of few positive or negative units takes a part of its variance from the other classes"


def _ranged(cell: Cell, images: ImageStatistics | None, method: str, name: str) -> Cell:
    """A class AUC with its interval over test images, where the images leave a spread."""
    found = images.class_means.get(method, {}).get(name) if images is not None else None
    # Another estimate is that of other seeds: those with predictions.
    if images is None or found is None or not found.se > 0 or cell.value != found.estimate * 100:
        return cell
    return replace(
        cell, low=found.low * 100, high=found.high * 100, df=found.df, test=INTERVAL[images.unit], ranged=True
    )


def _cell(seeds: list[dict[str, ClassMetric]], name: str, planned: int) -> Cell:
    metrics = [metrics[name] for metrics in seeds if name in metrics]
    aucs = [metric.auc for metric in metrics if metric.auc is not None]
    if not aucs:
        reasons = dict.fromkeys(metric.undefined for metric in metrics if metric.undefined)
        text = f"no AUC: {', '.join(reasons)} on the test images." if reasons else "no finished seed."
        return Cell(kind="missing", notes=(Note(text=text),))
    mean, sd = mean_sd(aucs)
    tag = "" if len(aucs) == planned else f"n={len(aucs)}/{planned}"
    footnotes = (Note(text=f"{tag}: incomplete; not ranked."),) if tag else ()
    spread = sd * 100 if len(aucs) > 1 else None
    return Cell(value=mean * 100, sd=spread, n=(len(aucs),), tag=tag, notes=footnotes)


REPORT = Report(label="Classes", build=build, order=40, part="classes")
