"""Checks that statistics over test images are those of intervals and tests, are kept, and are refused if meaningless."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from delong_pairs import pair
from refers_bench.analysis import image_statistics as room
from refers_bench.analysis.image_statistics import ImageStatistics, image_statistics
from refers_bench.analysis.kept import FOLDER
from refers_bench.analysis.results import load
from refers_bench.analysis.statistics.auc_intervals import INTERVAL, mean_aucs
from refers_bench.analysis.statistics.delong import DELONG, delong
from refers_bench.analysis.statistics.permutation import PERMUTATION, permutation_test
from refers_bench.analysis.statistics.placements import IMAGE, PATIENT, Units
from refers_bench.data.imported.predictions import ImportedRun
from refers_bench.jobs.imports.predictions import publish

RNG = np.random.default_rng(0)
LABELS = (RNG.random((120, 2)) < 0.3).astype(np.int8)


def scores(strength: float, seed: int) -> Any:
    return (LABELS * strength + np.random.default_rng(seed).normal(size=LABELS.shape)).astype(np.float32)


def run(
    method: str, values: Any, *, seed: int = 0, labels: Any = LABELS, rows: slice = slice(None), **more: Any
) -> Any:
    images = len(values[rows])
    base: dict[str, Any] = {
        "method": method, "label": method, "dataset": "d", "task": "t", "label_ratio": 1.0, "seed": seed,
        "classes": ("a", "b"), "image_ids": tuple(f"i{n:03d}" for n in range(120))[rows],
        "patient_ids": ("",) * images, "labels_NK": labels[rows], "scores_NK": values[rows],
    }  # fmt: skip
    return ImportedRun(**{**base, **more})


def statistics(folder: Path, *runs: ImportedRun) -> ImageStatistics:
    publish(runs, results=folder, name="x", title="x", origin="imported", command="c")
    results = load(folder, "x")
    found = image_statistics(results, results.targets[0])
    assert found is not None
    return found


def test_one_seed_each_is_the_interval_and_delong(tmp_path: Path) -> None:
    one, two = scores(1.5, 1), scores(1.0, 2)
    found = statistics(tmp_path, run("refers", one), run("c2l", two))
    direct = mean_aucs(LABELS, np.stack([one, two]))
    assert found.means["refers"] == direct.mean(0) and found.differences["c2l"] == direct.difference(0, 1)
    assert list(found.differences) == ["c2l"] and found.unit == "image" and found.n_units == 120
    for k, test in enumerate(found.tests):
        expected: Any = pair(delong(LABELS[:, k], np.stack([one[:, k], two[:, k]])), 0, 1)
        assert (test.name, test.method, test.test) == ("ab"[k], "c2l", DELONG[IMAGE])
        assert (test.difference, test.p) == pytest.approx((expected.difference, expected.p))
    assert [(test.n_pos, test.n_neg) for test in found.tests] == [
        (int(LABELS[:, k].sum()), 120 - int(LABELS[:, k].sum())) for k in (0, 1)
    ]


def test_p_values_are_adjusted_over_all_classes_and_methods_of_a_column(tmp_path: Path) -> None:
    runs = [run(method, scores(1.6 - place / 4, place)) for place, method in enumerate(("refers", "c2l", "transvw"))]
    found = statistics(tmp_path, *runs)
    p = [test.p for test in found.tests]
    assert [(test.name, test.method) for test in found.tests] == [
        ("a", "c2l"),
        ("a", "transvw"),
        ("b", "c2l"),
        ("b", "transvw"),
    ]
    adjusted = multipletests(p, method="holm")[1]
    assert [test.p_holm for test in found.tests] == pytest.approx(adjusted)
    assert min(adjusted) == pytest.approx(4 * min(map(float, p)))


def test_seeds_enter_as_their_mean(tmp_path: Path) -> None:
    runs = [run("refers", scores(1.5, seed), seed=seed) for seed in (0, 1)] + [run("c2l", scores(1.0, 9))]
    found = statistics(tmp_path, *runs)
    results = load(tmp_path, "x")
    assert found.means["refers"].estimate == pytest.approx(results.cells["refers", results.targets[0]].mean, abs=1e-12)
    single = statistics(tmp_path / "single", runs[0], runs[2])
    assert found.means["refers"].se < single.means["refers"].se


def test_patients_are_the_units_where_all_are_known(tmp_path: Path) -> None:
    patients = tuple(f"p{n // 3}" for n in range(120))
    one, two = scores(1.5, 1), scores(1.0, 2)
    found = statistics(tmp_path, run("refers", one, patient_ids=patients), run("c2l", two, patient_ids=patients))
    assert (found.unit, found.n_units) == ("patient", 40)
    units = Units.of(120, patients)
    assert found.differences["c2l"] == mean_aucs(LABELS, np.stack([one, two]), units=units).difference(0, 1)
    for k, test in enumerate(found.tests):
        expected: Any = pair(delong(LABELS[:, k], np.stack([one[:, k], two[:, k]]), units), 0, 1)
        assert (test.p, test.test) == (pytest.approx(expected.p), DELONG[PATIENT])
        positive = {p for p, label in zip(patients, LABELS[:, k], strict=True) if label == 1}
        assert test.units[0] == len(positive) < test.n_pos
    assert "patients as independent units" in INTERVAL[PATIENT]


def test_with_few_positives_the_p_value_is_exact_and_says_so(tmp_path: Path) -> None:
    """Asymptotically, three positives give P-values of any size: the approximation is not used."""
    labels = np.zeros((120, 2), np.int8)
    labels[:3, 0] = labels[:40, 1] = 1
    rng = np.random.default_rng(3)
    one, two = ((labels * 4 + rng.normal(size=labels.shape)).astype(np.float32) for _ in range(2))
    two[:3, 0] = np.sort(two[3:, 0])[-9]
    found = statistics(tmp_path, run("refers", one, labels=labels), run("c2l", two, labels=labels))
    rare, common = found.tests
    assert (rare.test, common.test) == (PERMUTATION[IMAGE], DELONG[IMAGE])
    assert (rare.n_pos, rare.n_neg, rare.units, rare.low, rare.high) == (3, 117, (3, 117), None, None)
    exact: Any = permutation_test(labels[:, 0], one[:, 0], two[:, 0])
    assert (rare.p, rare.difference) == (exact.p, exact.difference) and rare.p > 0.001
    assert statistics(tmp_path, run("refers", one, labels=labels), run("c2l", two, labels=labels)) == found


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"rows": slice(0, 100)}, "another list of test images"),
        ({"labels": 1 - LABELS}, "other labels"),
        ({"classes": ("a", "c")}, "other classes"),
    ],
)
def test_what_does_not_stand_on_the_same_images_is_not_compared(tmp_path: Path, more: Any, reason: str) -> None:
    found = statistics(tmp_path, run("refers", scores(1.5, 1)), run("c2l", scores(1.0, 2), **more))
    assert reason in found.refusals["c2l"]
    assert "c2l" not in found.means and not found.differences and not found.tests


def test_zero_variance_has_no_p(tmp_path: Path) -> None:
    one = scores(1.5, 1)
    found = statistics(tmp_path, run("refers", one), run("c2l", 2 * one))
    assert {test.p for test in found.tests} == {None}
    assert all("zero variance" in test.refused for test in found.tests)


def test_where_every_row_has_a_nan_nothing_is_compared(tmp_path: Path) -> None:
    values = scores(1.5, 1)
    values[3, 1] = np.nan
    found = statistics(tmp_path, run("refers", values), run("c2l", values))
    assert found.refusals == {"refers": "NaN scores", "c2l": "NaN scores"}
    assert not found.means and not found.differences and not found.tests


def test_a_row_without_all_its_seeds_is_shown_but_not_compared(tmp_path: Path) -> None:
    runs = [run(method, scores(1.5, seed), seed=seed) for method in ("refers", "c2l", "transvw") for seed in (0, 1)]
    runs = [replace(one, scores_NK=one.scores_NK + place / 9) for place, one in enumerate(runs)]
    publish(runs, results=tmp_path, name="x", title="x", origin="imported", command="c")
    whole = load(tmp_path, "x")
    before = image_statistics(whole, whole.targets[0])
    assert before is not None and set(before.differences) == {"c2l", "transvw"}
    shutil.rmtree(tmp_path / "store" / whole.runs("c2l", whole.targets[0])[0].run.key)
    left = load(tmp_path, "x")
    found = image_statistics(left, left.targets[0])
    assert found is not None
    assert set(found.means) == {"refers", "c2l", "transvw"}
    assert set(found.differences) == {"transvw"} and {test.method for test in found.tests} == {"transvw"}


def test_kept_and_read_back_and_computed_again_for_other_predictions(tmp_path: Path, monkeypatch: Any) -> None:
    runs = [run("refers", scores(1.5, 1)), run("c2l", scores(1.0, 2))]
    first = statistics(tmp_path, *runs)
    monkeypatch.setattr(room, "mean_aucs", lambda *args, **more: pytest.fail("computed again"))
    assert statistics(tmp_path, *runs) == first
    (file,) = (tmp_path / FOLDER).iterdir()
    file.write_text(json.dumps({"target": {}}))
    with pytest.raises(BaseException, match="computed again"):
        statistics(tmp_path, *runs)
