"""The columns of every stored table, their types, and which may be null: a store of earlier versions stays readable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from refers_bench.errors import UserError
from refers_bench.store import schemas
from refers_bench.store.schemas import SCHEMAS

BOX = "left double, top double, width double, height double"
#: Table -> its columns; "?" may be null.
COLUMNS = {
    "predictions": "image_id string, patient_id string, class string, label int8?, logit float, split string",
    "metrics": "class string, auc double?, n_pos int64, n_neg int64, undefined string, split string",
    "history": "step int64, name string, value double?",
    "words": "word int64, place int64, patient_id string, split string, top double, left double, side double",
    "annotated": f"image_id string, patient_id string, class string, reader string, {BOX}",
    "predicted": f"map string, image_id string, class string, {BOX}",
    "overlaps": "map string, image_id string, patient_id string, class string, n_annotated int64, n_predicted int64, "
    "iou double, centred_iou double",
}


def test_there_are_these_tables() -> None:
    assert list(SCHEMAS) == list(COLUMNS)


@pytest.mark.parametrize("kind", COLUMNS)
def test_a_table_has_these_columns(kind: str) -> None:
    assert ", ".join(f"{one.name} {one.type}{'?' if one.nullable else ''}" for one in SCHEMAS[kind]) == COLUMNS[kind]


def written(folder: Path, **changes: list[Any]) -> Path:
    """A history of two values, or of others; of an equal schema whatever they are."""
    columns = {"step": [1, 2], "name": ["loss", "loss"], "value": [0.5, None], **changes}
    schema = SCHEMAS["history"].with_metadata({schemas._MARK: b"history 1"})
    path = folder / "history.parquet"
    pq.write_table(pa.table(columns, schema=schema), path, compression="zstd")
    return path


def test_tables_of_somebody_else_are_bounded_before_they_are_read(tmp_path: Path) -> None:
    schemas.refuse_large(written(tmp_path), "history", rows=2)
    schemas.refuse_large(written(tmp_path, step=[], name=[], value=[]), "history", rows=2)
    for changes, said in (
        ({"step": [1] * 3, "name": ["a"] * 3, "value": [0.5] * 3}, "3 rows; allowed: at most 2 rows"),
        ({"name": ["a", "b" * 1001]}, "a text of 1001 bytes"),
        ({"name": ["a", "b" * 5_000_000]}, "bytes in 2 rows"),
    ):
        with pytest.raises(UserError, match=said):
            schemas.refuse_large(written(tmp_path, **changes), "history", rows=2)


def test_columns_of_other_types_are_refused_under_any_name(tmp_path: Path) -> None:
    path = tmp_path / "history.parquet"
    schema = pa.schema({"step": pa.string(), "name": pa.string(), "value": pa.float64()}, {schemas._MARK: b"history 1"})
    pq.write_table(pa.table({"step": ["1"], "name": ["a"], "value": [1.0]}, schema=schema), path)
    with pytest.raises(UserError, match="column 'step' holds string; allowed: int64"):
        schemas.read_table(path, "history")
