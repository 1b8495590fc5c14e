"""Runs probes in the workers that would run the jobs, as many at a time."""

from collections.abc import Callable, Sequence

from refers_bench.execution.engine import Attempt, Settings
from refers_bench.execution.local import LocalEngine
from refers_bench.plan.lock import Job

#: Seconds of one wait for probes to end.
TICK_S = 0.25


def probe(
    jobs: Sequence[Job], settings: Settings, progress: Callable[[int, int], None] = lambda done, total: None
) -> dict[str, str]:
    """Run probes; each leaves its measurement below the results, or a reason why it has none.

    No lease is taken and nothing published: two processes that probe one shape at once both measure it.

    Args:
        jobs: of kind "probe".
        settings: folders, roots, slots and threads of the jobs that are forecast.
        progress: called with (done, total) now and then.

    Returns:
        Key of each probe that failed -> category and message.
    """
    engine, waiting, running, failed = LocalEngine(settings), list(jobs), 0, dict[str, str]()
    with engine.opened():
        while waiting or running:
            for job in waiting[: engine.room()]:
                engine.start([Attempt(job=job)])
                running += 1
                waiting.remove(job)
            for ending in engine.wait(TICK_S):
                running -= 1
                if ending.category != "ok":
                    failed[ending.key] = f"{ending.category}: {ending.message}"
            progress(len(jobs) - len(waiting) - running, len(jobs))
    return failed
