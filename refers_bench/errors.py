"""Defines errors that say what is wrong, where, and what the user can do about it.

Three kinds: a `UserError` (bad manifest, missing folder: one line per problem, exit code 2, no traceback), a
`DataError` (an image or label file that cannot be used: fails the job that reads it, category ``data_error``), and any
other exception, which is a bug and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, Unpack

from refers_bench.printable import printable

#: Why a job ended; ``ok`` is the only one that counts as done. ``preempted``: it has saved its state and resumes later.
#: ``lost``: its node or worker disappeared. ``cancelled``: somebody removed it from a cluster's queue, so it is not
#: submitted again.
CATEGORIES = ("ok", "cuda_oom", "host_oom", "nan", "timeout", "crash", "data_error", "lost", "preempted", "cancelled")


class _Fields(TypedDict, total=False):
    """Fields of a `Problem` besides what was found."""

    allowed: str
    nearest: str
    path: Path | str | None
    line: int | None
    column: int | None


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that a user can correct.

    Attributes:
        found: what was found ("unknown method 'referss'").
        allowed: what is allowed; empty when there is nothing to list.
        nearest: the known name closest to a misspelt one.
        path: the file or folder concerned.
        line: 1-based line in `path`.
        column: 1-based column in `path`.
    """

    found: str
    allowed: str = ""
    nearest: str = ""
    path: Path | str | None = None
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.path, self.line, self.column) if part is not None)
        text = f"{place}: {self.found}" if place else self.found
        if self.allowed:
            text += f"; allowed: {self.allowed}"
        if self.nearest:
            text += f"; did you mean '{self.nearest}'?"
        return printable(text)


class UserError(Exception):
    """Bad input: every problem found, each with its place; the command ends with exit code 2.

    Args:
        problems: the problems; or what was found, for a single one.
        fields: the other fields of a single `Problem`.
    """

    exit_code = 2

    def __init__(self, problems: Problem | str | Iterable[Problem], **fields: Unpack[_Fields]) -> None:
        if isinstance(problems, str):
            problems = Problem(found=problems, **fields)
        self.problems = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class DataError(UserError):
    """A data file that cannot be used; fails the job that reads it with category ``data_error``."""


class NotFiniteLoss(Exception):
    """A loss became NaN or infinite; fails the job with category ``nan``."""


class Interrupted(Exception):
    """A job was preempted; its state is saved and it resumes later (category ``preempted``, no failure)."""


class StorageError(UserError):
    """The results or cache folder cannot be written (read-only, full): nothing more can be recorded."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The entry of `known` closest to `name`, or '' when none is close.

    Example:
        >>> nearest("refrs", ["refers", "c2l"])
        'refers'
    """
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return close[0] if close else ""


def unknown(
    kind: str, name: str, known: Iterable[str], *, path: Path | None = None, line: int | None = None
) -> Problem:
    """The `Problem` of a name that is not one of the known ones."""
    names = sorted(known)
    found = f"unknown {kind} '{name}'"
    return Problem(found=found, allowed=", ".join(names), nearest=nearest(name, names), path=path, line=line)
