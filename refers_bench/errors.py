"""How do we tell somebody what went wrong, where, and what they can do about it?

Three kinds: a `UserError` (bad manifest, missing folder: one line per problem, exit code 2, no
traceback), a `DataError` (an image or label file that cannot be used: fails the job that reads it,
category ``data_error``), and anything else, which is a bug and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

#: Why a job ended; ``ok`` is the only one that counts as done. ``preempted``: it was told to make room, has saved its
#: state and goes on later. ``lost``: its node or worker went away without a word. ``cancelled``: somebody took it out
#: of a cluster's queue, which is no reason to put it back.
CATEGORIES = ("ok", "cuda_oom", "host_oom", "nan", "timeout", "crash", "data_error", "lost", "preempted", "cancelled")


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing a user can mend.

    Attributes:
        found: what stands there ("unknown method 'referss'").
        allowed: what may stand there; empty when there is nothing to list.
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
        return text


class UserError(Exception):
    """Bad input: every problem found, each with its place; the command ends with exit code 2.

    Args:
        problems: the problems; or what was found, for a single one, whose other fields follow.
        allowed: see `Problem`, like the rest.
        nearest: the known name closest to a misspelt one.
        path: the file or folder concerned.
        line: 1-based line in `path`.
    """

    exit_code = 2

    def __init__(
        self,
        problems: Problem | str | Iterable[Problem],
        *,
        allowed: str = "",
        nearest: str = "",
        path: Path | str | None = None,
        line: int | None = None,
    ) -> None:
        if isinstance(problems, str):
            problems = Problem(found=problems, allowed=allowed, nearest=nearest, path=path, line=line)
        self.problems = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class DataError(UserError):
    """A data file that cannot be used; fails the job that reads it with category ``data_error``."""


class NotFiniteLoss(Exception):
    """A loss became NaN or infinite; fails the job with category ``nan``."""


class Interrupted(Exception):
    """A job was told to make room; its state is saved and it goes on later (category ``preempted``, no failure)."""


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


def unknown(kind: str, name: str, known: Iterable[str], **place: object) -> Problem:
    """The `Problem` of a name that is not one of the known ones."""
    names = sorted(known)
    return Problem(
        found=f"unknown {kind} '{name}'",
        allowed=", ".join(names),
        nearest=nearest(name, names),
        **place,  # type: ignore[arg-type]
    )
