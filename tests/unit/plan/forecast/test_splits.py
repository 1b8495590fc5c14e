"""How many images, studies or patients a job looks at, counted from an index by hand, or assumed where there is none."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from refers_bench import plugins
from refers_bench.files import publish_json
from refers_bench.plan.forecast.splits import Counts, Splits, preparations
from refers_bench.plan.lock import Plan
from refers_bench.store.results import ResultStore

DATA = "d" * 20
#: Patient, study, split, report, labels of the task "t", label of another task.
ROWS = [
    ("p1", "s1", "train", "text", 1, None, None),
    ("p1", "s1", "train", "text", None, 0, None),
    ("p1", "s2", "train", None, None, None, 1),
    ("p2", "s3", "train", "text", 0, 0, 1),
    ("p3", "s4", "val", "text", None, None, 1),
    ("p3", "s5", "val", None, 1, 1, None),
    ("p4", "s6", "test", "text", 1, None, None),
    ("p4", "s6", "test", "text", None, None, None),
    ("p5", "s7", "", "text", 1, 1, 1),
]


@pytest.fixture
def splits(tmp_path: Path) -> Splits:
    columns = ["patient_id", "study_id", "split", "report", "t:a", "t:b", "tt:a"]
    frame = pd.DataFrame(ROWS, columns=columns)
    frame["image_id"] = [f"i{number}" for number in range(len(frame))]
    store = ResultStore(tmp_path)
    store.folder(DATA).mkdir(parents=True)
    frame.to_parquet(store.folder(DATA) / "index.parquet")
    publish_json(store.folder(DATA) / "run.json", {"key": DATA})
    return Splits(Plan(name="m", images={DATA: 1000, "other": 55}), store)


def pretraining(method: str, params: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    source = {"prepare": DATA, "task": "t"}
    return {"kind": "pretrain", "method": method, "params": params or {}, "source": source, **more}


@pytest.mark.parametrize(
    ("spec", "counts"),
    [
        # Images with any label of the task.
        ({"kind": "finetune", "prepare": DATA, "task": "t"}, (3, 1, 1)),
        ({"kind": "finetune", "prepare": DATA, "task": "tt"}, (2, 1, 0)),
        ({"kind": "discover", "source": {"prepare": DATA}}, (2, 1, 1)),
        # Studies with a report; images with a label; all images; all studies.
        (pretraining("refers", {"views": 3}), (2, 1, 1)),
        (pretraining("lsp_transformer"), (3, 1, 1)),
        (pretraining("c2l"), (4, 2, 2)),
        (pretraining("several_views"), (3, 2, 1)),
        # Three crops of each word in each patient that shows it.
        (pretraining("transvw", {"words": 5, "patients": 7, "val_patients": 2}, discover="w"), (105, 30, 0)),
    ],
)
def test_counted_from_an_index(
    splits: Splits, spec: dict[str, Any], counts: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    train, val, test = counts
    if spec.get("method") == "several_views":
        several = dataclasses.replace(plugins.load("method", "scratch"), views=lambda params: 2)
        monkeypatch.setattr(plugins, "load", lambda kind, name: several)
    assert splits.of(spec) == Counts(train=train, val=val, test=test, counted=True)
    assert splits.of(spec) == Counts(train=train, val=val, test=test, counted=True), "the same when asked again"


def test_assumed_where_nothing_is_prepared(splits: Splits) -> None:
    spec = {"kind": "finetune", "prepare": "other", "task": "t"}
    assert splits.of(spec) == Counts(train=round(0.7 * 55), val=round(0.1 * 55), test=11, counted=False)
    nothing = {"kind": "finetune", "prepare": "unknown", "task": "t"}
    assert splits.of(nothing) == Counts(train=0, val=0, test=0, counted=False)
    words = pretraining("transvw", {"words": 5, "patients": 7, "val_patients": 2}, discover="w")
    words["source"] = {"prepare": "unknown", "task": ""}
    assert splits.of(words) == Counts(train=105, val=0, test=0, counted=False), "no validation images, no crops"
    with pytest.raises(ValueError, match="a preparation has images, and no splits"):
        splits.of({"kind": "prepare"})


def test_several_sources_are_added_up(splits: Splits) -> None:
    """Images of both: what was counted with what was assumed is assumed."""
    source = [{"dataset": "a", "prepare": DATA}, {"dataset": "b", "prepare": "other"}]
    spec = {**pretraining("c2l"), "source": source}
    assert preparations(spec) == (DATA, "other")
    assert splits.of(spec) == Counts(train=4 + round(0.7 * 55), val=2 + round(0.1 * 55), test=2 + 11, counted=False)
    twice = {**pretraining("refers", {"views": 3}), "source": [source[0], source[0]]}
    assert splits.of(twice) == Counts(train=2 * 2, val=2, test=2, counted=True)
    assert splits.of({"kind": "discover", "source": source[:1]}) == Counts(train=2, val=1, test=1, counted=True)
