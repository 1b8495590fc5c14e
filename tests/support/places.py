"""The place that a name takes in an order drawn by hashes, written out by hand."""

from __future__ import annotations

import hashlib
import json


def place_of(*names: str | int) -> int:
    """The number that a name's parts are given: the first 63 bits of the hash of their list in JSON."""
    text = json.dumps(names, separators=(",", ":"))
    return int(hashlib.sha256(text.encode()).hexdigest()[:16], 16) >> 1
