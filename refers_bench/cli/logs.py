"""Shows what a job printed, while it runs and after."""

import contextlib
import time
from pathlib import Path

import click

from refers_bench.cli import completing
from refers_bench.cli.echo import echo, echo_lines
from refers_bench.errors import UserError
from refers_bench.execution.settings import Settings
from refers_bench.plan import lookup
from refers_bench.plan.lock import Job
from refers_bench.plan.running import whose
from refers_bench.plan.states import owner_of, state_of
from refers_bench.store.job_logs import Follower, tail

#: Seconds between looks, and for how long no process may hold a job that was seen running before it counts as over:
#: between two attempts there is a moment in which none does.
LOOK_S, OVER_S = 0.5, 3.0
#: Exit codes of following, as of `run`.
INCOMPLETE, FAILED = 3, 4


@click.command("logs")
@click.argument("cell", metavar="CELL", shell_complete=completing.cells)
@click.option("-f", "--follow", is_flag=True, help="Go on until the job ends (Ctrl-C ends this, not the job).")
@click.option("--lines", type=click.IntRange(min=0), default=200, metavar="N", help="The last N; 0 for all.")
@click.pass_obj
def command(settings: Settings, cell: str, follow: bool, lines: int) -> int:
    """Show what the job of CELL (a name, a pattern or a key) printed, over all its attempts.

    RESULTS/logs/<key>.txt holds everything that its worker, its libraries and their child processes wrote, with the
    start and end of each attempt; a log of more than a megabyte loses its middle. Works from any machine that sees
    the results. Of jobs of one name in several manifests, the one with the newest log is shown.

    \b
    Exit codes with -f: 0 done, 3 nobody runs it any more, 4 failed.
    """
    found = lookup.several(settings.results, cell)
    shown = max(found, key=lambda one: _written(settings.store.log(one.job.key)))
    job, path = shown.job, settings.store.log(shown.job.key)
    if len(found) > 1:
        others = ", ".join(f"{one.manifest}, key {one.job.key}" for one in found if one is not shown)
        echo(f"{job.name} of {shown.manifest}, whose log is the newest; not shown: {others}", err=True)
    if path.is_dir():
        raise UserError("a folder instead of a log", allowed="a file; move the folder elsewhere", path=path)
    follower = Follower(path)
    if path.is_file():
        follower.seen = path.stat().st_size
        for line in tail(path, lines):
            echo_lines(line)
    elif not follow:
        echo(f"no log: {_standing(settings, job)[0]}", err=True)
    return _follow(settings, job, follower) if follow else 0


def _written(log: Path) -> float:
    """When a log was last written to; 0 where there is none."""
    with contextlib.suppress(OSError):
        return log.stat().st_mtime
    return 0.0


def _standing(settings: Settings, job: Job) -> tuple[str, str, bool]:
    """A sentence on a job (who runs it, or why it failed or cannot run), its state, whether a process has leased it."""
    store = settings.store
    owner, state = owner_of(job.key, store), state_of(job, store, settings.cache)
    if owner and state != "done":
        return f"{job.name} {whose(owner)}", state, True
    if state == "failed" and (failure := store.failure(job.key)):
        return f"{job.name} failed ({failure['category']}): {failure.get('message', '')}", state, False
    return f"{job.name} is {state}" + (f": {job.unavailable}" if state == "unavailable" else ""), state, False


def _follow(settings: Settings, job: Job, follower: Follower) -> int:
    """Print what comes until the job is over; the exit code."""
    said, began, alone_since = "", False, time.monotonic()
    while True:
        text, state, leased = _standing(settings, job)
        began = began or state == "running"
        alone_since = time.monotonic() if leased else alone_since
        alone = time.monotonic() - alone_since > OVER_S
        over = state in ("done", "unavailable") or (alone and (began or state == "failed"))
        for line in follower.new(rest=over):
            echo_lines(line)
        if text != said and (over or leased or not began):
            echo(text, err=True)
            said = text
        if over:
            return {"done": 0, "failed": FAILED}.get(state, INCOMPLETE)
        time.sleep(LOOK_S)
