"""The facts about prediction files are found, and nothing that is not there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refers_bench.analysis import integrity
from refers_bench.analysis.integrity import KINDS, Finding, findings
from refers_bench.analysis.results import load
from refers_bench.analysis.shared_scores import cliques, decimals_of
from refers_bench.data.imported.predictions import ImportedRun
from refers_bench.jobs.imports.predictions import publish

RNG = np.random.default_rng(0)
LABELS = (RNG.random((200, 2)) < 0.3).astype(np.int8)
BASE = RNG.normal(size=(200, 2)).astype(np.float32)


def run(method: str, scores: Any, labels: Any = LABELS, images: int = 200, seed: int = 0) -> ImportedRun:
    return ImportedRun(
        method=method, label=method.upper(), dataset="d", task="t", label_ratio=1.0, seed=seed, classes=("a", "b"),
        image_ids=tuple(f"i{n:03d}" for n in range(200 - images, 200)), patient_ids=("",) * images,
        labels_NK=np.asarray(labels, np.int8)[-images:], scores_NK=np.asarray(scores, np.float32)[-images:],
    )  # fmt: skip


def found(tmp_path: Path, *runs: ImportedRun, **more: Any) -> tuple[Finding, ...]:
    publish(runs, results=tmp_path, name="x", title="x", origin="imported", command="c", **more)
    return findings(load(tmp_path, "x"))


def kinds(tmp_path: Path, *runs: ImportedRun, **more: Any) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    return [(one.kind, one.runs, one.classes) for one in found(tmp_path, *runs, **more)]


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
    broken[5, 1] = np.inf
    assert kinds(tmp_path / "infinite", run("one", broken)) == [("infinite scores", ("one",), ("b",))]


def test_only_declared_probabilities_have_a_range(tmp_path: Path) -> None:
    """Logits of a rare finding: nearly all between 0 and 1 by chance, a few outside."""
    scores = np.random.default_rng(2).random((200, 2))
    scores[0, 0] = 1.2
    assert kinds(tmp_path / "logits", run("one", scores)) == []
    declared = kinds(tmp_path / "declared", run("one", scores), probabilities=True)
    assert declared == [("out of range", ("one",), ("a",))]


def test_a_low_correlation_hides_no_affine_pair(tmp_path: Path) -> None:
    """Rounding to 0.001 leaves r = 0.9995 between scores within 0.05, as those of rare findings are, and 0.9 of them."""
    fine = 0.05 * np.random.default_rng(7).random((200, 2))
    one, two = np.round(fine, 3), np.round(0.9 * fine + 0.004, 3)
    assert all(np.corrcoef(one[:, k], two[:, k])[0, 1] < 0.9999 for k in (0, 1))
    pairs = [one for one in kinds(tmp_path, run("one", one), run("two", two)) if one[0] != "quantised scores"]
    assert pairs == [("affinely related scores", ("one", "two"), ("a", "b"))]


def test_nearly_identical_scores_are_reported_with_r_and_the_residual(tmp_path: Path) -> None:
    one = np.round(np.random.default_rng(6).random((200, 2)), 3)
    two = np.round(0.95 * one + 0.003 * np.random.default_rng(7).uniform(-1, 1, (200, 2)), 3)
    assert [f.kind for f in found(tmp_path / "far", run("one", one), run("two", one + 0.1 * other()))] == [
        "quantised scores"
    ]
    near = [f for f in found(tmp_path, run("one", one), run("two", two)) if f.kind == "nearly identical scores"]
    # Each side by itself, since this holds of both: the loosest of four correlations and residuals.
    assert [(f.runs, f.classes) for f in near] == [(("one", "two"), ("a", "b"))] * 2
    for finding, value in zip(near, (1, 0), strict=True):
        fits = [
            (np.corrcoef(x, y)[0, 1], np.abs(np.polyval(np.polyfit(x, y, 1), x) - y).max() * 1000)
            for k in (0, 1)
            for x, y in [(one[LABELS[:, k] == value, k], two[LABELS[:, k] == value, k])]
        ]
        about = finding.closeness
        assert about is not None and about.unit == pytest.approx(0.001)
        assert about.lowest_r == pytest.approx(min(r for r, _ in fits), abs=1e-6)
        assert about.residual == pytest.approx(max(residual for _, residual in fits), rel=1e-3)


def test_runs_that_share_scores_are_one_group(tmp_path: Path) -> None:
    """Three runs are one finding instead of three pairs; a fourth that is related to one of them is another group."""
    mixed = np.where(LABELS == 1, BASE, other())
    (group,) = found(tmp_path, run("one", BASE), run("two", BASE), run("three", BASE))
    assert group.runs == ("one", "two", "three") and group.classes == ("a", "b")
    groups = kinds(tmp_path / "more", run("one", BASE), run("two", BASE), run("three", mixed))
    assert groups == [
        ("identical scores", ("one", "two"), ("a", "b")),
        ("identical scores of the positive images", ("one", "two", "three"), ("a", "b")),
    ]


def test_groups_are_cliques() -> None:
    assert cliques([("b", "a"), ("b", "c"), ("c", "a"), ("c", "d")], "abcd") == [("a", "b", "c"), ("c", "d")]
    assert cliques([], "ab") == []


def test_findings_are_read_back_as_they_were_found(tmp_path: Path) -> None:
    runs = run("one", BASE), run("two", BASE), run("three", np.round(BASE, 2))
    first = found(tmp_path, *runs)
    integrity._found.cache_clear()
    again = findings(load(tmp_path, "x"))
    assert again == first and [one.closeness for one in again] == [one.closeness for one in first]
    (tmp_path / "statistics").rename(tmp_path / "gone")
    integrity._found.cache_clear()
    assert findings(load(tmp_path, "x")) == first


def test_seeds_are_named_where_there_are_several(tmp_path: Path) -> None:
    names = kinds(tmp_path, run("one", BASE, seed=0), run("one", BASE, seed=1))
    assert names == [("identical scores", ("one, seed 0", "one, seed 1"), ("a", "b"))]


def test_decimals() -> None:
    assert decimals_of(np.array([1.0, 3.0]), most=4) == 0
    assert decimals_of(np.array([0.125, 0.5]), most=4) == 3
    assert decimals_of(np.array([1 / 3, 0.5]), most=4) is None


def test_a_nan_class_has_no_auc_and_says_why(tmp_path: Path) -> None:
    broken = BASE.copy()
    broken[5, 1] = np.nan
    found(tmp_path, run("one", broken))
    metrics = load(tmp_path, "x").planned[0].metrics
    assert [(metric.auc is None, metric.undefined) for metric in metrics] == [(False, ""), (True, "NaN scores")]
    assert set(KINDS) >= {"NaN scores"}
