"""What do the report files of many studies say: divided into sections and cleaned, several processes at a time?"""

from __future__ import annotations

import contextlib
import functools
import os
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from refers_bench.data.report_sections import by_name, sections, study_text
from refers_bench.machine import shared_out

#: Reports that repay the start of another process.
WORTH_A_PROCESS = 20_000
#: Folder that the archive of the reports holds, and that a study's place does not name.
ARCHIVED_BELOW = "mimic-cxr-reports/"
#: What reading a report may fail with.
UNREADABLE = (UnicodeDecodeError, zipfile.BadZipFile, zlib.error, OSError)


@dataclass(frozen=True)
class Unreadable:
    """A file that is there and is no report: what is wrong with it."""

    problem: str


#: What became of a file: its cleaned text ('' where there is nothing to read), or None where it is not there.
ReportText = str | Unreadable | None


def read_reports(source: Path, places: Sequence[str], *, deidentified: str) -> list[ReportText]:
    """The text of each report, in the order of `places`.

    Args:
        source: a folder, or the archive of the reports.
        places: paths below the folder, or below ``files`` in the archive, without ``.txt``.
        deidentified: what becomes of the marks of removed words, see `refers_bench.data.report_sections.cleaned`.

    Raises:
        zipfile.BadZipFile, OSError: a damaged archive.
    """
    # To list an archive takes about as long as reading a few thousand reports: once for each process.
    pieces = 4 if source.is_dir() else 1
    return shared_out(_read_part, places, source, deidentified, worth=WORTH_A_PROCESS, pieces=pieces)


def _read_part(places: Sequence[str], source: Path, deidentified: str) -> list[ReportText]:
    with contextlib.ExitStack() as stack:
        if source.is_dir():
            content = functools.partial(_from_folder, f"{source}/")
        else:
            archive = stack.enter_context(zipfile.ZipFile(source))
            members = {name.removeprefix(ARCHIVED_BELOW): name for name in archive.namelist()}
            content = functools.partial(_from_archive, archive, members)
        return [_text(content, place, deidentified) for place in places]


def _text(content: Callable[[str], bytes | None], place: str, deidentified: str) -> ReportText:
    try:
        found = content(place)
        if found is None:
            return None
        return study_text(by_name(sections(found.decode())), deidentified=deidentified)
    except UNREADABLE as error:
        return Unreadable(str(error))


def _from_folder(base: str, place: str) -> bytes | None:
    """A small file's bytes by the plain system calls: a stream for each of 227,835 files takes twice as long."""
    try:
        handle = os.open(f"{base}{place}.txt", os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        pieces = [os.read(handle, 1 << 16)]
        while len(pieces[-1]) == 1 << 16:
            pieces.append(os.read(handle, 1 << 16))
    finally:
        os.close(handle)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _from_archive(archive: zipfile.ZipFile, members: dict[str, str], place: str) -> bytes | None:
    member = members.get(f"files/{place}.txt")
    return archive.read(member) if member else None
