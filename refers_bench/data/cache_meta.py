"""Reads and withdraws the `meta.json` of a cache folder: such a folder counts as made while it has one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from refers_bench.errors import DataError
from refers_bench.files import read_json, storage_errors

META = "meta.json"
#: What to do about a cache folder that was damaged.
AGAIN = "delete the folder, or 'refers-bench results fsck --repair'; then 'refers-bench run', which makes it again"


class Meta(BaseModel):
    """Base of what a `meta.json` must say; it may say more."""

    model_config = ConfigDict(strict=True, extra="allow")


def read_meta(folder: Path, model: type[Meta], *, missing: str, allowed: str) -> dict[str, Any]:
    """What the `meta.json` of a cache folder says.

    Args:
        folder: of the cache.
        model: what it must say.
        missing: what is said where there is none.
        allowed: the remedy in that case.

    Raises:
        DataError: there is none, or it is damaged.
    """
    path = folder / META
    if not path.is_file():
        raise DataError(missing, allowed=allowed, path=folder)
    try:
        value = read_json(path)
        model.model_validate(value)
    except ValidationError as error:
        # Its place in the file is the name of the key; several are one damage.
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise DataError(f"damaged: {place}: {first['msg']}", allowed=AGAIN, path=path) from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"damaged: no JSON ({error})", allowed=AGAIN, path=path) from error
    found: dict[str, Any] = value
    return found


def check_size(path: Path, wanted: int, what: str) -> None:
    """Refuse a file that is absent, no plain file, or of another size than `wanted` bytes.

    Raises:
        DataError: it is; `what` says whose bytes they are.
    """
    found = path.stat().st_size if path.is_file() else 0
    if found != wanted:
        raise DataError(f"{found} bytes for {wanted}, which {what} take", allowed=AGAIN, path=path)


def set_aside(folder: Path) -> None:
    """Mark a cache folder as not made, so that the next run makes it again and replaces it.

    Its `meta.json` is renamed: nothing is deleted, and a job that reads the folder now goes on.

    Raises:
        StorageError: the cache cannot be written.
    """
    with storage_errors(folder):
        (folder / META).replace(folder / f"damaged-{META}")
