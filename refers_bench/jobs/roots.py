"""Where are a job's data roots and prepared images?"""

from __future__ import annotations

from pathlib import Path

from refers_bench.errors import Problem, UserError
from refers_bench.store.context import JobContext


def data_root(context: JobContext, name: str) -> Path:
    """Folder of a data root.

    Raises:
        UserError: the root is not set or is no folder.
    """
    if name not in context.roots:
        known = ", ".join(sorted(context.roots)) or "none is set"
        raise UserError(Problem(found=f"data root '{name}' is not set", allowed=known))
    root = Path(context.roots[name])
    if not root.is_dir():
        raise UserError(Problem(found=f"data root '{name}' is not a folder", path=root))
    return root


def prepared_folder(context: JobContext, key: str) -> Path:
    """Where the pixels of a prepare job are."""
    return context.cache / "prepared" / key
