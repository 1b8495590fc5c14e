"""Fits linear heads on frozen features: many L2-regularised logistic regressions as one batched problem, in float64.

Each head minimises what scikit-learn's ``LogisticRegression(C=C)`` minimises, ``w'w / 2 + C * sum of log-losses``, with
a bias that is not regularised, on features standardised over its group's training rows. Heads of one set of training
rows are columns of one matrix, whatever their class and C: a pass over the features serves them all.

The method is a truncated Newton method. Gradients, losses and line searches are float64. The Newton direction only has
to point downhill, so its conjugate gradients run in float32 (four times as fast on a CPU); its accuracy changes how
many steps are taken, not where they end. The penalty does not change under rotation, so the problem is solved in the
principal axes of the group's features: there the Hessian's diagonal is a good preconditioner, fewer rows than features
leave as many unknowns as rows, and a reduction to principal components drops columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import softplus

from refers_bench.errors import DataError

#: Values of C. DINOv2 searches 45 values, 10^-6..10^5, on features as they come; these nine are its decades on
#: standardised ones. Beyond either end a ranking hardly changes: towards 0 the weights become a multiple of the
#: difference of the class means, towards infinity those of the unregularised or, of separable classes, the maximum
#: margin fit. Source: DINOv2, dinov2/eval/log_regression.py.
GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3, 1e4)
#: C where there is nothing to choose on: scikit-learn's default.
UNCHOSEN = 1.0

#: Why a class has no head; '' where it has one.
NO_POSITIVES, NO_NEGATIVES, NO_LABELS = "no positive training rows", "no negative training rows", "no labelled rows"

#: Heads are exact to this share of the length of their weights (see `_solve`).
TOLERANCE = 1e-5
#: Values of a group's features held in memory, in float64 and float32 (96 MiB); larger groups are read in blocks.
HELD = 1 << 23
#: Values of a block of features (8 MiB in float64), and of the logits of the heads fitted at a time (16 MiB).
BLOCK, LOGITS = 1 << 20, 1 << 21
NEWTON_STEPS, CONJUGATE_STEPS, HALVINGS = 200, 200, 40
#: Newton steps after which directions are float64, too: hardly any head needs as many.
PATIENCE = 40

Floats = npt.NDArray[np.floating]


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
        ArithmeticError: a head did not converge in `NEWTON_STEPS` steps.

    Source:
        objective: scikit-learn, `LogisticRegression`; method: Nocedal and Wright, Numerical Optimization, chapter 7.1.
    """
    shared: dict[bytes, list[int]] = {}
    for number, group in enumerate(groups):
        check(group)
        shared.setdefault(np.asarray(group.rows_n, np.int64).tobytes(), []).append(number)
    found: dict[int, Heads] = {}
    for members in shared.values():
        design = _Design(x_ND, groups[members[0]].rows_n, standardise, components, torch.device(device))
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


class _Design:
    """A group's features in their principal axes.

    Args:
        x_ND: features.
        rows_n: the group's rows.
        standardise: divide by standard deviations.
        components: axes that are kept; 0 for all.
        device: where to compute.
    """

    def __init__(
        self, x_ND: Floats, rows_n: npt.NDArray[np.int64], standardise: bool, components: int, device: torch.device
    ) -> None:
        self._x_ND, self._rows_n, self.device = x_ND, np.asarray(rows_n, np.int64), device
        self.count, width = len(rows_n), x_ND.shape[1]
        self._step = max(1, BLOCK // max(1, width))
        self.mean_D = torch.zeros(width, dtype=torch.float64, device=device)
        self.inverse_D = torch.ones_like(self.mean_D)
        self.mean_D = sum((x.sum(0) for _, x in self._read(torch.float64)), self.mean_D) / self.count
        if not torch.isfinite(self.mean_D).all():
            raise DataError(f"feature {int((~torch.isfinite(self.mean_D)).nonzero()[0])} is not finite in all rows")
        gram_DD = torch.zeros(0)
        if self.count > width:
            gram_DD = sum((x.T @ x for _, x in self._read(torch.float64)), torch.zeros_like(self.mean_D).diag())
            variance_D = gram_DD.diagonal() / self.count
        else:
            variance_D = torch.cat([x for _, x in self._read(torch.float64)]).square().mean(0)
        # Rounding leaves a constant feature a deviation of about 1e-16 of its value.
        varies_D = variance_D.sqrt() > 1e-9 * self.mean_D.abs()
        self.inverse_D = torch.where(varies_D, variance_D.rsqrt() if standardise else 1.0, 0.0)
        if self.count > width:
            squares, axes = torch.linalg.eigh(self.inverse_D[:, None] * gram_DD * self.inverse_D)
            squares, axes = squares.flip(0).clamp(min=0), axes.flip(1)
        else:
            # Fewer rows than features: the weights lie in the rows' span.
            _, singular, axes = torch.linalg.svd(
                torch.cat([x for _, x in self._read(torch.float64)]), full_matrices=False
            )
            squares, axes = singular.square(), axes.T
            axes = axes[:, singular > 1e-10 * singular[0]]
        keep = min(components or axes.shape[1], axes.shape[1])
        self.axes_DR = axes[:, :keep].contiguous()
        self.squares_R = squares[:keep]
        self._held = self.count * max(width, keep) <= HELD

    def _read(self, dtype: torch.dtype) -> Iterator[tuple[slice, Tensor]]:
        """Blocks of centred (and scaled, once that is known) features."""
        mean_D, inverse_D = self.mean_D.to(dtype), self.inverse_D.to(dtype)
        for first in range(0, self.count, self._step):
            part = slice(first, min(first + self._step, self.count))
            block = torch.from_numpy(np.asarray(self._x_ND[self._rows_n[part]]))
            yield part, block.to(self.device, dtype).sub_(mean_D).mul_(inverse_D)

    @cached_property
    def _in_axes(self) -> dict[torch.dtype, Tensor]:
        exact = torch.cat([x @ self.axes_DR for _, x in self._read(torch.float64)])
        return {torch.float64: exact, torch.float32: exact.float()}

    def blocks(self, dtype: torch.dtype) -> Iterator[tuple[slice, Tensor]]:
        """Rows and their features, to be multiplied by what `out` returns."""
        if self._held:
            yield slice(0, self.count), self._in_axes[dtype]
        else:
            yield from self._read(dtype)

    def out(self, w_MR: Tensor) -> Tensor:
        """Weights in principal axes, for the features of `blocks`."""
        return w_MR if self._held else w_MR @ self.axes_DR.T.to(w_MR.dtype)

    def back(self, g_MX: Tensor) -> Tensor:
        """Gradient for the features of `blocks`, in principal axes: the transpose of `out`."""
        return g_MX if self._held else g_MX @ self.axes_DR.to(g_MX.dtype)

    def logits(self, w_MP: Tensor) -> Tensor:
        """Logits of all rows (M, n); a head's last weight is the bias."""
        weights, found = self.out(w_MP[:, :-1]), w_MP.new_empty(len(w_MP), self.count)
        for part, x in self.blocks(w_MP.dtype):
            torch.addmm(w_MP[:, -1:], weights, x.T, out=found[:, part])
        return found

    def gradient(self, value_Mn: Tensor) -> Tensor:
        """Sum over the rows of their features, and of 1, times a value of each head and row: (M, P)."""
        return self._summed(lambda part, x: value_Mn[:, part], value_Mn.dtype)

    def curvature(self, weight_Mn: Tensor, d_MP: Tensor) -> Tensor:
        """Second derivative of the losses, given its weight of each row, times a direction: (M, P)."""
        direction, bias = self.out(d_MP[:, :-1]), d_MP[:, -1:]
        return self._summed(lambda part, x: (direction @ x.T).add_(bias).mul_(weight_Mn[:, part]), d_MP.dtype)

    def _summed(self, of: Callable[[slice, Tensor], Tensor], dtype: torch.dtype) -> Tensor:
        features: Tensor | None = None
        ones: Tensor | float = 0.0
        for part, x in self.blocks(dtype):
            value = of(part, x)
            # Added in place: small results between large blocks would leave the heap full of holes.
            features = value @ x if features is None else features.addmm_(value, x)
            ones = value.sum(1, keepdim=True) + ones
        assert features is not None and isinstance(ones, Tensor)
        return torch.cat([self.back(features), ones], dim=1)


def _fit_classes(design: _Design, labels_nK: npt.NDArray[np.float64], c_C: npt.NDArray[np.float64]) -> Heads:
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
        w_MP = _solve(design, sign_Kn[at_k], torch.from_numpy(c_C[at_c]).to(design.device)[:, None])
        weight_MD = w_MP[:, :-1] @ design.axes_DR.T * design.inverse_D
        weight_CKD[at_c, at_k] = weight_MD.cpu().numpy()
        bias_CK[at_c, at_k] = (w_MP[:, -1] - weight_MD @ design.mean_D).cpu().numpy()
    return Heads(weight_CKD=weight_CKD, bias_CK=bias_CK, undefined=reasons)


def _solve(design: _Design, sign_Mn: Tensor, c_M1: Tensor) -> Tensor:
    """Minimise each head's objective: weights in principal axes and, last, the bias (M, P).

    A head is done when its Newton decrement (the length of the remaining step, measured by the Hessian) is at most
    `TOLERANCE` of its weights' length. The Hessian is the identity plus a positive matrix, so the distance to the
    minimum is not larger; and the step is still taken.
    """
    reg_P = torch.ones(len(design.squares_R) + 1, dtype=torch.float64, device=design.device)
    reg_P[-1] = 0
    found = torch.zeros(len(c_M1), len(reg_P), dtype=torch.float64, device=design.device)
    active, w_MP, z_Mn = torch.arange(len(c_M1), device=design.device), found.clone(), found.new_zeros(sign_Mn.shape)
    for number in range(NEWTON_STEPS):
        dtype = torch.float32 if number < PATIENCE else torch.float64
        gradient = reg_P * w_MP + c_M1 * design.gradient((z_Mn * sign_Mn).sigmoid_().mul_(sign_Mn))
        p_Mn = z_Mn.sigmoid().to(dtype)
        weight_Mn = p_Mn.mul_(1 - p_Mn).mul_(sign_Mn.abs()).mul_(c_M1.to(dtype))
        d_MP = _direction(design, gradient, weight_Mn, reg_P)
        fall_M1, dz_Mn = -(gradient * d_MP).sum(1, keepdim=True), design.logits(d_MP)
        share_M1 = _step_length((w_MP, d_MP), (z_Mn, dz_Mn), sign_Mn, c_M1, fall_M1)
        w_MP, z_Mn = w_MP + share_M1 * d_MP, z_Mn.addcmul_(dz_Mn, share_M1)
        found[active] = w_MP
        # The second term is the rounding of the objective: all that is left where no weight differs from 0.
        enough = TOLERANCE**2 * w_MP[:, :-1].square().sum(1, keepdim=True) + 1e-14 * c_M1 * design.count
        going = ((share_M1 < 1) | (fall_M1 > enough)).squeeze(1)
        if not going.any():
            return found
        if not going.all():
            active, w_MP, z_Mn, sign_Mn, c_M1 = (part[going] for part in (active, w_MP, z_Mn, sign_Mn, c_M1))
    raise ArithmeticError(f"{len(active)} logistic regressions did not converge in {NEWTON_STEPS} Newton steps")


def _direction(design: _Design, gradient: Tensor, weight_Mn: Tensor, reg_P: Tensor) -> Tensor:
    """Newton directions by preconditioned conjugate gradients, to a tenth: float64 (M, P).

    Args:
        design: features.
        gradient: float64 (M, P).
        weight_Mn: C p (1 - p) of each row, 0 where the label is unknown; its type is that of the computation.
        reg_P: 1, and 0 for the bias.
    """
    dtype, sums_M1 = weight_Mn.dtype, weight_Mn.sum(1, keepdim=True, dtype=torch.float64)
    squares_P = torch.cat([design.squares_R, design.squares_R.new_tensor([design.count])])
    # The preconditioner is applied on both sides, and gradients have length 1: float32 never leaves its range.
    root = (reg_P + squares_P * sums_M1 / design.count).clamp(min=1e-30).rsqrt()
    length_M1 = (gradient * root).norm(dim=1, keepdim=True).clamp(min=1e-300)
    residual, root32 = (-gradient * root / length_M1).to(dtype), root.to(dtype)
    identity, found, active = (
        root32.square() * reg_P.to(dtype),
        torch.zeros_like(residual),
        torch.arange(len(root), device=root.device),
    )
    step, direction, square_M1 = found.clone(), residual, residual.square().sum(1, keepdim=True)
    for _ in range(CONJUGATE_STEPS):
        product = identity * direction + root32 * design.curvature(weight_Mn, root32 * direction)
        bend_M1 = (direction * product).sum(1, keepdim=True)
        # Without curvature (rounding, or a gradient of 0) the step stays as it is.
        share_M1 = torch.where(bend_M1 > 0, square_M1 / bend_M1, 0.0)
        step, residual = step + share_M1 * direction, residual - share_M1 * product
        before_M1, square_M1 = square_M1, residual.square().sum(1, keepdim=True)
        direction = residual + square_M1 / before_M1.clamp(min=1e-30) * direction
        going = ((square_M1 > 0.01) & (bend_M1 > 0)).squeeze(1)
        left = int(going.sum())
        found[active] = step
        if not left:
            break
        if left < 0.9 * len(going):
            state = (active, step, residual, direction, square_M1, root32, identity, weight_Mn)
            active, step, residual, direction, square_M1, root32, identity, weight_Mn = (part[going] for part in state)
    return found.double() * root * length_M1


def _step_length(
    weights: tuple[Tensor, Tensor], logits: tuple[Tensor, Tensor], sign_Mn: Tensor, c_M1: Tensor, fall_M1: Tensor
) -> Tensor:
    """Share of each direction that is taken, (M, 1): halved until the objective falls enough (Armijo).

    Args:
        weights: those of now, and directions (M, P).
        logits: those of now, and of the directions (M, n).
        sign_Mn: -1 positive, 1 negative, 0 unknown.
        c_M1: inverse strengths of the penalty.
        fall_M1: fall of the objective by the whole step, if it were linear.
    """
    (w_MP, d_MP), (z_Mn, dz_Mn) = weights, logits

    def objective(share_M1: Tensor) -> Tensor:
        losses_M1 = softplus(torch.addcmul(z_Mn, dz_Mn, share_M1).mul_(sign_Mn)).sum(1, keepdim=True)
        return (w_MP + share_M1 * d_MP)[:, :-1].square().sum(1, keepdim=True) / 2 + c_M1 * losses_M1

    share_M1 = torch.ones_like(c_M1)
    start_M1 = objective(torch.zeros_like(c_M1))
    for _ in range(HALVINGS):
        # Near the minimum the fall is below the objective's rounding.
        high = objective(share_M1) > start_M1 - 1e-4 * share_M1 * fall_M1 + 1e-13 * start_M1
        if not high.any():
            break
        share_M1 = torch.where(high, share_M1 / 2, share_M1)
    return share_M1


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
