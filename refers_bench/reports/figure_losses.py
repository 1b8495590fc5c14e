"""Draws the losses of every pre-training, and of fine-tuning by target."""

from collections.abc import Iterator

from refers_bench.analysis.cells import Target
from refers_bench.analysis.results import Results
from refers_bench.plugins import Report
from refers_bench.render.figure import Figure, Panel, Series
from refers_bench.reporting import grid

#: Steps and values.
Curve = tuple[tuple[int, ...], tuple[float, ...]]
#: Curves of a pre-training panel, in order.
PRETRAIN = ("loss/total", "val/loss", "loss/")
#: Most points of a curve: more cannot be seen, and make the file large.
POINTS = 200


def build(results: Results) -> Figure | None:
    """A panel per pre-training job and per target, from recorded histories; None when there is none."""
    drawn = ((title, tuple(_series(*curve) for curve in curves)) for title, curves in _curves(results))
    panels = [Panel(title=title, x_label="step", y_label="loss", series=series) for title, series in drawn if series]
    if not panels:
        return None
    shown, left = panels[: grid.MOST_PANELS], len(panels) - grid.MOST_PANELS
    more = f" {left} more panels are left out." if left > 0 else ""
    return Figure(
        id="figure-losses",
        caption="Losses by step: pre-training by part, fine-tuning by method (first finished seed)." + more,
        alt=f"Loss curves in {len(shown)} panels.",
        panels=tuple(shown),
    )


def _curves(results: Results) -> Iterator[tuple[str, list[tuple[str, Curve]]]]:
    """Title of each panel, and its curves with their names."""
    for key, job in results.jobs.items():
        if job.kind == "pretrain" and key in results.records:
            yield f"pre-training: {job.name}", list(results.history(key, PRETRAIN).items())
    titles = grid.titles(results)
    for target in results.targets:
        found = ((titles[method], _first_curve(results, method, target)) for method in results.methods)
        yield grid.where(target), [(title, curve) for title, curve in found if curve]


def _first_curve(results: Results, method: str, target: Target) -> Curve | None:
    for planned in results.runs(method, target):
        if planned.run.key in results.records:
            return results.history(planned.run.key, ("loss/total",)).get("loss/total")
    return None


def _series(label: str, curve: Curve) -> Series:
    """The curve, thinned by averaging neighbours when it has too many points."""
    steps, values = curve
    stride = -(-len(steps) // POINTS)
    starts = range(0, len(steps), stride)
    return Series(
        label=label,
        x=tuple(float(steps[start]) for start in starts),
        y=tuple(sum(values[start : start + stride]) / len(values[start : start + stride]) for start in starts),
    )


REPORT = Report(label="Losses", build=build, order=60, part="figures")
