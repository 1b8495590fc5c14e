"""In how many processes a forecast lets images be prepared."""

from __future__ import annotations

import pytest

from refers_bench import machine
from refers_bench.cli import forecasting
from refers_bench.plan.lock import Plan


@pytest.mark.parametrize(("asked", "here", "elsewhere"), [(None, 6, 16), (2, 2, 2), (9, 6, 9), (40, 6, 16)])
def test_processes_of_a_preparation(
    monkeypatch: pytest.MonkeyPatch, asked: int | None, here: int, elsewhere: int
) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 6)
    plan = Plan(name="m", execution={"prepare_processes": asked})
    assert forecasting._processes(plan) == here
    assert forecasting._processes(plan, elsewhere=True) == elsewhere
