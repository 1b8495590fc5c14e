"""Checks that what differs between two results is found, with the right size and interval, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refers_bench.analysis.compare.difference import DIFFER, EQUAL, IDENTICAL, OTHER_IMAGES, Difference, compare
from refers_bench.analysis.results import Results, load
from refers_bench.analysis.statistics.auc_intervals import mean_aucs
from refers_bench.analysis.statistics.significance import Refusal, t_test
from refers_bench.data.imported.predictions import ImportedRun
from refers_bench.jobs.imports.predictions import publish

LABELS = (np.arange(90)[:, None] % np.array([3, 4]) == 0).astype(np.int8)


def scores(seed: int, strength: float = 1.0) -> Any:
    return (LABELS * strength + np.random.default_rng(seed).normal(size=LABELS.shape)).astype(np.float32)


def side(folder: Path, strengths: list[float], **more: Any) -> Results:
    """One method with a seed for each strength."""
    runs = []
    for seed, strength in enumerate(strengths):
        base: dict[str, Any] = {
            "method": "refers", "label": "refers", "dataset": "d", "task": "t", "label_ratio": 1.0, "seed": seed,
            "classes": ("a", "b"), "image_ids": tuple(f"i{n:03d}" for n in range(len(LABELS))),
            "patient_ids": ("",) * len(LABELS), "labels_NK": LABELS, "scores_NK": scores(seed, strength),
        }  # fmt: skip
        runs.append(ImportedRun(**{**base, **more}))
    publish(runs, results=folder, name="x", title="x", origin="imported", command="c")
    return load(folder, "x")


def found(first: Results, second: Results) -> Difference:
    return compare(first, second, names=("a", "b"))


def test_the_same_twice(tmp_path: Path) -> None:
    both = found(side(tmp_path / "a", [1.0, 1.2]), side(tmp_path / "b", [1.0, 1.2]))
    assert both.same and [cell.predictions for cell in both.cells] == [IDENTICAL] * 2
    assert both.means[0].difference == 0.0 and both.means[0].images is None


def test_images_in_another_order_are_the_same_scores(tmp_path: Path) -> None:
    back = slice(None, None, -1)
    ids = tuple(f"i{n:03d}" for n in range(len(LABELS)))[back]
    other = side(tmp_path / "b", [1.0], image_ids=ids, labels_NK=LABELS[back], scores_NK=scores(0)[back])
    (cell,) = found(side(tmp_path / "a", [1.0]), other).cells
    assert cell.predictions == EQUAL and cell.same and cell.largest == 0.0 and not cell.same_key


def test_means_differ_by_what_t_test_and_interval_say(tmp_path: Path) -> None:
    first, second = side(tmp_path / "a", [1.0, 1.2, 0.9]), side(tmp_path / "b", [1.0, 2.0, 2.2])
    both = found(first, second)
    assert not both.same and [cell.predictions for cell in both.cells] == [IDENTICAL, DIFFER, DIFFER]
    assert both.cells[1].largest == pytest.approx(np.abs(scores(1, 1.2) - scores(1, 2.0)).max(), rel=1e-6)
    (mean,) = both.means
    target = first.targets[0]
    values = [results.cells["refers", target].values for results in (first, second)]
    assert mean.seeds == t_test(values[1], values[0]) and mean.difference == pytest.approx(mean.seeds.difference)
    stack = np.stack([scores(s, w) for w_s in ([1.0, 1.2, 0.9], [1.0, 2.0, 2.2]) for s, w in enumerate(w_s)])
    direct = mean_aucs(LABELS, stack)
    assert mean.images == direct.difference([3, 4, 5], [0, 1, 2])
    assert mean.images.low < mean.difference < mean.images.high
    assert mean.classes["a"][0] != mean.classes["a"][1]


def test_one_seed_and_other_images_have_no_interval(tmp_path: Path) -> None:
    first = side(tmp_path / "a", [1.0])
    assert isinstance(found(first, side(tmp_path / "b", [2.0])).means[0].seeds, Refusal)
    two = side(tmp_path / "c", [1.0, 1.2])
    other = side(tmp_path / "d", [1.0, 1.2], image_ids=tuple(f"x{n:03d}" for n in range(len(LABELS))))
    both = found(two, other)
    assert {cell.predictions for cell in both.cells} == {OTHER_IMAGES} and both.means[0].images is None
    assert isinstance(both.means[0].seeds, Refusal) and "other images" in both.means[0].seeds.reason and not both.same


def test_nan_on_one_side_is_no_small_difference(tmp_path: Path) -> None:
    spoilt = scores(0)
    spoilt[0, 0] = np.nan
    both = found(side(tmp_path / "a", [1.0]), side(tmp_path / "b", [1.0], scores_NK=spoilt))
    assert both.cells[0].largest == np.inf and both.means[0].images is None
    assert both.means[0].classes["a"][1] is None
    assert found(side(tmp_path / "c", [1.0], scores_NK=spoilt), side(tmp_path / "d", [1.0], scores_NK=spoilt)).same


def test_cells_states_settings_and_specifications(folder: Any, new_folder: Any) -> None:
    other = new_folder("other")
    folder.cell("refers")
    folder.cell("c2l")
    other.cell("refers", state="failed")
    other.cell("scratch")
    folder.lock["values"] = {"a.b": {"value": 1, "origin": "paper: x"}, "same": {"value": 2, "origin": "p"}}
    other.lock["values"] = {
        "a.b": {"value": 3, "origin": "manifest"},
        "same": {"value": 2, "origin": "q"},
        "new": {"value": 0, "origin": "o"},
    }
    for one, steps in ((folder, 10), (other, 20)):
        one.lock["jobs"][0]["spec"] = {"kind": "finetune", "finetune": {"steps": steps}, "pretrain": "P"}
        one.lock["jobs"].append(
            {"key": "P", "kind": "pretrain", "name": "p", "needs": [], "spec": {"rate": steps / 100}}
        )
    other.lock["jobs"][0]["key"] = other.lock["cells"][0]["key"] = "another"
    other.failed("another")
    both = found(folder.load(), other.load())
    assert [len(names) for names in both.only] == [1, 1]
    assert [(cell.states, cell.same_key) for cell in both.cells] == [(("done", "failed"), False)]
    assert {(one.name, one.values, one.origins) for one in both.settings} == {
        ("a.b", (1, 3), ("paper: x", "manifest")), ("new", (None, 0), ("", "o")),
    }  # fmt: skip
    assert both.specifications == (("finetune.steps", "10", "20", 1), ("pretrain: rate", "0.1", "0.2", 1))
    assert not both.same and both.means == ()


def test_without_settings_on_a_side_none_are_compared(folder: Any, new_folder: Any) -> None:
    other = new_folder("other")
    folder.cell("refers")
    other.lock["cells"], other.lock["jobs"] = folder.lock["cells"], folder.lock["jobs"]
    folder.lock["values"] = {"a": {"value": 1, "origin": "x"}}
    both = found(folder.load(), other.load())
    assert both.same and both.settings == () and both.notes == ("B names no settings, so none are compared.",)
