"""Gathers where each method looked: the cells that were explained, how far boxes overlap, and what is to be shown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from refers_bench.analysis.cells import PlannedRun, Target
from refers_bench.analysis.localisation import SIDES, Box, MeanDifference, mean_difference
from refers_bench.analysis.results import Results
from refers_bench.store import explanations as listed
from refers_bench.store.explanations import Explained
from refers_bench.store.results import ResultStore


class Overlap(NamedTuple):
    """Map, image and class: how far the map's boxes, and a centred box, meet the annotated ones (IoU in [0, 1]).

    The fields are the columns of the stored table, in its order.
    """

    kind: str
    image: str
    patient: str
    name: str
    n_annotated: int
    n_predicted: int
    iou: float
    centred: float


#: Columns of the stored table of overlaps.
OVERLAPS = ["map", "image_id", "patient_id", "class", "n_annotated", "n_predicted", "iou", "centred_iou"]


@dataclass(frozen=True, kw_only=True)
class CellExplanation:
    """One explained cell.

    Attributes:
        planned: the cell.
        explained: what was asked for.
        facts: of the record: annotated images by split, kinds of maps in words, what is shown.
        overlaps: one per map, image and class.
    """

    planned: PlannedRun
    explained: Explained
    facts: Mapping[str, Any]
    overlaps: tuple[Overlap, ...]


@dataclass(frozen=True, kw_only=True)
class Localisation:
    """Mean overlap of one method's maps of one kind, for one class or for all.

    Attributes:
        method: row name.
        target: column.
        threshold: cut of the maps.
        kind: of map.
        name: of the class; '' for all classes together.
        seeds: explained cells; an image's overlap is their mean.
        images: radiographs.
        boxes: annotated ones.
        iou: mean over images and classes.
        centred: the same of the centred box.
        difference: map minus centred box, image by image.
    """

    method: str
    target: Target
    threshold: float
    kind: str
    name: str
    seeds: int
    images: int
    boxes: int
    iou: float
    centred: float
    difference: MeanDifference


@dataclass(frozen=True, kw_only=True, eq=False)
class Shown:
    """A radiograph to show, with its maps and boxes.

    Attributes:
        pixels_HW: uint8.
        maps: kind -> (g, g).
        window: part of the radiograph that maps cover.
        annotated: boxes of all readers.
        predicted: kind -> boxes.
        iou: kind -> overlap.
    """

    image: str
    name: str
    pixels_HW: npt.NDArray[np.uint8]
    maps: Mapping[str, npt.NDArray[np.float32]]
    window: Box
    annotated: tuple[Box, ...]
    predicted: Mapping[str, tuple[Box, ...]]
    iou: Mapping[str, float]


def explanations(results: Results) -> tuple[CellExplanation, ...]:
    """Explained cells whose results are there, in the order of the manifest; none where nobody has explained any.

    Raises:
        UserError: a file cannot be read.
    """
    from refers_bench.store.schemas import read_table

    asked = {one.cell: one for one in listed.read(results.store.parent, results.name)}
    found, store = [], ResultStore(results.store.parent)
    for planned in results.planned if asked else ():
        one = asked.get(planned.run.key)
        if one is None or {one.attend, one.localise} & results.damaged.keys():
            continue
        if (record := store.record(one.localise)) is None:
            continue
        facts = record["facts"]
        table = read_table(results.store / one.localise / "overlaps.parquet", "overlaps").select(OVERLAPS)
        overlaps = tuple(Overlap(*row.values()) for row in table.to_pylist())
        found.append(CellExplanation(planned=planned, explained=one, facts=facts, overlaps=overlaps))
    return tuple(found)


def localisations(found: Sequence[CellExplanation]) -> list[Localisation]:
    """Method by method and map by map: each class, then all of them together."""
    groups: dict[tuple[str, Target, float], list[CellExplanation]] = {}
    for one in found:
        groups.setdefault((one.planned.method, one.planned.target, one.explained.threshold), []).append(one)
    return [row for where, cells in groups.items() for row in _localisations(where, cells)]


def _localisations(where: tuple[str, Target, float], cells: Sequence[CellExplanation]) -> list[Localisation]:
    method, target, threshold = where
    rows = []
    for kind in dict.fromkeys(one.kind for cell in cells for one in cell.overlaps):
        seeds: dict[tuple[str, str], list[Overlap]] = {}
        for cell in cells:
            for one in cell.overlaps:
                if one.kind == kind:
                    seeds.setdefault((one.image, one.name), []).append(one)
        names = sorted({name for _, name in seeds})
        for name in (*names, "") if len(names) > 1 else names:
            pairs = [several for (_, other), several in seeds.items() if name in ("", other)]
            iou = [float(np.mean([one.iou for one in several])) for several in pairs]
            centred = [several[0].centred for several in pairs]
            rows.append(
                Localisation(
                    method=method,
                    target=target,
                    threshold=threshold,
                    kind=kind,
                    name=name,
                    seeds=max(len(several) for several in pairs),
                    images=len({several[0].image for several in pairs}),
                    boxes=sum(several[0].n_annotated for several in pairs),
                    iou=float(np.mean(iou)),
                    centred=float(np.mean(centred)),
                    difference=mean_difference(
                        [one - other for one, other in zip(iou, centred, strict=True)],
                        [several[0].patient for several in pairs],
                    ),
                )
            )
    return rows


def shown(results: Results, one: CellExplanation) -> list[Shown]:
    """The radiographs that were kept of an explained cell.

    Raises:
        UserError: a file cannot be read.
    """
    folder = results.store / one.explained.localise
    wanted = one.facts["shown"]
    if not wanted:
        return []
    from safetensors.numpy import load_file

    tensors = load_file(folder / "shown.safetensors")
    kinds = [kind for kind in one.explained.maps if kind in tensors]
    annotated = _boxes(results.store / one.explained.attend / "annotated.parquet", "annotated")
    predicted = _boxes(folder / "predicted.parquet", "predicted")
    iou = {(item.kind, item.image, item.name): item.iou for item in one.overlaps}
    return [
        Shown(
            image=item["image_id"],
            name=item["class"],
            pixels_HW=tensors["pixels"][place],
            maps={kind: tensors[kind][place] for kind in kinds},
            window=tuple(one.facts["window"]),
            annotated=tuple(annotated.get(("", item["image_id"], item["class"]), ())),
            predicted={kind: tuple(predicted.get((kind, item["image_id"], item["class"]), ())) for kind in kinds},
            iou={kind: iou[kind, item["image_id"], item["class"]] for kind in kinds},
        )
        for place, item in enumerate(wanted)
    ]


def _boxes(path: Path, schema: str) -> dict[tuple[str, str, str], list[Box]]:
    """(map or '', image, class) -> its boxes."""
    from refers_bench.store.schemas import read_table

    found: dict[tuple[str, str, str], list[Box]] = {}
    for row in read_table(path, schema).to_pylist():
        left, top, width, height = (row[side] for side in SIDES)
        where = (row.get("map", ""), row["image_id"], row["class"])
        found.setdefault(where, []).append((left, top, width, height))
    return found
