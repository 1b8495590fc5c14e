"""Finds one's own images: what a manifest declares of them under a name that it gives, and where their files are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from refers_bench import plugins
from refers_bench.manifest.packs import roots_of
from refers_bench.manifest.roots import Roots, with_files, with_paths
from refers_bench.manifest.schema import DataPart


@dataclass(frozen=True, kw_only=True)
class Declared:
    """Images that a manifest names.

    Attributes:
        name: by which targets and sources know them.
        reader: id of the dataset plug-in that reads them.
        params: its resolved parameters, without paths.
        places: data root -> absolute path; the root of the images has their name.
        fields: data root -> field of the declaration that gives its path.
    """

    name: str
    reader: str
    params: Mapping[str, Any] = field(default_factory=dict)
    places: Mapping[str, Path] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)


def readers() -> list[str]:
    """Ids of the dataset plug-ins that read anybody's own images."""
    return [name for name, dataset in plugins.loaded("dataset")[0].items() if dataset.Declared is not None]


def datasets() -> list[str]:
    """Ids of the dataset plug-ins that are datasets: not the readers of one's own images, which have no images."""
    own = readers()
    return [name for name in plugins.names("dataset") if name not in own]


def declared(data: Mapping[str, DataPart], folder: Path) -> dict[str, Declared]:
    """The own images of a checked manifest, by their names.

    Args:
        data: its section ``data``.
        folder: of the manifest; paths are relative to it.
    """
    return {one.name: one for name, part in data.items() for one in _declared(name, part, folder)}


def _declared(name: str, part: DataPart, folder: Path) -> Iterator[Declared]:
    for reader, given in part.readers.items():
        dataset: plugins.Dataset = plugins.load("dataset", reader)
        assert dataset.Declared is not None
        values = dataset.Declared.model_validate(given).model_dump(mode="json")
        roots = {f"{name}_{place}" if place else name: field for field, place in dataset.places.items()}
        yield Declared(
            name=name,
            reader=reader,
            params={field: value for field, value in values.items() if field not in dataset.places},
            places={root: (folder / Path(values[field]).expanduser()).absolute() for root, field in roots.items()},
            fields=roots,
        )


def further_roots(dataset: plugins.Dataset, params: Any, name: str) -> dict[str, str]:
    """What a reader finds in `lists` -> its data root.

    Args:
        dataset: its plug-in.
        params: of the reader.
        name: by which the images are known.
    """
    lists = {root: root for root in roots_of(dataset.lists(params))}
    return lists | {one: f"{name}_{one}" for one in dataset.places.values() if one}


def brought_along(roots: Roots, manifest: Mapping[str, Any], folder: Path) -> Roots:
    """The data roots of this machine, with the files and the own images that a manifest brings along.

    Args:
        roots: of this machine, which win.
        manifest: its checked content, as a plan records it.
        folder: of the manifest.
    """
    data = {name: DataPart.model_validate(part) for name, part in manifest.get("data", {}).items()}
    places = {root: path for one in declared(data, folder).values() for root, path in one.places.items()}
    return with_paths(with_files(roots, manifest.get("files", {}), folder), places, origin="declared in the manifest")
