"""Publishes files and folders whole or not at all, even when the process is killed."""

import contextlib
import errno
import fcntl
import gzip
import hashlib
import json
import os
import re
import shutil
import socket
import stat
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from refers_bench.errors import DataError, StorageError

_STORAGE_ERRNOS = {
    errno.ENOSPC: "no space left on the device",
    errno.EDQUOT: "disk quota exceeded",
    errno.EFBIG: "the file is larger than allowed",
    errno.EIO: "input/output error of the device",
    errno.ESTALE: "the file system's server no longer knows the file",
    errno.EROFS: "the file system is read-only",
    errno.ENOTDIR: "a part of the path is a file",
    errno.EEXIST: "a file stands where a folder must be",
    errno.EISDIR: "a folder stands where a file must be",
    errno.ELOOP: "symbolic links lead in a circle",
    errno.ENAMETOOLONG: "the name is too long",
    errno.EACCES: "no permission to write",
    errno.EPERM: "no permission to write",
    errno.ENOLCK: "the file system gives no locks",
    errno.ENOTSUP: "the file system gives no locks",
}
#: What is opened in vain: a pipe would wait for its writer for ever, a device may never end.
_NO_FILES = {
    stat.S_ISFIFO: "a named pipe",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}
#: Half of a character beyond U+FFFF, as JSON writes one; its other half may follow.
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
#: Seconds between two tries for a lock that another process holds.
LOCK_S = 0.2


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn 'disk full', 'read-only' and 'no permission' into a `StorageError` that names `path`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _STORAGE_ERRNOS:
            raise
        raise StorageError(
            f"cannot write: {_STORAGE_ERRNOS[error.errno]}",
            allowed="a writable folder with free space; then run the same command again",
            path=path,
        ) from error


def plain_file(path: Path) -> Path:
    """The path itself, unless it leads to a pipe, socket or device: whatever reads a user's file asks this first.

    A folder, and what is not there, is left to whoever opens it.

    Raises:
        DataError: no plain file; it has not been opened.
    """
    with contextlib.suppress(OSError, ValueError):
        mode = path.stat().st_mode
        for is_kind, name in _NO_FILES.items():
            if is_kind(mode):
                raise DataError(name, allowed="a plain file", path=path)
    return path


class Unpacked(gzip.GzipFile):
    """A gzipped file that ends with an error where it unpacks to more than `most` bytes: nothing beyond is unpacked.

    Args:
        path: of the file.
        most: bytes.
        error: that is raised.
    """

    def __init__(self, path: Path, *, most: int, error: Exception) -> None:
        super().__init__(plain_file(path))
        self.left, self.error = most, error

    def _counted(self, content: bytes) -> bytes:
        self.left -= len(content)
        if self.left < 0:
            raise self.error
        return content

    def read(self, size: int | None = -1) -> bytes:
        """As GzipFile."""
        return self._counted(super().read(size))

    def read1(self, size: int = -1) -> bytes:
        """As GzipFile."""
        return self._counted(super().read1(size))


def _fsync(path: Path) -> None:
    """Force a file, or the names in a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_tree(folder: Path) -> None:
    """Force every file and folder below `folder`, and the folder itself, to disk."""
    for path in [*folder.rglob("*"), folder]:
        _fsync(path)


@contextlib.contextmanager
def published_file(path: Path) -> Iterator[Path]:
    """A temporary sibling file that becomes `path` by one rename when the block ends well: never seen half written.

    Raises:
        StorageError: disk full, read-only, or no permission.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
        try:
            yield part
            _fsync(part)
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        _fsync(path.parent)


def publish_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically: a reader sees the old bytes or the new ones, never a part.

    Raises:
        StorageError: disk full, read-only, or no permission.
    """
    with published_file(path) as part:
        part.write_bytes(content)


def publish_json(path: Path, value: Any) -> None:
    """`publish_bytes` of indented, key-ordered as given, human-diffable JSON."""
    publish_bytes(path, (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """The value a JSON file holds.

    Raises:
        DataError: no plain file.
        OSError, ValueError, RecursionError: it cannot be read, or is no JSON.
    """
    return parsed_json(plain_file(path).read_bytes())


def parsed_json(content: bytes, *, parse_constant: Callable[[str], Any] | None = None) -> Any:
    """The value that JSON in UTF-8 holds.

    Args:
        content: of the file.
        parse_constant: called with NaN, Infinity or -Infinity, as of `json.loads`; by default they are numbers.

    Raises:
        ValueError, RecursionError: no JSON, or with half a character, which no file here can hold.
    """
    value = json.loads(content.decode(), parse_constant=parse_constant)
    if _HALF.search(content):
        json.dumps(value, ensure_ascii=False).encode()
    return value


@contextlib.contextmanager
def staged_folder(final: Path, *, replace: bool = False) -> Iterator[Path]:
    """A temporary sibling folder that becomes `final` by one rename when the block ends well.

    Args:
        final: where the folder is to appear.
        replace: move an existing `final` out of the way first; otherwise an existing one wins and the
            staged folder is dropped (somebody else published the same content key).

    Raises:
        StorageError: disk full, read-only, or no permission.
    """
    with storage_errors(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        stage = final.with_name(f".{final.name}.{uuid.uuid4().hex}.part")
        stage.mkdir()
        try:
            yield stage
            fsync_tree(stage)
            if final.exists():
                if not replace:
                    return
                old = final.with_name(f".{final.name}.{uuid.uuid4().hex}.old")
                final.rename(old)
                stage.rename(final)
                shutil.rmtree(old, ignore_errors=True)
            else:
                try:
                    stage.rename(final)
                except OSError as error:
                    if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                        raise
            _fsync(final.parent)
        finally:
            shutil.rmtree(stage, ignore_errors=True)


def work_of(final: Path) -> Path:
    """The folder beside `final` that holds resumable work on it until it appears."""
    return final.with_name(f".{final.name}.work")


@contextlib.contextmanager
def making(final: Path, *, waiting: Callable[[str], None] = lambda who: None) -> Iterator[None]:
    """Let only this process make `final`, and first remove what killed processes have left of it half-written.

    The lock is the system's own (`flock`) on a file beside `final`: it ends with its process, however that dies, and
    holds for all machines where the file system passes such locks on, as NFS does (before version 4 with its daemon).

    Args:
        final: a folder that several processes may want to make.
        waiting: called once, before this process waits, with the process that makes it now.

    Raises:
        StorageError: read-only, no permission, or a file system without locks.
    """
    path = _lock_of(final)
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if (stream := _locked(path)) is None:
            waiting(_holder(path))
        while stream is None:
            time.sleep(LOCK_S)
            stream = _locked(path)
    try:
        with storage_errors(path):
            stream.truncate(0)
            stream.write(f"process {os.getpid()} on {socket.gethostname()}")
            stream.flush()
        _remove_parts(final)
        yield
    finally:
        try:
            with storage_errors(path):  # before the lock ends: who takes it next would lose the file to this removal
                path.unlink(missing_ok=True)
        finally:
            with contextlib.suppress(OSError):  # what was not written is not needed any more
                stream.close()


def tidy(final: Path) -> None:
    """Remove what killed processes left beside `final`, unless somebody makes it now; work to resume stays."""
    lock = _lock_of(final)
    with contextlib.suppress(OSError):  # a cache may be read-only
        if not (_parts(final) or lock.exists() or (final.exists() and work_of(final).exists())):
            return
        if stream := _locked(lock):
            with stream:
                _remove_parts(final)
                if final.exists():  # killed after publishing, before tidying up
                    shutil.rmtree(work_of(final), ignore_errors=True)
                lock.unlink(missing_ok=True)


def _lock_of(final: Path) -> Path:
    return final.with_name(f".{final.name}.lock")


def _locked(path: Path) -> TextIO | None:
    """The lock file, opened and locked; None while another process holds it."""
    stream = path.open("a", encoding="utf-8")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The process that held it before has removed it: another one may have locked a new file by now.
        if os.path.samestat(os.fstat(stream.fileno()), path.stat()):
            return stream
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        stream.close()
        raise
    stream.close()
    return None


def _holder(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8") or "another process"
    except OSError:
        return "another process"


def _parts(final: Path) -> list[Path]:
    """What `staged_folder` leaves when it is killed."""
    return [*final.parent.glob(f".{final.name}.*.part"), *final.parent.glob(f".{final.name}.*.old")]


def _remove_parts(final: Path) -> None:
    for part in _parts(final):
        shutil.rmtree(part, ignore_errors=True)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        DataError: no plain file.
    """
    with plain_file(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
