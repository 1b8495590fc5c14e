"""Several processes read the same texts as one, and each unreadable file says what is wrong with it."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from refers_bench import machine
from refers_bench.data import report_files
from refers_bench.data.report_files import Unreadable, read_reports

REPORT = " EXAM: chest\n FINDINGS: Heart of size {0}.\n \n IMPRESSION: Größe ___ {0}.\n"


@pytest.fixture
def reports(tmp_path: Path) -> tuple[Path, list[str]]:
    """Thirty reports in a folder, and the same in an archive beside it."""
    places = [f"p1/p{number}/s{number}" for number in range(30)]
    with zipfile.ZipFile(tmp_path / "reports.zip", "w") as archive:
        for number, place in enumerate(places):
            path = tmp_path / "files" / f"{place}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(REPORT.format(number), encoding="utf-8")
            archive.write(path, f"mimic-cxr-reports/files/{place}.txt")
    return tmp_path, places


@pytest.mark.parametrize("source", ["files", "reports.zip"])
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_processes_share_the_work_and_keep_the_order(
    source: str, processes: int, reports: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, places = reports
    monkeypatch.setattr(report_files, "WORTH_A_PROCESS", 10)
    monkeypatch.setattr(machine, "cores", lambda: processes)
    asked = [*places, "p1/p9/s99"]
    found = read_reports(folder / source, asked, deidentified="remove")
    assert found[:-1] == [f"Heart of size {n}. Größe {n}." for n in range(30)]
    assert found[-1] is None


@pytest.mark.parametrize("processes", [1, 2])
def test_unreadable_files_are_named_one_by_one(
    processes: int, reports: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, places = reports
    monkeypatch.setattr(report_files, "WORTH_A_PROCESS", 10)
    monkeypatch.setattr(machine, "cores", lambda: processes)
    (folder / "files" / f"{places[25]}.txt").write_bytes(b"\xff\xfe")
    (folder / "files" / f"{places[3]}.txt").unlink()
    (folder / "files" / f"{places[3]}.txt").mkdir()
    found = read_reports(folder / "files", places, deidentified="remove")
    wrong = {number: one.problem for number, one in enumerate(found) if isinstance(one, Unreadable)}
    assert list(wrong) == [3, 25]
    assert "directory" in wrong[3] and "decode" in wrong[25]


def test_a_long_report_is_read_whole(tmp_path: Path) -> None:
    text = "\n FINDINGS: " + "opacity " * 40_000 + "end.\n"
    (tmp_path / "s1.txt").write_text(text)
    assert len(text) > 4 * 2**16
    (found,) = read_reports(tmp_path, ["s1"], deidentified="remove")
    assert found == " ".join(text.split())[len("FINDINGS: ") :]


def test_no_report_is_no_work(tmp_path: Path) -> None:
    assert read_reports(tmp_path, [], deidentified="remove") == []


def test_a_damaged_archive_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "reports.zip").write_bytes(b"PK no archive")
    with pytest.raises(zipfile.BadZipFile):
        read_reports(tmp_path / "reports.zip", ["p1/p1/s1"], deidentified="remove")
