"""In how many processes a forecast lets images be prepared, and what rows cost on a cluster."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from refers_bench import machine
from refers_bench.execution.engine import Settings as RunSettings
from refers_bench.execution.engine import Slot
from refers_bench.execution.ordering import preparing_processes, running_order
from refers_bench.execution.settings import Settings
from refers_bench.manifest.load import load
from refers_bench.manifest.roots import Roots
from refers_bench.plan.expand import expand
from refers_bench.plan.lock import Plan


@pytest.mark.parametrize(("asked", "here", "elsewhere"), [(None, 6, 16), (2, 2, 2), (9, 6, 9), (40, 6, 16)])
def test_processes_of_a_preparation(
    monkeypatch: pytest.MonkeyPatch, asked: int | None, here: int, elsewhere: int
) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 6)
    plan = Plan(name="m", execution={"prepare_processes": asked})
    assert preparing_processes(plan) == here
    assert preparing_processes(plan, elsewhere=True) == elsewhere


MANIFEST = """
version: 1
protocol: {preset: smoke, overrides: {pretrain: {processes: 2, steps: 1000000, batch_size: 8}}}
data: {phantom: {phantom: {studies: 20, size: 40}}}
source: {dataset: phantom}
methods: [lsp_transformer]
targets: [{dataset: phantom, tasks: [findings]}]
seeds: [0]
"""


def test_a_pre_training_in_two_processes_costs_two_slots_on_a_cluster(tmp_path: Path) -> None:
    """Its million updates are nearly all that the row takes: in slots of this machine it costs half as much."""
    (tmp_path / "m.yaml").write_text(MANIFEST)
    plan = expand(load(tmp_path / "m.yaml"), Roots())
    settings = Settings(results_option=tmp_path / "results", cache_option=tmp_path / "cache")
    how = RunSettings(results=settings.results, cache=settings.cache, slots=[Slot(device="cpu")], threads=1)
    seconds = {}
    for fixed in (True, False):
        said: list[str] = []
        changes = running_order(settings, plan, plan.jobs, how, budget="100h", fixed=fixed, say=said.append)
        assert changes["budget_s"] == 360000.0 and ("cost" in changes) is not fixed
        found = re.search(r"lsp_transformer +(\d+) min (\d+) s,", text := "\n".join(said))
        assert found is not None, text
        seconds[fixed] = 60 * int(found[1]) + int(found[2])
    assert seconds[True] > 120 and seconds[False] == pytest.approx(2 * seconds[True], rel=0.15)
