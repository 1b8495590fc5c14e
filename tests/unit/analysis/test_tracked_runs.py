"""What a tracker is told of a run is what the store holds of it, and no path of the machine."""

from __future__ import annotations

from typing import Any

from refers_bench.analysis import tracked_runs
from refers_bench.analysis.tracked_runs import CURVES, METRICS, parameters
from refers_bench.store import plan
from refers_bench.store.results import ResultStore


def test_parameters_name_the_pre_training_once() -> None:
    spec = {"image": {"size": 224}, "seed": 1, "pretrain": "key", "source": "mine"}
    needed = {"image": {"size": 256}, "seed": 9, "pretrain": {"lr": 0.1}, "source": {"dataset": "d"}}
    assert parameters(spec, {}) == {"image.size": 224, "seed": 1, "pretrain": "key", "source": "mine"}
    assert parameters(spec, needed) == {**parameters(spec, {}), "pretrain.lr": 0.1}


def test_a_run_of_two_rows_is_one_and_keeps_what_is_finite(folder: Any) -> None:
    key = folder.cell("a", aucs={"x/y": 0.5, "z": None})
    folder.lock["cells"].append({**folder.lock["cells"][0], "method": "b"})
    folder.history(key, {"loss": [1.0, float("inf"), 3.0]})
    folder.cell("c", state="failed")
    results = folder.save()
    store, made = ResultStore(results), plan.read(results / "tiny" / plan.LOCK)
    jobs = tracked_runs.chosen(made, store, (), files=(CURVES, METRICS))
    (run,) = tracked_runs.runs(made, store, jobs)
    assert run.tags["method"] == "a" and run.key == key and (run.start, run.end) == (0.0, 2.0)
    assert run.metrics == {
        "mean_auc/test": 0.5, "auc/test/x_y": 0.5, "mean_auc/val": 0.5, "auc/val/x_y": 0.5, "wall_s": 2.0,
    }  # fmt: skip
    assert run.rows() == {0: {"loss": 1.0}, 2: {"loss": 3.0}} and run.times() == {0: 0.0, 2: 2.0}
    assert tracked_runs.chosen(made, store, ("nothing",), files=(CURVES,)) == []
