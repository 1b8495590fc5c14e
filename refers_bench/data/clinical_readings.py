"""Reads the text files in which the National Library of Medicine describes each radiograph and its person."""

from __future__ import annotations

from pathlib import Path

from refers_bench.files import plain_file


def reading_lines(path: Path) -> list[str]:
    """Lines of a reading, which may be UTF-8 or Latin-1.

    Raises:
        DataError: no plain file.
    """
    content = plain_file(path).read_bytes()
    try:
        return content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        return content.decode("latin-1").splitlines()
