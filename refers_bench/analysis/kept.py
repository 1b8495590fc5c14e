"""Keeps what was computed from stored predictions beside the store, under a key of what it was computed from."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter

from refers_bench import identity
from refers_bench.errors import StorageError
from refers_bench.files import publish_json

#: Beside the store, below the results folder.
FOLDER = "statistics"
if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_Record = TypeVar("_Record", bound="DataclassInstance")


def kept(record: type[_Record], what: Mapping[str, Any], store: Path, compute: Callable[[], _Record]) -> _Record:
    """A record, read back where it was computed before from the same things; else computed, and kept.

    Args:
        record: its dataclass.
        what: all that decides it, with the revision of the computation.
        store: the results store.
        compute: makes it.
    """
    path = store.parent / FOLDER / f"{identity.key(what)}.json"
    with contextlib.suppress(OSError, ValueError):
        found: _Record = _adapter(record).validate_json(path.read_bytes())
        return found
    made = compute()
    # A reader may have no right to write here: the figures are as good.
    with contextlib.suppress(StorageError):
        publish_json(path, asdict(made))
    return made


@functools.cache
def _adapter(record: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(record)
