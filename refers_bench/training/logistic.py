"""Minimises many L2-regularised logistic losses on the same rows of features at once, in float64.

The method is a truncated Newton method. Gradients, losses and line searches are float64. The Newton direction only has
to point downhill, so its conjugate gradients run in float32 (four times as fast on a CPU); its accuracy changes how
many steps are taken, not where they end. The penalty does not change under rotation, so the problem is solved in the
principal axes of the features: there the Hessian's diagonal is a good preconditioner, fewer rows than features leave as
many unknowns as rows, and a reduction to principal components drops columns.

Source: Nocedal and Wright, Numerical Optimization (second edition), section 7.1 (line search Newton-CG).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import softplus

from refers_bench.errors import DataError

#: Weights are exact to this share of their length (see `solve`).
TOLERANCE = 1e-5
#: Values of the features held in memory, in float64 and float32 (96 MiB); where they are more, they are read in blocks.
HELD = 1 << 23
#: Values of a block of features (8 MiB in float64).
BLOCK = 1 << 20
NEWTON_STEPS, CONJUGATE_STEPS, HALVINGS = 200, 200, 40
#: Newton steps after which directions are float64, too: hardly any problem needs as many.
PATIENCE = 40

Floats = npt.NDArray[np.floating]


class Design:
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


def solve(design: Design, sign_Mn: Tensor, c_M1: Tensor) -> Tensor:
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


def _direction(design: Design, gradient: Tensor, weight_Mn: Tensor, reg_P: Tensor) -> Tensor:
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
    return torch.mul(found.double() * root, length_M1)


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
