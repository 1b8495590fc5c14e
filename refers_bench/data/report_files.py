"""Reads the report files of many studies, in several processes, and cleans their text."""

from __future__ import annotations

import contextlib
import functools
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from refers_bench.data.report_sections import sections, study_text
from refers_bench.files import plain_file
from refers_bench.machine import shared_out

#: Reports that are worth the start of another process.
WORTH_A_PROCESS = 20_000
#: Folder that the archive of the reports holds, and that a study's place does not name.
ARCHIVED_BELOW = "mimic-cxr-reports/"
#: Bytes of the largest file in an archive that is read; reports have some thousand.
MAX_REPORT = 1 << 24
#: What reading a report may fail with.
UNREADABLE = (UnicodeDecodeError, zipfile.BadZipFile, zlib.error, OSError)


@dataclass(frozen=True)
class Unreadable:
    """An existing file that is no report, and what is wrong with it."""

    problem: str


#: The cleaned text of a file ('' where there is nothing to read), what is wrong with it, or None for a missing one.
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
    # Listing an archive takes about as long as reading a few thousand reports: each process does so once only.
    pieces = 4 if source.is_dir() else 1
    return shared_out(_read_part, places, source, deidentified, worth=WORTH_A_PROCESS, pieces=pieces)


def _read_part(places: Sequence[str], source: Path, deidentified: str) -> list[ReportText]:
    with contextlib.ExitStack() as stack:
        if source.is_dir():
            content = functools.partial(_from_folder, f"{source}/")
        else:
            archive = stack.enter_context(zipfile.ZipFile(plain_file(source)))
            members = {name.removeprefix(ARCHIVED_BELOW): name for name in archive.namelist()}
            content = functools.partial(_from_archive, archive, members)
        return [_text(content, place, deidentified) for place in places]


def _text(content: Callable[[str], bytes | None], place: str, deidentified: str) -> ReportText:
    try:
        found = content(place)
        if found is None:
            return None
        return study_text(dict(sections(found.decode())), deidentified=deidentified)
    except UNREADABLE as error:
        return Unreadable(str(error))


def _from_folder(base: str, place: str) -> bytes | None:
    try:
        plain_file(Path(f"{base}{place}.txt"))
        # Without a buffer: there are 227,835 small files.
        with open(f"{base}{place}.txt", "rb", buffering=0) as file:  # noqa: PTH123 - a Path for each is slow
            return file.read()
    except FileNotFoundError:
        return None


def _from_archive(archive: zipfile.ZipFile, members: dict[str, str], place: str) -> bytes | None:
    member = members.get(f"files/{place}.txt")
    if member and archive.getinfo(member).file_size > MAX_REPORT:
        raise OSError(f"{archive.getinfo(member).file_size} bytes; no report has more than {MAX_REPORT}")
    return archive.read(member) if member else None
