from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from refers_bench.analysis.compare import regression
from refers_bench.analysis.compare.bands import standard_error
from refers_bench.analysis.compare.regression import DRIFT, FAILED_JOBS, INCOMPLETE, SAME, compare, make_baseline
from refers_bench.errors import UserError
from refers_bench.render import check

AUCS: dict[str, float | None] = {"normal": 0.8, "opacity": None}


def _baseline(**changes: Any) -> dict[str, Any]:
    """A baseline of one cell, with one class changed."""
    stored = {
        "normal": {"auc": 0.8, "n_pos": 5, "n_neg": 7, "undefined": ""},
        "opacity": {"auc": None, "n_pos": 0, "n_neg": 7, "undefined": "no positives"},
    }
    for name, change in changes.items():
        stored[name] = {**stored.get(name, {"auc": 0.5, "n_pos": 5, "n_neg": 7, "undefined": ""}), **change}
    cell = "refers.covid19_idc.viral_vs_bacterial.100%.s0"
    return {"version": 1, "manifest": "tiny", "tolerance": 0.02, "cells": {cell: {"classes": stored}}}


def test_what_was_stored_is_the_same(folder: Any) -> None:
    folder.cell(aucs=AUCS)
    folder.cell("c2l", state="unavailable")
    results = folder.load()
    found = compare(results, json.loads(json.dumps(make_baseline(results))))
    assert (found.outcome, found.classes_compared, found.largest) == (SAME, 1, 0.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"normal": {"auc": 0.77}}, "class 'normal': AUC was 0.7700, is 0.8000 (differs by 0.0300, allowed 0.02)"),
        ({"normal": {"auc": None}}, "class 'normal': AUC was undefined, is 0.8000"),
        ({"opacity": {"auc": 0.0}}, "class 'opacity': AUC was 0.0000, is undefined (no positives)"),
        ({"normal": {"n_pos": 6}}, "class 'normal': n_pos was 6, is 5"),
        ({"mass": {}}, "class 'mass' is gone"),
    ],
)
def test_drift(folder: Any, changes: dict[str, Any], message: str) -> None:
    folder.cell(aucs=AUCS)
    found = compare(folder.load(), _baseline(**changes))
    assert found.outcome == DRIFT and found.findings[0].messages == (message,)


def test_a_difference_of_exactly_the_tolerance_is_allowed(folder: Any) -> None:
    folder.cell(aucs=AUCS)
    assert compare(folder.load(), _baseline(normal={"auc": 0.78})).outcome == SAME
    assert compare(folder.load(), _baseline(normal={"auc": 0.8201})).outcome == DRIFT


@pytest.mark.parametrize(
    ("now", "before", "remark"),
    [
        ("portable", "portable", ""),
        ("native", "portable", "computed in native arithmetic, the baseline in portable arithmetic"),
        ("portable", "native", "computed in portable arithmetic, the baseline in native arithmetic"),
        (None, None, "computed in native arithmetic, the baseline in native arithmetic"),
    ],
)
def test_drift_between_processors_is_said_to_be_possible(
    folder: Any, now: str | None, before: str | None, remark: str
) -> None:
    key = folder.cell(aucs=AUCS)
    records = {key: {"provenance": {} if now is None else {"arithmetic": now}}}
    results = dataclasses.replace(folder.load(), records=records)
    baseline = {**_baseline(normal={"auc": 0.7}), **({} if before is None else {"arithmetic": before})}
    found = compare(results, baseline)
    assert found.outcome == DRIFT and found.remark.startswith(remark) and bool(found.remark) == bool(remark)
    assert ("another processor" in check.markdown(found)) == bool(remark)
    assert not compare(results, {**baseline, **_baseline()}).remark, "nothing has drifted"
    assert make_baseline(results)["arithmetic"] == (now or "native")


def test_a_new_class_is_drift(folder: Any) -> None:
    folder.cell(aucs={**AUCS, "mass": 0.6})
    assert compare(folder.load(), _baseline()).findings[0].messages == ("class 'mass' is new",)


def test_another_key_with_the_same_figures_is_a_remark(folder: Any) -> None:
    folder.cell(aucs=AUCS)
    baseline = _baseline()
    next(iter(baseline["cells"].values()))["key"] = "other"
    found = compare(folder.load(), baseline)
    assert found.outcome == SAME and "recipe has changed" in found.findings[0].messages[0]


@pytest.mark.parametrize(
    ("state", "outcome"), [("failed", FAILED_JOBS), ("missing", INCOMPLETE), ("unavailable", INCOMPLETE)]
)
def test_absent_cells(folder: Any, state: str, outcome: str) -> None:
    folder.cell(state=state)
    assert compare(folder.load(), _baseline()).outcome == outcome


def test_cells_only_one_side_knows_are_incomplete(folder: Any) -> None:
    folder.cell("scratch", aucs=AUCS)
    found = compare(folder.load(), _baseline())
    assert [finding.messages[0] for finding in found.findings] == [
        "not in the baseline: write a new one",
        "in the baseline, but not in the manifest",
    ]
    assert found.outcome == INCOMPLETE and found.count(INCOMPLETE) == 2


def test_the_worst_finding_names_the_outcome(folder: Any) -> None:
    folder.cell(aucs={"normal": 0.5, "opacity": None})
    folder.cell("scratch", state="failed")
    assert compare(folder.load(), _baseline()).outcome == FAILED_JOBS


def test_nothing_to_compare_is_not_the_same(folder: Any) -> None:
    assert compare(folder.load(), {"version": 1, "tolerance": 0.02, "cells": {}}).outcome == INCOMPLETE


@pytest.mark.parametrize("state", ["failed", "missing"])
def test_an_incomplete_baseline_is_not_made(folder: Any, state: str) -> None:
    folder.cell()
    folder.cell(seed=1, state=state)
    with pytest.raises(UserError, match=r"cell refers\.covid19_idc\.viral_vs_bacterial\.100%\.s1: "):
        make_baseline(folder.load())


def test_a_baseline_needs_a_cell_and_a_sensible_tolerance(folder: Any) -> None:
    with pytest.raises(UserError, match="no finished cell"):
        make_baseline(folder.load())
    with pytest.raises(UserError, match="tolerance"):
        make_baseline(folder.load(), tolerance=float("nan"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "baseline version 2; allowed: 1"),
        ({"tolerance": "0.02"}, "tolerance '0.02'"),
        ({"tolerance": True}, "tolerance True"),
        ({"cells": {}}, "no cells"),
        ({"cells": []}, "no cells"),
        ({"cells": {"a": {}}}, "cell 'a': no classes"),
        ({"cells": {"a": {"classes": {"b": {"auc": 0.5}}}}}, "class 'b' has no n_pos and n_neg"),
        (
            {"cells": {"a": {"classes": {"b": {"auc": 0.5, "n_pos": 1, "n_neg": 1, "tolerance": 2}}}}},
            "class 'b' has the tolerance 2",
        ),
        ({"cells": {"a": {"classes": {"b": {"auc": 1.5, "n_pos": 1, "n_neg": 1}}}}}, "class 'b' has the AUC 1.5"),
    ],
)
def test_broken_baselines_are_refused_with_their_path(tmp_path: Any, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "baseline.json"
    path.write_text(json.dumps({**_baseline(), **change}))
    with pytest.raises(UserError) as error:
        regression.read_baseline(path)
    assert message in str(error.value) and str(path) in str(error.value)


def test_a_good_baseline_is_read(tmp_path: Any) -> None:
    path = tmp_path / "baseline.json"
    path.write_text(json.dumps(_baseline()))
    assert regression.read_baseline(path) == _baseline()


def _moved(baseline: dict[str, Any], moves: list[float], name: str = "normal") -> dict[str, Any]:
    """The baseline with one class moved in each cell."""
    for cell, move in zip(baseline["cells"].values(), moves, strict=True):
        cell["classes"][name]["auc"] += move
    return baseline


def _tests(comparison: regression.Comparison, name: str = "normal") -> Any:
    (found,) = [test.found for test in comparison.tests if test.name == name]
    return found


@pytest.mark.parametrize(
    ("moves", "verdict"),
    [
        ([0.001, -0.001, 0.0], "reproduced"),
        ([0.05, 0.051, 0.049], "not reproduced"),
        ([0.0, 0.02, 0.0], "inconclusive"),
    ],
)
def test_classes_are_tested_against_the_baseline_over_seeds(folder: Any, moves: list[float], verdict: str) -> None:
    folder.seeds("refers", [0.8, 0.81, 0.83])
    results = folder.load()
    found = compare(results, _moved(make_baseline(results), moves))
    test = _tests(found)
    assert (test.verdict, test.n, test.df, test.margin) == (verdict, 3, 2, 0.02)
    assert "two one-sided" in test.test and test.low < test.high and 0 <= test.p <= 1
    # Scipy's paired tests against both ends of the band say the same.
    from scipy import stats

    differences = [-move for move in moves]
    expected = max(
        stats.ttest_1samp(differences, -0.02, alternative="greater").pvalue,
        stats.ttest_1samp(differences, 0.02, alternative="less").pvalue,
    )
    assert test.p == pytest.approx(expected, rel=1e-6)
    # Bands of single cells decide; a class that is not equivalent has a cell beyond its band.
    assert verdict != "not reproduced" or found.outcome == DRIFT


@pytest.mark.parametrize(
    ("aucs", "moves", "reason"),
    [([0.8, 0.81], [0.0, 0.0], "zero variance over seeds"), ([0.8], [0.01], "needs at least two seeds, has 1")],
)
def test_no_test_without_two_seeds_or_variance(folder: Any, aucs: list[float], moves: list[float], reason: str) -> None:
    folder.seeds("refers", aucs)
    results = folder.load()
    assert _tests(compare(results, _moved(make_baseline(results), moves))).reason == reason


def test_no_test_over_a_part_of_the_seeds_or_without_a_band(folder: Any) -> None:
    folder.seeds("refers", [0.8, 0.81])
    results = folder.load()
    baseline = make_baseline(results)
    assert (
        _tests(compare(results, _moved(make_baseline(results, tolerance=0.0), [0.1, 0.2]))).reason
        == "a band without width"
    )
    folder.cell("refers", seed=2, state="missing")
    assert "in 2 of 3 seeds" in _tests(compare(folder.load(), baseline)).reason


def test_bands_follow_the_test_images_where_asked(folder: Any) -> None:
    """Five positive and seven negative images leave more open than 0.02; an AUC of 1 leaves nothing."""
    folder.cell(aucs={"normal": 0.8, "sure": 1.0, "opacity": None})
    results = folder.load()
    fixed, wide = make_baseline(results), make_baseline(results, bands="test-images")
    assert fixed["tolerance_source"].startswith("--tolerance 0.02")
    (classes,) = [cell["classes"] for cell in wide["cells"].values()]
    error = standard_error(0.8, n_pos=5, n_neg=7)
    assert classes["normal"]["tolerance"] == pytest.approx(1.96 * error, rel=1e-4)
    assert classes["normal"]["tolerance"] > 0.1
    assert "Hanley and McNeil" in classes["normal"]["tolerance_source"] and "tolerance" not in classes["sure"]
    assert compare(results, _moved(wide, [0.1])).outcome == SAME
    assert compare(results, _moved(fixed, [0.1])).outcome == DRIFT
    found = compare(results, _moved(wide, [0.9 - 0.8 + 0.2]))
    assert "5 positive, 7 negative images" in found.findings[0].messages[0]


def test_the_standard_error_is_that_of_exponential_scores() -> None:
    """Hanley and McNeil's formula is exact for them: variance of many drawn AUCs."""
    import numpy as np

    from refers_bench.analysis.statistics.auc import class_aucs

    rng = np.random.default_rng(0)
    labels = np.repeat([1, 0], [20, 40])[:, None]
    ratio = 4.0  # AUC 0.8
    aucs = [
        class_aucs(labels, np.concatenate([rng.exponential(ratio, 20), rng.exponential(1.0, 40)])[:, None]).auc_K[0]
        for _ in range(4000)
    ]
    assert np.mean(aucs) == pytest.approx(0.8, abs=0.005)
    assert np.std(aucs) == pytest.approx(standard_error(0.8, n_pos=20, n_neg=40), rel=0.04)


def test_a_baseline_is_read_as_results(folder: Any) -> None:
    folder.seeds("refers", [0.8, 0.82], ratio=0.005)
    folder.seeds("refers", [0.7, 0.72], ratio=0.005, evaluation="linear_probe")
    folder.seeds("refers", [0.6, 0.62], ratio=0.005, evaluation="knn", folds=5)
    folder.seeds("refers", [0.5, 0.52], ratio=0.005, folds=5)
    results = folder.load()
    found = regression.as_results(make_baseline(results))
    assert [one.name for one in found.planned] == [one.name for one in results.planned]
    assert list(found.cells) == list(results.cells)
    assert len(found.cells) == 4
    assert found.cells == {where: found.cells[where] for where in results.cells}
    assert [cell.values for cell in found.cells.values()] == [cell.values for cell in results.cells.values()]
    with pytest.raises(UserError, match="cell 'x'"):
        regression.as_results({"manifest": "m", "cells": {"x": {"classes": {}}}})


def test_a_number_that_stands_for_other_crossed_seeds_is_not_compared(folder: Any) -> None:
    for seed, crossed in enumerate([(0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 0)]):
        folder.cell(seed=seed, crossed=crossed)
    results = folder.load()
    baseline = make_baseline(results)
    same = compare(results, baseline)
    assert same.outcome == SAME and not same.tests, "crossed runs are not independent"
    cells = list(baseline["cells"].values())
    assert [one["crossed"] for one in cells] == [[0, 0, 0], [0, 1, 0], [1, 0, 0], [1, 1, 0]]
    cells[1]["crossed"] = [0, 0, 1]
    found = compare(results, baseline)
    assert found.outcome == INCOMPLETE
    assert found.findings[1].messages == (
        "in the baseline this is seed 1 (label subset 0, initialisation 0, data order 1), "
        "here seed 1 (label subset 0, initialisation 1, data order 0): write a new one",
    )
