"""Writes and reads the stored Parquet tables: their columns are fixed, and equal frames give equal bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from refers_bench.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

VERSION = 1
#: Of tables of somebody else: bytes of the longest text, of a row before compression, and of any small table.
LONGEST, _A_ROW, _LEAST = 1000, 1000, 1 << 20
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
    except _UNREADABLE as error:
        raise UserError(f"cannot read: {error}", allowed="a Parquet file", path=path) from error
    _refuse_other(table.schema, kind, path)
    for field in SCHEMAS[kind]:
        if not field.nullable and table[field.name].null_count:
            raise UserError(f"column '{field.name}' holds nulls", allowed="a value in each row", path=path)
    return table


#: What reading a damaged file raises; the last two where the name of a column has changed.
_UNREADABLE = (OSError, pa.ArrowException, KeyError, UnicodeDecodeError)


def _refuse_other(schema: pa.Schema, kind: str, path: Path) -> None:
    """Refuse a table that was written under another schema or version, or whose columns are of other types."""
    found = (schema.metadata or {}).get(_MARK, b"none").decode(errors="replace")
    if found != f"{kind} {VERSION}" or sorted(schema.names) != sorted(SCHEMAS[kind].names):
        raise UserError(f"written under the schema '{found}'", allowed=f"'{kind} {VERSION}'", path=path)
    for field in SCHEMAS[kind]:
        if schema.field(field.name).type not in (field.type, pa.dictionary(pa.int32(), field.type)):
            raise UserError(
                f"column '{field.name}' holds {schema.field(field.name).type}", allowed=str(field.type), path=path
            )


def refuse_large(path: Path, kind: str, *, rows: int) -> None:
    """Refuse a table of somebody else whose reading would take much more memory than tables of its kind do.

    Its footer is read, and of its texts each distinct one: a small file may stand for any number of rows, and for any
    number of long texts.

    Args:
        path: the file.
        kind: name in `SCHEMAS`.
        rows: most rows that are accepted.

    Raises:
        UserError: more rows, longer texts, or no table of this kind.
    """
    texts = [field.name for field in SCHEMAS[kind] if pa.types.is_string(field.type)]
    allowed = f"at most {rows} rows, texts of {LONGEST} characters, and {_A_ROW} bytes a row"
    try:
        with pq.ParquetFile(path, read_dictionary=texts) as file:
            _refuse_other(file.schema_arrow, kind, path)
            groups = [file.metadata.row_group(place) for place in range(file.metadata.num_row_groups)]
            counts = [file.metadata.num_rows, sum(one.num_rows for one in groups), *(one.num_rows for one in groups)]
            count = max(counts)
            columns = [group.column(place) for group in groups for place in range(group.num_columns)]
            size = max(sum(one.total_byte_size for one in groups), sum(one.total_uncompressed_size for one in columns))
            if min(counts) < 0 or count > rows:
                raise UserError(f"{count} rows", allowed=allowed, path=path)
            if size > _A_ROW * count + _LEAST:
                raise UserError(f"{size} bytes in {count} rows", allowed=allowed, path=path)
            for batch in file.iter_batches(columns=texts):
                for column in batch.columns:
                    longest = pc.max(pc.binary_length(column.dictionary)).as_py() or 0
                    if longest > LONGEST:
                        raise UserError(f"a text of {longest} bytes", allowed=allowed, path=path)
    except _UNREADABLE as error:
        raise UserError(f"cannot read: {error}", allowed="a Parquet file", path=path) from error


def read(path: Path, kind: str) -> pd.DataFrame:
    """`read_table` as a frame."""
    frame: pd.DataFrame = read_table(path, kind).to_pandas()
    return frame
