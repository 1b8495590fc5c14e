"""The columns of every stored table, their types, and which may be null: a store of earlier versions stays readable."""

from __future__ import annotations

import pytest

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
