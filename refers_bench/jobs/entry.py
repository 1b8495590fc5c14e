"""Runs the recipe of a job: the only place where workers reach code that needs torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from refers_bench import plugins
from refers_bench.errors import UserError, unknown
from refers_bench.training import arithmetic

if TYPE_CHECKING:
    from refers_bench.store.context import JobContext

#: Kind of job -> its recipe, imported when a job of the kind runs.
RECIPES: Mapping[str, str] = {
    "prepare": "refers_bench.jobs.prepare:run",
    "discover": "refers_bench.jobs.discover:run",
    "pretrain": "refers_bench.jobs.pretrain:run",
    "finetune": "refers_bench.jobs.finetune:run",
    "out_of_fold": "refers_bench.jobs.out_of_fold:run",
    "features": "refers_bench.jobs.features:run",
    "heads": "refers_bench.jobs.heads:run",
    "frozen": "refers_bench.jobs.frozen:run",
    "attend": "refers_bench.jobs.explain.attend:run",
    "localise": "refers_bench.jobs.explain.localise:run",
    "probe": "refers_bench.jobs.probe:run",
}


def run(job: Mapping[str, Any], context: JobContext) -> None:
    """Run one job of a plan to its published result, or raise.

    Args:
        job: entry of ``plan.lock.json``'s ``jobs``: key, kind, name, needs, spec.
        context: folders and device.

    Raises:
        UserError: unknown kind.
        DataError: a data file cannot be used, or the data changed since planning.
        NotFiniteLoss: a loss became NaN or infinite.
        StorageError: results cannot be written.
    """
    context.use_plugins()
    arithmetic.choose(context.arithmetic, context.device)
    # cuBLAS reads this variable when CUDA starts; without it matrix products may differ from run to run.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    recipe_of(job["kind"])(job, context)


def recipe_of(kind: str) -> Callable[[Mapping[str, Any], JobContext], None]:
    """The recipe of a kind of job.

    Raises:
        UserError: unknown kind.
    """
    if kind not in RECIPES:
        raise UserError(unknown("kind of job", kind, RECIPES))
    recipe: Callable[[Mapping[str, Any], JobContext], None] = plugins.resolve(RECIPES[kind])
    return recipe
