"""The command line in this process, called as a user would call it."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import pytest

from refers_bench.cli import main


class Printed(NamedTuple):
    """What a command printed."""

    out: str
    err: str


#: `printed_by`, as the fixture `cli` gives it.
Commands = Callable[..., Printed]


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def command(*arguments: str) -> Ended:
    """Exit code and output of a command, which never ends with a traceback."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="\n") for _ in range(2)]
    with redirect_stdout(streams[0]), redirect_stderr(streams[1]), pytest.raises(SystemExit) as ended:
        main(list(arguments))
    for stream in streams:
        stream.seek(0)
    out, err = (stream.read() for stream in streams)
    assert isinstance(ended.value.code, int)
    assert "Traceback" not in err, err
    return Ended(ended.value.code, out, err)


def command_in(results: Path, *arguments: str) -> Ended:
    """`command` on a results folder."""
    return command("--results", str(results), *arguments)


def printed_by(*arguments: str, code: int = 0) -> Printed:
    """What a command printed that ended with this exit code."""
    ended, out, err = command(*arguments)
    assert ended == code, out + err
    return Printed(out, err)
