"""Draws the losses of every pre-training, and of fine-tuning by target."""

from collections.abc import Iterator, Mapping

from refers_bench.analysis.cells import Target
from refers_bench.analysis.results import Results
from refers_bench.plugins import Report
from refers_bench.render.figure import Figure, Panel, Series
from refers_bench.reporting import grid
from refers_bench.store.plan import Job

#: Steps and values.
Curve = tuple[tuple[int, ...], tuple[float, ...]]
#: Curves of a pre-training panel, in order.
PRETRAIN = ("loss/total", "val/loss", "loss/")
#: Most points of a curve: more cannot be seen, and make the file large.
POINTS = 200


def build(results: Results) -> list[Figure]:
    """A panel per pre-training job, and one per target, from recorded histories; no figure without any."""
    parts = {job.name: results.history(key, PRETRAIN) for key, job in _pretraining(results).items()}
    kinds = list(dict.fromkeys(part for curves in parts.values() for part in curves))
    before = {
        name.removeprefix("pretrain.").replace(".", ", "): tuple(
            _series(part, curve, colour=kinds.index(part), grey=True) for part, curve in curves.items()
        )
        for name, curves in parts.items()
    }
    tuning = {grid.where(target): tuple(_of_methods(results, target)) for target in results.targets}
    drawn = (
        _figure(
            "figure-losses-pretraining",
            "Losses of pre-training by step: in all, on held-out radiographs, and by part.",
            before,
        ),
        _figure("figure-losses", "Losses of fine-tuning by step and method (first finished seed).", tuning),
    )
    return [figure for figure in drawn if figure is not None]


def _figure(name: str, caption: str, curves: Mapping[str, tuple[Series, ...]]) -> Figure | None:
    panels = [
        Panel(title=title, x_label="step", y_label="loss", series=series) for title, series in curves.items() if series
    ]
    if not panels:
        return None
    shown, left = panels[: grid.MOST_PANELS], len(panels) - grid.MOST_PANELS
    return Figure(
        id=name,
        caption=caption,
        alt=f"Loss curves in {len(shown)} panels.",
        panels=tuple(shown),
        columns=4,
        note=f"{left} more panels are left out." if left > 0 else "",
    )


def _pretraining(results: Results) -> dict[str, Job]:
    """Key -> finished pre-training job."""
    return {key: job for key, job in results.jobs.items() if job.kind == "pretrain" and key in results.records}


def _of_methods(results: Results, target: Target) -> Iterator[Series]:
    """The curve of each method of a column."""
    titles = grid.titles(results)
    for place, method in enumerate(results.methods):
        if curve := _first_curve(results, method, target):
            yield _series(titles[method], curve, colour=place)


def _first_curve(results: Results, method: str, target: Target) -> Curve | None:
    for planned in results.runs(method, target):
        if planned.run.key in results.records:
            return results.history(planned.run.key, ("loss/total",)).get("loss/total")
    return None


def _series(label: str, curve: Curve, *, colour: int, grey: bool = False) -> Series:
    """The curve, thinned by averaging neighbours when it has too many points."""
    steps, values = curve
    stride = -(-len(steps) // POINTS)
    starts = range(0, len(steps), stride)
    return Series(
        label=label,
        colour=colour,
        grey=grey,
        x=tuple(float(steps[start]) for start in starts),
        y=tuple(sum(values[start : start + stride]) / len(values[start : start + stride]) for start in starts),
    )


REPORT = Report(label="Losses", build=build, order=60, part="figures")
