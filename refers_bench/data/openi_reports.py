"""Reads the reports of Open-I, XML files unpacked or in their archive, and chooses those that can be illustrated."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import tarfile
import xml.etree.ElementTree as ET  # trusted archive of a public library; expat limits entity expansion
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from refers_bench import identity
from refers_bench.data.folders import files_below
from refers_bench.data.official_tables import refuse
from refers_bench.data.report_sections import study_text, token_count
from refers_bench.errors import DataError, Problem
from refers_bench.files import plain_file

ARCHIVE = "NLMCXR_reports.tgz"
GZIP = b"\x1f\x8b"
#: Bytes that an archive of reports unpacks to at most; the one there is, to 20 million.
MOST_UNPACKED = 1 << 28
SECTIONS = ("COMPARISON", "INDICATION", "FINDINGS", "IMPRESSION")
#: An image that a report names, with what is said of it.
_IMAGE = re.compile(rb"[ \t]*<parentImage\b(?:[^>]*/>|.*?</parentImage>)\n?", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Report:
    """One XML file.

    Attributes:
        uid: of the report ("CXR1"), which stands for its patient, too.
        sections: "findings", "impression", "comparison", "indication" -> text, stripped; '' for none.
        mesh: MeSH terms given by people ("Opacity/lung/base/left").
        images: ids of its images.
        path: the file.
        xml: its bytes.
    """

    uid: str
    sections: Mapping[str, str]
    mesh: tuple[str, ...]
    images: tuple[str, ...]
    path: Path
    xml: bytes = field(default=b"", repr=False)

    @property
    def text(self) -> str:
        """What pre-training reads of it; '' for nothing."""
        return study_text(dict(self.sections))


def parsed(xml: bytes, *, path: Path) -> Report:
    """A report from its XML.

    Raises:
        DataError: not XML, or no report id.
    """
    try:
        root = ET.fromstring(xml)
    except ET.ParseError as error:
        line, column = error.position
        allowed = "an Open-I report as downloaded"
        raise DataError(
            Problem(found=f"not XML ({error})", allowed=allowed, path=path, line=line, column=column + 1)
        ) from error
    uid = root.find("uId")
    if uid is None or not uid.get("id"):
        raise DataError("no uId", allowed='<uId id="CXR..."/>, as in Open-I reports', path=path)
    texts = {part.get("Label", ""): "".join(part.itertext()).strip() for part in root.iter("AbstractText")}
    return Report(
        uid=str(uid.get("id")),
        sections={name.lower(): texts.get(name, "") for name in SECTIONS},
        mesh=tuple((term.text or "").strip() for term in root.findall("./MeSH/major")),
        images=tuple(image.get("id", "") for image in root.findall("./parentImage")),
        path=path,
        xml=xml,
    )


def read_reports(root: Path) -> list[Report]:
    """All reports below a folder, unpacked, or in the archive of reports; in the order of their numbers.

    Args:
        root: a folder that holds them or their archive, or the archive.

    Raises:
        DataError: no report, a malformed one, or an id or image in two of them.
    """
    archive = root / ARCHIVE if root.is_dir() else root
    reports = [parsed(plain_file(path).read_bytes(), path=path) for path in files_below(root, (".xml",))]
    if not reports and plain_file(archive).is_file():
        reports = list(_archived(archive))
    if not reports:
        allowed = f"the XML reports of {ARCHIVE}, unpacked or not"
        raise DataError("no report here", allowed=allowed, path=root)
    problems, places = [], dict[str, Path]()
    for report in reports:
        for name in (report.uid, *report.images):
            if name in places:
                found = f"'{name}' is in {places[name]}, too"
                problems.append(Problem(found=found, allowed="each report and image once", path=report.path))
            places[name] = report.path
    refuse(problems)
    return sorted(reports, key=lambda report: (len(report.uid), report.uid))


def _archived(archive: Path) -> Iterator[Report]:
    try:
        content = plain_file(archive).read_bytes()
        if content.startswith(GZIP):  # unpacked as a whole, which checks its sum: tarfile may take damage for the end
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as packed:
                content = packed.read(MOST_UNPACKED + 1)
        if len(content) > MOST_UNPACKED:
            raise OSError(f"it unpacks to more than {MOST_UNPACKED} bytes")
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            for member in tar:
                if member.isreg() and member.name.endswith(".xml"):
                    if member.size > len(content):  # of a sparse file, which unpacks to anything
                        raise OSError(f"{member.name} has {member.size} bytes")
                    stream = tar.extractfile(member)
                    assert stream is not None  # a plain file has content
                    yield parsed(stream.read(), path=archive / member.name)
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise DataError(f"a damaged archive ({error})", allowed="a whole .tgz", path=archive) from error


def digest(reports: Sequence[Report]) -> str:
    """Identity of reports: their ids and bytes, wherever they lie and however they are packed."""
    return identity.key([[one.uid, hashlib.sha256(one.xml).hexdigest()] for one in reports])


def illustrated(reports: Sequence[Report], *, studies: int | None, seed: int, path: Path) -> list[Report]:
    """Reports with a text and an image, in their order; of a smaller number, each is in every larger one of its seed.

    Args:
        reports: as `read_reports` gives them.
        studies: how many; None for all.
        seed: of the choice.
        path: of the reports, for the message.

    Raises:
        DataError: there are fewer.
    """
    usable = [one for one in reports if one.images and token_count(one.text)]
    if studies is None:
        return usable
    if studies > len(usable):
        allowed = f"at most {len(usable)}, the reports here that have a text and an image"
        raise DataError(f"{studies} studies of real reports", allowed=allowed, path=path)
    drawn = sorted(usable, key=lambda one: identity.seed("openi reports", seed, one.uid))
    chosen = {one.uid for one in drawn[:studies]}
    return [one for one in usable if one.uid in chosen]


def with_first_images(xml: bytes, count: int) -> bytes:
    """A report that names its first images only; all else word for word.

    Example:
        >>> with_first_images(b'<a><parentImage id="1"/><parentImage id="2"><url/></parentImage></a>', 1)
        b'<a><parentImage id="1"/></a>'
    """
    for match in reversed(list(_IMAGE.finditer(xml))[count:]):
        xml = xml[: match.start()] + xml[match.end() :]
    return xml
