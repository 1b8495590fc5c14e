"""Is every constant of a protocol's section obeyed?"""

from __future__ import annotations

from torch import nn

from refers_bench.training import sections
from refers_bench.training.optimizers import Lookahead

SECTION = {
    "steps": 10, "batch_size": 4, "optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.8, "weight_decay": 0.01,
    "decay_rule": "no_norm_bias", "warmup_steps": 2, "schedule": "linear", "schedule_order": "before_step",
    "clip_norm": 3.0, "precision": "bf16", "accumulate": 2, "validate_every": 5, "patience": 7,
}  # fmt: skip


class Objective(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.text_encoder, self.report_transformer = (nn.Linear(2, 2) for _ in range(3))


def test_finetune_section() -> None:
    rule = sections.rules(SECTION, nn.Linear(2, 2), metric="val/auc", higher_is_better=True, save_every_s=1.0)
    assert [rule.factor(update) for update in range(3)] == [0.5, 1.0, 0.875]
    expected = sections.Settings(
        steps=10, validate_every=5, accumulate=2, clip_norm=3.0, precision="bf16", metric="val/auc",
        higher_is_better=True, patience=7, save_every_s=1.0,
    )  # fmt: skip
    assert rule.settings == expected
    assert {group["momentum"] for group in rule.optimizer.param_groups} == {0.8}
    assert not isinstance(rule.optimizer, Lookahead)


def test_pretrain_section_gives_parts_their_rates_and_lookahead() -> None:
    section = {
        **SECTION,
        "text_learning_rate": 0.2, "decoder_learning_rate": 0.3, "lookahead_steps": 5, "lookahead_alpha": 0.4,
        "schedule_order": "after_step",
    }  # fmt: skip
    rule = sections.rules(section, Objective(), metric="", higher_is_better=False, save_every_s=1.0)
    assert isinstance(rule.optimizer, Lookahead)
    assert (rule.optimizer.steps, rule.optimizer.alpha) == (5, 0.4)
    assert sorted({group["base_lr"] for group in rule.optimizer.param_groups}) == [0.1, 0.2, 0.3]
    assert rule.factor(0) == 0
