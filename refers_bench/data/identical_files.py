"""Finds files of the same bytes, and joins the groups of images that share one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from refers_bench.files import sha256_of


def identical_files(paths: Sequence[str], *, sizes: Sequence[int], root: Path) -> list[list[int]]:
    """Places of the files that have the same bytes, two or more in each list, in the order of `paths`.

    Args:
        paths: relative to `root`.
        sizes: bytes of each; only files of one size are read.
        root: the dataset's folder.
    """
    by_size: dict[int, list[int]] = {}
    for place, size in enumerate(sizes):
        by_size.setdefault(size, []).append(place)
    found: dict[str, list[int]] = {}
    for places in by_size.values():
        for place in places if len(places) > 1 else ():
            found.setdefault(sha256_of(root / paths[place]), []).append(place)
    return sorted(places for places in found.values() if len(places) > 1)


def joined_groups(groups: Sequence[str], together: Iterable[Sequence[int]]) -> list[str]:
    """The groups after those that share members have been made one, named after its first name in the alphabet.

    Args:
        groups: of each member.
        together: places of members that belong to one group.

    Example:
        >>> joined_groups(["b", "a", "c", "b", "d"], [[0, 2], [1, 2]])
        ['a', 'a', 'a', 'a', 'd']
    """
    parent = {name: name for name in groups}

    def first(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for places in together:
        names = sorted({first(groups[place]) for place in places})
        parent.update(dict.fromkeys(names, names[0]))
    return [first(name) for name in groups]
