"""Draws where the networks look on single radiographs: maps, boxes around them, annotated boxes (Fig. 3)."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from refers_bench import identity
from refers_bench.analysis.explanations import CellExplanation, Shown, explanations, shown
from refers_bench.analysis.localisation import MAPS
from refers_bench.analysis.results import Results
from refers_bench.plugins import Report
from refers_bench.render.figure import Figure, Panel
from refers_bench.render.picture import Picture, encoded
from refers_bench.render.table import slug
from refers_bench.reporting import grid

#: Radiographs of one report: every one is embedded once a panel, and a page stays below 5 MB.
MOST_SHOWN = 12
#: Digits of a drawn map: more cannot be seen.
DIGITS = 4


def build(results: Results) -> list[Figure]:
    """A figure per method and column, of its first explained seed, while there is room; none without explanations."""
    first: dict[object, CellExplanation] = {}
    for one in explanations(results):
        first.setdefault((one.planned.method, one.planned.target), one)
    figures, left = [], MOST_SHOWN
    for one in first.values():
        found = shown(results, one)[:left]
        left -= len(found)
        if found:
            figures.append(_figure(results, one, found))
    return figures


def _figure(results: Results, one: CellExplanation, found: list[Shown]) -> Figure:
    planned = one.planned
    title = grid.titles(results)[planned.method]
    kinds = " and ".join(MAPS[kind] for kind in MAPS if kind in found[0].maps)
    return Figure(
        # The slug is for readers; two names may share it, so the hash tells them apart.
        id=f"figure-attention-{slug(planned.name)[:60]}-{identity.key(planned.name)[:6]}",
        caption=f"{grid.caption_prefix(results, [planned.target])}Where {title} looks ({grid.where(planned.target)}, "
        f"seed {planned.run.seed}): {kinds}.",
        alt=f"{len(found)} radiographs with maps and boxes; the overlaps of all annotated images stand in the table.",
        panels=tuple(panel for item in found for panel in _panels(item)),
        columns=1 + len(found[0].maps),
        note=f"Solid boxes are annotated, dashed ones surround what reaches {one.explained.threshold:g} of a stretched "
        "map. Test images, drawn class by class by a hash of their names.",
    )


def _panels(item: Shown) -> list[Panel]:
    """The radiograph, then each of its maps."""
    png = encoded(item.pixels_HW)
    plain = Picture(png=png, annotated=item.annotated)
    pictures = {f"{item.image}: {item.name}": plain}
    for kind in (kind for kind in MAPS if kind in item.maps):
        mapped = replace(plain, heat=_heat(item.maps[kind]), window=item.window, predicted=item.predicted[kind])
        pictures[f"{MAPS[kind]}, IoU {item.iou[kind]:.2f}"] = mapped
    return [Panel(title=title, picture=one) for title, one in pictures.items()]


def _heat(map_hw: npt.NDArray[np.float32]) -> tuple[tuple[float, ...], ...]:
    """The map from 0 to 1; () where it is the same everywhere."""
    low, high = float(map_hw.min()), float(map_hw.max())
    if not high > low:
        return ()
    return tuple(tuple(row) for row in ((map_hw.astype(float) - low) / (high - low)).round(DIGITS).tolist())


REPORT = Report(label="Attention on radiographs", build=build, order=58, part="figures")
