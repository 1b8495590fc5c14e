"""All methods get what REFERS gets."""

from __future__ import annotations

import pytest

from refers_bench import plugins
from refers_bench.plan.fairness import batch_size, sized

PAPER = {"batch_size": 32, "budget_views": 3, "processes": 1, "budget": "images"}


@pytest.mark.parametrize(
    ("method", "params", "budget", "expected"),
    [
        ("refers", {}, "images", 32),
        ("refers", {}, "compute", 32),
        ("model_genesis", {}, "images", 96),  # 28.8 million radiographs over 300,000 updates
        ("transvw", {}, "compute", 96),
        ("lsp_transformer", {}, "images", 96),
        ("c2l", {}, "images", 96),
        ("c2l", {}, "compute", 36),  # 8 forward units a radiograph in place of 3: 10.8 million
        ("c2l", {}, "updates", 32),
        ("refers", {"views": 1}, "images", 96),
    ],
)
def test_batches_of_the_paper(method: str, params: dict[str, int], budget: str, expected: int) -> None:
    plugin = plugins.load("method", method)
    assert batch_size(plugin, plugin.Params(**params), {**PAPER, "budget": budget}) == expected


@pytest.mark.parametrize("processes", [2, 5])
def test_processes_share_a_batch_equally(processes: int) -> None:
    plugin = plugins.load("method", "c2l")
    for budget in ("images", "compute", "updates"):
        size = batch_size(plugin, plugin.Params(), {**PAPER, "budget": budget, "processes": processes})
        assert size % processes == 0
        assert size >= processes


@pytest.mark.parametrize(
    ("budget", "radiographs", "steps"),
    [
        ("images", 28_800_000, 225_000),  # fairness checklist 3: batches of 128 x 225,000
        ("compute", 10_800_000, 84_375),
        ("updates", 38_400_000, 300_000),
    ],
)
def test_a_batch_size_of_its_own_changes_the_updates_and_not_the_budget(
    budget: str, radiographs: int, steps: int
) -> None:
    plugin = plugins.load("method", "c2l")
    section = {
        **PAPER,
        "budget": budget,
        "steps": 300_000,
        "warmup_steps": 10_000,
        "validate_every": 6782,
        "own_batch_size": 128,
    }
    found = sized(plugin, plugin.Params(), section)
    assert (found["batch_size"], found["steps"]) == (128, steps)
    assert found["batch_size"] * found["steps"] == radiographs
    for name in ("warmup_steps", "validate_every"):
        assert found[name] / steps == pytest.approx(section[name] / 300_000, rel=1e-3)
    assert "own_batch_size" not in found
    without = sized(plugin, plugin.Params(), {**section, "warmup_steps": 0, "validate_every": 0})
    assert (without["warmup_steps"], without["validate_every"]) == (0, 0)
