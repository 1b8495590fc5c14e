"""How does a file or folder appear whole or not at all, even when the process is killed?"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from refers_bench.errors import Problem, StorageError

_STORAGE_ERRNOS = {
    errno.ENOSPC: "no space left on the device",
    errno.EDQUOT: "disk quota exceeded",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "no permission to write",
    errno.EPERM: "no permission to write",
}


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn 'disk full', 'read-only' and 'no permission' into a `StorageError` that names `path`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _STORAGE_ERRNOS:
            raise
        raise StorageError(
            Problem(
                found=f"cannot write: {_STORAGE_ERRNOS[error.errno]}",
                allowed="a writable folder with free space; then run the same command again",
                path=path,
            )
        ) from error


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_tree(folder: Path) -> None:
    """Force every file below `folder`, and the folder itself, to disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
    _fsync_folder(folder)


def publish_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically: a reader sees the old bytes or the new ones, never a part.

    Raises:
        StorageError: disk full, read-only, or no permission.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
        try:
            with part.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        _fsync_folder(path.parent)


def publish_json(path: Path, value: Any) -> None:
    """`publish_bytes` of indented, key-ordered as given, human-diffable JSON."""
    publish_bytes(path, (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """The value a JSON file holds."""
    return json.loads(path.read_text(encoding="utf-8"))


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
            _fsync_folder(final.parent)
        finally:
            shutil.rmtree(stage, ignore_errors=True)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
