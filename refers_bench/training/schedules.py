"""Learning-rate schedules: the factor on the base learning rate of each update."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence

#: Shapes of the curve after the linear warm-up.
SCHEDULES = ("cosine", "linear", "constant", "multistep")

#: Whether the schedule advances after the optimiser's step (pre-training) or before it (fine-tuning).
ORDERS = ("after_step", "before_step")


def multiplier(
    name: str, *, steps: int, warmup_steps: int = 0, milestones: Sequence[int] = (), gamma: float = 0.1
) -> Callable[[int], float]:
    """The factor m(k) on the base learning rate after k advances of the schedule.

    A linear warm-up k / warmup_steps, then one of: ``cosine`` cos^2(pi/2 t) = (1 + cos(pi t)) / 2 with t the share
    of the remaining steps (not clamped: beyond `steps` it rises again), ``linear`` 1 - t floored at 0,
    ``constant`` 1, ``multistep`` gamma ** (milestones passed).

    Args:
        name: one of `SCHEDULES`.
        steps: updates in all, warm-up included.
        warmup_steps: updates of the warm-up; 0 for none.
        milestones: ascending steps at which ``multistep`` falls.
        gamma: factor of each fall.

    Raises:
        ValueError: unknown name, or fewer than one step.

    Source:
        Pre-train/refers/optim/lr_scheduler.py (cos^2 form), Fine-tune/*/utils/scheduler.py (half cosine): one curve.
    """
    if name not in SCHEDULES:
        raise ValueError(f"unknown schedule {name!r}; allowed: {', '.join(SCHEDULES)}")
    if steps < 1:
        raise ValueError(f"a schedule needs at least one step, got {steps}")
    # A warm-up as long as the run leaves no decay to speak of; one step avoids dividing by zero.
    decay_steps = max(1, steps - warmup_steps)

    def factor(k: int) -> float:
        if k < warmup_steps:
            return k / warmup_steps
        if name == "constant":
            return 1.0
        if name == "multistep":
            return gamma ** bisect_right(milestones, k)
        if name == "linear":
            return max(0.0, (steps - k) / decay_steps)
        return max(0.0, math.cos(math.pi / 2 * (k - warmup_steps) / decay_steps) ** 2)

    return factor


def per_update(factor: Callable[[int], float], *, order: str) -> Callable[[int], float]:
    """The factor that update number u = 0, 1, ... uses.

    Args:
        factor: m(k), see `multiplier`.
        order: ``after_step``: update u uses m(u), so the first of a warm-up has rate 0; ``before_step``: it uses
            m(u + 1), so the last of a cosine has rate 0.

    Raises:
        ValueError: unknown order.

    Source:
        Pre-train/pretrain_refers.py steps the schedule after the optimiser, Fine-tune/*/train.py before it.
    """
    if order not in ORDERS:
        raise ValueError(f"unknown schedule order {order!r}; allowed: {', '.join(ORDERS)}")
    advance = int(order == "before_step")
    return lambda update: factor(update + advance)
