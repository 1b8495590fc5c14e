"""Which data does a plan stand on: root or phantom, and its identity?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from refers_bench import identity, plugins
from refers_bench.data.problems import written
from refers_bench.errors import DataError, UserError
from refers_bench.manifest.checks import available
from refers_bench.manifest.load import Manifest
from refers_bench.manifest.roots import Roots
from refers_bench.plan import index_memo

DIGEST = "refers_bench.data.index:digest"
#: Images of datasets as their owners count them, for estimates before they are on disk.
DOCUMENTED_IMAGES = {
    "mimic_cxr_jpg": 377_110, "openi": 7_470, "nih_chestxray14": 112_120, "vinbigdata_cxr": 15_000, "shenzhen_tb": 662,
    "covid19_idc": 929,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class PlannedData:
    """One dataset under one set of reader parameters.

    Attributes:
        dataset: id.
        params: resolved reader parameters.
        impl: of the reader.
        digest: identity of its index; '' when it cannot be had.
        phantom: parameters of procedural radiographs, or None for a real folder.
        images: rows of the index; what is documented where it cannot be read, 0 when that is unknown.
        unavailable: why it cannot be read here.
        roots: data-root name -> the name jobs know it by.
    """

    dataset: str
    params: Mapping[str, Any]
    impl: int = 0
    digest: str = ""
    phantom: Mapping[str, Any] | None = None
    images: int = 0
    unavailable: str = ""
    roots: Mapping[str, str] = field(default_factory=dict)


def planned_data(
    manifest: Manifest, roots: Roots, dataset_id: str, params: Mapping[str, Any], *, cache: Path | None = None
) -> PlannedData:
    """Read what identifies a dataset here, or recall it where nothing changed since it was read.

    Args:
        manifest: names data roots and phantoms.
        roots: of this machine.
        dataset_id: of the dataset.
        params: of its reader.
        cache: where what was read is remembered; None reads again.

    Raises:
        UserError: the folder is there, and something in it is wrong.
    """
    if not available("dataset", dataset_id):
        return PlannedData(
            dataset=dataset_id, params=dict(params), unavailable=f"dataset {dataset_id}: not available in this version",
            images=DOCUMENTED_IMAGES.get(dataset_id, 0),
        )  # fmt: skip
    dataset: plugins.Dataset = plugins.load("dataset", dataset_id)
    part = manifest.content.data.get(dataset_id)
    model = dataset.Params(**params)
    resolved = model.model_dump(mode="json")
    if part is not None and part.phantom is not None:
        return _phantom(dataset_id, dataset, model, resolved, part.phantom)
    names = {(part.root if part and part.root else dataset_id): dataset_id}
    lists = dataset.lists(model)
    if lists:
        names[lists] = lists
    for name in names:
        if reason := roots.why_not(name, folder=True):
            return PlannedData(
                dataset=dataset_id, params=resolved, impl=dataset.impl, unavailable=reason, roots=names,
                images=DOCUMENTED_IMAGES.get(dataset_id, 0),
            )  # fmt: skip
    folders = {name: roots.paths[name] for name in names}
    what = {"impl": dataset.impl, "params": resolved}
    try:
        found = index_memo.recalled(
            cache, dataset_id, what, folders,
            lambda: _read(dataset, model, folders[next(iter(names))], {lists: folders[lists]} if lists else {}),
        )  # fmt: skip
    except DataError as error:
        whole = cache / "problems" / f"{dataset_id}.txt" if cache else None
        raise UserError(written(error.problems, whole) if whole else error.problems) from error
    return PlannedData(
        dataset=dataset_id, params=resolved, impl=dataset.impl, digest=found["digest"], images=found["images"],
        roots=names,
    )  # fmt: skip


def _read(dataset: plugins.Dataset, params: Any, root: Path, lists: Mapping[str, Path]) -> dict[str, Any]:
    """What planning needs of an index."""
    index = dataset.index(root, params, lists)
    return {"digest": plugins.resolve(DIGEST)(index), "images": len(index)}


def _phantom(
    dataset_id: str, dataset: plugins.Dataset, model: Any, params: Mapping[str, Any], given: Mapping[str, Any]
) -> PlannedData:
    """Procedural radiographs: their parameters are their identity, nothing needs to be on disk."""
    phantoms = plugins.resolve("refers_bench.data.phantoms:PhantomParams")
    settings = {**phantoms(**given).model_dump(mode="json"), "impl": plugins.resolve("refers_bench.data.phantoms:IMPL")}
    unavailable = ""
    if dataset.write_layout is None:
        unavailable = f"dataset {dataset_id} cannot be written as phantoms"
    elif dataset.lists(model):
        unavailable = f"dataset {dataset_id}: phantoms have no released lists; leave 'lists' out"
    return PlannedData(
        dataset=dataset_id, params=params, impl=dataset.impl, phantom=settings, unavailable=unavailable,
        digest=identity.key({"dataset": dataset_id, "impl": dataset.impl, "phantom": settings}),
        images=settings["studies"] * settings["views"],
    )  # fmt: skip
