"""A leaderboard says what the results say: figures of seeds that are all there, limits, and what is missing."""

from __future__ import annotations

from typing import Any

import pytest

from refers_bench.analysis.registry import BundleEntry, CellEntry, ClassEntry, Entry
from refers_bench.render.table import NO_VALUE
from refers_bench.reporting.leaderboard import page

CELL: dict[str, Any] = {
    "dataset": "d", "task": "t", "label_ratio": 1.0, "evaluation": "finetune", "folds": 0, "crossed": (),
    "synthetic": False, "floor": False, "selected_on": "", "footnotes": (), "n_classes": 2,
}  # fmt: skip


def cell(method: str, seed: int, aucs: dict[str, float | None], *, key: str = "", **more: Any) -> CellEntry:
    classes = tuple(
        ClassEntry(
            name=name, split="test", auc=auc, n_pos=5, n_neg=7, undefined="" if auc is not None else "no positives"
        )
        for name, auc in aucs.items()
    )
    found = [auc for auc in aucs.values() if auc is not None]
    mean = sum(found) / len(found) if found else None
    state = {"state": "done", "reason": ""} | more
    own = {"method": method, "label": method.title(), "seed": seed, "key": key or f"{method}{seed}", "mean_auc": mean}
    return CellEntry(**{**CELL, **own, **state, "classes": classes})


def entry(name: str, *cells: CellEntry, limit: int = 0) -> Entry:
    texts = {"title": "", "written_by": "", "protocol": "", "origin": "run"}
    bundle = BundleEntry(sha256="a" * 64, bytes=1)
    return Entry(
        version=1, name=name, bundle=bundle, limit=limit, changes=(), commands=(), datasets={}, environments=(), cells=cells,
        **texts,
    )  # fmt: skip


def rows(*entries: Entry) -> dict[str, list[str]]:
    (table,) = page(entries).sections[0].items
    return {
        row.title: [f"{one.figure} {one.spread} {one.tag}".strip() for one in row.cells] for row in table.rows  # type: ignore[union-attr]
    }  # fmt: skip


def test_means_are_over_seeds_and_in_order() -> None:
    low = entry("low", cell("a", 0, {"x": 0.6, "y": 0.5}), cell("a", 1, {"x": 0.8, "y": 0.5}))
    high = entry("high", cell("b", 0, {"x": 0.9, "y": 0.9}))
    assert rows(low, high) == {
        "B (high)": ["90.0", "1 of 1", "12", "90.0", "90.0"],
        "A (low)": ["60.0 7.1", "2 of 2", "12", "70.0 14.1", "50.0 0.0"],
    }


def test_seeds_that_share_a_result_are_one() -> None:
    assert rows(entry("e", *(cell("a", seed, {"x": 0.6}, key="same") for seed in (0, 1, 2))))["A (e)"][1] == "1 of 1"


def test_what_is_missing_or_limited_is_said_and_comes_last() -> None:
    missing = {"state": "failed", "reason": "failed: nan"}
    some = entry("some", cell("a", 0, {"x": 0.6, "y": None}), cell("a", 1, {}, **missing), cell("b", 0, {}, **missing))
    small = entry("small", cell("c", 0, {"x": 0.99, "y": 0.99}), limit=8)
    found = rows(small, some)
    assert list(found) == ["A (some)", "B (some)", "C (small)"]
    assert found["A (some)"] == ["60.0  n=1/2, 1/2 classes", "1 of 2", "12", "60.0", NO_VALUE]
    assert found["B (some)"] == [NO_VALUE, "0 of 1", NO_VALUE, NO_VALUE, NO_VALUE]
    assert found["C (small)"][0] == "99.0  limited data"


def test_a_row_has_one_footnote_of_its_own_beside_what_the_data_are() -> None:
    (table,) = (
        page([entry("e", cell("a", 0, {"x": 0.6}, footnotes=("a stand-in", "lr = 1"), synthetic=True))])
        .sections[0]
        .items
    )
    assert [note.full for note in table.rows[0].notes] == [  # type: ignore[union-attr]
        "synthetic: procedural radiographs, not patients'.", "a stand-in. lr = 1.",
    ]  # fmt: skip


@pytest.mark.parametrize("ratio", [0.01, 0.1])
def test_each_share_of_labels_has_a_table(ratio: float) -> None:
    one = entry("e", cell("a", 0, {"x": 0.6}), cell("a", 1, {"x": 0.6}, label_ratio=ratio))
    captions = [item.caption for item in page([one]).sections[0].items]
    assert captions == [
        "d: t, 100 % of labels: test AUC in per cent.", f"d: t, {ratio * 100:g} % of labels: test AUC in per cent.",
    ]  # fmt: skip
