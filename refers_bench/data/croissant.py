"""Describes prepared images in the Croissant format: files with checksums, one record for each image, no image itself.

Source: Croissant Format Specification 1.0 (docs.mlcommons.org/croissant/docs/croissant-spec.html).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from refers_bench.data.prepare import INDEX, PIXELS, PreparedImages, damage
from refers_bench.errors import DataError
from refers_bench.files import sha256_of
from refers_bench.plugins import ABOUT, Dataset

CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
_TERMS = (
    *("citeAs", "column", "equivalentProperty", "extract", "field", "fileObject", "fileProperty", "fileSet", "format"),
    *("includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex"),
    *("repeated", "replace", "samplingRate", "separator", "source", "subField", "transform"),
)
#: The format's terms, used or not, as its readers expect them; all others are schema.org's.
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{name: f"cr:{name}" for name in _TERMS},
}
#: What an index column holds; labels and metadata by their names.
COLUMNS = {
    "image_id": "id of the image",
    "path": "file of the original image, below the root of the original dataset",
    "patient_id": "id of the patient, as the dataset has it",
    "study_id": "id of the study, which may have several views",
    "view": "projection, as the dataset has it",
    "split": "part of the data the image belongs to; empty for none",
    "bytes": "size of the original image's file",
    "report": "sections of the report that are trained on; empty without one",
}


def croissant(name: str, card: Dataset, *, folder: Path) -> dict[str, Any]:
    """The description as JSON-LD.

    Args:
        name: id of the dataset.
        card: of the dataset.
        folder: of its prepared images; all of them are read, since others will trust the checksums.

    Raises:
        DataError: no prepared images, or damaged ones.
    """
    if problems := damage(folder):
        raise DataError(problems)
    images, schema = PreparedImages.open(folder), pq.read_schema(folder / INDEX)
    meta = images.meta
    size, count = meta["size"], meta["count"]
    synthetic = "Synthetic: procedural radiographs, not patients'. " if card.synthetic else ""
    pixels = f"{count} x {size} x {size} unsigned bytes, grey, row by row, in the order of {INDEX}"
    files = [
        _file(PIXELS, pixels, "application/octet-stream", meta["digest"], (folder / PIXELS).stat().st_size),
        _file(
            INDEX,
            "One row for each image.",
            "application/x-parquet",
            sha256_of(folder / INDEX),
            (folder / INDEX).stat().st_size,
        ),
    ]
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": f"{name}, prepared at {size} px",
        "description": f"{synthetic}{card.label}: {count} images, decoded once to {size} x {size} pixels by "
        f"refers-bench. Original data: {card.source}. Files are named and not contained; the original licence decides "
        "who may have them.",
        "license": card.licence or "not stated",
        "citeAs": card.citation or "not stated",
        **({"url": url} if (url := address(card.source)) else {}),
        # The first number changes with rows and labels, the build with the pixels.
        "version": f"{card.impl}.0.0+{meta['digest'][:12]}",
        "distribution": files,
        "recordSet": [_splits(images), _images(schema)],
    }


def address(source: str) -> str:
    """The web address that a card's source begins with; '' for none.

    Example:
        >>> address("kaggle.com: competition, train.csv"), address("drawn here")
        ('https://kaggle.com', '')
    """
    found = re.match(r"[a-z0-9-]+(\.[a-z0-9-]+)*\.[a-z]{2,}(/[\w./~-]*)?(?=[:;, ]|$)", source)
    return f"https://{found[0]}" if found else ""


def _file(name: str, description: str, form: str, digest: str, size: int) -> dict[str, Any]:
    about = {"name": name, "description": description, "contentUrl": name, "contentSize": f"{size} B"}
    return {"@type": "cr:FileObject", "@id": name, **about, "encodingFormat": form, "sha256": digest}


def _splits(images: PreparedImages) -> dict[str, Any]:
    """The parts that the images are in, as a list of names."""
    found = images.index["split"]
    names = [name for name in dict.fromkeys(found) if name]
    field = {"@type": "cr:Field", "@id": "splits/name", "name": "splits/name", "dataType": "sc:Text"}
    said = ", ".join(f"{name} {int((found == name).sum())}" for name in names)
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "description": f"Images of each part: {said or 'no parts'}.",
        "key": {"@id": "splits/name"},
        "field": [field],
        "data": [{"splits/name": name} for name in names],
    }


def _images(schema: pa.Schema) -> dict[str, Any]:
    """One record for each image: the columns of the index."""
    return {
        "@type": "cr:RecordSet",
        "@id": "images",
        "name": "images",
        "description": f"One record for each image; record n is image n of {PIXELS}.",
        "key": {"@id": "images/image_id"},
        "field": [_field(column, f"images/{one}") for column, one in zip(schema, _ids(schema.names), strict=True)],
    }


def _ids(names: Sequence[str]) -> list[str]:
    """Ids of columns, none twice: readers refuse blanks and other signs in them."""
    plain = [re.sub(r"[^A-Za-z0-9_:.-]+", "_", name) for name in names]
    return [one if plain.count(one) == 1 else f"{one}-{place}" for place, one in enumerate(plain)]


def _field(column: pa.Field, known_as: str) -> dict[str, Any]:
    """A column of the index."""
    name, task = column.name, column.name.partition(":")[0]
    if name.startswith(ABOUT):
        description = f"{name.removeprefix(ABOUT)}, from the dataset's own tables; empty where unknown"
    elif ":" in name:
        description = f"label of the task '{task}': 1, 0, or empty where unknown"
    else:
        description = COLUMNS.get(name, "as the reader gives it")
    return {
        "@type": "cr:Field",
        "@id": known_as,
        "name": known_as,
        "description": description,
        "dataType": _type(column.type),
        "source": {"fileObject": {"@id": INDEX}, "extract": {"column": name}},
        **({"references": {"field": {"@id": "splits/name"}}} if name == "split" else {}),
    }


def _type(kind: pa.DataType) -> str:
    """The schema.org type of an Arrow type."""
    if pa.types.is_boolean(kind):
        return "sc:Boolean"
    if pa.types.is_integer(kind):
        return "sc:Integer"
    return "sc:Float" if pa.types.is_floating(kind) else "sc:Text"
