"""How far is something that takes more than a second?"""

from __future__ import annotations

import time
from collections.abc import Callable

import click


def counted(what: str, *, conclude: bool = False) -> Callable[[int, int], None]:
    """Says on standard error, once a second, how far something is, at what rate and when it will end.

    Args:
        what: is counted.
        conclude: whether the end is said even of what took less than a second.
    """
    begun, shown = time.monotonic(), [0.0]

    def progress(done: int, total: int) -> None:
        spent = time.monotonic() - begun
        if spent - shown[0] > 1 or (done == total and (shown[0] or conclude)):
            shown[0] = spent
            rate = done / spent if spent else 0
            left = f", {(total - done) / rate:.0f} s left" if rate else ""
            click.echo(f"{done}/{total} {what}, {rate:.0f} a second{left}", err=True)

    return progress
