"""Are archives the same bytes for the same content, and is none read that is not what it says?"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from refers_bench.errors import UserError
from refers_bench.store import archive

MEMBERS: dict[str, bytes | Path] = {"b.json": b"{}", "results/store/k/a.bin": bytes(range(256)) * 999, "empty": b""}


def written(folder: Path, name: str = "x.tar.gz", **members: bytes | Path) -> Path:
    path = folder / name
    archive.write(path, members or MEMBERS, top="top")
    return path


def raw(path: Path, *entries: tuple[tarfile.TarInfo, bytes]) -> Path:
    """An archive by hand."""
    with tarfile.open(path, "w:gz") as out:
        for info, content in entries:
            info.size = len(content) if info.isreg() else 0
            out.addfile(info, io.BytesIO(content) if info.isreg() else None)
    return path


def entry(
    name: str, content: bytes = b"x", kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info, content


def sums(**members: bytes) -> tuple[tarfile.TarInfo, bytes]:
    lines = [f"{hashlib.sha256(content).hexdigest()}  {name}" for name, content in members.items()]
    return entry(f"top/{archive.SUMS}", ("\n".join(lines) + "\n").encode())


def test_what_was_written_is_read_back_and_sha256sum_agrees(tmp_path: Path) -> None:
    path = written(tmp_path)
    into = tmp_path / "into"
    found = archive.verify(path, into=into)
    assert set(found) == set(MEMBERS)
    for name, content in MEMBERS.items():
        assert (into / name).read_bytes() == content
    with tarfile.open(path) as opened:
        opened.extractall(tmp_path / "plain", filter="data")
    if shutil.which("sha256sum"):
        subprocess.run(
            ["sha256sum", "-c", archive.SUMS], cwd=tmp_path / "plain" / "top", check=True, capture_output=True
        )


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    first = written(tmp_path, "a.tar.gz").read_bytes()
    file = tmp_path / "file"
    file.write_bytes(bytes(range(256)) * 999)
    os.utime(file, (1, 1))
    file.chmod(0o600)
    backwards = {name: MEMBERS[name] for name in reversed(MEMBERS)} | {"results/store/k/a.bin": file}
    told: list[tuple[int, int]] = []
    again = tmp_path / "a new" / "folder" / "b.tar.gz"
    digest = archive.write(again, backwards, top="top", progress=lambda done, total: told.append((done, total)))
    assert again.read_bytes() == first and digest == hashlib.sha256(first).hexdigest()
    assert told == [(number, len(MEMBERS)) for number in range(1, len(MEMBERS) + 1)]
    assert first[4:8] == b"\0\0\0\0" and list(again.parent.iterdir()) == [again]
    with tarfile.open(fileobj=io.BytesIO(first)) as opened:
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in opened} == {(0, 0, 0, "", "", 0o644)}


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "a//b", "C:\\x", "a\nb", "n" * 500])
def test_names_no_reader_would_accept_are_not_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError):
        written(tmp_path, **{name: b""})


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([entry("../evil")], "leads out of the archive"),
        ([entry("top/../../evil")], "leads out of the archive"),
        ([entry("/etc/evil")], "an absolute path"),
        ([entry("top\\..\\evil")], "an absolute path"),
        ([entry("evil")], "beside the top folder"),
        ([entry("top/a", kind=tarfile.SYMTYPE, link="/etc/passwd")], "not a plain file"),
        ([entry("top/a", kind=tarfile.LNKTYPE, link="../../x")], "not a plain file"),
        ([entry("top/a", kind=tarfile.CHRTYPE)], "not a plain file"),
        ([entry("top/a", kind=tarfile.FIFOTYPE)], "not a plain file"),
        ([entry("top/a", kind=tarfile.DIRTYPE)], "not a plain file"),
        ([entry("top/a"), entry("top/a")], "twice in the archive"),
        ([entry("top/a"), entry("other/a")], "a second top folder"),
        ([entry("top/a")], f"no {archive.SUMS}"),
        ([entry("top/a"), sums(a=b"y")], "a: changed"),
        ([entry("top/a"), sums(a=b"x", b=b"x")], "b: missing"),
        ([entry("top/a"), entry("top/b"), sums(a=b"x")], "b: not in"),
        ([entry("top/a"), entry(f"top/{archive.SUMS}", b"nonsense\n")], "line 1: no checksum"),
    ],
)
def test_what_is_not_accepted(tmp_path: Path, entries: list[tuple[tarfile.TarInfo, bytes]], message: str) -> None:
    path = raw(tmp_path / "x.tar.gz", *entries)
    into = tmp_path / "below" / "into"
    with pytest.raises(UserError) as error:
        archive.verify(path, into=into)
    assert message in str(error.value) and str(path) in str(error.value)
    # Nothing was written but below the folder.
    assert {p.name for p in tmp_path.iterdir()} <= {"x.tar.gz", "below"}
    assert {p.name for p in (tmp_path / "below").iterdir()} <= {"into"} if (tmp_path / "below").exists() else True


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"no archive",
        lambda data: gzip.compress(b"no tar"),
        lambda data: b"",
    ],
    ids=["cut", "text", "no tar", "empty"],
)
def test_damaged_archives_are_one_clear_error(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    path = written(tmp_path)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(UserError, match=r"x\.tar\.gz: "):
        archive.verify(path)


def test_a_flipped_bit_is_seen(tmp_path: Path) -> None:
    path = written(tmp_path)
    plain = bytearray(gzip.decompress(path.read_bytes()))
    plain[plain.index(b"\x01\x02\x03\x04")] ^= 1
    path.write_bytes(gzip.compress(bytes(plain)))
    with pytest.raises(UserError, match=r"results/store/k/a\.bin: changed"):
        archive.verify(path)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        archive.verify(tmp_path / "none.tar.gz")
