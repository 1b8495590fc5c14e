"""Freezes a plan before anything of it has run; a plan that has results is not frozen, and none is frozen twice."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from refers_bench import __version__
from refers_bench.errors import UserError
from refers_bench.plan.lock import Plan
from refers_bench.plan.states import look
from refers_bench.store import frozen_plan
from refers_bench.store.frozen_plan import FrozenPlan
from refers_bench.store.results import ResultStore


class Freeze(NamedTuple):
    """What a plan is frozen as.

    Attributes:
        plan: as it is frozen: that of the file which is there, or a new one.
        new: whether it is still to be written.
    """

    plan: FrozenPlan
    new: bool


def ready(plan: Plan, store: ResultStore) -> Freeze:
    """What a plan is to be frozen as; nothing is written here.

    Args:
        plan: of now.
        store: results; with a file of an earlier freeze in the plan's folder, if there was one.

    Raises:
        UserError: another one is there, or one that is damaged; or results of the plan's cells are there already.
    """
    path = frozen_plan.path_of(store.results, plan.name)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    new = frozen_plan.of(plan, at=at, program=f"refers-bench {__version__}")
    if (before := frozen_plan.find(store.results, plan.name)) is not None:
        if not new.same(before):
            found = f"another plan was frozen on {before.frozen}; 'plan' without --freeze lists what differs"
            raise UserError(found, allowed="the plan as it was frozen; or to remove this file by hand first", path=path)
        return Freeze(before, new=False)
    _refuse(plan, store, path)
    return Freeze(new, new=True)


def _refuse(plan: Plan, store: ResultStore, path: Path) -> None:
    seen = look(store)
    cells = {cell.key: cell.name for cell in plan.cells}
    done = [key for key in cells if key in seen.listing.done]
    running = [key for key in cells if key in seen.owners and key not in seen.listing.done]
    if done or running:
        counts = [f"{len(keys)} {words}" for keys, words in ((done, "with a result"), (running, "running")) if keys]
        found = f"of {len(cells)} cells {' and '.join(counts)}, such as {cells[(done or running)[0]]}"
        raise UserError(found, allowed="to freeze a plan before any of its cells has run", path=path)
