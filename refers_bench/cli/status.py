"""Show how far each planned manifest is and what runs right now, from locks, claims and store alone."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from refers_bench.cli.planning import show_counts, tallied
from refers_bench.cli.settings import Settings

if TYPE_CHECKING:
    from refers_bench.plan.lock import Plan
    from refers_bench.plan.running import Running
    from refers_bench.plan.states import Seen
    from refers_bench.store.results import ResultStore


#: Last events on a cluster that are shown.
HAPPENED = 20


@click.command("status")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--failed",
    "show_failed",
    is_flag=True,
    help="List failed jobs with their category and last error line, and what a cluster did to tasks.",
)
@click.option(
    "--watch",
    type=click.FloatRange(min=0.2),
    is_flag=False,
    flag_value=2.0,
    metavar="[SECONDS]",
    help="Look again every so many seconds (2 by default) until nothing is left that can still come, or Ctrl-C.",
)
@click.pass_obj
def command(settings: Settings, names: tuple[str, ...], show_failed: bool, watch: float | None) -> None:
    """Show how far the planned manifests are (all, or those named) and what runs, without planning again.

    All of it is read from the results folder, so any machine that sees it may ask, whatever runs the jobs and wherever:
    what each running job last said of its updates, losses, speed and memory, and who has claimed it. A job that has
    not said anything for a minute is shown as silent.
    """
    from refers_bench.errors import UserError, unknown
    from refers_bench.store.plan import known_names

    known = known_names(settings.results)
    wrong = [unknown("plan", name, known) for name in names if name not in known]
    if wrong:
        raise UserError(wrong)
    if not known:
        click.echo(f"nothing has been planned in {settings.results}")
        return
    plans = _Plans(settings, names or tuple(known))
    if watch is not None:
        with contextlib.suppress(KeyboardInterrupt):
            _watch(plans, watch)
    for plan in plans.look():
        _show(plan, plans.store, show_failed=show_failed)


@dataclass(frozen=True, kw_only=True)
class _Moment:
    """A plan at one moment: key -> state of its jobs, and those that somebody is at."""

    plan: Plan
    states: Mapping[str, str]
    running: list[Running]


@dataclass
class _Plans:
    """The plans that are looked at; each lock is read again only when it has changed."""

    settings: Settings
    names: tuple[str, ...]
    read: dict[str, tuple[int, Plan]] = field(default_factory=dict)

    @property
    def store(self) -> ResultStore:
        from refers_bench.store.results import ResultStore

        return ResultStore(self.settings.results)

    def look(self) -> Iterator[_Moment]:
        """Every plan as it is now."""
        from refers_bench.plan import states

        seen = states.look(self.store)
        for name in self.names:
            yield self._moment(self._plan(name), seen)

    def _plan(self, name: str) -> Plan:
        from refers_bench.plan import lock

        path = self.settings.results / name / lock.LOCK
        changed = path.stat().st_mtime_ns if path.is_file() else 0
        if name not in self.read or self.read[name][0] != changed:
            self.read[name] = (changed, lock.outline(path))
        return self.read[name][1]

    def _moment(self, plan: Plan, seen: Seen) -> _Moment:
        from refers_bench.plan.running import running
        from refers_bench.plan.states import state_in

        found = {job.key: state_in(job, seen, self.settings.cache) for job in plan.jobs}
        at = [one for one in running(plan.jobs, seen, self.store) if found[one.job.key] != "done"]
        return _Moment(plan=plan, states=found, running=at)


def _show(moment: _Moment, store: ResultStore, *, show_failed: bool) -> None:
    """One plan, once."""
    from refers_bench.execution.watching import line

    click.echo(f"{moment.plan.name}: {moment.plan.title}")
    show_counts(tallied(moment.plan, moment.states))
    for text in _queued(moment):
        click.echo(f"  {text}")
    for one in moment.running:
        if not one.queued:
            click.echo(f"  running {line(one)}")
    if show_failed:
        for job in moment.plan.jobs:
            if moment.states[job.key] == "failed" and (failure := store.failure(job.key)):
                click.echo(f"  failed ({failure['category']}) {job.name}: {failure.get('message', '')}")
        for text in _happened(moment, store):
            click.echo(f"  {text}")


def _happened(moment: _Moment, store: ResultStore) -> list[str]:
    """What a cluster did to tasks with jobs of this plan: killed, requeued, lost."""
    from refers_bench.execution.slurm.events import history

    names = {job.name for job in moment.plan.jobs}
    lines = []
    for event in history(store.results):
        if mine := [name for name in event["jobs"] if name in names]:
            when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event["time"]))
            more = f" and {len(mine) - 1} more" if len(mine) > 1 else ""
            lines.append(f"{when} {event['what']}: {mine[0]}{more}: {event['message']}")
    return lines[-HAPPENED:]


def _queued(moment: _Moment) -> list[str]:
    """How many jobs wait in a queue, and who has put them there."""
    from refers_bench.plan.running import whose

    counts: dict[str, int] = {}
    for one in moment.running:
        if one.queued:
            by = whose(one.owner).removeprefix("is ")
            counts[by] = counts.get(by, 0) + 1
    return [f"{count} {by}" for by, count in counts.items()]


# --- again and again ------------------------------------------------------------------------------------------------


def _watch(plans: _Plans, seconds: float) -> None:
    """Show the plans again and again until nothing can come any more."""
    from refers_bench.execution.watching import Pace, hopeless

    paces: dict[str, Pace] = {}
    with _screen() as show:
        while True:
            now, going = time.monotonic(), False
            heads, runs = [], []
            for moment in plans.look():
                lost = hopeless(moment.plan.jobs, moment.states)
                done = sum(state == "done" for state in moment.states.values())
                pace = paces.setdefault(moment.plan.name, Pace(done, now))
                heads.append((moment, pace.left(done, len(moment.states) - len(lost), now)))
                runs += moment.running
                going |= bool(moment.running) or done + len(lost) < len(moment.states)
            show(heads, runs)
            if not going:
                return
            time.sleep(seconds)


@contextlib.contextmanager
def _screen() -> Iterator[Any]:
    """A live display on a terminal, plain lines elsewhere: takes (moment, time left) of each plan and all that runs."""
    from refers_bench.execution.watching import line, summary, table

    def head(moment: _Moment, left: str) -> str:
        idle = "" if moment.running or "to do" not in moment.states.values() else "nobody runs it"
        said = [summary(moment.states), *_queued(moment), left, idle]
        return f"{moment.plan.name}: {', '.join(text for text in said if text)}"

    def plain(heads: list[tuple[_Moment, str]], runs: list[Running]) -> None:
        for moment, left in heads:
            click.echo(f"{time.strftime('%H:%M:%S')} {head(moment, left)}")
        for one in runs:
            if not one.queued:
                click.echo(f"  {line(one)}")
        sys.stdout.flush()

    if not sys.stdout.isatty():
        yield plain
        return
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    with Live(console=Console(), auto_refresh=False, transient=True) as live:

        def draw(heads: list[tuple[_Moment, str]], runs: list[Running]) -> None:
            lines = [Text(head(moment, left)) for moment, left in heads]
            clock = Text(f"{time.strftime('%H:%M:%S')}, Ctrl-C ends this")
            live.update(Group(*lines, table([one for one in runs if not one.queued]), clock), refresh=True)

        yield draw
