"""Writes archives whose bytes follow from their content, and reads archives without trusting them."""

import contextlib
import gzip
import hashlib
import io
import math
import re
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO

from refers_bench.errors import Problem, UserError
from refers_bench.files import Unpacked, published_file, sha256_of, storage_errors

#: The list of checksums, as ``sha256sum -c`` reads it.
SUMS = "SHA256SUMS"
#: What may be read.
MADE = "an archive made by 'results bundle'"
#: Bytes read at once.
_BLOCK = 1 << 20
#: Longest name and most members of an archive that is read.
_LONGEST, _MOST = 400, 1_000_000
#: Bytes that an archive may unpack to: for each of its own, and besides. Tables are compressed before they are packed;
#: records of equal jobs, which repeat most, take about a hundredth.
_RATIO, _SLACK = 200, 16 << 20
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


def write(
    path: Path,
    members: Mapping[str, bytes | Path],
    *,
    top: str,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> str:
    """Write a ``.tar.gz`` with `SUMS` as its last member; equal members give equal bytes.

    Names are sorted; times, owners and modes are fixed. The file appears whole or not at all.

    Args:
        path: the archive.
        members: name below `top`, '/' separated -> content, or the file that holds it.
        top: the one folder that everything stands in.
        progress: called with (done, total) after each member.

    Returns:
        SHA-256 of the archive.

    Raises:
        ValueError: a name that no reader would accept.
        StorageError: the archive cannot be written.
    """
    for name in (f"{top}/{name}" for name in members):
        if reason := _refused(name):
            raise ValueError(f"{name!r}: {reason}")
    with (
        published_file(path) as part,
        part.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive,
    ):
        sums = []
        for place, name in enumerate(sorted(members)):
            sums.append(f"{_add(archive, f'{top}/{name}', members[name])}  {name}\n")
            progress(place + 1, len(members))
        _add(archive, f"{top}/{SUMS}", "".join(sums).encode())
    return sha256_of(path)


def _add(archive: tarfile.TarFile, name: str, content: bytes | Path) -> str:
    """Add one member and return its SHA-256, taken from the bytes that were added."""
    info = tarfile.TarInfo(name)  # a new header has rights 0644, and neither time nor owner
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as stream:
        info.size = len(content) if isinstance(content, bytes) else content.stat().st_size
        hashing = _Hashing(stream)
        archive.addfile(info, hashing)
    return hashing.digest.hexdigest()


class _Hashing:
    """A stream that is hashed while it is read."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream, self.digest = stream, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        block = self.stream.read(size)
        self.digest.update(block)
        return block


def _refused(name: str) -> str:
    """Why a member's name is not accepted; '' when it is."""
    parts = name.split("/")
    if name.startswith("/") or "\\" in name or re.match(r"[A-Za-z]:", name):
        return "an absolute path"
    if any(part in ("", ".", "..") for part in parts):
        return "a path that leads out of the archive"
    if len(name) > _LONGEST or any(ord(sign) < 32 or ord(sign) == 127 for sign in name):
        return "a name that is too long or holds control characters"
    return "a file beside the top folder" if len(parts) < 2 else ""


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn what a damaged archive raises into an error that names it."""
    try:
        yield
    except FileNotFoundError as error:
        raise UserError("no such file", allowed=MADE, path=path) from error
    except (OSError, EOFError, tarfile.TarError, zlib.error, UnicodeDecodeError) as error:
        raise UserError(f"cannot be read to its end: {error}", allowed="a whole .tar.gz", path=path) from error


def _unpacked(path: Path) -> Unpacked:
    """The content of an archive, up to what its size can honestly stand for."""
    most = path.stat().st_size * _RATIO + _SLACK
    allowed = f"{_RATIO} times the archive's own size"
    return Unpacked(path, most=most, error=UserError(f"unpacks to more than {most} bytes", allowed=allowed, path=path))


def members(path: Path) -> Iterator[tuple[str, tarfile.TarInfo, IO[bytes]]]:
    """(name, header, content) of every member, each checked: a plain file, in one top folder, no name twice.

    Raises:
        UserError: not an archive, damaged, or a member that is not accepted.
    """
    seen: set[str] = set()
    with _readable(path), _unpacked(path) as whole, tarfile.open(fileobj=whole, mode="r|") as archive:
        for info in archive:
            # A sparse file is of any size, whatever the archive holds of it.
            reason = _refused(info.name) or ("" if info.isreg() and not info.issparse() else "not a plain file")
            if info.name in seen:
                reason = "twice in the archive"
            elif seen and PurePosixPath(info.name).parts[0] != PurePosixPath(next(iter(seen))).parts[0]:
                reason = "a second top folder"
            elif len(seen) >= _MOST:
                reason = f"more than {_MOST} files"
            if reason:
                raise UserError(f"member {info.name!r}: {reason}", allowed="plain files", path=path)
            seen.add(info.name)
            stream = archive.extractfile(info)
            assert stream is not None  # a plain file has content
            yield info.name, info, stream


def verify(
    path: Path, *, into: Path | None = None, most: Callable[[str], float] = lambda name: math.inf
) -> dict[str, str]:
    """Check every member against `SUMS`, and with `into` write files there as they are read.

    Args:
        path: the archive.
        into: an empty folder to write to; a caller throws it away when this raises.
        most: most bytes of a file that is written, from its name below the top folder; 0 for one that is not.

    Returns:
        Name below the top folder -> SHA-256.

    Raises:
        UserError: as `members`; no list of checksums; a file that is missing, changed or not listed; no room.
    """
    found: dict[str, str] = {}
    sums: dict[str, str] | None = None
    # Content is read here, so it is here that a cut archive ends too early.
    with _readable(path):
        for name, info, stream in members(path):
            below = name.split("/", 1)[1]
            if below == SUMS:
                sums = _sums(path, stream.read(_BLOCK * 256))
                continue
            bound = 0 if into is None else most(below)
            if bound and info.size > bound:
                raise UserError(f"member {name!r}: {info.size} bytes", allowed=f"at most {bound}", path=path)
            found[below] = _consume(stream, info.size, into / below if into and bound else None)
    if sums is None:
        raise UserError(f"no {SUMS}", allowed=MADE, path=path)
    problems = [
        Problem(found=f"{name}: {'changed' if name in found else 'missing'}", allowed=f"as in {SUMS}", path=path)
        for name, digest in sums.items()
        if found.get(name) != digest
    ]
    problems += [Problem(found=f"{name}: not in {SUMS}", path=path) for name in found if name not in sums]
    if problems:
        raise UserError(problems)
    return found


def _consume(stream: IO[bytes], size: int, target: Path | None) -> str:
    """SHA-256 of a member, written to `target` when there is one."""
    hashing = _Hashing(stream)
    if target is None:
        while hashing.read(_BLOCK):
            pass
        return hashing.digest.hexdigest()
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        if size > shutil.disk_usage(target.parent).free:
            raise UserError(f"needs {size} bytes", allowed="a folder with that much space", path=target)
        with target.open("xb") as out:
            shutil.copyfileobj(hashing, out, _BLOCK)
    return hashing.digest.hexdigest()


def _sums(path: Path, content: bytes) -> dict[str, str]:
    """The list of checksums as name -> SHA-256."""
    found: dict[str, str] = {}
    for number, line in enumerate(content.decode("utf-8", errors="replace").splitlines(), 1):
        match = _LINE.fullmatch(line)
        if match is None or match[2] in found:
            raise UserError(f"{SUMS}, line {number}: no checksum and name", path=path)
        found[match[2]] = match[1]
    return found
