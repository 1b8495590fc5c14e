"""Prints how many jobs are in which state."""

from collections.abc import Mapping

from refers_bench.cli.echo import echo
from refers_bench.plan.imported import imported, sentences
from refers_bench.plan.lock import Plan
from refers_bench.plan.states import STATES
from refers_bench.store.results import ResultStore


def show_counts(plan: Plan, states: Mapping[str, str], store: ResultStore) -> None:
    """Print how many jobs of each kind are in each state, and how many of them were not computed here.

    Args:
        plan: its jobs.
        states: key -> state of each.
        store: results.
    """
    counts: dict[str, dict[str, int]] = {}
    for job in plan.jobs:
        counts.setdefault(job.kind, dict.fromkeys(STATES, 0))[states[job.key]] += 1
    echo(f"{'jobs':<12}" + "".join(f"{state:>13}" for state in STATES))
    for kind, row in counts.items():
        echo(f"{kind:<12}" + "".join(f"{count:>13}" for count in row.values()))
    for sentence in sentences(imported(plan.jobs, store)):
        echo(sentence)
