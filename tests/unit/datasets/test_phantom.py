"""The phantom collection is read back as it was drawn: labels, reports, splits and boxes of every study."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from refers_bench.data.phantoms import radiographs
from refers_bench.datasets.phantom import DATASET, Params, boxes, index
from refers_bench.errors import DataError

PHANTOM = radiographs.PhantomParams(studies=12, size=32, views=2, seed=3)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    assert DATASET.write_layout is not None
    DATASET.write_layout(tmp_path, PHANTOM)
    return tmp_path


def test_rows_are_the_studies(root: Path) -> None:
    frame = index(root, Params(), {}).set_index("image_id")
    shots = [(study, place, view) for study in radiographs.studies(PHANTOM) for place, view in enumerate(study.views)]
    assert len(frame) == len(shots) == 16
    for study, place, view in shots:
        row = frame.loc[f"s{study.number:06d}_{place}"]
        assert (row["patient_id"], row["study_id"]) == (f"p{study.patient:06d}", f"s{study.number:06d}")
        assert (row["view"], row["split"], row["report"]) == (view.view, study.split, study.report)
        assert {name for name in radiographs.FINDINGS if row[f"findings:{name}"] == 1} == study.findings
        assert (root / row["path"]).is_file()
    assert (frame["view"] == "L").any()


def test_boxes_are_those_of_the_frontal_radiographs(root: Path) -> None:
    expected = sorted(
        (f"s{study.number:06d}_{place}", lesion.finding, "", *(round(side, 6) for side in view.box(lesion)))
        for study in radiographs.studies(PHANTOM)
        for place, view in enumerate(study.views)
        if view.view != "L"
        for lesion in study.lesions
    )
    found = boxes(root, Params())
    assert [tuple(row) for row in found.round(6).itertuples(index=False)] == expected and len(expected) > 5


def test_a_report_that_is_empty_is_none_and_a_column_must_be_there(root: Path) -> None:
    table = root / "images.csv"
    frame = pd.read_csv(table)
    frame.loc[3, "report"] = ""
    frame.to_csv(table, index=False)
    assert index(root, Params(), {})["report"].isna().tolist() == [place == 3 for place in range(16)]
    frame.drop(columns=radiographs.FINDINGS[0]).to_csv(table, index=False)
    with pytest.raises(DataError, match=f"no column '{radiographs.FINDINGS[0]}'"):
        index(root, Params(), {})
