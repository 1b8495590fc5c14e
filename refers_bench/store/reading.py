"""Reads stored JSON and Parquet files for people who look at results: what cannot be read is reported with its path."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from refers_bench.errors import UserError


def read_table(path: Path, kind: str, *, dictionaries: Sequence[str] = ()) -> Any:
    """A stored table; pyarrow alone, since pandas takes a second to import.

    Args:
        path: the file.
        kind: name of its schema.
        dictionaries: columns of text that repeats: read as dictionaries they cost an integer a row.

    Raises:
        UserError: unreadable, or written under another schema.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from refers_bench.store.schemas import SCHEMAS, VERSION

    expected = f"{kind} {VERSION}"
    try:
        # Not `read_table` on a path: for files this small, looking for partitions costs more than reading.
        with pq.ParquetFile(pa.BufferReader(path.read_bytes()), read_dictionary=dictionaries) as file:
            table = file.read(use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"cannot read: {error}", allowed="a Parquet file", path=path) from error
    found = (table.schema.metadata or {}).get(b"refers_bench.schema", b"none").decode(errors="replace")
    if found != expected or set(table.column_names) != set(SCHEMAS[kind].names):
        raise UserError(f"written under the schema '{found}'", allowed=f"'{expected}'", path=path)
    return table


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        UserError: no such file, or it holds no JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read: {error}", allowed="a JSON object", path=path) from error
    if not isinstance(value, dict):
        raise UserError(f"holds a {type(value).__name__}", allowed="a JSON object", path=path)
    return value
