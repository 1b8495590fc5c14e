"""Prints what commands say: the one way to the terminal, on which names from files lose what a terminal would obey."""

from __future__ import annotations

import shutil
import sys
import textwrap
import warnings
from types import TracebackType
from typing import Any

import click

from refers_bench.printable import printable, printable_lines


def echo(text: object, *, err: bool = False) -> None:
    """Print one line: a line feed in a name begins no other.

    Args:
        text: of the line.
        err: to standard error.
    """
    click.echo(printable(text), err=err)


def echo_wrapped(text: object, *, indent: int = 0) -> None:
    """Print a line that may be long: on a terminal, broken at blanks to its width, and what follows stands further in.

    Args:
        text: of the line.
        indent: blanks before it.
    """
    line = " " * indent + printable(text)
    if sys.stdout.isatty():
        following, width = " " * (indent + 2), shutil.get_terminal_size().columns
        # Words of names and addresses stay whole, to be copied.
        how: Any = {"break_on_hyphens": False, "break_long_words": False, "replace_whitespace": False}
        line = "\n".join(textwrap.wrap(line, max(width - 1, 20), subsequent_indent=following, **how)) or line
    click.echo(line)


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
