"""Writes and reads the stored Parquet tables: their columns are fixed, and equal frames give equal bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from refers_bench.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

VERSION = 1
#: Rows up to which a table is small.
SMALL = 1000
#: Bytes of a file that repay several threads of reading.
LARGE = 1 << 20
#: Sides of a box, as shares of the image's.
_BOX = "left double, top double, width double, height double"
#: Table -> its columns with their Arrow types; "?" marks those that may be null. "annotated" holds the boxes of
#: annotators, "predicted" those drawn around what a map marks.
_COLUMNS = {
    "predictions": "image_id string, patient_id string, class string, label int8?, logit float, split string",
    "metrics": "class string, auc double?, n_pos int64, n_neg int64, undefined string, split string",
    "history": "step int64, name string, value double?",
    "words": "word int64, place int64, patient_id string, split string, top double, left double, side double",
    "annotated": f"image_id string, patient_id string, class string, reader string, {_BOX}",
    "predicted": f"map string, image_id string, class string, {_BOX}",
    "overlaps": "map string, image_id string, patient_id string, class string, n_annotated int64, n_predicted int64, "
    "iou double, centred_iou double",
}


def _field(text: str) -> pa.Field:
    name, _, kind = text.partition(" ")
    return pa.field(name, kind.removesuffix("?"), nullable=kind.endswith("?"))


SCHEMAS = {kind: pa.schema(map(_field, columns.split(", "))) for kind, columns in _COLUMNS.items()}
#: Name of the table and version of its schema, in the metadata of its file.
_MARK = b"refers_bench.schema"


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
    if table.schema.names != schema.names or table.schema.types != schema.types:
        raise ValueError(f"{kind} takes {schema}, got {table.schema}")
    for field in schema:
        if not field.nullable and table[field.name].null_count:
            raise ValueError(f"{kind}: column '{field.name}' must not hold nulls")
    # pandas adds its version to the metadata; without it the bytes depend on the content alone.
    version = {_MARK: f"{kind} {VERSION}".encode()}
    # Reports read thousands of small tables: there, to start zstd costs more time than all the rest.
    compression = "zstd" if table.num_rows > SMALL else "snappy"
    pq.write_table(table.cast(schema).replace_schema_metadata(version), path, compression=compression)


def read_table(path: Path, kind: str, *, as_dictionaries: Sequence[str] = ()) -> pa.Table:
    """Read a stored table with pyarrow alone, since pandas takes a second to import.

    Args:
        path: the file.
        kind: name in `SCHEMAS`.
        as_dictionaries: columns of text whose values repeat: each row then costs an integer instead of a string.

    Raises:
        UserError: unreadable, or written under another schema or version.
    """
    try:
        content = path.read_bytes()
        # Not `pq.read_table` on a path: for small files, looking for partitions costs more than reading.
        with pq.ParquetFile(pa.BufferReader(content), read_dictionary=list(as_dictionaries)) as file:
            table: pa.Table = file.read(use_threads=len(content) > LARGE)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"cannot read: {error}", allowed="a Parquet file", path=path) from error
    found = (table.schema.metadata or {}).get(_MARK, b"none").decode(errors="replace")
    if found != f"{kind} {VERSION}" or set(table.column_names) != set(SCHEMAS[kind].names):
        raise UserError(f"written under the schema '{found}'", allowed=f"'{kind} {VERSION}'", path=path)
    return table


def read(path: Path, kind: str) -> pd.DataFrame:
    """`read_table` as a frame."""
    frame: pd.DataFrame = read_table(path, kind).to_pandas()
    return frame
