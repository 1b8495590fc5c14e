"""Shortens a long list of problems to its first ones and the file that holds them all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from refers_bench.errors import Problem
from refers_bench.files import publish_bytes

#: Problems that a message lists.
SHOWN = 20


def first(problems: Sequence[Problem], path: Path) -> list[Problem]:
    """The first problems and, when there are more, the file that holds all of them.

    Args:
        problems: all of them.
        path: the file that holds them.
    """
    if len(problems) <= SHOWN:
        return list(problems)
    more = f"{len(problems) - SHOWN} more problems; this file names all {len(problems)}"
    return [*problems[:SHOWN], Problem(found=more, path=path)]


def written(problems: Sequence[Problem], path: Path) -> list[Problem]:
    """`first`, with its file: a line for each problem.

    Raises:
        StorageError: the file cannot be written.
    """
    if len(problems) > SHOWN:
        publish_bytes(path, "".join(f"{problem}\n" for problem in problems).encode())
    return first(problems, path)
