"""A terminal of 60, 80 or 120 columns shows whole lines of what runs, also after its size has changed."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import pyte
import pytest

ROWS = 24
#: Two jobs run, up to four others end, two of them once the terminal has the size of the third argument, if any:
#: what a coordinator says of them, ten times a second.
SHOWN = """
import os, sys, time
from refers_bench.execution.progress import view
from refers_bench.plan.lock import Job
shown = view(9)
view = {"step": 112, "steps": 2000, "images_per_s": 166.0, "left_s": 735.0,
        "losses": {"report_generation": 4.934, "study_report_consistency": 3.458, "total": 8.392}}
running = {"pretrain.refers_generation.mimic_cxr_jpg": view, "covid.covid19_idc.viral_vs_bacterial.100%.s0": {}}
ended, wanted = 0, int(sys.argv[3]) if len(sys.argv) > 3 else os.get_terminal_size().columns
for number in range(int(sys.argv[1])):
    if number % 3 == 2 and ended < (4 if os.get_terminal_size().columns == wanted else 2):
        job = Job(key=str(number), kind="finetune", name=f"scratch.covid19_idc.covid19_vs_other.100%.s{ended}")
        shown.ended(job, "ok", 12.0, "")
        ended += 1
    shown.tick(running, {"finetune": 6})
    time.sleep(0.1)
if sys.argv[2] == "close":
    shown.close()
"""


class Terminal:
    """A command on a terminal of so many columns, and what its screen shows."""

    def __init__(self, columns: int, *arguments: str) -> None:
        self.screen = pyte.Screen(columns, ROWS)
        self.stream = pyte.ByteStream(self.screen)
        self.master, slave = pty.openpty()
        self._set(columns)
        environment = {
            name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", SHOWN, *arguments], stdin=slave, stdout=slave, stderr=slave,
            env={**environment, "TERM": "xterm-256color"}, start_new_session=True,
        )  # fmt: skip
        os.close(slave)

    def _set(self, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))

    def resize(self, columns: int) -> None:
        """As a window manager does; the emulator keeps what fits, as xterm does."""
        self.screen.resize(ROWS, columns)
        self._set(columns)
        self.process.send_signal(signal.SIGWINCH)

    def read(self, wanted: str, seconds: float = 60.0) -> list[str]:
        """The lines of the screen once `wanted` stands there and nothing more came for a moment."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            ready, _, _ = select.select([self.master], [], [], 0.3)
            try:
                content = os.read(self.master, 65536) if ready else b""
            except OSError:  # the process is over
                break
            self.stream.feed(content)
            # Whole: a frame comes at once, the next a quarter of a second later.
            found = wanted and wanted in "\n".join(self.screen.display)
            if found and not select.select([self.master], [], [], 0.1)[0]:
                break
        return [line.rstrip() for line in self.screen.display if line.strip()]


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_every_fact_of_a_running_job_is_there(columns: int) -> None:
    terminal = Terminal(columns, "600", "stay")
    lines = terminal.read("4 of 9 jobs")
    terminal.process.kill()
    text = "\n".join(lines)
    assert [line for line in lines if line.startswith("[")] == [
        f"[{place + 1}/9] ok               12 s  scratch.covid19_idc.covid19_vs_other.100%.s{place}"[: len(line)]
        for place, line in enumerate(line for line in lines if line.startswith("["))
    ]
    for fact in ("112/2000", "total 8.392", "166 images/s", "12 min 15 s left", "starting"):
        assert fact in text, fact
    assert all(len(line) < columns for line in lines if not line.startswith("["))
    bars = [line for line in lines if set(line) <= set("\u2501\u2578\u257a")]
    assert len(bars) == 1 and "jobs" in lines[lines.index(bars[0]) - 1], "the bar has a line of its own"


@pytest.mark.parametrize(("before", "after"), [(120, 60), (60, 120), (80, 61)])
def test_nothing_stands_twice_after_a_resize(before: int, after: int) -> None:
    terminal = Terminal(before, "600", "stay", str(after))
    terminal.read("2 of 9 jobs")
    terminal.resize(after)
    lines = terminal.read("4 of 9 jobs")
    terminal.process.kill()
    text = "\n".join(lines)
    for once in ("of 9 jobs,", "112/2000", "starting", "[1/9]", "[2/9]", "[3/9]", "[4/9]"):
        assert text.count(once) == 1, f"{once}\n{text}"


def test_the_end_leaves_the_ended_jobs_alone() -> None:
    terminal = Terminal(100, "8", "close")
    assert terminal.process.wait(60) == 0
    assert [line.split()[0] for line in terminal.read("", 2.0)] == ["[1/9]", "[2/9]"]
