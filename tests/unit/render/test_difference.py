"""The difference of two results, word by word: largest first, what was left out counted, and all of it as JSON."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from refers_bench.analysis.cells import Target
from refers_bench.analysis.compare.difference import CellDifference, Difference, MeanDifference, SettingDifference
from refers_bench.analysis.statistics.auc_intervals import Interval
from refers_bench.analysis.statistics.significance import Refusal, TTest
from refers_bench.render import difference

TARGET = Target(dataset="data", task="task", label_ratio=0.1)
TEST = TTest(
    test="Welch", n=(3, 2), difference=-0.125, low=-0.25, high=0.0625, t=-1.0, df=1.5, p=0.4, hedges_g=1.0, detectable=0.1,
    power=0.2,
)  # fmt: skip


def cell(name: str, predictions: str = "", largest: float | None = None, **more: Any) -> CellDifference:
    return CellDifference(
        name=name, predictions=predictions, largest=largest, **{"states": ("done", "done"), "same_key": True, **more}
    )


def mean(method: str, before: float, after: float, **more: Any) -> MeanDifference:
    given = {
        "n": (1, 1), "seeds": Refusal(reason="one seed"), "images": None, "classes": {"x": (before, after)}, **more
    }  # fmt: skip
    return MeanDifference(method=method, target=TARGET, means=(before, after), **given)


FOUND = Difference(
    names=("first", "second"),
    only=(("gone.s0",), ("new.s0", "new.s1", "new.s2")),
    cells=(
        cell("c0", "same bytes"),
        cell("c1", "differ", 0.0123456, same_key=False),
        cell("c2", states=("done", "failed")),
        cell("c3", "differ", math.inf),
        cell("c4", "other images or classes"),
        cell("c5", "same scores", 0.0),
        cell("c6", states=("missing", "missing")),
    ),
    means=(
        mean("small", 0.5, 0.53125, classes={"x": (0.5, 0.5), "y": (0.5, 0.5625)}),
        mean("same", 0.75, 0.75),
        mean(
            "large", 0.75, 0.625, n=(2, 3), seeds=TEST, classes={"x": (0.75, 0.5), "y": (None, 0.75), "z": (0.25, None)},
            images=Interval(estimate=-0.125, low=-0.1875, high=0.03125, se=0.01, df=9.0),
        ),
    ),
    settings=(
        SettingDifference(name="finetune.steps", values=(10, 20), origins=("preset", "manifest m.yaml:3:4")),
        SettingDifference(name="seed", values=(None, "é"), origins=("", "manifest")),
        SettingDifference(name="weights", values=(None, None), origins=("preset", "")),
    ),
    specifications=(("finetune.momentum", "0.9", "0.5", 7),),
    notes=("A has no lock",),
)  # fmt: skip

SPECIFICATIONS = """\
specifications that differ, in cells of one name: 1
  finetune.momentum: 0.9 -> 0.5 (7 cells)
states that differ: 1
  c2: done -> failed
"""
LARGE = (
    "large, data task, 10 % of labels: 75.00 -> 62.50 (-12.50); over seeds 95 % -25.00 to +6.25 (n = 2 and 3, df = 1.5); "
    "over test images 95 % -18.75 to +3.12"
)  # fmt: skip
WHOLE = f"""\
A: first
B: second
A has no lock
cells only in A: 1
  gone.s0
cells only in B: 3
  new.s0
  new.s1
  new.s2
settings that differ: 3
  finetune.steps: 10 (preset) -> 20 (manifest m.yaml:3:4)
  seed: none -> "é" (manifest)
  weights: null (preset) -> none
{SPECIFICATIONS}predictions that differ: 3
  c3: differ, max |difference of scores| inf (same key)
  c4: other images or classes (same key)
  c1: differ, max |difference of scores| 0.0123 (another key)
means that differ, B minus A in AUC points: 2
  {LARGE}
  small, data task, 10 % of labels: 50.00 -> 53.12 (+3.12); no interval over seeds: one seed
classes that differ, B minus A in AUC points: 4
  large, data task, 10 % of labels, y: no AUC -> 75.00
  large, data task, 10 % of labels, z: 25.00 -> no AUC
  large, data task, 10 % of labels, x: 75.00 -> 50.00 (-25.00)
  small, data task, 10 % of labels, y: 50.00 -> 56.25 (+6.25)
different: 7 cells in both, predictions of 1 of 5 byte-identical
"""


@pytest.mark.parametrize("limit", [0, 4, 20])
def test_all_that_differs_is_listed_largest_first(limit: int) -> None:
    assert difference.text(FOUND, limit=limit) == WHOLE


def test_beyond_a_limit_the_rest_of_each_kind_is_counted() -> None:
    assert (
        difference.text(FOUND, limit=1)
        == f"""\
A: first
B: second
A has no lock
cells only in A: 1
  gone.s0
cells only in B: 3
  new.s0
  and 2 more
settings that differ: 3
  finetune.steps: 10 (preset) -> 20 (manifest m.yaml:3:4)
  and 2 more
{SPECIFICATIONS}predictions that differ: 3
  c3: differ, max |difference of scores| inf (same key)
  and 2 more
means that differ, B minus A in AUC points: 2
  {LARGE}
  and 1 more
classes that differ, B minus A in AUC points: 4
  large, data task, 10 % of labels, y: no AUC -> 75.00
  and 3 more
different: 7 cells in both, predictions of 1 of 5 byte-identical
"""
    )
    some = Difference(
        names=("a", "b"), only=((), tuple(map(str, range(difference.LIMIT + 1)))), cells=(), means=(), settings=()
    )
    assert difference.text(some).splitlines()[-2:] == [
        "  and 1 more",
        "different: 0 cells in both, predictions of 0 of 0 byte-identical",
    ]


def test_where_nothing_differs_two_names_and_a_verdict_are_left() -> None:
    alike = Difference(
        names=("a", "b"), only=((), ()), cells=(cell("c", "same bytes"), cell("d", "not kept")),
        means=(mean("same", 0.5, 0.5),), settings=(), notes=("A has no settings",),
    )  # fmt: skip
    assert difference.text(alike) == (
        "A: a\nB: b\nA has no settings\nsame: 2 cells in both, predictions of 1 of 2 byte-identical\n"
    )
    assert json.loads(difference.as_json(alike))["same"] is True


def test_programs_read_the_whole_of_it() -> None:
    read = json.loads(difference.as_json(FOUND))
    target = {"dataset": "data", "task": "task", "label_ratio": 0.1, "evaluation": "finetune", "folds": 0}
    refused = {"over_seeds": {"refused": "one seed"}, "over_test_images": None, "n": [1, 1]}
    assert read == {
        "version": 1, "same": False, "a": "first", "b": "second", "only_in_a": ["gone.s0"],
        "only_in_b": ["new.s0", "new.s1", "new.s2"],
        "settings": [
            {"name": "finetune.steps", "a": 10, "b": 20, "origins": ["preset", "manifest m.yaml:3:4"]},
            {"name": "seed", "a": None, "b": "é", "origins": ["", "manifest"]},
            {"name": "weights", "a": None, "b": None, "origins": ["preset", ""]},
        ],
        "specifications": [{"name": "finetune.momentum", "a": "0.9", "b": "0.5", "cells": 7}],
        "cells": [
            {
                "name": f"c{place}", "states": states, "same_key": place != 1, "predictions": predictions,
                "largest_score_difference": largest, "same": place in (0, 5, 6),
            }
            for place, (states, predictions, largest) in enumerate((
                (["done", "done"], "same bytes", None), (["done", "done"], "differ", 0.0123456),
                (["done", "failed"], None, None), (["done", "done"], "differ", "infinite"),
                (["done", "done"], "other images or classes", None), (["done", "done"], "same scores", 0.0),
                (["missing", "missing"], None, None),
            ))
        ],
        "means": [
            {
                "method": "small", **target, "a": 0.5, "b": 0.53125, "difference": 0.03125, **refused, "same": False,
                "classes": {"x": {"a": 0.5, "b": 0.5}, "y": {"a": 0.5, "b": 0.5625}},
            },
            {
                "method": "same", **target, "a": 0.75, "b": 0.75, "difference": 0.0, **refused, "same": True,
                "classes": {"x": {"a": 0.75, "b": 0.75}},
            },
            {
                "method": "large", **target, "a": 0.75, "b": 0.625, "difference": -0.125, "n": [2, 3], "same": False,
                "over_seeds": {"low": -0.25, "high": 0.0625, "df": 1.5, "p": 0.4, "test": "Welch"},
                "over_test_images": {"low": -0.1875, "high": 0.03125},
                "classes": {"x": {"a": 0.75, "b": 0.5}, "y": {"a": None, "b": 0.75}, "z": {"a": 0.25, "b": None}},
            },
        ],
        "notes": ["A has no lock"],
    }  # fmt: skip
    assert "é" in difference.as_json(FOUND) and difference.as_json(FOUND).endswith("\n}\n")
