"""Reads stored JSON objects; what cannot be read is reported with its path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from refers_bench import files
from refers_bench.errors import UserError


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        UserError: no such file, or it holds no JSON object.
    """
    try:
        value = files.read_json(path)
    except FileNotFoundError as error:
        raise UserError("no such file", allowed="a JSON object", path=path) from error
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"cannot read: {error}", allowed="a JSON object", path=path) from error
    if not isinstance(value, dict):
        raise UserError(f"holds a {type(value).__name__}", allowed="a JSON object", path=path)
    return value
