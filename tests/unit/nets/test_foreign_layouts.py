"""Names of tensors of other projects become ours by the first rule that fits."""

from __future__ import annotations

import torch

from refers_bench.nets.foreign_layouts import _renamed


def test_one_rule_a_name() -> None:
    weights = {name: torch.tensor(float(n)) for n, name in enumerate(("a.weight", "b.weight", "a.weight.more", "c"))}
    found = _renamed(weights, {r"a\.(\w+)": r"b.\1", r"[ab]\.(\w+)": r"c.\1", r"c\.\w+": "d"})
    assert {name: float(value) for name, value in found.items()} == {
        "b.weight": 0,
        "c.weight": 1,
        "a.weight.more": 2,
        "c": 3,
    }
