"""Which of several rows, and which candidate of tuning, stands in a table?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from refers_bench.analysis.cells import NO_METRICS, ClassMetric, ClassMetrics, PlannedRun, Target
from refers_bench.analysis.choice import DIVERGED, chosen, tuned
from refers_bench.analysis.statistics.seeds import DONE, FAILED, MISSING, SeedRun

NIH = Target(dataset="nih_chestxray14", task="findings", label_ratio=0.01)
COVID = Target(dataset="covid19_idc", task="viral_vs_bacterial", label_ratio=1.0)


def cell(
    method: str, seed: int, val: float | None, test: float, *, target: Target = NIH, best_of: str = "convnet"
) -> PlannedRun:
    metrics = ClassMetrics.of(
        ClassMetric(name="a", split=split, auc=auc, n_pos=3, n_neg=3, undefined="" if auc is not None else "none")
        for split, auc in (("val", val), ("test", test))
    )
    run = SeedRun(seed=seed, key=f"{method}{seed}", state=DONE, reason="", mean_auc=test, defined=("a",), n_classes=1)
    return PlannedRun(
        method=method, label="LSP (ConvNet)", target=target, synthetic=False, footnotes=(method,), run=run,
        metrics=metrics, best_of=best_of,
    )  # fmt: skip


def test_the_best_on_validation_stands_there_whatever_the_test_says() -> None:
    cells = [cell("r18", 0, 0.7, 0.99), cell("r18", 1, 0.7, 0.99), cell("r50", 0, 0.9, 0.5), cell("r50", 1, 0.6, 0.5)]
    kept, left = chosen(cells)
    assert [one.method for one in kept] == ["convnet", "convnet"]
    assert {one.run.key for one in kept} == {"r500", "r501"}
    assert {one.method for one in left} == {"r18"}
    assert kept[0].footnotes == ("r50", "nih_chestxray14 findings 1 %: r50 has the best AUC on validation, before r18")


def test_a_choice_among_folds_says_that_images_validate_in_another_one() -> None:
    folds = replace(NIH, folds=5)
    kept, _ = chosen([cell("r18", 0, 0.7, 0.9, target=folds), cell("r50", 0, 0.9, 0.5, target=folds)])
    assert kept[0].footnotes[1].endswith("before r18; images validate in one fold and are tested in the next")


def test_each_column_has_its_own_choice_and_other_rows_stay() -> None:
    cells = [
        cell("r18", 0, 0.9, 0.5), cell("r50", 0, 0.8, 0.6), cell("r18", 0, 0.5, 0.5, target=COVID),
        cell("r50", 0, 0.8, 0.6, target=COVID), cell("refers", 0, 0.1, 0.7, best_of=""),
    ]  # fmt: skip
    kept, _ = chosen(cells)
    assert [(one.method, one.target, one.run.key) for one in kept] == [
        ("convnet", NIH, "r180"), ("convnet", COVID, "r500"), ("refers", NIH, "refers0")
    ]  # fmt: skip


@pytest.mark.parametrize("state", [MISSING, FAILED])
def test_the_choice_is_open_while_a_seed_of_any_is_missing(state: str) -> None:
    late = cell("r50", 1, 0.9, 0.6)
    late = replace(late, run=replace(late.run, state=state, reason="why"))
    kept, left = chosen([cell("r18", 0, 0.8, 0.5), cell("r18", 1, 0.8, 0.5), cell("r50", 0, 0.9, 0.6), late])
    assert [one.method for one in left] == ["r18", "r18"]
    assert [(one.method, one.run.key, one.run.state, one.run.reason) for one in kept] == [
        ("convnet", "r500", MISSING, "not all that it is to be chosen from are done"),
        ("convnet", "r501", state, "why"),
    ]
    assert all(one.metrics == NO_METRICS and not one.run.counts for one in kept)


def test_without_any_validation_auc_nothing_is_chosen() -> None:
    kept, _ = chosen([cell("r18", 0, None, 0.8), cell("r50", 0, None, 0.9)])
    assert [(one.run.state, one.run.reason) for one in kept] == [(MISSING, "no choice: r18 has no AUC on validation")]


def test_a_row_without_a_validation_auc_does_not_lose_by_that() -> None:
    kept, _ = chosen([cell("r18", 0, 0.7, 0.8), cell("r50", 0, None, 0.9)])
    assert [(one.run.state, one.run.reason) for one in kept] == [(MISSING, "no choice: r50 has no AUC on validation")]


# --- candidates of tuning -------------------------------------------------------------------------------------------


def tried(rate: str, seed: int, val: float | None, test: float, *, state: str = DONE, reason: str = "") -> PlannedRun:
    one = cell("refers", seed, val, test, best_of="")
    run = replace(one.run, key=f"{rate}.{seed}", state=state, reason=reason)
    return replace(one, run=run, candidate=(f"finetune.learning_rate={rate}",))


def test_each_seed_has_its_own_choice_whatever_the_test_says() -> None:
    runs = [tried("1", 0, 0.8, 0.5), tried("1", 1, 0.6, 0.9), tried("2", 0, 0.7, 0.99), tried("2", 1, 0.7, 0.5)]
    kept, left = tuned([*runs, cell("scratch", 0, 0.5, 0.5, best_of="")])
    assert [one.run.key for one in kept] == ["1.0", "2.1", "scratch0"]
    assert [one.run.key for one in left] == ["1.1", "2.0"]
    assert kept[0].metrics == runs[0].metrics and kept[0].footnotes == ("refers",)


def test_the_first_of_equal_candidates_is_chosen() -> None:
    kept, _ = tuned([tried("2", 0, 0.7, 0.1), tried("1", 0, 0.7, 0.9), tried("3", 0, 0.7, 0.9)])
    assert [one.run.key for one in kept] == ["2.0"]


def test_columns_and_rows_are_chosen_apart() -> None:
    other = [replace(one, target=COVID) for one in (tried("1", 0, 0.1, 0.1), tried("2", 0, 0.2, 0.1))]
    third = [replace(one, method="scratch") for one in (tried("1", 0, 0.3, 0.1), tried("2", 0, 0.2, 0.1))]
    kept, _ = tuned([tried("1", 0, 0.9, 0.1), tried("2", 0, 0.1, 0.1), *other, *third])
    assert [one.run.key for one in kept] == ["1.0", "2.0", "1.0"]


@pytest.mark.parametrize(("state", "reason"), [(MISSING, "not run yet"), (FAILED, "failed: cuda_oom")])
def test_a_seed_waits_for_all_its_candidates(state: str, reason: str) -> None:
    late = tried("2", 0, 0.1, 0.5, state=state, reason=reason)
    kept, left = tuned([tried("1", 0, 0.9, 0.5), late, tried("1", 1, 0.5, 0.5), tried("2", 1, 0.6, 0.5)])
    assert [(one.run.key, one.run.state, one.run.reason) for one in kept] == [("2.0", state, reason), ("2.1", DONE, "")]
    assert kept[0].metrics == NO_METRICS and [one.run.key for one in left] == ["1.0", "1.1"]


def test_a_candidate_without_a_validation_auc_leaves_the_choice_open() -> None:
    kept, _ = tuned([tried("1", 0, 0.9, 0.5), tried("2", 0, None, 0.5)])
    assert kept[0].run.state == MISSING and not kept[0].run.counts
    assert kept[0].run.reason == "no choice: refers finetune.learning_rate=2 has no AUC on validation"


def test_a_candidate_that_diverged_has_lost_and_is_named() -> None:
    lost = tried("9", 0, None, 0.5, state=FAILED, reason=DIVERGED)
    kept, left = tuned([lost, tried("1", 0, 0.6, 0.5), tried("2", 0, 0.7, 0.5)])
    assert [one.run.key for one in kept] == ["2.0"] and len(left) == 2
    assert kept[0].footnotes[-1] == "not chosen, as their loss was not finite: finetune.learning_rate=9"


def test_where_all_candidates_diverged_the_seed_has_failed() -> None:
    kept, _ = tuned([tried(rate, 0, None, 0.5, state=FAILED, reason=DIVERGED) for rate in "12"])
    assert [(one.run.key, one.run.state, one.run.reason) for one in kept] == [("1.0", FAILED, DIVERGED)]


def test_what_is_not_tuned_stays() -> None:
    runs = [cell("r18", 0, 0.8, 0.5), cell("r50", 0, 0.9, 0.5)]
    assert tuned(runs) == (tuple(runs), ())
