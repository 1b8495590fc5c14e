"""The losses of each pre-training: means of the first 1 % and the last 5 % of its updates, and held-out measures."""

from __future__ import annotations

from typing import Any

from refers_bench.render.table import NO_VALUE
from refers_bench.reports import pretraining


def test_totals_terms_and_what_is_measured_beside_them(folder: Any) -> None:
    for key, kind in (("words", "discover"), ("one", "pretrain"), ("two", "pretrain"), ("open", "pretrain")):
        folder.job(key, kind, name=f"{kind} {key}")
        if key != "open":
            folder.done(key, kind=kind)
    folder.job("down", "finetune")
    folder.done("down")
    folder.history("down", {"loss/total": [1.0]})
    # Of 200 updates the first 2 count, and the last 10; a single term is the total.
    losses = [8.0, 4.0, *[100.0] * 188, *[3.0] * 9, 12.0]
    folder.history("one", {"loss/only": losses, "loss/total": losses, "val/loss": [9.0, 7.0, 5.0]})
    folder.history(
        "two",
        {
            "loss/a": [-2.0, float("inf")], "loss/total": [0.0, 2.0], "loss/b": [4.0, 1.0], "lr": [1.0, 1.0],
            "val/auc": [0.5, 0.123456], "val/b": [6.0], "val/loss": [2.5],
        },
    )  # fmt: skip
    folder.history("words", {"loss/total": [1234.5678, 1.0]})
    table = pretraining.build(folder.load())
    assert table is not None
    assert [column.title for column in table.columns] == list(pretraining.COLUMNS)
    assert [(row.title, *(cell.figure for cell in row.cells)) for row in table.rows] == [
        ("discover words", "1", "1235", "1", "0 %", NO_VALUE, NO_VALUE),
        ("pretrain one", "199", "6", "3.9", "65 %", "9", "5"),
        ("pretrain two", "1", "0", "2", NO_VALUE, "2.5", "2.5"),
        ("pretrain two: a", "1", "-2", "not finite", NO_VALUE, NO_VALUE, NO_VALUE),
        ("pretrain two: b", "1", "4", "1", "25 %", "6", "6"),
        ("pretrain two: auc", "1", NO_VALUE, NO_VALUE, NO_VALUE, "0.5", "0.1235"),
    ]
    assert [cell.value for cell in table.rows[1].cells] == [199, 6, 3.9, 65, 9, 5]
    assert table.caption == (
        "Losses of the pre-trainings: means over the first 1 % and the last 5 % of the updates, and on held-out "
        "radiographs."
    )
    assert table.notes == ("Losses of different methods measure different things: compare a row with itself only.",)


def test_without_histories_there_is_no_table(folder: Any) -> None:
    folder.job("pre", "pretrain")
    folder.done("pre")
    assert pretraining.build(folder.load()) is None


def test_a_loss_that_ends_at_no_finite_value_has_no_ratio(folder: Any) -> None:
    folder.job("pre", "pretrain")
    folder.done("pre", kind="pretrain")
    folder.history("pre", {"loss/total": [2.0, float("inf")]})
    table = pretraining.build(folder.load())
    assert table is not None
    assert [cell.figure for cell in table.rows[0].cells[1:4]] == ["2", "not finite", NO_VALUE]
