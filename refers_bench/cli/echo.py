"""Prints what commands say: the one way to the terminal, on which names from files lose what a terminal would obey."""

from __future__ import annotations

import sys
import warnings
from types import TracebackType

import click

from refers_bench.printable import printable, printable_lines


def echo(text: object, *, err: bool = False) -> None:
    """Print one line: a line feed in a name begins no other.

    Args:
        text: of the line.
        err: to standard error.
    """
    click.echo(printable(text), err=err)


def echo_lines(text: str, *, err: bool = False) -> None:
    """Print text of several lines, such as a table, and a line feed.

    Args:
        text: what begins a line in it is our own.
        err: to standard error.
    """
    click.echo(printable_lines(text) + "\n" * text.endswith("\n"), err=err)


def printable_errors() -> None:
    """Let this process print the tracebacks of bugs, and warnings, as everything else: they quote names and files."""
    sys.excepthook = _traceback
    warnings.formatwarning = _warning


def _traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    import traceback

    echo_lines("".join(traceback.format_exception(kind, error, trace)).rstrip("\n"), err=True)


_as_python = warnings.formatwarning


def _warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    return f"{printable_lines(_as_python(message, category, filename, lineno, line))}\n"
