"""A command on a pseudo-terminal, and all that it wrote there."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Sequence

#: What rich itself writes: colours, cursor moves, and which lines are erased.
_OURS = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


def written(arguments: Sequence[str | bytes], *, columns: int = 160, seconds: float = 60.0) -> tuple[int, bytes]:
    """Exit code of ``refers-bench ARGUMENTS`` on a terminal of so many columns, and the bytes that it wrote there."""
    master, slave = pty.openpty()
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-m", "refers_bench", *arguments], stdin=slave, stdout=slave, stderr=slave,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns)}, start_new_session=True,
    ) as process:  # fmt: skip
        os.close(slave)
        content, end = b"", time.monotonic() + seconds
        with contextlib.suppress(OSError):  # the process is over
            while select.select([master], [], [], max(0.0, end - time.monotonic()))[0]:
                content += os.read(master, 65536)
        if process.poll() is None and time.monotonic() > end:
            process.kill()
        code = process.wait()
    os.close(master)
    return code, content


def obeyed(content: bytes, *, styled: bool = False) -> list[str]:
    """Signs in `content` that a terminal would obey, line ends excepted; with `styled`, what rich writes as well."""
    text = (_OURS.sub(b"", content) if styled else content).decode("utf-8", errors="surrogateescape")
    return [sign for sign in text if not sign.isprintable() and sign not in "\r\n"]
