"""Heads on frozen features: sharing, blocks, reasons, choice, and the linear layer that repeats them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch

from refers_bench.analysis.statistics.auc import class_aucs
from refers_bench.errors import DataError
from refers_bench.training import heads as module
from refers_bench.training import logistic
from refers_bench.training.heads import GRID, NO_LABELS, NO_NEGATIVES, NO_POSITIVES, Group, choose, fit_logistic, scores


def mean_auc(labels: npt.NDArray, logits: npt.NDArray) -> float:
    return class_aucs(labels, logits).mean


def data(rows: int = 120, width: int = 9, classes: int = 3) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.float64]]:
    rng = np.random.default_rng(rows + width)
    x = (rng.normal(size=(rows, width)) * np.arange(1, width + 1) + 3).astype(np.float16)
    y = (x[:, :classes] - 3 + rng.normal(size=(rows, classes)) > 0.5).astype(float)
    return x, y


def group(y: npt.NDArray[np.float64], rows: npt.NDArray[np.int64]) -> Group:
    return Group(rows_n=rows, labels_nK=y[rows])


@pytest.mark.parametrize("c", [1e-4, 1.0, 1e5])
def test_the_gradient_of_the_objective_is_zero(c: float) -> None:
    """Closed form: w = C * sum of (label - probability) * standardised features, and the residuals sum to 0."""
    x, y = data()
    (heads,) = fit_logistic(x, groups=[group(y, np.arange(120))], c_C=[c])
    raw = x.astype(np.float64)
    deviation = raw.std(0)
    standard = (raw - raw.mean(0)) / deviation
    for k in range(3):
        weight = heads.weight_CKD[0, k] * deviation
        residual = y[:, k] - 1 / (1 + np.exp(-(raw @ heads.weight_CKD[0, k] + heads.bias_CK[0, k])))
        # The step that is left, by the Hessian, is tiny beside the weights.
        gradient = np.append(weight - c * standard.T @ residual, -c * residual.sum())
        design = np.column_stack([standard, np.ones(120)])
        p = y[:, k] - residual
        hessian = np.diag([1.0] * 9 + [0.0]) + c * (design.T * (p * (1 - p))) @ design
        assert np.linalg.norm(np.linalg.solve(hessian, gradient)[:9]) < 1e-5 * np.linalg.norm(weight)


def test_groups_are_fitted_as_if_alone() -> None:
    x, y = data()
    first, second = np.arange(0, 80), np.arange(40, 120)
    groups = [group(y, first), group(y, second), group(y[:, [2, 0]], first), group(y, first[:6])]
    together = fit_logistic(x, groups=groups, c_C=[0.1, 10])
    for one, heads in zip(groups, together, strict=True):
        (alone,) = fit_logistic(x, groups=[one], c_C=[0.1, 10])
        np.testing.assert_allclose(heads.weight_CKD, alone.weight_CKD, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(heads.bias_CK, alone.bias_CK, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(together[2].weight_CKD, together[0].weight_CKD[:, [2, 0]])


@pytest.mark.parametrize("rows", [120, 7])
def test_blocks_give_what_the_whole_gives(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = data(rows=rows)
    (whole,) = fit_logistic(x, groups=[group(y, np.arange(rows))])
    logits = scores(x, weight_KD=whole.weight_CKD[4], bias_K=whole.bias_CK[4])
    monkeypatch.setattr(logistic, "HELD", 0)
    for name, place in (("BLOCK", logistic), ("BLOCK", module), ("LOGITS", module)):
        monkeypatch.setattr(place, name, 40)
    (blocks,) = fit_logistic(x, groups=[group(y, np.arange(rows))])
    scale = abs(whole.weight_CKD).max(axis=2, keepdims=True)
    np.testing.assert_allclose(blocks.weight_CKD / scale, whole.weight_CKD / scale, atol=1e-4)
    np.testing.assert_array_equal(scores(x, weight_KD=whole.weight_CKD[4], bias_K=whole.bias_CK[4]), logits)


def test_a_class_of_one_label_has_a_reason_and_no_head() -> None:
    x, y = data(classes=4)
    y[:, 0], y[:, 1], y[:, 2] = 0, 1, np.nan
    (heads,) = fit_logistic(x, groups=[group(y, np.arange(120))])
    assert heads.undefined == (NO_POSITIVES, NO_NEGATIVES, NO_LABELS, "")
    assert np.isnan(heads.weight_CKD[:, :3]).all() and np.isfinite(heads.weight_CKD[:, 3]).all()
    logits = scores(x, weight_KD=heads.weight_CKD[0], bias_K=heads.bias_CK[0])
    assert np.isnan(logits[:, :3]).all() and np.isfinite(logits[:, 3]).all()


@pytest.mark.parametrize("value", [0.0, 1234.0])
def test_constant_features_get_no_weight(value: float) -> None:
    x, y = data()
    x[:60, 4] = value
    (heads,) = fit_logistic(x, groups=[group(y, np.arange(60))])
    assert (heads.weight_CKD[:, :, 4] == 0).all()
    everywhere = np.full_like(x, value)
    (heads,) = fit_logistic(everywhere, groups=[group(y, np.arange(60))])
    assert (heads.weight_CKD == 0).all()
    share = y[:60].mean(0)
    np.testing.assert_allclose(heads.bias_CK[3], np.log(share / (1 - share)), rtol=1e-6)


def test_a_linear_layer_repeats_the_scores() -> None:
    x, y = data()
    (heads,) = fit_logistic(x, groups=[group(y, np.arange(90))], components=4)
    found = scores(x, weight_KD=heads.weight_CKD[5], bias_K=heads.bias_CK[5], rows_n=np.arange(90, 120))
    layer = torch.nn.Linear(9, 3)
    layer.load_state_dict({"weight": torch.tensor(heads.weight_CKD[5]), "bias": torch.tensor(heads.bias_CK[5])})
    assert found.dtype == np.float32
    np.testing.assert_allclose(layer(torch.tensor(x[90:]).float()).detach().numpy(), found, atol=1e-4)


def test_refuses_what_cannot_be_fitted() -> None:
    x, y = data()
    with pytest.raises(ValueError, match="1, 0 or NaN"):
        fit_logistic(x, groups=[group(y * 2, np.arange(120))])
    with pytest.raises(ValueError, match="training rows"):
        fit_logistic(x, groups=[Group(rows_n=np.arange(3), labels_nK=y)])
    x[7, 2] = np.nan
    with pytest.raises(DataError, match="feature 2 is not finite"):
        fit_logistic(x, groups=[group(y, np.arange(120))])
    fit_logistic(x, groups=[group(y, np.arange(8, 120))], c_C=[1.0])


# --- choosing -------------------------------------------------------------------------------------------------------

LABELS = np.array([[1.0, 1.0], [0.0, 1.0], [1.0, 1.0], [0.0, 1.0]])
RIGHT, WRONG = np.array([2.0, -2.0, 2.0, -2.0]), np.array([2.0, 2.5, 3.0, -2.0])


def test_the_highest_validation_auc_is_chosen_and_of_equal_ones_the_smaller() -> None:
    given = np.stack([np.stack([one, one], 1) for one in (WRONG, RIGHT, RIGHT * 3, WRONG)])
    found = choose(given, LABELS, candidates=(0.01, 10.0, 1.0, 100.0), mean_auc=mean_auc)
    assert (found.index, found.value, found.auc) == (2, 1.0, (0.75, 1.0, 1.0, 0.75))
    assert "highest mean validation AUC of 1 classes" in found.reason


def test_without_both_labels_the_loss_decides() -> None:
    """The second class is positive throughout; of the first nothing is known."""
    labels = LABELS.copy()
    labels[:, 0] = np.nan
    given = np.stack([np.full((4, 2), 0.5), np.full((4, 2), 4.0), np.full((4, 2), -4.0)])
    found = choose(given, labels, candidates=(0.1, 1.0, 10.0), mean_auc=mean_auc)
    assert found.value == 1.0 and found.auc == () and "loss" in found.reason


def test_without_labels_the_default_or_the_nearest_is_chosen() -> None:
    empty = np.empty((len(GRID), 0, 2))
    found = choose(empty, np.empty((0, 2)), candidates=GRID, mean_auc=mean_auc)
    assert (found.value, found.reason) == (1.0, "nearest to 1: no validation rows")
    # 3 is nearer to 1 by difference, too; 0.4 only by ratio would be, were it 0.34.
    assert choose(empty[:2], np.empty((0, 2)), candidates=(3.0, 0.34), mean_auc=mean_auc).value == 0.34
    unknown = choose(np.zeros((2, 4, 2)), np.full((4, 2), np.nan), candidates=(1.0, 10.0), mean_auc=mean_auc)
    assert unknown.value == 1.0 and "no class with a head" in unknown.reason


def test_classes_without_a_head_do_not_count() -> None:
    given = np.stack([np.stack([one, np.full(4, np.nan)], 1) for one in (WRONG, RIGHT)])
    labels = np.stack([LABELS[:, 0], LABELS[:, 0]], 1)
    assert choose(given, labels, candidates=(1.0, 10.0), mean_auc=mean_auc).auc == (0.75, 1.0)
