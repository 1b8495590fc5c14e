"""When does a result count as done, and is a stored table the same bytes every time?"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from refers_bench.errors import UserError
from refers_bench.files import publish_json
from refers_bench.store import schemas
from refers_bench.store.provenance import git_state, provenance
from refers_bench.store.results import Listing, ResultStore

KEY = "k" * 20


def publish(store: ResultStore, **record: object) -> None:
    with store.publish(KEY) as stage:
        publish_json(stage / "run.json", {"key": KEY, **record})


def test_states(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    assert store.state(KEY) == "to do"
    store.fail(KEY, category="nan", record={"message": "m"})
    assert store.state(KEY) == "failed"
    assert (store.failure(KEY) or {})["category"] == "nan"
    store.work_folder(KEY).mkdir(parents=True)
    publish(store, n=1)
    assert store.state(KEY) == "done"
    assert store.failure(KEY) is None, "a success must clear the failure"
    assert not store.work_folder(KEY).exists()


def test_a_result_without_its_record_is_not_published(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    with pytest.raises(FileNotFoundError), store.publish(KEY) as stage:
        (stage / "predictions.parquet").write_bytes(b"x")
    assert list(store.root.iterdir()) == []


def test_an_interrupted_publication_leaves_nothing(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    with pytest.raises(KeyboardInterrupt), store.publish(KEY) as stage:
        publish_json(stage / "run.json", {})
        raise KeyboardInterrupt
    assert list(store.root.iterdir()) == []


def test_the_first_result_of_a_key_stays(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    publish(store, n=1)
    publish(store, n=2)
    assert (store.record(KEY) or {})["n"] == 1


@pytest.mark.parametrize("category", ["ok", "oops", ""])
def test_refuses_what_is_no_failure(tmp_path: Path, category: str) -> None:
    with pytest.raises(ValueError, match="unknown failure category"):
        ResultStore(tmp_path).fail(KEY, category=category, record={})


FRAME = pd.DataFrame(
    {
        "image_id": ["a", "b"], "patient_id": ["p", "q"], "class": ["x", "x"], "label": pd.array([1, None], "Int8"),
        "logit": pd.array([0.5, -1.25], "float32"), "split": ["test", "test"],
    }
)  # fmt: skip


def test_a_table_comes_back_and_has_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        schemas.write(tmp_path / name, FRAME if name == "one" else FRAME[FRAME.columns[::-1]], "predictions")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    read = schemas.read(tmp_path / "one", "predictions")
    assert read["logit"].tolist() == [0.5, -1.25]
    assert read["label"].isna().tolist() == [False, True]


@pytest.mark.parametrize(("rows", "codec"), [(2, "SNAPPY"), (schemas.SMALL + 2, "ZSTD")])
def test_small_tables_are_quick_to_read_and_large_ones_small(tmp_path: Path, rows: int, codec: str) -> None:
    frame = pd.concat([FRAME] * (rows // 2), ignore_index=True)
    schemas.write(tmp_path / "t", frame, "predictions")
    assert pq.ParquetFile(tmp_path / "t").metadata.row_group(0).column(0).compression == codec
    assert schemas.read(tmp_path / "t", "predictions")["logit"].tolist() == frame["logit"].tolist()


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (FRAME.drop(columns="logit"), "takes the columns"),
        (FRAME.assign(extra=1), "takes the columns"),
        (FRAME.assign(image_id=["a", None]), "image_id.* 1 null values"),
        (FRAME.assign(label=[300, 1]), "predictions: "),
        (FRAME.assign(logit=["high", "low"]), "predictions: "),
    ],
)
def test_refuses_frames_that_do_not_fit(tmp_path: Path, frame: pd.DataFrame, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        schemas.write(tmp_path / "t", frame, "predictions")
    assert not (tmp_path / "t").exists()


def test_refuses_tables_of_another_schema(tmp_path: Path) -> None:
    schemas.write(tmp_path / "t", FRAME, "predictions")
    with pytest.raises(UserError, match="written under the schema 'predictions 1'; allowed: 'metrics 1'"):
        schemas.read(tmp_path / "t", "metrics")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "plain")
    with pytest.raises(UserError, match="written under the schema 'none'"):
        schemas.read(tmp_path / "plain", "metrics")


def test_provenance_says_what_ran_where(tmp_path: Path) -> None:
    found = provenance(device="cpu")
    assert found["packages"]["torch"]
    assert found["hardware"]["cores"] >= 1
    assert found["device"] == "cpu"
    assert git_state(tmp_path) == {"commit": None, "reason": "no git state: CalledProcessError"}


def test_a_failure_is_recorded_with_its_key_and_time(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    assert (store.failure(KEY), store.failed_at(KEY), store.record(KEY)) == (None, 0, None)
    store.fail(KEY, category="lost", record={"message": "m", "attempts": 2})
    path = tmp_path / "store" / f"{KEY}.failed.json"
    expected = {"version": 1, "key": KEY, "category": "lost", "message": "m", "attempts": 2}
    assert json.loads(path.read_text()) == store.failure(KEY) == expected
    os.utime(path, ns=(5, 7))
    assert store.failed_at(KEY) == 7


def test_one_look_at_everything(tmp_path: Path) -> None:
    """What is staged or was moved aside, and a failure beside a result, count as neither."""
    store = ResultStore(tmp_path)
    assert store.listing() == Listing()
    publish(store)
    store.fail("f" * 20, category="nan", record={})
    store.fail(KEY, category="nan", record={})
    (store.root / f".{'s' * 20}.0.part").mkdir()
    (store.root / f".{'d' * 20}.0.damaged").mkdir()
    assert store.listing() == Listing(done=frozenset({KEY}), failed=frozenset({"f" * 20}))
    assert (store.state(KEY), store.state("f" * 20), store.state("s" * 20)) == ("done", "failed", "to do")


def test_where_things_lie(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    places = (store.folder(KEY), store.work_folder(KEY), store.progress(KEY), store.log(KEY))
    assert [str(path.relative_to(tmp_path)) for path in places] == [
        f"store/{KEY}", f"work/{KEY}", f"work/{KEY}/progress.json", f"logs/{KEY}.txt",
    ]  # fmt: skip
    assert store.said(KEY) == {}
    store.progress(KEY).parent.mkdir(parents=True)
    store.progress(KEY).write_text('{"step": 3}')
    assert store.said(KEY) == {"step": 3}
    store.progress(KEY).write_text('{"step"')
    assert store.said(KEY) == {}


def test_a_result_may_be_replaced(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    publish(store, n=1)
    with store.publish(KEY, replace=True) as stage:
        publish_json(stage / "run.json", {"key": KEY, "n": 2})
    assert store.record(KEY) == {"key": KEY, "n": 2}
    assert [path.name for path in store.root.iterdir()] == [KEY]
