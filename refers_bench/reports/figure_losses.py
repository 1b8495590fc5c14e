"""How did training go: losses of every pre-training, and of fine-tuning by target?"""

from __future__ import annotations

from refers_bench.analysis.cells import Target
from refers_bench.analysis.results import Results
from refers_bench.plugins import Report
from refers_bench.render.figure import Figure, Panel, Series
from refers_bench.reporting import grid

#: Curves of a pre-training panel, in order.
PRETRAIN = ("loss/total", "val/loss", "loss/")
#: Most panels of a figure: more cannot be read.
LIMIT = 12
#: Most points of a curve: more cannot be seen, and make the file large.
POINTS = 200


def build(results: Results) -> Figure | None:
    """A panel per pre-training job and per target, from recorded histories; None when there is none."""
    panels = [*_pretraining(results), *_fine_tuning(results)]
    if not panels:
        return None
    shown = panels[:LIMIT]
    more = f" {len(panels) - LIMIT} more panels are left out." if len(panels) > LIMIT else ""
    return Figure(
        id="figure-losses",
        caption="Losses by step: pre-training by part, fine-tuning by method (first finished seed)." + more,
        alt=f"Loss curves in {len(shown)} panels.",
        panels=tuple(shown),
    )


def _pretraining(results: Results) -> list[Panel]:
    panels = []
    for key, job in results.jobs.items():
        if job.kind != "pretrain" or key not in results.records:
            continue
        curves = results.history(key, PRETRAIN)
        series = tuple(_series(name, *curve) for name, curve in curves.items())
        if series:
            title = f"pre-training: {job.name}"
            panels.append(Panel(title=title, x_label="step", y_label="loss", series=series))
    return panels


def _fine_tuning(results: Results) -> list[Panel]:
    panels = []
    titles = grid.titles(results, results.methods)
    for target in results.targets:
        series = []
        for method in results.methods:
            curve = _first_curve(results, method, target)
            if curve:
                series.append(_series(titles[method], *curve))
        if series:
            where = f"{grid.target_title(target)}, {grid.percent(target.label_ratio)}"
            panels.append(Panel(title=where, x_label="step", y_label="loss", series=tuple(series)))
    return panels


def _first_curve(results: Results, method: str, target: Target) -> tuple[tuple[int, ...], tuple[float, ...]] | None:
    for planned in results.runs(method, target):
        if planned.run.key in results.records:
            return results.history(planned.run.key, ("loss/total",)).get("loss/total")
    return None


def _series(label: str, steps: tuple[int, ...], values: tuple[float, ...]) -> Series:
    """The curve, thinned by averaging neighbours when it has too many points."""
    stride = -(-len(steps) // POINTS)
    starts = range(0, len(steps), stride)
    return Series(
        label=label,
        x=tuple(float(steps[start]) for start in starts),
        y=tuple(sum(values[start : start + stride]) / len(values[start : start + stride]) for start in starts),
    )


REPORT = Report(label="Losses", build=build, order=60)
