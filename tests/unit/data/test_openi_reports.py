"""Reports are read from a folder or an archive to the same identity, and what is broken is named."""

from __future__ import annotations

import io
import re
import tarfile
from pathlib import Path

import pytest

from refers_bench.data.openi_reports import ARCHIVE, Report, digest, illustrated, read_reports, with_first_images
from refers_bench.errors import DataError

XML = """<?xml version="1.0" encoding="utf-8"?>
<eCitation><uId id="CXR{number}"/>
<AbstractText Label="FINDINGS">{text}</AbstractText><AbstractText Label="IMPRESSION"/>
<MeSH><major>normal</major><automatic>none</automatic></MeSH>
   <parentImage id="CXR{number}-1">
      <url>a</url>
   </parentImage>
   <parentImage id="CXR{number}-2"/>
</eCitation>
"""


def write(folder: Path, numbers: range, text: str = "Clear lungs.") -> Path:
    folder.mkdir()
    for number in numbers:
        (folder / f"{number}.xml").write_text(XML.format(number=number, text=text))
    return folder


def pack(folder: Path, archive: Path) -> Path:
    with tarfile.open(archive, "w:gz") as tar:
        for path in sorted(folder.iterdir(), reverse=True):
            tar.add(path, f"ecgen-radiology/{path.name}")
    return archive


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "reports", range(1, 31))


def test_a_folder_its_archive_and_one_that_holds_the_archive_are_the_same(folder: Path, tmp_path: Path) -> None:
    archive = pack(folder, tmp_path / "packed.tgz")
    holder = tmp_path / "holder"
    holder.mkdir()
    (holder / ARCHIVE).write_bytes(archive.read_bytes())
    every = [read_reports(place) for place in (folder, archive, holder)]
    assert len({digest(reports) for reports in every}) == 1
    assert [report.uid for report in every[1]] == [f"CXR{number}" for number in range(1, 31)]
    assert every[1][4].xml == (folder / "5.xml").read_bytes()


def test_the_digest_changes_with_any_byte_and_any_report(folder: Path) -> None:
    seen = [digest(read_reports(folder))]
    path = folder / "7.xml"
    path.write_text(path.read_text().replace("<url>a", "<url>b"))
    seen.append(digest(read_reports(folder)))
    path.unlink()
    seen.append(digest(read_reports(folder)))
    assert len(set(seen)) == 3


def test_reports_without_text_or_image_are_not_illustrated(folder: Path) -> None:
    for number, old in ((2, "Clear lungs."), (3, r"<parentImage.*(?=</eCitation>)"), (4, "Clear lungs")):
        path = folder / f"{number}.xml"
        path.write_text(re.sub(old, "", path.read_text(), flags=re.DOTALL))
    used = illustrated(read_reports(folder), studies=None, seed=0, path=folder)
    assert len(used) == 27 and not {"CXR2", "CXR3", "CXR4"} & {report.uid for report in used}


def test_fewer_are_chosen_by_seed_and_nested(folder: Path) -> None:
    reports = read_reports(folder)

    def chosen(studies: int, seed: int) -> list[str]:
        return [one.uid for one in illustrated(reports, studies=studies, seed=seed, path=folder)]

    assert set(chosen(10, 0)) < set(chosen(20, 0)) < set(chosen(30, 0))
    assert chosen(10, 0) == chosen(10, 0) != chosen(10, 1)
    assert len(chosen(20, 0)) == 20
    with pytest.raises(DataError, match=r"reports: 31 studies of real reports; allowed: at most 30, the reports"):
        chosen(31, 0)


def test_surplus_images_are_left_out_and_nothing_else(folder: Path) -> None:
    xml = (folder / "1.xml").read_bytes()
    assert with_first_images(xml, 2) == with_first_images(xml, 5) == xml
    assert with_first_images(xml, 1) == xml.replace(b'   <parentImage id="CXR1-2"/>\n', b"")


def test_a_broken_report_in_an_archive_is_named_with_its_line(folder: Path, tmp_path: Path) -> None:
    (folder / "9.xml").write_text("<eCitation>\n<uId")
    archive = pack(folder, tmp_path / "a.tgz")
    with pytest.raises(DataError, match=r"a\.tgz/ecgen-radiology/9\.xml:2:\d+: not XML"):
        read_reports(archive)


@pytest.mark.parametrize("how", ["cut", "flipped", "text", "empty", "no report"])
def test_a_broken_archive_is_named(folder: Path, tmp_path: Path, how: str) -> None:
    archive = pack(folder, tmp_path / "a.tgz")
    content = archive.read_bytes()
    if how == "no report":
        with tarfile.open(archive, "w:gz") as tar:
            tar.addfile(tarfile.TarInfo("readme.txt"), io.BytesIO())
    else:
        half = len(content) // 2
        flipped = content[:half] + bytes(255 - byte for byte in content[half : half + 40]) + content[half + 40 :]
        archive.write_bytes({"cut": content[:half], "flipped": flipped, "text": b"no archive", "empty": b""}[how])
    message = r"a\.tgz: no report here" if how == "no report" else r"a\.tgz: a damaged archive|a\.tgz/.*: not XML"
    with pytest.raises(DataError, match=message):
        read_reports(archive)


def test_the_real_archive(real_data: Path) -> None:
    archive = real_data / "labels" / ARCHIVE
    reports = read_reports(archive)
    used = illustrated(reports, studies=None, seed=0, path=archive)
    assert (len(reports), len(used), sum(len(one.images) for one in used)) == (3_955, 3_826, 7_430)
    assert all(isinstance(one, Report) and one.text for one in used)
