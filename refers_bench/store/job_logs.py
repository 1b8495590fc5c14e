"""Reads and shortens the logs of jobs: what a job printed, over all its attempts.

Every job has one log, ``<results>/logs/<key>.txt``, whether it runs, is done or has failed. Attempts follow one
another; each begins and ends with a line of its own. A log that becomes too long loses its middle: the beginning says
how the job came to run, the end how it ended. Logs are for people: no result depends on them, and they may be deleted.
"""

import os
from collections.abc import Iterator
from pathlib import Path

#: Bytes a log may have before its middle is removed, and bytes that are kept of its beginning and of its end.
MOST, FIRST, LAST = 1 << 20, 1 << 17, 1 << 19
#: Bytes in which the end of a line is searched; progress bars have none.
LINE = 1 << 12
#: Lines that this package writes into a log begin with it.
MARK = "== "


def shorten(path: Path) -> bool:
    """Remove the middle of a log that has become too long, in place: a process that writes goes on at its end.

    What is written between reading and cutting is lost with the middle.

    Returns:
        Whether it was too long.
    """
    if path.stat().st_size <= MOST:
        return False
    with path.open("r+b") as log:
        size = log.seek(0, os.SEEK_END)
        log.seek(FIRST)
        head_end = FIRST + len(log.readline(LINE))
        log.seek(max(head_end, size - LAST))
        log.readline(LINE)
        start = log.tell()
        tail = log.read()
        log.seek(head_end)
        log.write(f"{MARK}{start - head_end:,} bytes are left out here\n".encode())
        log.write(tail)
        log.truncate()
    return True


def tail(path: Path, lines: int) -> list[str]:
    """The last lines of a log, all of them for 0.

    Raises:
        FileNotFoundError: there is none.
    """
    text = path.read_bytes().decode(errors="replace").splitlines()
    return text[-lines:] if lines else text


class Follower:
    """Returns the lines that a log has gained.

    Args:
        path: of the log, which need not exist yet.
        seen: bytes that were shown already.
    """

    def __init__(self, path: Path, *, seen: int = 0) -> None:
        self.path, self.seen = path, seen

    def new(self, *, rest: bool = False) -> Iterator[str]:
        """Lines that were written since the last call.

        Args:
            rest: also a last line that has no end yet.
        """
        try:
            with self.path.open("rb") as log:
                size = log.seek(0, os.SEEK_END)
                if size < self.seen:  # the middle was removed, or the log was deleted
                    yield f"{MARK}the log was shortened; it goes on at its end"
                    self.seen = size
                log.seek(self.seen)
                text = log.read()
        except FileNotFoundError:
            return
        whole = len(text) if rest else text.rfind(b"\n") + 1
        self.seen += whole
        yield from text[:whole].decode(errors="replace").splitlines()
