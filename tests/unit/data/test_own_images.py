"""Files of one's own images: by name, with or without ending, and DICOM whatever it is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from refers_bench.data.own_images import files_directly, folders_of, found_files, readable, siblings


@pytest.mark.parametrize(
    ("name", "content", "image"),
    [("a.png", b"", True), ("a.JPG", b"", True), ("a.jpeg", b"", True), ("a.dcm", b"", True), ("a", b"\0" * 128 + b"DICM", True),
     ("a", b"\0" * 128 + b"DICX", False), ("a.tif", b"II", False), ("Thumbs.db", b"", False), ("a.1.2.840", b"\0" * 128 + b"DICM", True)],
)  # fmt: skip
def test_an_image_is_known_by_its_ending_or_as_dicom(tmp_path: Path, name: str, content: bytes, image: bool) -> None:
    (tmp_path / name).write_bytes(content)
    assert readable(tmp_path / name) is image


def test_a_name_may_lack_its_ending(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name, content in {"a.png": "12", "in/b.dcm": "123", "c": "1"}.items():
        (tmp_path / name).write_text(content)
    assert found_files(["a", "a.png", "in/b", "c", "d"], tmp_path) == (
        ["a.png", "a.png", "in/b.dcm", "c", "d"],
        [2, 2, 3, 1, -1],
    )


def test_what_lies_beside_a_name(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("b.png", "in/c.png", ".hidden"):
        (tmp_path / name).write_text("")
    (tmp_path / ".folder").mkdir()
    assert siblings("in/d.png", tmp_path) == ["in/c.png"]
    assert siblings("nowhere/d.png", tmp_path) == []
    assert "b.png" in siblings("d.png", tmp_path)
    assert folders_of(tmp_path) == [tmp_path / "in"]
    assert list(files_directly(tmp_path)) == [tmp_path / "b.png"]
