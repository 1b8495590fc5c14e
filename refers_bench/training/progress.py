"""What is a running training doing right now, for whoever watches from another process?"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from refers_bench.files import publish_json

#: Seconds between two writes.
EVERY_S = 1.0


class ProgressFile:
    """Writes a small JSON file at most once a second, always whole.

    Args:
        path: where it appears.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.written = float("-inf")

    def __call__(self, view: Mapping[str, Any]) -> None:
        """Publish `view` unless the last one is younger than a second."""
        now = time.monotonic()
        if now - self.written >= EVERY_S:
            publish_json(self.path, {**view, "time": time.time()})
            self.written = now
