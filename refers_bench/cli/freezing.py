"""Prints what was frozen of a plan, and what deviates from it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from refers_bench.analysis import frozen_plan
from refers_bench.cli.echo import echo
from refers_bench.errors import UserError
from refers_bench.execution.settings import Settings
from refers_bench.plan.lock import Plan
from refers_bench.render.quantity import quantity
from refers_bench.store import frozen_plan as stored

if TYPE_CHECKING:
    from refers_bench.store.frozen_plan import FrozenPlan

#: Deviations that are printed; the report lists all.
MOST = 20


def show_frozen(settings: Settings, plan: Plan, *, err: bool = False) -> None:
    """Print whether the plan is as it was frozen, or what deviates; nothing where nothing was frozen.

    Args:
        settings: folders.
        plan: of now.
        err: to standard error.
    """
    for line in _lines(settings, plan):
        echo(line, err=err)


def _lines(settings: Settings, plan: Plan) -> Iterator[str]:
    try:
        frozen = stored.find(settings.results, plan.name)
    except UserError as error:  # it hinders no run, and is no plan that anything could be compared with
        yield f"frozen plan: {error}"
        return
    if frozen is None:
        return
    found = frozen_plan.of_store(frozen, plan, settings.store)
    count = quantity(len(found), "deviation") + ":" if found else "nothing deviates"
    yield f"frozen plan of {frozen.frozen}, SHA-256 {frozen.digest[:12]}: {count}"
    yield from (f"  {one}" for one in found[:MOST])
    if len(found) > MOST:
        yield f"  ... {len(found) - MOST} more; the report lists all"


def show_freeze(frozen: FrozenPlan, plan: Plan, settings: Settings, *, new: bool) -> None:
    """Print what `plan --freeze` did, with the whole digest, and what of the plan may still change.

    Args:
        frozen: the frozen plan.
        plan: of now.
        settings: folders.
        new: whether it was written now.
    """
    path = stored.path_of(settings.results, plan.name)
    echo(f"frozen: {path}" if new else f"frozen on {frozen.frozen}, unchanged: {path}")
    echo(f"SHA-256: {frozen.digest}")
    if not new:
        return
    echo("post or commit the digest where others see when: a clock and a file can be set back")
    keys = {cell.key for cell in plan.cells}
    if gone := sum(job.key in keys for job in plan.jobs if job.unavailable):
        echo(f"{quantity(gone, 'cell')} unavailable here: where their data are, their keys may be others", err=True)
