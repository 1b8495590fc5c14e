"""Replaces the parts of texts that say where a user's files lie."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

#: Values under these keys decide content keys, or name what a user compares: they hold no paths and are left alone.
_IN_KEYS = {"key", "spec", "specs", "own", "needs"}
_COMPARED = {"method", "label", "dataset", "task", "class", "classes", "kind", "category"}
KEPT = _IN_KEYS | _COMPARED
#: An absolute path of two parts or more; not one after a scheme ("https://") or within a relative path.
_PATH = re.compile(r"(?<![\w.:/<>~\\-])/(?:[^\s/:'\"<>|,;()\[\]{}]+/)+([^\s/:'\"<>|,;()\[\]{}]*)")
_WINDOWS = re.compile(r"(?<![\w])[A-Za-z]:\\(?:[^\s\\:'\"<>|]+\\)+([^\s\\:'\"<>|]*)")


class Scrubber:
    """Replaces absolute paths: known folders by their names, any other by its last part.

    Args:
        known: name -> absolute folder ("results" -> "/home/me/results"); longer folders go first.
    """

    def __init__(self, known: Mapping[str, str] | None = None) -> None:
        folders = sorted((known or {}).items(), key=lambda item: -len(item[1]))
        self.known = [(name, folder.rstrip("/")) for name, folder in folders if len(folder.rstrip("/")) > 1]
        #: Placeholder -> number of times that it was put in.
        self.replaced: Counter[str] = Counter()

    def text(self, given: str) -> str:
        """The text without absolute paths."""
        for name, folder in self.known:
            # The folder itself or something in it, not a longer name that begins alike.
            given, count = re.subn(rf"{re.escape(folder)}(?![\w.-]*[\w-])", f"<{name}>".replace("\\", "\\\\"), given)
            self.replaced.update([f"<{name}>"] * count)
        for pattern in (_PATH, _WINDOWS):
            given, count = pattern.subn(lambda match: f"<path>/{match[1]}".rstrip("/"), given)
            self.replaced.update(["<path>"] * count)
        return given

    def value(self, node: Any) -> Any:
        """A JSON value whose strings hold no absolute paths; values under a key of `KEPT` are left as they are."""
        if isinstance(node, str):
            return self.text(node)
        if isinstance(node, Mapping):
            return {name: part if name in KEPT else self.value(part) for name, part in node.items()}
        if isinstance(node, list | tuple):
            return [self.value(part) for part in node]
        return node


def roots_of(records: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Name -> folder of the data roots that records name."""
    found: dict[str, str] = {}
    for record in records:
        for name, folder in ((record.get("provenance") or {}).get("roots") or {}).items():
            if isinstance(folder, str) and folder.startswith("/"):
                found.setdefault(f"root {name}", folder)
    return found
