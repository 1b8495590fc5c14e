"""Nearest neighbours: what is refused, what has no score, how k is chosen."""

from __future__ import annotations

import numpy as np
import pytest

from refers_bench.analysis.statistics.auc import class_aucs
from refers_bench.errors import DataError
from refers_bench.training.heads import NO_NEGATIVES, NO_POSITIVES, Group, choose
from refers_bench.training.neighbours import NEIGHBOURS, UNCHOSEN, squared_error, vote

X = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0], [1.0, 1.0], [0.0, 0.0]], np.float16)


def test_one_neighbour_lends_its_label_whatever_the_length() -> None:
    group = Group(rows_n=np.array([1, 2]), labels_nK=np.array([[1.0], [0.0]]))
    shares, _ = vote(X, group=group, rows_n=np.array([0, 3]), k_C=[1, 2])
    assert shares[0, 0, 0] == 1
    assert shares[1, 0, 0] == pytest.approx(1 / (1 + np.exp(-1 / 0.07)))  # cosines 1 and 0
    assert shares[1, 1, 0] == pytest.approx(0.5)


def test_a_row_of_zeros_is_as_near_to_all() -> None:
    group = Group(rows_n=np.array([0, 2]), labels_nK=np.array([[1.0], [0.0]]))
    shares, _ = vote(X, group=group, rows_n=np.array([4]), k_C=[2])
    assert shares[0, 0, 0] == pytest.approx(0.5)


def test_a_class_of_one_label_has_a_reason_and_no_score() -> None:
    group = Group(rows_n=np.array([0, 2]), labels_nK=np.array([[1.0, 0.0, 1.0], [1.0, 0.0, 0.0]]))
    shares, reasons = vote(X, group=group, rows_n=np.array([3]), k_C=[1])
    assert reasons == (NO_NEGATIVES, NO_POSITIVES, "")
    assert np.isnan(shares[0, 0, :2]).all() and not np.isnan(shares[0, 0, 2])


def test_refuses_what_cannot_be_meant() -> None:
    group = Group(rows_n=np.array([0, 2]), labels_nK=np.array([[1.0], [0.0]]))
    with pytest.raises(ValueError, match="must be positive"):
        vote(X, group=group, rows_n=np.array([3]), k_C=[0])
    with pytest.raises(ValueError, match="must be positive"):
        vote(X, group=group, rows_n=np.array([3]), temperature=0)
    broken = X.copy()
    broken[2, 0] = np.inf
    with pytest.raises(DataError, match="row 2 are not finite"):
        vote(broken, group=group, rows_n=np.array([3]))


def test_k_is_chosen_on_validation() -> None:
    """Labels alternate on a line but for a majority around each point: one neighbour errs, many do not."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 4))
    y = (x[:, :1] + rng.normal(size=(400, 1)) > 0).astype(float)
    group = Group(rows_n=np.arange(300), labels_nK=y[:300])
    shares, _ = vote(x, group=group, rows_n=np.arange(300, 400), k_C=(1, 100))
    mean_auc = lambda labels, scores: class_aucs(labels, scores).mean
    found = choose(shares, y[300:], candidates=(1, 100), mean_auc=mean_auc, loss=squared_error, otherwise=UNCHOSEN)
    assert found.value == 100 and found.auc[1] > found.auc[0]
    ones = choose(shares, np.ones((100, 1)), candidates=(1, 100), mean_auc=mean_auc, loss=squared_error)
    assert "lowest mean validation loss" in ones.reason
    none = choose(np.empty((4, 0, 1)), np.empty((0, 1)), candidates=NEIGHBOURS, mean_auc=mean_auc, otherwise=UNCHOSEN)
    assert none.value == 20 and "no validation rows" in none.reason
