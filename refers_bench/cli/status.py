"""Shows how far each planned manifest is and what runs right now, from locks, leases and store alone."""

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import click

from refers_bench.cli import completing
from refers_bench.cli.counts import show_counts
from refers_bench.cli.echo import echo
from refers_bench.errors import Problem, UserError, unknown
from refers_bench.execution.settings import Settings
from refers_bench.execution.watching import Pace, hopeless, line, summary, table
from refers_bench.plan import lock, states
from refers_bench.plan.lock import Plan
from refers_bench.plan.running import Running, running, whose
from refers_bench.printable import printable
from refers_bench.store.plan import known_names

#: Last events on a cluster that are shown.
HAPPENED = 20
FAILED = "List failed jobs with their category and last error line, and events of a cluster (killed, requeued)."
WATCH = "Show it again every SECONDS (2 by default) until no job is left that can still run, or Ctrl-C."


@click.command("status")
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=completing.plans)
@click.option("--failed", "show_failed", is_flag=True, help=FAILED)
@click.option("--watch", type=click.FloatRange(min=0.2), is_flag=False, flag_value=2.0, metavar="[SECONDS]", help=WATCH)
@click.pass_obj
def command(settings: Settings, names: tuple[str, ...], show_failed: bool, watch: float | None) -> None:
    """Show how far the planned manifests are (all, or those named) and what runs, without planning again.

    All of it is read from the results folder, so any machine that sees it may ask, whatever runs the jobs and wherever:
    what each running job last reported of its updates, losses, speed and memory, and which process has leased it. A job
    that has not reported anything for a minute is shown as silent.
    """
    known = known_names(settings.results)
    wrong = [unknown("plan", name, known, path=settings.results) for name in names if name not in known]
    if wrong:
        nothing = "none yet: 'refers-bench plan MANIFEST' writes one"
        raise UserError(wrong if known else [replace(one, allowed=nothing) for one in wrong])
    if not known:
        echo(f"nothing has been planned in {settings.results}")
        return
    plans = _Plans(settings, names or tuple(known))
    if watch is not None:
        with contextlib.suppress(KeyboardInterrupt):
            _watch(plans, watch)
    for moment in plans.look():
        _show(settings, moment, show_failed=show_failed)
    if plans.problems:
        raise UserError(plans.problems)


@dataclass(frozen=True, kw_only=True)
class _Moment:
    """A plan at one moment: key -> state of its jobs, those that run, and how many wait in a queue, by whom."""

    plan: Plan
    states: Mapping[str, str]
    leased: list[Running]

    @property
    def running(self) -> list[Running]:
        """Jobs that have left the queue."""
        return [one for one in self.leased if not one.queued]

    @property
    def queued(self) -> list[str]:
        """How many jobs wait in a queue, and which process has queued them."""
        counts = Counter(whose(one.owner).removeprefix("is ") for one in self.leased if one.queued)
        return [f"{count} {by}" for by, count in counts.items()]


@dataclass
class _Plans:
    """The plans that are looked at; each lock is read again only when it has changed."""

    settings: Settings
    names: tuple[str, ...]
    read: dict[str, tuple[int, Plan]] = field(default_factory=dict)
    #: Of several plans, those that could not be read at the last look.
    problems: list[Problem] = field(default_factory=list)

    def look(self) -> Iterator[_Moment]:
        """Every plan as it is now."""
        store = self.settings.store
        seen = states.look(store)
        self.problems = []
        for name in self.names:
            try:
                plan = self._plan(name)
            except UserError as error:
                if len(self.names) == 1:
                    raise
                self.problems += error.problems
                continue
            found = {job.key: states.state_in(job, seen, self.settings.cache) for job in plan.jobs}
            leased = [one for one in running(plan.jobs, seen, store) if found[one.job.key] != "done"]
            yield _Moment(plan=plan, states=found, leased=leased)

    def _plan(self, name: str) -> Plan:
        path = self.settings.results / name / lock.LOCK
        changed = path.stat().st_mtime_ns if path.is_file() else 0
        if name not in self.read or self.read[name][0] != changed:
            self.read[name] = (changed, lock.outline(path))
        return self.read[name][1]


def _show(settings: Settings, moment: _Moment, *, show_failed: bool) -> None:
    """One plan, once."""
    echo(f"{moment.plan.name}: {moment.plan.title}")
    show_counts(moment.plan, moment.states, settings.store)
    lines = [*moment.queued, *(f"running {line(one)}" for one in moment.running)]
    if show_failed:
        for job in moment.plan.jobs:
            if moment.states[job.key] == "failed" and (failure := settings.store.failure(job.key)):
                lines.append(f"failed ({failure['category']}) {job.name}: {failure.get('message', '')}")
        lines += _happened(settings, moment)
    for text in lines:
        echo(f"  {text}")


def _happened(settings: Settings, moment: _Moment) -> list[str]:
    """What a cluster did to tasks with jobs of this plan: killed, requeued, lost."""
    from refers_bench.execution.slurm.events import history

    names = {job.name for job in moment.plan.jobs}
    lines = []
    for event in history(settings.results):
        if mine := [name for name in event["jobs"] if name in names]:
            when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event["time"]))
            more = f" and {len(mine) - 1} more" if len(mine) > 1 else ""
            lines.append(f"{when} {event['what']}: {mine[0]}{more}: {event['message']}")
    return lines[-HAPPENED:]


def _watch(plans: _Plans, seconds: float) -> None:
    """Show the plans again and again until no job is left that can still run."""
    paces: dict[str, Pace] = {}
    with _screen() as show:
        while True:
            now, going = time.monotonic(), False
            heads, runs = [], []
            for moment in plans.look():
                lost = hopeless(moment.plan.jobs, moment.states)
                done = sum(state == "done" for state in moment.states.values())
                pace = paces.setdefault(moment.plan.name, Pace(done, now))
                left = pace.left(done, len(moment.states) - len(lost), now)
                idle = "" if moment.leased or "to do" not in moment.states.values() else "nobody runs it"
                texts = [summary(moment.states), *moment.queued, left, idle]
                heads.append(f"{moment.plan.name}: {', '.join(filter(None, texts))}")
                runs += moment.running
                going |= bool(moment.leased) or done + len(lost) < len(moment.states)
            show(heads, runs)
            if not going:
                return
            time.sleep(seconds)


@contextlib.contextmanager
def _screen() -> Iterator[Any]:
    """A live display on a terminal, plain lines elsewhere: takes a line for each plan, and all jobs that run."""

    def plain(heads: list[str], runs: list[Running]) -> None:
        for head in heads:
            echo(f"{time.strftime('%H:%M:%S')} {head}")
        for one in runs:
            echo(f"  {line(one)}")
        sys.stdout.flush()

    if not sys.stdout.isatty():
        yield plain
        return
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    with Live(console=Console(), auto_refresh=False, transient=True) as live:

        def draw(heads: list[str], runs: list[Running]) -> None:
            clock = Text(f"{time.strftime('%H:%M:%S')}, Ctrl-C ends this")
            live.update(Group(*(Text(printable(head)) for head in heads), table(runs), clock), refresh=True)

        yield draw
