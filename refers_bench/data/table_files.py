"""Opens CSV files, gzipped or not, that are of a size and width that a table can have."""

from __future__ import annotations

import gzip
from pathlib import Path

from refers_bench.errors import DataError
from refers_bench.files import plain_file

#: Cells of a line, at most.
WIDEST = 10_000
#: Bytes that are looked at to see that.
FIRST = 1 << 20
#: How many times its size a gzipped table unpacks to, at most, besides bytes that any may. Tables of labels shrink to a
#: tenth; what holds one sign alone, to a thousandth.
MOST_UNPACKED, UNPACKED_BY_ANY = 100, 1 << 24


class _Unpacked(gzip.GzipFile):
    """A gzipped file that ends with an error where it unpacks to more than a table does."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.left = UNPACKED_BY_ANY + MOST_UNPACKED * path.stat().st_size

    def _counted(self, content: bytes) -> bytes:
        self.left -= len(content)
        if self.left < 0:
            raise OSError(f"it unpacks to more than {MOST_UNPACKED} times its size")
        return content

    def read(self, size: int | None = -1) -> bytes:
        """As GzipFile."""
        return self._counted(super().read(size))

    def read1(self, size: int = -1) -> bytes:
        """As GzipFile."""
        return self._counted(super().read1(size))


def table_source(path: Path) -> Path | _Unpacked:
    """A table's file for pandas, once its first lines are seen to be those of a table.

    Raises:
        DataError: no plain file, or more columns than a table has: pandas would take hours.
    """
    packed = plain_file(path).name.lower().endswith(".gz")
    with _Unpacked(path) if packed else path.open("rb") as stream:
        start = stream.read(FIRST)
    lines = [line for line in start.splitlines() if line.strip()][:2]
    if any(line.count(b",") >= WIDEST for line in lines) or (lines and len(lines[0]) == FIRST):
        found = f"a line of more than {WIDEST} cells, or of more than {FIRST} bytes"
        raise DataError(found, allowed="UTF-8, comma separated", path=path, line=1)
    return _Unpacked(path) if packed else path
