"""Runs the jobs of a plan as its manifest says, but for what a caller asks for."""

import contextlib
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from refers_bench.errors import UserError
from refers_bench.execution import engine
from refers_bench.execution.engine import Outcome
from refers_bench.execution.freezing import frozen_lines
from refers_bench.execution.planning import run_options
from refers_bench.execution.settings import Settings
from refers_bench.execution.slots import slots_elsewhere, slots_here
from refers_bench.plan.lock import Job, Plan
from refers_bench.plan.states import state_of


@dataclass(frozen=True, kw_only=True)
class Asked:
    """How a caller wants jobs to run; None for what the manifest says, else the default.

    Attributes:
        executor: "local", "slurm", "ray", "debug", or an engine of another package.
        device: "auto", "cpu" or "cuda".
        slots: jobs at a time, on this machine.
        threads: torch threads of a worker.
        time_limit: of one job, such as "90s", "15m", "2h".
        accumulate: micro-batches that each batch is split into.
        max_jobs: jobs to start at most; None for all.
        budget: spending limit, such as "40gpuh"; None for none.
    """

    executor: str | None = None
    device: str = "auto"
    slots: int | None = None
    threads: int | None = None
    time_limit: str | None = None
    accumulate: int | None = None
    max_jobs: int | None = None
    budget: str | None = None


def run(
    settings: Settings,
    plan: Plan,
    jobs: list[Job],
    asked: Asked,
    *,
    say: Callable[[str], None],
    cancel: Callable[[str], bool] = lambda question: False,
) -> Outcome:
    """Run the jobs that are not done, and show on standard error what runs, and first what deviates from a freeze.

    Args:
        settings: folders and data roots.
        plan: of the manifest.
        jobs: of it that are wanted, done or not.
        asked: how they are to run.
        say: called with a line for the user before the first job starts, and after the last one.
        cancel: asks the user whether jobs that are queued elsewhere are to be cancelled when the run is interrupted.

    Raises:
        UserError: something that is asked for is not possible here.
        StorageError: results or cache cannot be written.
    """
    from refers_bench.execution import coordinator, engines, progress
    from refers_bench.execution.ordering import against_truth, forecast_of, running_order

    for line in frozen_lines(plan, settings.store):
        say(line)
    todo = [job for job in jobs if not job.unavailable and state_of(job, settings.store, settings.cache) != "done"]
    executor, here, in_command, options = options_of(settings, plan, todo, asked)
    order = running_order(settings, plan, todo, options, budget=asked.budget, say=say, fixed=here)
    forecast = forecast_of(settings, plan, todo, options)
    where = f"{len(options.slots)} at a time" if here else f"on {executor}"
    say(f"{plan.name}: {len(todo)} of {len(plan.jobs)} jobs to run, {where}")
    # A display that is drawn again and again would hide a debugger's prompt.
    make = progress.PlainView if in_command else progress.view
    shown = make(len(todo), figure=partial(figure_of, settings.store.root))
    with contextlib.closing(shown) as view:

        def ask(question: str) -> bool:
            view.close()
            return cancel(question)

        options = dataclasses.replace(options, **order, cancel=ask)
        place = engines.make(executor, options, plan.execution, site=settings.roots().engines)
        outcome = coordinator.execute(jobs, place, options, view)
    if line := against_truth(forecast, outcome.done, settings.store):
        say(line)
    return outcome


def figure_of(store: Path, job: Job) -> str:
    """The mean test AUC of a job that has ended, in words: "AUC 73.2 %"; '' for one without.

    Args:
        store: folder of the results store.
        job: that has ended.
    """
    if not (store / job.key / "metrics.parquet").is_file():
        return ""
    from refers_bench.analysis.stored_metrics import read_metrics

    with contextlib.suppress(UserError):
        (metrics,) = read_metrics([job.key], store)
        mean = metrics.mean("test")
        return f"AUC {100 * mean:.1f} %" if mean == mean else ""  # NaN where no class has one
    return ""


def options_of(
    settings: Settings, plan: Plan, todo: list[Job], asked: Asked
) -> tuple[str, bool, bool, engine.Settings]:
    """The engine's name, whether it runs jobs in this machine's slots, and in this process; and the run options.

    Args:
        settings: folders and data roots.
        plan: of the manifest.
        todo: jobs that are still to run.
        asked: how they are to run.
    """
    from refers_bench.execution import engines

    limit = _seconds(asked.time_limit) if asked.time_limit else plan.execution["time_limit"]
    executor = asked.executor or plan.execution["executor"]
    factory = engines.factory(executor)
    here, in_command = (getattr(factory, attribute, False) for attribute in ("here", "in_command"))
    if here:
        slots = slots_here(plan, asked.device, asked.slots)[: 1 if in_command else None]
    else:
        slots = slots_elsewhere(plan, executor, asked.device, asked.slots)
    options = run_options(
        settings,
        plan,
        todo,
        slots,
        device=asked.device,
        max_jobs=asked.max_jobs,
        time_limit=limit,
        processes=plan.execution["prepare_processes"],
        threads=asked.threads or plan.execution["threads"],
        micro_batches=asked.accumulate or plan.execution["accumulate"],
        **({"retries": {}} if in_command else {}),
    )
    return executor, here, in_command, options


def _seconds(duration: str) -> float:
    from refers_bench.manifest.part import seconds

    try:
        return float(seconds(duration))
    except ValueError as error:
        raise UserError(f"--time-limit {duration}", allowed=str(error)) from error
