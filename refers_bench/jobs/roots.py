"""Where are a job's data roots and prepared images?"""

from __future__ import annotations

from pathlib import Path

from refers_bench.errors import UserError
from refers_bench.store import context as places
from refers_bench.store.context import JobContext


def data_root(context: JobContext, name: str, *, folder: bool = True) -> Path:
    """Path of a data root.

    Raises:
        UserError: the root is not set, is not there, or is no folder where it must be one.
    """
    if name not in context.roots:
        known = ", ".join(sorted(context.roots)) or "none is set"
        raise UserError(f"data root '{name}' is not set", allowed=known)
    root = Path(context.roots[name])
    if not root.exists():
        raise UserError(f"data root '{name}' does not exist", path=root)
    if folder and not root.is_dir():
        raise UserError(f"data root '{name}' is not a folder", path=root)
    return root


def prepared_folder(context: JobContext, key: str) -> Path:
    """Where the pixels of a prepare job are."""
    return places.prepared_folder(context.cache, key)
