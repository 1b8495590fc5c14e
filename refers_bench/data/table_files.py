"""Opens CSV files, gzipped or not, that are of a size and width that a table can have."""

from __future__ import annotations

from pathlib import Path

from refers_bench.errors import DataError
from refers_bench.files import Unpacked, plain_file

#: Cells of a line, at most.
WIDEST = 10_000
#: Bytes that are looked at to see that.
FIRST = 1 << 20
#: How many times its size a gzipped table unpacks to, at most, besides bytes that any may. Tables of labels shrink to a
#: tenth; what holds one sign alone, to a thousandth.
MOST_UNPACKED, UNPACKED_BY_ANY = 100, 1 << 24


def _unpacked(path: Path) -> Unpacked:
    most = UNPACKED_BY_ANY + MOST_UNPACKED * path.stat().st_size
    return Unpacked(path, most=most, error=OSError(f"it unpacks to more than {MOST_UNPACKED} times its size"))


def table_source(path: Path) -> Path | Unpacked:
    """A table's file for pandas, once its first lines are seen to be those of a table.

    Raises:
        DataError: no plain file, or more columns than a table has: pandas would take hours.
    """
    packed = plain_file(path).name.lower().endswith(".gz")
    with _unpacked(path) if packed else path.open("rb") as stream:
        start = stream.read(FIRST)
    lines = [line for line in start.splitlines() if line.strip()][:2]
    if any(line.count(b",") >= WIDEST for line in lines) or (lines and len(lines[0]) == FIRST):
        found = f"a line of more than {WIDEST} cells, or of more than {FIRST} bytes"
        raise DataError(found, allowed="UTF-8, comma separated", path=path, line=1)
    return _unpacked(path) if packed else path
