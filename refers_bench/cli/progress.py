"""Reports how far something is that takes more than a second."""

import time
from collections.abc import Callable

from refers_bench.cli.echo import echo


def counted(what: str, *, conclude: bool = False) -> Callable[[int, int], None]:
    """Report on standard error, once a second, how far something is, at what rate and when it will end.

    Args:
        what: is counted.
        conclude: whether the end is reported even of what took less than a second.
    """
    begun, shown, before = time.monotonic(), 0.0, 0

    def progress(done: int, total: int) -> None:
        nonlocal shown, before
        spent = time.monotonic() - begun
        if done != before and (spent - shown > 1 or (done == total and (shown or conclude))):
            shown, before = spent, done
            rate = done / spent if spent else 0
            left = f", {(total - done) / rate:.0f} s left" if rate else ""
            echo(f"{done}/{total} {what}, {rate:.0f} a second{left}", err=True)

    return progress
