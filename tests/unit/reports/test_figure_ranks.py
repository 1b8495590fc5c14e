"""The plot of mean ranks: ranks counted by hand, SciPy's P-value, the tabulated critical difference, best on top."""

from __future__ import annotations

from typing import Any

import pytest
from scipy.stats import friedmanchisquare, studentized_range

from refers_bench.reporting.comparisons import p_text
from refers_bench.reports import figure_ranks

#: Column -> mean AUC of REFERS, A, B: ranks 1 2 3, 1 2 3, 2 1 3 and, with a tie, 1 2.5 2.5.
AUCS = {0.1: (0.9, 0.8, 0.7), 0.2: (0.95, 0.8, 0.6), 0.5: (0.8, 0.85, 0.7), 1.0: (0.9, 0.7, 0.7)}


def fill(folder: Any) -> None:
    for ratio, aucs in AUCS.items():
        # The first row of the manifest is not the best one.
        for name, auc in zip(("b", "refers", "a"), (aucs[2], *aucs[:2]), strict=True):
            folder.seeds(name, [auc, auc], ratio=ratio, label=name.upper())


def test_ranks_by_hand(folder: Any) -> None:
    fill(folder)
    # Neither a column where a row is incomplete nor a row without any complete cell counts.
    folder.seeds("refers", [0.5, 0.5], ratio=0.3, label="REFERS")
    folder.cell("gone", ratio=0.1, state="failed")
    figure = figure_ranks.build(folder.load())
    assert figure is not None
    (panel,) = figure.panels
    assert panel.y_names == ("REFERS", "A", "B") and panel.x_label == "mean rank"
    # The best stands on top; each has the colour of its place in the manifest.
    assert [(one.label, one.y, one.colour) for one in panel.series] == [
        ("REFERS", (0,), 1), ("A", (1,), 2), ("B", (2,), 0),
    ]  # fmt: skip
    means = [one.x[0] for one in panel.series]
    assert means == pytest.approx((5 / 4, 7.5 / 4, 11.5 / 4))
    critical = studentized_range.ppf(0.95, 3, 1e9) / 2**0.5 * (3 * 4 / (6 * 4)) ** 0.5
    for one, mean in zip(panel.series, means, strict=True):
        assert (one.high[0] - mean, mean - one.low[0]) == pytest.approx([critical / 2] * 2, rel=1e-4)
    found = friedmanchisquare(*zip(*AUCS.values(), strict=True))
    assert figure.caption == (
        "Mean rank over 4 columns (1 is best); bars: half the critical difference to each side (Nemenyi)."
    )
    assert figure.note == (
        f"Methods whose bars do not overlap differ at 5 %: the critical difference is {critical:.2f}. Friedman's test "
        f"on the ranks of the methods, chi-squared approximation: chi-squared = {found.statistic:.2f}, df = 2, n = 4 columns, P = "
        f"{p_text(found.pvalue)}. Columns of one dataset are not independent, which this ignores."
    )


def test_fewer_than_three_rows_or_two_columns_have_no_ranks(folder: Any) -> None:
    for ratio in (0.1, 1.0):
        for name, auc in (("refers", 0.8), ("a", 0.7)):
            folder.seeds(name, [auc, auc], ratio=ratio)
    assert figure_ranks.build(folder.load()) is None
    for name, auc in (("refers", 0.8), ("a", 0.7), ("c", 0.6)):
        folder.seeds(name + "x", [auc, auc], dataset="other", ratio=1.0)
    assert figure_ranks.build(folder.load()) is None


def test_a_column_whose_means_are_over_other_classes_does_not_count(folder: Any) -> None:
    fill(folder)
    for name, classes in (("b", {"normal": 0.9}), ("refers", {"normal": 0.8}), ("a", {"normal": 0.7, "opacity": 0.6})):
        folder.seeds(name, [0.9, 0.9], ratio=0.01, label=name.upper()) if name == "b" else folder.cell(
            name, ratio=0.01, aucs={**dict.fromkeys(("normal", "opacity")), **classes}, label=name.upper()
        )
    figure = figure_ranks.build(folder.load())
    assert figure is not None and figure.caption.startswith("Mean rank over 4 columns")
