"""Says what a method's own source states of its training constants, so that the ledger compares a row with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from refers_bench.plugins import Method

#: Constants of a pre-training on which the source of any method would have a word. All others belong to REFERS' own
#: objective or to the shared budget, or depend on one of these.
TRAINING: Mapping[str, str] = {
    "pretrain": "steps batch_size optimizer learning_rate momentum weight_decay decay_rule warmup_steps schedule "
    "clip_norm lookahead_steps select patience",
    "image.pretrain_augment": "crop rotation_degrees flip_probability jitter_probability",
}

#: Sections that a row which does not pre-train has no use for.
PRETRAINING = ("pretrain.", "image.pretrain_augment.")


def statements(method: Method, *, pretrains: bool) -> dict[str, Mapping[str, Any]]:
    """Dotted constant -> {"value", "where"}; nothing in it for a constant that the source leaves open.

    Nothing for a method without a source of its own: REFERS' paper is the reference of its rows.

    Args:
        method: see `Method.source_values`.
        pretrains: whether the row pre-trains at all.
    """
    if not method.source_values:
        return {}
    found = {name: {"value": value, "where": where} for name, (value, where) in method.source_values.items()}
    if not pretrains:
        return {name: said for name, said in found.items() if not name.startswith(PRETRAINING)}
    silent = [f"{section}.{name}" for section, names in TRAINING.items() for name in names.split()]
    return {name: found.get(name, {}) for name in dict.fromkeys([*silent, *found])}
