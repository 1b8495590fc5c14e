from __future__ import annotations

from typing import Any

import pytest
from scipy import stats

from refers_bench.manifest import protocols
from refers_bench.render.duration import duration
from refers_bench.reports import (
    classes,
    deviations,
    failures,
    figure_auc,
    figure_losses,
    pretraining,
    runs,
    significance,
)


def test_classes_of_every_method(folder: Any) -> None:
    for seed in (0, 1):
        folder.cell("refers", seed=seed, aucs={"normal": 0.8 + seed / 10, "mass": None})
        folder.cell("scratch", seed=seed, aucs={"normal": 0.6, "mass": None})
    folder.cell("c2l", state="missing")
    (table,) = classes.build(folder.load())
    assert [row.title for row in table.rows] == ["normal", "mass"]
    assert [cell.figure for cell in table.rows[0].cells] == ["5", "7", "85.0", "60.0", "\N{EN DASH}"]
    assert [cell.best for cell in table.rows[0].cells] == [False, False, True, False, False]
    assert table.rows[1].cells[2].notes[0].text == "no AUC: no positives on the test images."


def test_one_class_needs_no_table_of_classes(folder: Any) -> None:
    folder.cell(aucs={"normal": 0.8})
    assert classes.build(folder.load()) == []


def test_failures_come_first_and_seeds_are_joined(folder: Any) -> None:
    folder.cell("a", seed=0, state="missing")
    folder.cell("a", seed=1, state="missing")
    folder.cell("b", state="failed")
    folder.cell("c")
    table = failures.build(folder.load())
    assert table is not None and table.caption == "Cells without a figure: 3 of 4."
    assert [[cell.text for cell in row.cells[1:]] for row in table.rows] == [
        ["seed 0", "failed", "failed: nan", "loss is NaN", "2"],
        ["seeds 0, 1", "missing", "not run yet", "", ""],
    ]


def test_no_failures_no_table(folder: Any) -> None:
    folder.cell()
    assert failures.build(folder.load()) is None


def test_significance_gives_both_tests_and_refusals(folder: Any) -> None:
    folder.seeds("refers", [0.80, 0.82, 0.81])
    folder.seeds("scratch", [0.60, 0.63, 0.64])
    folder.seeds("refers", [0.80, 0.82, 0.81], ratio=0.1)
    folder.cell("scratch", ratio=0.1)
    table = significance.build(folder.load())
    assert table is not None
    titles = [column.title for column in table.columns]
    first = dict(zip(titles, table.rows[0].cells, strict=True))
    assert (first["best other"].text, first["difference"].figure, first["df"].text) == ("scratch", "18.7", "4")
    assert first["P"].text == first["P, Holm"].text == "1.51e-4" and first["Welch P"].text == "9.80e-4"
    second = dict(zip(titles, table.rows[1].cells, strict=True))
    assert "needs at least two seeds" in second["P"].notes[0].text and second["P"].value is None
    assert "tests of this table that were made: 1." in " ".join(table.notes), "of two columns one was not tested"


def test_significance_accounts_for_the_choice_of_the_best_row(folder: Any) -> None:
    """SciPy: the largest one-sided P against any other row, whichever has the best mean."""
    rows = {"refers": [0.80, 0.82, 0.81], "a": [0.60, 0.63, 0.64], "b": [0.60, 0.70, 0.50], "c": [0.61, 0.62, 0.60]}
    for method, aucs in rows.items():
        folder.seeds(method, aucs)
    table = significance.build(folder.load())
    assert table is not None
    cells = dict(zip((column.title for column in table.columns), table.rows[0].cells, strict=True))
    one_sided = [stats.ttest_ind(rows["refers"], rows[m], alternative="greater").pvalue for m in ("a", "b", "c")]
    # The best mean is a's; the least certain difference is b's.
    assert cells["best other"].text == "a" and max(one_sided) == one_sided[1]
    assert float(cells["P, higher"].text) == pytest.approx(one_sided[1], abs=5e-4)
    assert float(cells["P, lower"].text) > 0.5
    notes = " ".join(table.notes)
    assert "stricter where the tested row is higher" in notes and "less strict where it is lower" in notes
    assert "makes it stricter than it says" not in notes
    assert "max-t permutation" in notes and "intersection-union" in notes


def test_deviations_list_what_differs_is_unstated_or_was_set(folder: Any) -> None:
    paper = protocols.resolve("paper")
    folder.cell()
    folder.lock["values"] = {
        "image.size": {"value": paper["image.size"].value, "origin": "paper: text", "stated": True},
        "network.heads": {"value": paper["network.heads"].value, "origin": "paper: code", "stated": False},
        "network.depth": {"value": 2, "origin": "smoke: small", "stated": True},
        "network.depth [refers]": {"value": 3, "origin": "manifest m.yaml:3:1", "stated": True, "overridden": True},
        "network.novel": {"value": True, "origin": "plug-in", "stated": True},
        "params.dim [c2l]": {"value": 128, "origin": "c2l", "stated": True, "overridden": False, "official": 128},
        "params.loss [c2l]": {"value": "infonce", "origin": "c2l", "stated": True, "official": "nce"},
        "params.queue [c2l]": {"value": 64, "origin": "m.yaml", "stated": True, "overridden": True, "official": 16384},
        "params.side [transvw]": {"value": 0.3, "origin": "transvw", "stated": False, "overridden": False},
    }
    table = deviations.build(folder.load())
    assert table is not None and "7 of 9" in table.caption
    titles = ["paper", "released code", "ours", "because", "origin of ours", "place in the source"]
    assert [column.title for column in table.columns] == titles
    assert [(row.title, *(cell.text for cell in row.cells[:4])) for row in table.rows] == [
        ("network.heads", "unstated; 12", "12", "12", "unstated in the paper"),
        ("network.depth", "12", "12", "2", "differs"),
        ("network.depth [refers]", "12", "12", "3", "differs; set in the manifest"),
        ("network.novel", "\N{EN DASH}", "\N{EN DASH}", "true", "no such value in the paper's preset"),
        ("params.loss [c2l]", "\N{EN DASH}", '"nce"', '"infonce"', "differs from its source"),
        ("params.queue [c2l]", "\N{EN DASH}", "16384", "64", "differs from its source; set in the manifest"),
        ("params.side [transvw]", "\N{EN DASH}", "unstated", "0.3", "unstated in its source"),
    ]


def test_figures_hold_every_seed(folder: Any) -> None:
    folder.seeds("refers", [0.8, 0.9])
    folder.cell("scratch", state="missing")
    figure = figure_auc.build(folder.load())
    assert figure is not None
    (panel,) = figure.panels
    assert [series.x for series in panel.series] == [(80.0, 90.0)] and panel.y_names == ("refers", "scratch")


def test_loss_curves_are_thinned_not_cut(folder: Any) -> None:
    folder.job("pre", "pretrain")
    folder.done("pre")
    folder.history("pre", {"loss/total": [float(step) for step in range(1000)], "lr": [0.1]})
    (figure,) = figure_losses.build(folder.load())
    (series,) = figure.panels[0].series
    assert len(series.x) == 200 and series.y[0] == 2.0 and series.y[-1] == 997.0


def test_pretext_losses_at_both_ends(folder: Any) -> None:
    """100 rows: the first one, and the mean of the last five."""
    folder.job("pre", "pretrain")
    folder.done("pre")
    total = [8.0, *[6.0] * 94, 1.0, 2.0, 3.0, 4.0, 5.0]
    folder.history(
        "pre", {"loss/image": [4.0] * 100, "loss/text": [0.0] * 100, "loss/total": total, "val/loss": [9.0, 7.0]}
    )
    table = pretraining.build(folder.load())
    assert table is not None
    assert [[cell.text for cell in row.cells] for row in table.rows] == [
        ["99", "8", "3", "38 %", "9", "7"],
        ["99", "4", "4", "100 %", *["\N{EN DASH}"] * 2],
        ["99", "0", "0", *["\N{EN DASH}"] * 3],
    ]
    assert [row.title.rpartition(": ")[2] for row in table.rows][1:] == ["image", "text"]


def test_figures_without_data_are_left_out(folder: Any) -> None:
    folder.cell(state="missing")
    results = folder.load()
    assert figure_auc.build(results) is None and figure_losses.build(results) == [] and runs.build(results) == []
    assert pretraining.build(results) is None


def test_environments_are_told_apart(folder: Any) -> None:
    folder.job("a", "pretrain")
    folder.job("b", "pretrain")
    hardware = {"cpu": "x", "cores": 2, "memory_bytes": 4 * 2**30}
    for key, commit in (("a", "1" * 40), ("b", "2" * 40)):
        git = {"commit": commit, "dirty": key == "b"}
        folder.done(
            key, provenance={"git": git, "packages": {"torch": "2"}, "hardware": hardware}, peak_mem_bytes=2**30
        )
    cost, environments = runs.build(folder.load())
    assert [cell.text for cell in cost.rows[0].cells] == ["2 of 2", "4.0 s", "2.0 s", "1.00 GiB"]
    assert {row.cells[0].text for row in environments.rows} == {"1" * 12, "2" * 12 + " with local changes"}


def test_durations() -> None:
    assert [duration(s, decimals=1) for s in (0, 59.94, 59.96, 245, 3599.6, 7620)] == [
        *("0.0 s", "59.9 s", "1 min 00 s", "4 min 05 s", "1 h 00 min", "2 h 07 min")
    ]
