"""Writes plans so that a hundred thousand jobs still fit into a file that people can compare, and reads them.

Specifications share hundreds of values and differ in a few. Shared values stand once, one value a line, under a name
that follows from their content; each job and each cell takes one line with its own values.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from refers_bench import identity

VERSION = 2
#: Before sharing: every job with its whole specification.
READABLE = (1, VERSION)
#: Values that tell apart the jobs of a row, or its cells.
OWN_OF_JOB = ("label_ratio", "subset", "seed", "init_seed", "order_seed", "pretrain", "fold", "folds", "groups")
OWN_OF_CELL = ("label_ratio", "seed", "crossed", "key")

_line: Callable[[Any], str] = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def packed(content: Mapping[str, Any]) -> bytes:
    """The file of a plan; an equal plan gives equal bytes.

    Args:
        content: of the plan; its ``jobs`` and ``cells`` are mappings, and come last in the file.
    """
    specs, rows = _Shared(OWN_OF_JOB), _Shared(OWN_OF_CELL)
    jobs, cells = [], []
    for job in content["jobs"]:
        name, own = specs.split(job["spec"])
        line = {"key": job["key"], "kind": job["kind"], "name": job["name"], "needs": job["needs"]}
        unavailable = {"unavailable": job["unavailable"]} if job["unavailable"] else {}
        jobs.append(_line({**line, "spec": name, "own": own, **unavailable}))
    for cell in content["cells"]:
        name, own = rows.split(cell)
        cells.append(_line({"row": name, **own}))
    rest = {name: value for name, value in content.items() if name not in ("jobs", "cells", "version")}
    whole = {"version": VERSION, **rest, "specs": specs.parts, "rows": rows.parts}
    text = json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False).removesuffix("\n}")
    for name, lines in (("jobs", jobs), ("cells", cells)):
        listed = ",\n  ".join(lines)
        text += f',\n "{name}": [\n  {listed}\n ]' if lines else f',\n "{name}": []'
    return f"{text}\n}}\n".encode()


class _Shared:
    """Collects what mappings have in common besides their own values.

    Args:
        own: names of the values that are not shared.
    """

    def __init__(self, own: tuple[str, ...]) -> None:
        self.own = own
        self.parts: dict[str, dict[str, Any]] = {}
        self._known: dict[tuple[Any, ...], str] = {}

    def split(self, values: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Name of the shared part, and the values' own."""
        own = {name: values[name] for name in self.own if name in values}
        # Values that are the same objects need no second look; all of them live as long as the plan does.
        same = tuple([(name, id(value)) for name, value in values.items() if name not in own])
        if same not in self._known:
            part = {name: value for name, value in values.items() if name not in own}
            self._known[same] = identity.key(part)
            self.parts.setdefault(self._known[same], part)
        return self._known[same], own


def unpacked(content: dict[str, Any]) -> dict[str, Any]:
    """The plan's content with every job's whole specification, of this version or an earlier one.

    Raises:
        KeyError: a part is missing.
        TypeError: a part is of another type.
    """
    if content.get("version") != VERSION:
        return content
    specs, rows = content.pop("specs"), content.pop("rows")
    for job in content["jobs"]:
        job["spec"] = {**specs[job["spec"]], **job.pop("own")}
        job.setdefault("unavailable", "")
    content["cells"] = [{**rows[cell.pop("row")], **cell} for cell in content["cells"]]
    return content
