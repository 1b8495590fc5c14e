from __future__ import annotations

import math
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refers_bench.analysis.statistics.auc import ClassAucs, class_aucs


def _one(labels: list[object], logits: list[float]) -> ClassAucs:
    return class_aucs(np.array(labels, dtype=object)[:, None], np.array(logits)[:, None])


def test_ties_count_one_half() -> None:
    assert _one([1, 0, 0, 1], [0.3, 0.2, 0.2, 0.2]).auc_K[0] == 0.75


@pytest.mark.parametrize(
    ("labels", "reason"),
    [([0, 0, None], "no positives"), ([1, 1, None], "no negatives"), ([None, None, None], "no labelled images")],
)
def test_undefined_is_nan_with_its_reason_never_zero(labels: list[object], reason: str) -> None:
    scored = _one(labels, [0.1, 0.2, 0.3])
    assert math.isnan(scored.auc_K[0]) and scored.undefined == (reason,) and math.isnan(scored.mean)


def test_no_images() -> None:
    assert class_aucs(np.zeros((0, 2)), np.zeros((0, 2))).undefined == ("no labelled images",) * 2


@pytest.mark.parametrize("unknown", [None, -1, math.nan, pd.NA])
def test_unknown_labels_do_not_count(unknown: object) -> None:
    scored = _one([1, 0, unknown], [0.9, 0.1, 0.95])
    assert (scored.n_pos_K[0], scored.n_neg_K[0], scored.auc_K[0]) == (1, 1, 1.0)


def test_takes_nullable_frames() -> None:
    labels = pd.DataFrame({"a": pd.array([1, 0, None], dtype="Int8"), "b": pd.array([1, 1, None], dtype="Int8")})
    assert class_aucs(labels, np.zeros((3, 2))).undefined == ("", "no negatives")


def test_mean_is_over_defined_classes_and_says_how_many() -> None:
    scored = class_aucs([[1, 0], [0, 0]], [[1.0, 0.0], [0.0, 0.0]])
    assert (scored.mean, scored.undefined.count("")) == (1.0, 1)


def test_nan_logits_are_refused_with_their_place() -> None:
    with pytest.raises(ValueError, match="image 1, class 0 is NaN"):
        _one([1, 0], [0.5, math.nan])


def test_infinite_logits_are_ordered() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert _one([1, 0, 1], [math.inf, -math.inf, 0.0]).auc_K[0] == 1.0


@pytest.mark.parametrize(
    ("labels", "logits", "message"),
    [
        ([[2.0]], [[0.1]], "labels are 1, 0 or unknown"),
        ([[0.5]], [[0.1]], "labels are 1, 0 or unknown"),
        ([1.0], [0.1], "must both be"),
        ([[1.0]], [[0.1, 0.2]], "must both be"),
        ([[1.0]], [["high"]], "real numbers"),
    ],
)
def test_bad_input_is_refused(labels: object, logits: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        class_aucs(np.array(labels), np.array(logits))


_PAIRS = st.lists(st.tuples(st.sampled_from([0, 1, None]), st.integers(-5, 5)), min_size=1, max_size=40)


@given(_PAIRS, st.randoms(use_true_random=False))
def test_order_of_rows_does_not_matter_to_the_last_bit(pairs: list[tuple[object, int]], random: object) -> None:
    shuffled = pairs[:]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    first = _one([label for label, _ in pairs], [float(score) for _, score in pairs])
    second = _one([label for label, _ in shuffled], [float(score) for _, score in shuffled])
    assert first.auc_K.tobytes() == second.auc_K.tobytes()


@given(_PAIRS)
def test_only_the_order_of_the_scores_matters_and_reversing_it_reverses_the_auc(
    pairs: list[tuple[object, int]],
) -> None:
    labels = [label for label, _ in pairs]
    auc = _one(labels, [float(score) for _, score in pairs]).auc_K[0]
    stretched = _one(labels, [math.exp(score) for _, score in pairs]).auc_K[0]
    reversed_ = _one(labels, [-float(score) for _, score in pairs]).auc_K[0]
    assert math.isnan(auc) or (stretched == auc and reversed_ == pytest.approx(1 - auc))
