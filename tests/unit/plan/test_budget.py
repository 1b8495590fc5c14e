"""Do all methods get what REFERS gets?"""

from __future__ import annotations

import pytest

from refers_bench import plugins
from refers_bench.plan.budget import batch_size

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
