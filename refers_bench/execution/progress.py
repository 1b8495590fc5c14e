"""Shows people what runs, has ended and is left: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import sys
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TextIO

from refers_bench.plan.lock import Job
from refers_bench.printable import printable
from refers_bench.render.duration import duration

if TYPE_CHECKING:
    from rich.live import Live


def facts_of(view: Mapping[str, Any]) -> dict[str, str]:
    """Texts of what a running job reports about its training; '' for what it does not report."""
    return {
        "update": f"{view.get('step', 0)}/{view.get('steps', '?')}" if view else "",
        "losses": " ".join(f"{name} {value:.3f}" for name, value in view.get("losses", {}).items()),
        "images/s": f"{view['images_per_s']:.0f}" if view.get("images_per_s") else "",
        "left": duration(view["left_s"]) if "left_s" in view else "",
    }


def fitted(name: str, facts: Mapping[str, str], width: int) -> list[str]:
    """A running job in one line of so many columns, or in two: its name, then its facts, of which losses go first.

    A name that is too long loses its middle; nothing else is cut.
    """
    whole = in_line(name, facts)
    if len(whole) <= width:
        return [whole]
    losses = facts["losses"].split(" ")
    # Pairs of name and value; the total comes last.
    kept = [" ".join(losses[place:]) for place in range(0, len(losses), 2)] + [""]
    texts = (in_line("", {**facts, "losses": one}).removeprefix(": ") for one in kept)
    text = next((text for text in texts if len(text) + 2 <= width), "")
    room = width - 1
    short = name if len(name) <= room else f"{name[: room // 2 - 1]}...{name[len(name) - (room - room // 2 - 2) :]}"
    return [f"{short}:", f"  {text}"[:width]] if text else [f"{short}:"]


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
        figure: what a job that has ended came to, in words; '' for nothing.
    """

    def __init__(
        self,
        total: int,
        out: TextIO | None = None,
        *,
        every_s: float = 30.0,
        figure: Callable[[Job], str] = lambda job: "",
    ) -> None:
        self.total, self.out, self.every_s, self.figure = total, out or sys.stderr, every_s, figure
        #: When running jobs were last shown; at first as soon as one runs.
        self.ended_count, self.shown = 0, -math.inf
        self.spent: dict[str, list[float]] = defaultdict(list)
        self.running: dict[str, tuple[str, float]] = {}

    def write(self, text: str) -> None:
        """Print a line at once."""
        print(printable(text), file=self.out, flush=True)

    def eta(self, running: Mapping[str, Mapping[str, Any]], left: Mapping[str, int]) -> str:
        """Rough time left: jobs of a kind take what those of that kind took; '' before that is known.

        Jobs that run share the time left evenly, and the whole takes at least as long as any of them.
        """
        usual = {kind: sum(seconds) / len(seconds) for kind, seconds in self.spent.items()}
        if not left.keys() <= usual.keys():
            return ""
        need, now = sum(count * usual[kind] for kind, count in left.items()), time.monotonic()
        longest = 0.0
        for name, view in running.items():
            kind, since = self.running.get(name, ("", now))
            if "left_s" in view:  # as the job knows it, which may have been resumed
                own = float(view["left_s"])
            elif kind in usual:
                own = max(0.0, usual[kind] - (now - since))
            else:
                return ""
            need, longest = need + own, max(longest, own)
        return duration(max(longest, need / max(1, len(running))))

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
        text = self.figure(job) if category == "ok" else message.partition("\n")[0][:160]
        line = f"[{self.ended_count}/{self.total}] {category:<10} {duration(seconds):>10}  {job.name}"
        self.write(f"{line}  {text}" if text else line)

    def tick(self, running: Mapping[str, Mapping[str, Any]], left: Mapping[str, int]) -> None:
        """What runs: at once when the first does, then now and then."""
        if running and time.monotonic() - self.shown >= self.every_s:
            self.shown = time.monotonic()
            for name, view in running.items():
                self.write(f"  running {line_of(name, view)}")
            self.write(f"  {self.waiting(running, left)}")

    def close(self) -> None:
        """Nothing to tear down."""


class LiveView(PlainView):
    """A rich display: a bar over all jobs and a line or two for each running one; endings scroll above it."""

    #: Lines about ended jobs that are printed again where the terminal's size has changed.
    KEPT = 200

    def __init__(self, total: int, *, figure: Callable[[Job], str] = lambda job: "") -> None:
        super().__init__(total, figure=figure)
        from rich.console import Console

        self.console = Console(stderr=True)
        self.written: deque[str] = deque(maxlen=self.KEPT)
        self.size = self.console.size
        self.live = self._started()

    def _started(self) -> Live:
        from rich.live import Live

        live = Live(console=self.console, refresh_per_second=4, transient=True)
        live.start()
        return live

    def write(self, text: str) -> None:
        """Print above the display."""
        text = printable(text)
        self.written.append(text)
        self.console.print(text, markup=False, highlight=False)

    def tick(self, running: Mapping[str, Mapping[str, Any]], left: Mapping[str, int]) -> None:
        """Redraw."""
        from rich.console import Group
        from rich.padding import Padding
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        self._resized()
        width, height = self.size
        head = f"{self.ended_count} of {self.total} jobs, {self.waiting(running, left)}"
        # The last column stays free: a sign there moves the cursor on in some terminals.
        lines = [printable(line) for name, view in running.items() for line in _lines_of(name, view, width - 1)]
        room = max(1, height - 4)
        if len(lines) > room:
            lines = [*lines[: room - 1], f"... {len(running)} jobs run"]
        bar = ProgressBar(total=max(1, self.total), completed=self.ended_count, width=min(60, width - 1))
        # A bar ends no line by itself; padding does.
        texts = [Text(line, overflow="crop", no_wrap=True) for line in lines]
        self.live.update(Group(Text(head, overflow="fold"), Padding(bar, 0), *texts))

    def _resized(self) -> None:
        """Draw everything anew where the size has changed: terminals differ in how they wrap what stood there."""
        if self.console.size == self.size:
            return
        self.size = self.console.size
        self.live.stop()
        self.console.clear()
        for text in list(self.written)[-self.size.height :]:
            self.console.print(text, markup=False, highlight=False)
        self.live = self._started()

    def close(self) -> None:
        """Take the display away."""
        self.live.stop()


def _lines_of(name: str, view: Mapping[str, Any], width: int) -> list[str]:
    return fitted(printable(name), facts_of(view) if view else {"losses": "", "state": "starting"}, width)


def view(total: int, *, figure: Callable[[Job], str] = lambda job: "") -> PlainView:
    """The live view on a terminal, plain lines otherwise; see `PlainView`."""
    kind: type[LiveView | PlainView] = LiveView if sys.stderr.isatty() else PlainView
    return kind(total, figure=figure)
