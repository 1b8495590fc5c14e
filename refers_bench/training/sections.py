"""Turns a training section of a protocol into an optimiser, a schedule and the settings of the loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from refers_bench.training import optimizers, schedules
from refers_bench.training.loop import Settings

#: Parts of a pre-training objective with a learning rate of their own -> its field in the section.
PART_RATES: Mapping[str, str] = {"text_encoder": "text_learning_rate", "report_transformer": "decoder_learning_rate"}


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How a module is trained.

    Attributes:
        optimizer: over the module's parameters.
        factor: update number -> factor on the base learning rates.
        settings: of the loop.
    """

    optimizer: torch.optim.Optimizer | optimizers.Lookahead
    factor: Callable[[int], float]
    settings: Settings


def rules(
    section: Mapping[str, Any], module: nn.Module, *, metric: str, higher_is_better: bool, save_every_s: float
) -> Rules:
    """The rules of a ``pretrain`` or ``finetune`` section of a protocol.

    Args:
        section: resolved values; fields that only one kind has (Lookahead, patience) may be absent.
        module: what is trained.
        metric: validation metric that chooses the weights; '' keeps the last.
        higher_is_better: of that metric.
        save_every_s: seconds between saves of the resumable state.
    """
    groups = optimizers.parameter_groups(
        module,
        learning_rate=section["learning_rate"],
        weight_decay=section["weight_decay"],
        decay_rule=section["decay_rule"],
        part_learning_rates={part: section[field] for part, field in PART_RATES.items() if field in section},
    )
    rule: torch.optim.Optimizer | optimizers.Lookahead
    rule = inner = optimizers.build(section["optimizer"], groups, momentum=section["momentum"])
    if section.get("lookahead_steps"):
        rule = optimizers.Lookahead(inner, steps=section["lookahead_steps"], alpha=section["lookahead_alpha"])
    curve = schedules.multiplier(
        section["schedule"],
        steps=section["steps"],
        warmup_steps=section["warmup_steps"],
        milestones=[round(share * section["steps"]) for share in section.get("milestones", ())],
        gamma=section.get("milestone_factor", 0.1),
    )
    return Rules(
        optimizer=rule,
        factor=schedules.per_update(curve, order=section.get("schedule_order", "after_step")),
        settings=Settings(
            steps=section["steps"],
            validate_every=section["validate_every"],
            accumulate=section["accumulate"],
            clip_norm=section["clip_norm"],
            precision=section["precision"],
            metric=metric,
            higher_is_better=higher_is_better,
            patience=section.get("patience", 0),
            save_every_s=save_every_s,
        ),
    )
