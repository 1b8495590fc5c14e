"""Turns a training section of a protocol into an optimiser, a schedule and training settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import Optimizer

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
        settings: how long, how precisely, and which weights to keep.
    """

    optimizer: Optimizer | optimizers.Lookahead
    factor: Callable[[int], float]
    settings: Settings


def rules(section: Mapping[str, Any], module: nn.Module, **more: Any) -> Rules:
    """The rules of a ``pretrain`` or ``finetune`` section of a protocol.

    Args:
        section: resolved values; fields that only one kind has (Lookahead, patience) may be absent.
        module: what is trained.
        **more: settings of the loop that no protocol states.
    """
    groups = optimizers.parameter_groups(
        module,
        learning_rate=section["learning_rate"],
        weight_decay=section["weight_decay"],
        decay_rule=section["decay_rule"],
        part_learning_rates={part: section[field] for part, field in PART_RATES.items() if field in section},
    )
    inner = optimizers.build(section["optimizer"], groups, momentum=section["momentum"])
    slow, alpha = section.get("lookahead_steps"), section.get("lookahead_alpha", 0.0)
    curve = schedules.multiplier(
        section["schedule"],
        steps=section["steps"],
        warmup_steps=section["warmup_steps"],
        milestones=[round(share * section["steps"]) for share in section.get("milestones", ())],
        gamma=section.get("milestone_factor", 0.1),
    )
    return Rules(
        optimizer=optimizers.Lookahead(inner, steps=slow, alpha=alpha) if slow else inner,
        factor=schedules.per_update(curve, order=section.get("schedule_order", "after_step")),
        settings=Settings(
            **{name: section[name] for name in ("steps", "validate_every", "clip_norm", "precision")},
            grad_accum_steps=section["accumulate"],
            patience=section.get("patience", 0),
            **more,
        ),
    )
