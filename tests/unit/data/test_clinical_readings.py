"""Readings are read in either encoding."""

from __future__ import annotations

from pathlib import Path

from refers_bench.data.clinical_readings import reading_lines


def test_both_encodings(tmp_path: Path) -> None:
    text = "male 40yrs\r\nnormal ±"
    for encoding in ("utf-8", "utf-8-sig", "latin-1"):
        (path := tmp_path / f"{encoding}.txt").write_bytes(text.encode(encoding))
        assert reading_lines(path) == ["male 40yrs", "normal ±"]
