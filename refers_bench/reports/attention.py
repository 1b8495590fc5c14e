"""Builds the table of overlaps between annotated boxes and the boxes around what a method looks at, by class."""

from typing import Any

from refers_bench.analysis.explanations import CellExplanation, Localisation, explanations, localisations
from refers_bench.analysis.localisation import INTERVAL, MAPS
from refers_bench.analysis.results import Results
from refers_bench.plugins import Report
from refers_bench.render.table import Cell, Row, Table, columns
from refers_bench.reporting import comparisons, grid

COLUMNS = (
    *("seeds", "images", "annotated boxes", "threshold", "mean IoU"),
    *("centred box, mean IoU", "difference", "95 % interval"),
)


def build(results: Results) -> Table | None:
    """Mean IoU of every explained method, map and class; None when nothing was explained."""
    found = explanations(results)
    if not found:
        return None
    rows = localisations(found)
    names = grid.titles(results)
    targets = tuple(dict.fromkeys(row.target for row in rows))
    return Table(
        id="attention",
        caption=grid.caption_prefix(results, targets)
        + "Where the networks look: overlap (IoU) of boxes around their attention with annotated boxes, test images.",
        stub="Method, map and class",
        columns=columns(*COLUMNS),
        rows=tuple(_row(row, names[row.method], several=len(targets) > 1) for row in rows),
        notes=tuple(_remarks(found)),
    )


def _row(row: Localisation, title: str, *, several: bool) -> Row:
    where = f", {grid.where(row.target)}" if several else ""
    found = row.difference
    if found.reason:
        interval = comparisons.no_interval(found.reason)
    else:
        how: dict[str, Any] = {"test": INTERVAL, "n": (found.units,), "df": found.units - 1}
        interval = comparisons.interval_cell(found.low, found.high, decimals=3, signed=True, **how)
    return Row(
        title=f"{title}{where}: {MAPS[row.kind]}: {row.name or 'all classes'}",
        cells=(
            *map(grid.count_cell, (row.seeds, row.images, row.boxes)),
            Cell(text=f"{row.threshold:g}", value=row.threshold, kind="text"),
            Cell(value=row.iou, decimals=3),
            Cell(value=row.centred, decimals=3),
            Cell(value=found.mean, decimals=3, signed=True),
            interval,
        ),
    )


def _remarks(found: tuple[CellExplanation, ...]) -> list[str]:
    remarks = [
        "A map is stretched to 0 to 1 and cut at the threshold; each connected part gets a box. IoU: intersection over "
        "union of all predicted boxes together and all annotated ones together, mean over images and classes.",
        "Centred box: in the middle of the image, with the mean width and height of the class's annotated boxes on the "
        "same images; it knows their size and not their place, which favours it.",
        f"Interval: {INTERVAL}; difference: map minus centred box, image by image.",
    ]
    ways = {kind: text for one in found for kind, text in one.facts["maps"].items()}
    remarks += [f"{MAPS[kind].capitalize()}: {ways[kind]}." for kind in MAPS if kind in ways]
    counts = dict.fromkeys(
        f"{one.planned.target.dataset}: annotated images by split: "
        + ", ".join(f"{count} {split or 'unused'}" for split, count in one.facts["annotated_images"].items())
        + "; test images alone count."
        for one in found
    )
    return remarks + list(counts)


REPORT = Report(label="Attention and annotated boxes", build=build, order=28, part="figures")
