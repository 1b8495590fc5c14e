"""Prints how many jobs are in which state."""

from collections.abc import Mapping

from refers_bench.cli.echo import echo
from refers_bench.plan.lock import Plan
from refers_bench.plan.states import STATES


def show_counts(plan: Plan, states: Mapping[str, str]) -> None:
    """Print how many jobs of each kind are in each state.

    Args:
        plan: its jobs.
        states: key -> state of each.
    """
    counts: dict[str, dict[str, int]] = {}
    for job in plan.jobs:
        counts.setdefault(job.kind, dict.fromkeys(STATES, 0))[states[job.key]] += 1
    echo(f"{'jobs':<12}" + "".join(f"{state:>13}" for state in STATES))
    for kind, row in counts.items():
        echo(f"{kind:<12}" + "".join(f"{count:>13}" for count in row.values()))
