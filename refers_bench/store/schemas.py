"""Which columns do the stored tables have, and how are they written so that equal frames give equal bytes?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    import pandas as pd

VERSION = 1
#: Rows up to which a table is small.
SMALL = 1000
PREDICTIONS = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("patient_id", pa.string(), nullable=False),
        pa.field("class", pa.string(), nullable=False),
        pa.field("label", pa.int8()),
        pa.field("logit", pa.float32(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
    ]
)
METRICS = pa.schema(
    [
        pa.field("class", pa.string(), nullable=False),
        pa.field("auc", pa.float64()),
        pa.field("n_pos", pa.int64(), nullable=False),
        pa.field("n_neg", pa.int64(), nullable=False),
        pa.field("undefined", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
    ]
)
HISTORY = pa.schema(
    [
        pa.field("step", pa.int64(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("value", pa.float64()),
    ]
)
WORDS = pa.schema(
    [
        pa.field("word", pa.int64(), nullable=False),
        pa.field("place", pa.int64(), nullable=False),
        pa.field("patient_id", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("top", pa.float64(), nullable=False),
        pa.field("left", pa.float64(), nullable=False),
        pa.field("side", pa.float64(), nullable=False),
    ]
)
_BOX = [pa.field(side, pa.float64(), nullable=False) for side in ("left", "top", "width", "height")]
#: Boxes of annotators, and boxes drawn around what a map marks; sides are shares of the image's.
ANNOTATED = pa.schema(
    [pa.field(name, pa.string(), nullable=False) for name in ("image_id", "patient_id", "class", "reader")] + _BOX
)
PREDICTED = pa.schema([pa.field(name, pa.string(), nullable=False) for name in ("map", "image_id", "class")] + _BOX)
OVERLAPS = pa.schema(
    [
        pa.field("map", pa.string(), nullable=False),
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("patient_id", pa.string(), nullable=False),
        pa.field("class", pa.string(), nullable=False),
        pa.field("n_annotated", pa.int64(), nullable=False),
        pa.field("n_predicted", pa.int64(), nullable=False),
        pa.field("iou", pa.float64(), nullable=False),
        pa.field("centred_iou", pa.float64(), nullable=False),
    ]
)
SCHEMAS = {
    "predictions": PREDICTIONS,
    "metrics": METRICS,
    "history": HISTORY,
    "words": WORDS,
    "annotated": ANNOTATED,
    "predicted": PREDICTED,
    "overlaps": OVERLAPS,
}


def write(path: Path, frame: pd.DataFrame, kind: str) -> None:
    """Write a frame as Parquet under the schema of its kind; equal frames give equal bytes.

    Args:
        path: the file.
        frame: with exactly the schema's columns, in any order.
        kind: name in `SCHEMAS`.

    Raises:
        ValueError: a column is missing, unknown, of another type, or null where it must not be.
    """
    schema = SCHEMAS[kind]
    if sorted(frame.columns) != sorted(schema.names):
        raise ValueError(f"{kind} takes the columns {schema.names}, got {list(frame.columns)}")
    try:
        table = pa.Table.from_pandas(frame[schema.names], schema=schema)
        table.validate(full=True)
    except pa.ArrowException as error:
        raise ValueError(f"{kind}: {error}") from error
    write_table(path, table, kind)


def write_table(path: Path, table: pa.Table, kind: str) -> None:
    """Write an Arrow table as `write` does a frame; for tables too long to pass through pandas.

    Raises:
        ValueError: other columns or types than the schema's, or a null where it must not be.
    """
    schema = SCHEMAS[kind]
    if not table.schema.equals(schema) and [(f.name, f.type) for f in table.schema] != [
        (f.name, f.type) for f in schema
    ]:
        raise ValueError(f"{kind} takes {schema}, got {table.schema}")
    for field in schema:
        if not field.nullable and table[field.name].null_count:
            raise ValueError(f"{kind}: column '{field.name}' must not hold nulls")
    # pandas adds its version to the metadata; without it the bytes depend on the content alone.
    version = {b"refers_bench.schema": f"{kind} {VERSION}".encode()}
    # Reports read thousands of small tables: there, to start zstd costs more time than all the rest.
    compression = "zstd" if table.num_rows > SMALL else "snappy"
    pq.write_table(table.cast(schema).replace_schema_metadata(version), path, compression=compression)


def read(path: Path, kind: str) -> pd.DataFrame:
    """Read a stored table and check its schema.

    Raises:
        ValueError: written under another schema or version.
    """
    table = pq.read_table(path)
    found = (table.schema.metadata or {}).get(b"refers_bench.schema", b"none").decode()
    if found != f"{kind} {VERSION}":
        raise ValueError(f"{path}: schema '{found}', expected '{kind} {VERSION}'")
    frame: pd.DataFrame = table.to_pandas()
    return frame
