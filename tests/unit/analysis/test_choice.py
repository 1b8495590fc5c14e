"""Which of several rows stands in a table?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from refers_bench.analysis.cells import NO_METRICS, ClassMetric, ClassMetrics, PlannedRun, Target
from refers_bench.analysis.choice import chosen
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
    late = cell("r50", 0, 0.9, 0.6)
    late = replace(late, run=replace(late.run, state=state, reason="why"))
    kept, _ = chosen([cell("r18", 0, 0.8, 0.5), late])
    assert len(kept) == 1
    assert kept[0].run.state == MISSING
    assert kept[0].run.reason == "not all rows that compete for this one are done"
    assert kept[0].metrics == NO_METRICS


def test_without_any_validation_auc_nothing_is_chosen() -> None:
    kept, _ = chosen([cell("r18", 0, None, 0.8), cell("r50", 0, None, 0.9)])
    assert [one.run.state for one in kept] == [MISSING]
