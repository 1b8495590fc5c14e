"""Asks whether jobs that are queued elsewhere are to be cancelled."""

import sys

import click

from refers_bench.printable import printable


def confirmed(question: str) -> bool:
    """Ask on a terminal; elsewhere, and when interrupted again, the answer is no."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    try:
        return click.confirm(printable(question), default=False, err=True)
    except (click.Abort, KeyboardInterrupt):
        return False
