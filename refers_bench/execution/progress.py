"""Shows people what runs, has ended and is left: a live view on a terminal, plain lines elsewhere."""

import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, TextIO

from refers_bench.plan.lock import Job
from refers_bench.render.duration import duration


def facts_of(view: Mapping[str, Any]) -> dict[str, str]:
    """Texts of what a running job reports about its training; '' for what it does not report."""
    return {
        "update": f"{view.get('step', 0)}/{view.get('steps', '?')}" if view else "",
        "losses": " ".join(f"{name} {value:.3f}" for name, value in view.get("losses", {}).items()),
        "images/s": f"{view['images_per_s']:.0f}" if view.get("images_per_s") else "",
        "left": duration(view["left_s"]) if "left_s" in view else "",
    }


def in_line(name: str, facts: Mapping[str, str]) -> str:
    """A running job in one line, with those of its facts that are known."""
    forms = {"images/s": "{} images/s", "left": "{} left", "GPU": "GPU {} busy"}
    return f"{name}: {', '.join(forms.get(what, '{}').format(text) for what, text in facts.items() if text)}"


def line_of(name: str, view: Mapping[str, Any]) -> str:
    """A running job in one line: step, losses, images a second, time left."""
    return in_line(name, facts_of(view)) if view else f"{name}: starting"


class PlainView:
    """One line when a job ends, and one every `every_s` seconds for those that run.

    Args:
        total: jobs to run.
        out: where lines go.
        every_s: seconds between progress lines.
    """

    def __init__(self, total: int, out: TextIO | None = None, *, every_s: float = 30.0) -> None:
        self.total, self.out, self.every_s = total, out or sys.stderr, every_s
        self.ended_count, self.shown = 0, time.monotonic()
        self.spent: dict[str, list[float]] = defaultdict(list)
        self.running: dict[str, tuple[str, float]] = {}

    def write(self, text: str) -> None:
        """Print a line at once."""
        print(text, file=self.out, flush=True)

    def eta(self, running: Mapping[str, Mapping[str, Any]], left: Mapping[str, int]) -> str:
        """Rough time left: jobs of a kind take what those of that kind took; '' before that is known.

        Jobs that run share the time left evenly: the last ones of a run may leave workers idle.
        """
        usual = {kind: sum(seconds) / len(seconds) for kind, seconds in self.spent.items()}
        if not left.keys() <= usual.keys():
            return ""
        need, now = sum(count * usual[kind] for kind, count in left.items()), time.monotonic()
        for name, view in running.items():
            kind, since = self.running.get(name, ("", now))
            passed, share = now - since, view.get("step", 0) / max(1, view.get("steps", 1))
            if share > 0:
                need += passed / share - passed
            elif kind in usual:
                need += max(0.0, usual[kind] - passed)
            else:
                return ""
        return duration(need / max(1, len(running)))

    def waiting(self, running: Mapping[str, Mapping[str, Any]], left: Mapping[str, int]) -> str:
        """How many wait, and about how long it will take."""
        eta = self.eta(running, left)
        return f"{sum(left.values())} waiting" + (f", about {eta} left" if eta else "")

    def started(self, job: Job) -> None:
        """Nothing is printed: short jobs would double the lines."""
        self.running[job.name] = (job.kind, time.monotonic())

    def ended(self, job: Job, category: str, seconds: float, message: str) -> None:
        """One line."""
        self.ended_count += 1
        self.running.pop(job.name, None)
        self.spent[job.kind].append(seconds)
        reason = "" if category == "ok" else f"  {message.splitlines()[0][:160] if message else ''}"
        self.write(f"[{self.ended_count}/{self.total}] {category:<10} {duration(seconds):>10}  {job.name}{reason}")

    def tick(self, running: Mapping[str, Mapping[str, Any]], left: Mapping[str, int]) -> None:
        """What runs, now and then."""
        if time.monotonic() - self.shown >= self.every_s:
            self.shown = time.monotonic()
            for name, view in running.items():
                self.write(f"  running {line_of(name, view)}")
            self.write(f"  {self.waiting(running, left)}")

    def close(self) -> None:
        """Nothing to tear down."""


class LiveView(PlainView):
    """A rich display: a bar over all jobs and a line for each running one; endings scroll above it."""

    def __init__(self, total: int) -> None:
        super().__init__(total)
        from rich.console import Console
        from rich.live import Live

        self.console = Console(stderr=True)
        self.live = Live(console=self.console, refresh_per_second=4, transient=True)
        self.live.start()

    def write(self, text: str) -> None:
        """Print above the display."""
        self.console.print(text, markup=False, highlight=False)

    def tick(self, running: Mapping[str, Mapping[str, Any]], left: Mapping[str, int]) -> None:
        """Redraw."""
        from rich.console import Group
        from rich.padding import Padding
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        lines = [Text(line_of(name, view), overflow="ellipsis", no_wrap=True) for name, view in running.items()]
        head = Text(f"{self.ended_count} of {self.total} jobs, {self.waiting(running, left)}")
        bar = ProgressBar(total=max(1, self.total), completed=self.ended_count, width=60)
        # A bar ends no line by itself; padding does.
        self.live.update(Group(head, Padding(bar, 0), *lines))

    def close(self) -> None:
        """Take the display away."""
        self.live.stop()


def view(total: int) -> PlainView:
    """The live view on a terminal, plain lines otherwise."""
    return LiveView(total) if sys.stderr.isatty() else PlainView(total)
