"""Names damaged results on standard error, and gives the exit code of a command that has met any."""

from __future__ import annotations

from collections.abc import Collection

from refers_bench.cli.echo import echo
from refers_bench.errors import Problem

#: Exit code of a command that has met damaged results and has done what could be done without them.
DAMAGED = 1
#: Damaged results that are named, unless all are asked for.
NAMED = 20


def show(problems: Collection[Problem]) -> int:
    """Print a line for each thing that is damaged; `DAMAGED` where there is any, else 0."""
    for problem in list(problems)[:NAMED]:
        echo(f"damaged: {problem}", err=True)
    if len(problems) > NAMED:
        echo(f"{len(problems) - NAMED} more are damaged: 'refers-bench results fsck' lists all", err=True)
    return DAMAGED if problems else 0
