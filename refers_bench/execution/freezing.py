"""Says whether a plan is as it was frozen, or what deviates from that."""

from __future__ import annotations

from collections.abc import Iterator

from refers_bench.errors import UserError
from refers_bench.plan.lock import Plan
from refers_bench.render.quantity import quantity
from refers_bench.store import frozen_plan
from refers_bench.store.results import ResultStore

#: Deviations that are listed; the report lists all.
MOST = 20


def frozen_lines(plan: Plan, store: ResultStore) -> Iterator[str]:
    """Lines for the user; nothing where nothing was frozen.

    Args:
        plan: of now.
        store: of the results, beside whose folder the frozen plan lies.
    """
    try:
        frozen = frozen_plan.find(store.results, plan.name)
    except UserError as error:  # it hinders no run, and is no plan that anything could be compared with
        yield f"frozen plan: {error}"
        return
    if frozen is None:
        return
    from refers_bench.analysis.frozen_plan import of_store

    found = of_store(frozen, plan, store)
    count = f"{quantity(len(found), 'deviation')}:" if found else "nothing deviates"
    yield f"frozen plan of {frozen.frozen}, SHA-256 {frozen.digest[:12]}: {count}"
    yield from (f"  {one}" for one in found[:MOST])
    if len(found) > MOST:
        yield f"  ... {len(found) - MOST} more; the report lists all"
