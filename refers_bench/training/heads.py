"""Fits linear heads on frozen features: many L2-regularised logistic regressions as one batched problem, in float64.

Each head minimises what scikit-learn's ``LogisticRegression(C=C)`` minimises, ``w'w / 2 + C * sum of log-losses``, with
a bias that is not regularised, on features standardised over its group's training rows. Heads of one set of training
rows are columns of one matrix, whatever their class and C: a pass over the features serves them all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from refers_bench.training.logistic import BLOCK, Design, Floats, solve

#: Values of C. DINOv2 searches 45 values, 10^-6..10^5, on features as they come; these nine are its decades on
#: standardised ones. Beyond either end a ranking hardly changes: towards 0 the weights become a multiple of the
#: difference of the class means, towards infinity those of the unregularised or, of separable classes, the maximum
#: margin fit. Source: DINOv2, dinov2/eval/log_regression.py.
GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3, 1e4)
#: C where there is nothing to choose on: scikit-learn's default.
UNCHOSEN = 1.0

#: Why a class has no head; '' where it has one.
NO_POSITIVES, NO_NEGATIVES, NO_LABELS = "no positive training rows", "no negative training rows", "no labelled rows"

#: Logits of the heads that are fitted at a time (16 MiB in float64).
LOGITS = 1 << 21


@dataclass(frozen=True, kw_only=True)
class Group:
    """Training rows and their labels: one head per class.

    Attributes:
        rows_n: int, row numbers in the features, without repetition.
        labels_nK: 1 positive, 0 negative, NaN unknown; rows as in `rows_n`. A class is fitted on the rows that know it.
    """

    rows_n: npt.NDArray[np.int64]
    labels_nK: Floats


@dataclass(frozen=True, kw_only=True)
class Heads:
    """The heads of a group; a linear layer on the features as they come, standardisation and components folded in.

    Attributes:
        weight_CKD: float64, one head for each value of C and class; NaN where a class has no head.
        bias_CK: float64, likewise.
        undefined: per class '' or the reason why it has no head.
    """

    weight_CKD: npt.NDArray[np.float64]
    bias_CK: npt.NDArray[np.float64]
    undefined: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What was chosen of several candidates.

    Attributes:
        index: of the candidate.
        value: the candidate: a value of C, or a number of neighbours.
        reason: how it was chosen, in words.
        auc: mean validation AUC of each candidate; empty where no class has one.
    """

    index: int
    value: float
    reason: str
    auc: tuple[float, ...]


# --- fitting --------------------------------------------------------------------------------------------------------


def fit_logistic(
    x_ND: Floats,
    *,
    groups: Sequence[Group],
    c_C: Sequence[float] = GRID,
    standardise: bool = True,
    components: int = 0,
    device: str | torch.device = "cpu",
) -> list[Heads]:
    """Fit a head for every group, class and value of C.

    Groups with the same rows share their principal axes, and equal classes of them are fitted once: three seeds of all
    labels cost as much as one.

    Memory: besides the features as given (which may be memory-mapped) a group's features, 96 MiB, or where they are
    more, blocks of 8 MiB; some 150 MiB for logits and directions; and a few D x D matrices. A process that fits 100,000
    x 768 half-precision features stays below 1 GiB, with its libraries and the file's pages (a test).

    Args:
        x_ND: features, one row per image; any float type. Rows of no group are never read.
        groups: what to fit.
        c_C: inverse strengths of the penalty, positive.
        standardise: subtract each feature's mean over the group's rows and divide by its standard deviation; a feature
            that is constant there gets weight 0. False: features are fitted as they come.
        components: principal components of the group's (standardised) features that are kept; 0 keeps them all.
        device: where to compute.

    Returns:
        One for each group, in order.

    Raises:
        DataError: a feature of a training row is not finite.
        ValueError: labels are none of 0, 1, NaN, or a group has no rows.
        ArithmeticError: a head did not converge in 200 Newton steps.

    Source: the objective is scikit-learn's, of `LogisticRegression`; the method is in `refers_bench.training.logistic`.
    """
    shared: dict[bytes, list[int]] = {}
    for number, group in enumerate(groups):
        check(group)
        shared.setdefault(np.asarray(group.rows_n, np.int64).tobytes(), []).append(number)
    found: dict[int, Heads] = {}
    for members in shared.values():
        design = Design(x_ND, groups[members[0]].rows_n, standardise, components, torch.device(device))
        columns = [column for number in members for column in np.asarray(groups[number].labels_nK, np.float64).T]
        distinct = {column.tobytes(): column for column in columns}
        at = {name: place for place, name in enumerate(distinct)}
        labels_nK = np.stack(list(distinct.values()), axis=1) if distinct else np.empty((design.count, 0))
        all_heads = _fit_classes(design, labels_nK, np.asarray(c_C, np.float64))
        for number in members:
            named = [at[column.tobytes()] for column in np.asarray(groups[number].labels_nK, np.float64).T]
            found[number] = Heads(
                weight_CKD=all_heads.weight_CKD[:, named],
                bias_CK=all_heads.bias_CK[:, named],
                undefined=tuple(all_heads.undefined[k] for k in named),
            )
    return [found[number] for number in range(len(groups))]


def check(group: Group) -> None:
    """Refuse a group without rows, or with labels of another shape or value.

    Raises:
        ValueError: it is one.
    """
    labels_nK = np.asarray(group.labels_nK, np.float64)
    if labels_nK.ndim != 2 or len(labels_nK) != len(group.rows_n) or not len(group.rows_n):
        raise ValueError(f"{len(group.rows_n)} training rows, labels of shape {labels_nK.shape}")
    if not (np.isnan(labels_nK) | (labels_nK == 0) | (labels_nK == 1)).all():
        raise ValueError("labels are 1, 0 or NaN")


def undefined(labels_nK: Floats) -> tuple[str, ...]:
    """Per class '' or why nothing can be fitted to these labels."""
    positive_K, negative_K = (labels_nK == 1).any(axis=0), (labels_nK == 0).any(axis=0)
    return tuple(
        "" if positive and negative else NO_NEGATIVES if positive else NO_POSITIVES if negative else NO_LABELS
        for positive, negative in zip(positive_K, negative_K, strict=True)
    )


def principal_axes(
    x_ND: Floats, *, rows_n: npt.NDArray[np.int64], components: int, device: str | torch.device = "cpu"
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean (D) of some rows' features, as they come, and their first principal axes as columns (D, components)."""
    design = Design(x_ND, rows_n, False, components, torch.device(device))
    return design.mean_D.cpu().numpy(), design.axes_DR.cpu().numpy()


def _fit_classes(design: Design, labels_nK: npt.NDArray[np.float64], c_C: npt.NDArray[np.float64]) -> Heads:
    """Heads of all classes and values of C for one set of rows."""
    reasons = undefined(labels_nK)
    usable = [k for k, reason in enumerate(reasons) if not reason]
    weight_CKD = np.full((len(c_C), len(reasons), len(design.mean_D)), np.nan)
    bias_CK = np.full(weight_CKD.shape[:2], np.nan)
    # A label's sign: -1 positive, 1 negative, 0 unknown. Then a loss is softplus(sign * logit).
    sign_Kn = torch.from_numpy(np.nan_to_num(1 - 2 * labels_nK.T, nan=0.0)).to(design.device, torch.int8)
    heads = [(c, k) for c in range(len(c_C)) for k in usable]
    step = max(1, LOGITS // design.count)
    for first in range(0, len(heads), step):
        at_c, at_k = map(list, zip(*heads[first : first + step], strict=True))
        w_MP = solve(design, sign_Kn[at_k], torch.from_numpy(c_C[at_c]).to(design.device)[:, None])
        weight_MD = w_MP[:, :-1] @ design.axes_DR.T * design.inverse_D
        weight_CKD[at_c, at_k] = weight_MD.cpu().numpy()
        bias_CK[at_c, at_k] = (w_MP[:, -1] - weight_MD @ design.mean_D).cpu().numpy()
    return Heads(weight_CKD=weight_CKD, bias_CK=bias_CK, undefined=reasons)


# --- choosing and scoring -------------------------------------------------------------------------------------------


def log_loss(labels_n: Floats, logits_n: Floats) -> float:
    """Mean log-loss of the logits of one class; labels 0 or 1."""
    return float(np.logaddexp(0, np.where(labels_n == 1, -1.0, 1.0) * logits_n).mean())


def choose(
    scores_CnK: Floats,
    labels_nK: Floats,
    *,
    candidates: Sequence[float],
    mean_auc: Callable[[Floats, Floats], float],
    loss: Callable[[Floats, Floats], float] = log_loss,
    otherwise: float = UNCHOSEN,
) -> Choice:
    """Choose the candidate with the highest mean validation AUC over the classes; of equal ones the smaller.

    Where no class has both labels among the validation rows, the candidate with the lowest mean loss over the classes
    is chosen; where there are no labels, the one nearest to `otherwise` by ratio.

    Args:
        scores_CnK: of the validation rows, for each candidate; NaN where a class has no head.
        labels_nK: 1, 0, NaN unknown.
        candidates: values of C or numbers of neighbours, all positive.
        mean_auc: of labels and scores (n, K), such as ``lambda labels, scores: class_aucs(labels, scores).mean``.
        loss: of the labels, 0 or 1, and scores of one class.
        otherwise: value that is wanted where there is nothing to choose on.
    """
    scores_CnK, labels_nK = np.asarray(scores_CnK, np.float64), np.asarray(labels_nK, np.float64)
    order = np.argsort(candidates, kind="stable")
    fitted_K = ~np.isnan(scores_CnK).any(axis=(0, 1)) & (len(labels_nK) > 0)
    both_K = fitted_K & (labels_nK == 1).any(axis=0) & (labels_nK == 0).any(axis=0)
    known_K = fitted_K & ~np.isnan(labels_nK).all(axis=0)
    auc: tuple[float, ...] = ()
    if both_K.any():
        auc = tuple(mean_auc(labels_nK[:, both_K], scores_nK[:, both_K]) for scores_nK in scores_CnK)
        best, reason = max(order, key=lambda c: auc[c]), f"highest mean validation AUC of {both_K.sum()} classes"
    elif known_K.any():
        rows = {k: ~np.isnan(labels_nK[:, k]) for k in np.flatnonzero(known_K)}
        losses = [
            math.fsum(loss(labels_nK[row, k], scores_nK[row, k]) for k, row in rows.items()) for scores_nK in scores_CnK
        ]
        best = min(order, key=lambda c: losses[c])
        reason = "lowest mean validation loss: no class has positive and negative validation rows"
    else:
        best = min(order, key=lambda c: abs(math.log(candidates[c] / otherwise)))
        why = "no validation rows" if not len(labels_nK) else "no class with a head and validation labels"
        reason = f"nearest to {otherwise:g}: {why}"
    return Choice(index=int(best), value=float(candidates[best]), reason=reason, auc=auc)


def scores(
    x_ND: Floats,
    *,
    weight_KD: Floats,
    bias_K: Floats,
    rows_n: npt.NDArray[np.int64] | None = None,
    device: str | torch.device = "cpu",
) -> npt.NDArray[np.float32]:
    """Logits of rows: float32 (n, K), computed in float64, in blocks of 8 MiB; NaN where a class has no head.

    Args:
        x_ND: features.
        weight_KD: of `Heads`, for one value of C; those of all values as (C K, D).
        bias_K: likewise.
        rows_n: row numbers; None for all rows.
        device: where to compute.
    """
    weight_DK, bias = (torch.as_tensor(np.asarray(part, np.float64).T, device=device) for part in (weight_KD, bias_K))
    rows_n = np.arange(len(x_ND)) if rows_n is None else rows_n
    step, found = max(1, BLOCK // x_ND.shape[1]), np.empty((len(rows_n), len(bias)), np.float32)
    for first in range(0, len(rows_n), step):
        block = torch.from_numpy(np.asarray(x_ND[rows_n[first : first + step]])).to(device, torch.float64)
        found[first : first + step] = (block @ weight_DK + bias).float().cpu().numpy()
    return found
