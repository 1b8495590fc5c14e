"""The command line in this process, called as a user would call it."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from refers_bench.cli import main


class Printed(NamedTuple):
    """What a command printed."""

    out: str
    err: str


class Commands:
    """Runs commands and returns what they print."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *arguments: str, code: int = 0) -> Printed:
        """Of a command that ends with this exit code."""
        ended, printed = self.ends(*arguments)
        assert ended == code, printed.out + printed.err
        return printed

    def ends(self, *arguments: str) -> tuple[int, Printed]:
        """Exit code and output of a command, which never ends with a traceback."""
        self.capsys.readouterr()  # what was printed before is not the command's
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        printed = Printed(*self.capsys.readouterr())
        assert isinstance(ended.value.code, int)
        assert "Traceback" not in printed.err, printed.err
        return ended.value.code, printed
