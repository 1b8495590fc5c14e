"""Are the facts about prediction files found, and nothing that is not there?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refers_bench.analysis.integrity import KINDS, Finding, decimals_of, findings
from refers_bench.analysis.results import load
from refers_bench.data.imported import ImportedRun
from refers_bench.jobs.importing import publish

RNG = np.random.default_rng(0)
LABELS = (RNG.random((200, 2)) < 0.3).astype(np.int8)
BASE = RNG.normal(size=(200, 2)).astype(np.float32)


def run(method: str, scores: Any, labels: Any = LABELS, images: int = 200, seed: int = 0) -> ImportedRun:
    return ImportedRun(
        method=method, label=method.upper(), dataset="d", task="t", label_ratio=1.0, seed=seed, classes=("a", "b"),
        image_ids=tuple(f"i{n:03d}" for n in range(200 - images, 200)), patient_ids=("",) * images,
        labels_NK=np.asarray(labels, np.int8)[-images:], scores_NK=np.asarray(scores, np.float32)[-images:],
    )  # fmt: skip


def found(tmp_path: Path, *runs: ImportedRun) -> tuple[Finding, ...]:
    publish(runs, results=tmp_path, name="x", title="x", origin="imported", command="c")
    return findings(load(tmp_path, "x"))


def kinds(tmp_path: Path, *runs: ImportedRun) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    return [(one.kind, one.runs, one.classes) for one in found(tmp_path, *runs)]


def other() -> Any:
    return np.random.default_rng(1).normal(size=(200, 2))


def test_unrelated_scores_give_no_finding(tmp_path: Path) -> None:
    assert kinds(tmp_path, run("one", BASE), run("two", other())) == []


def test_identical_everywhere_is_said_once(tmp_path: Path) -> None:
    assert kinds(tmp_path, run("one", BASE), run("two", BASE)) == [("identical scores", ("one", "two"), ("a", "b"))]


def test_the_order_of_classes_hides_nothing(tmp_path: Path) -> None:
    turned = replace(run("two", BASE[:, ::-1], LABELS[:, ::-1]), classes=("b", "a"))
    assert kinds(tmp_path, run("one", BASE), turned) == [("identical scores", ("one", "two"), ("a", "b"))]


def test_nor_do_other_classes_or_images(tmp_path: Path) -> None:
    """One class and 150 of the images are in both lists."""
    one = replace(run("one", BASE), classes=("a", "c"))
    found_ = found(tmp_path, one, run("two", BASE, images=150))
    assert [(f.kind, f.runs, f.classes) for f in found_ if f.kind != "test lists differ"] == [
        ("identical scores", ("one", "two"), ("a",))
    ]
    assert "of all 150 images in both" in found_[-1].text


def test_identical_decisions_are_identical_scores(tmp_path: Path) -> None:
    """Two distinct scores relate affinely by chance, but not image by image."""
    hard, flipped = (BASE > 0).astype(np.float32), (BASE <= 0).astype(np.float32)
    runs = run("one", hard), run("two", hard), run("three", flipped)
    assert [one for one in kinds(tmp_path, *runs) if one[0] != "quantised scores"] == [
        ("identical scores", ("one", "two"), ("a", "b"))
    ]


@pytest.mark.parametrize("value", [0, 1])
def test_identical_on_one_side_only(tmp_path: Path, value: int) -> None:
    scores = np.where(value == LABELS, BASE, other())
    word = {1: "positive", 0: "negative"}[value]
    assert kinds(tmp_path, run("one", BASE), run("two", scores)) == [
        (f"identical scores of the {word} images", ("one", "two"), ("a", "b"))
    ]


def test_affine_scores_even_after_rounding(tmp_path: Path) -> None:
    rounded = np.round(0.8 * np.round(BASE, 3) + 0.1, 3)
    assert ("affinely related scores", ("one", "two"), ("a", "b")) in kinds(
        tmp_path, run("one", np.round(BASE, 3)), run("two", rounded)
    )
    noisy = rounded + np.where(np.arange(200) == 7, 0.01, 0)[:, None]
    assert "affinely related scores" not in [
        one.kind for one in found(tmp_path / "noisy", run("one", np.round(BASE, 3)), run("two", noisy))
        if "all" in one.text
    ]  # fmt: skip


def test_monotone_but_not_affine_is_no_finding(tmp_path: Path) -> None:
    assert kinds(tmp_path, run("one", BASE), run("two", np.tanh(BASE))) == []


def test_labels_and_lists_that_differ(tmp_path: Path) -> None:
    flipped = LABELS.copy()
    flipped[[3, 9], 1] ^= 1
    assert kinds(tmp_path, run("one", BASE), run("two", other(), flipped)) == [
        ("labels differ", ("one", "two"), ("b",))
    ]
    lists = found(tmp_path / "lists", run("one", BASE), run("two", other(), images=150))
    assert [(one.kind, one.text) for one in lists] == [("test lists differ", "200 and 150 test images, 150 in both")]


def test_scores_of_one_run(tmp_path: Path) -> None:
    scores = BASE.copy()
    scores[:, 0] = 0.25
    assert ("constant scores", ("one",), ("a",)) in kinds(tmp_path / "constant", run("one", scores))
    assert kinds(tmp_path / "quantised", run("one", np.round(BASE, 2))) == [("quantised scores", ("one",), ("a", "b"))]
    broken = BASE.copy()
    broken[5, 1] = np.nan
    assert kinds(tmp_path / "nan", run("one", broken)) == [("NaN scores", ("one",), ("b",))]
    probabilities = np.random.default_rng(2).random((200, 2))
    probabilities[0, 0] = 1.2
    assert kinds(tmp_path / "range", run("one", probabilities)) == [("out of range", ("one",), ("a",))]


def test_seeds_are_named_where_there_are_several(tmp_path: Path) -> None:
    names = kinds(tmp_path, run("one", BASE, seed=0), run("one", BASE, seed=1))
    assert names == [("identical scores", ("one, seed 0", "one, seed 1"), ("a", "b"))]


def test_decimals() -> None:
    assert decimals_of(np.array([1.0, 3.0])) == 0
    assert decimals_of(np.array([0.125, 0.5])) == 3
    assert decimals_of(np.array([1 / 3, 0.5])) is None


def test_a_nan_class_has_no_auc_and_says_why(tmp_path: Path) -> None:
    broken = BASE.copy()
    broken[5, 1] = np.nan
    found(tmp_path, run("one", broken))
    metrics = load(tmp_path, "x").planned[0].metrics
    assert [(metric.auc is None, metric.undefined) for metric in metrics] == [(False, ""), (True, "NaN scores")]
    assert set(KINDS) >= {"NaN scores"}
