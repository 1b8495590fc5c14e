"""Says of a stored result which bundle it was imported from, if it was not computed here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Of a bundle's digest, what is shown: enough to find the file.
_SHOWN = 12


def bundle_of(record: Mapping[str, Any]) -> str:
    """The bundle that brought a result, in words; '' where none did.

    Where a bundle held results that had been imported before, that is said, too.

    Args:
        record: ``run.json`` of the result.
    """
    found, texts = record.get("origin"), list[str]()
    while isinstance(found, Mapping) and found.get("imported") == "bundle" and len(texts) < 5:
        texts.append(f"bundle '{found.get('bundle')}' (SHA-256 {str(found.get('sha256'))[:_SHOWN]})")
        found = found.get("before")
    return ", which had it from ".join(texts)
