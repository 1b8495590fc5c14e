"""Counts the slots of an executor elsewhere, and asks whether queued jobs are to be cancelled."""

import sys

import click

from refers_bench.execution.engine import Slot
from refers_bench.plan.lock import Plan

#: Slots that a cluster counts as where nothing is known of it: the order of jobs and forecasts go by them.
ASSUMED = 8


def slots_elsewhere(plan: Plan, executor: str, device: str, slots: int | None) -> list[Slot]:
    """The slots that an executor counts as which does not run jobs in those of this machine.

    Args:
        plan: says how many jobs the executor runs at a time.
        executor: name of the engine.
        device: "auto", "cpu" or "cuda".
        slots: how many are asked for: they are another machine's own.
    """
    if slots is not None:
        raise click.UsageError(f"--slots: of this machine only; the executor {executor} has places of its own")
    count = (plan.execution.get(executor) or {}).get("throttle") or ASSUMED
    return [Slot(device="cpu" if device == "cpu" else "cuda")] * count


def confirmed(question: str) -> bool:
    """Ask on a terminal; elsewhere, and when interrupted again, the answer is no."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    try:
        return click.confirm(question, default=False, err=True)
    except (click.Abort, KeyboardInterrupt):
        return False
