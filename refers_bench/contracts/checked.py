"""Names the plug-ins that the contract tests check: those that were asked for, or all that are found."""

from __future__ import annotations

import os

from refers_bench import plugins

#: Environment variable that names the plug-ins to check, for example "method:simsiam,report:my_table".
CHECKED = "REFERS_BENCH_CHECKED"


def names(kind: str) -> list[str]:
    """Ids of the plug-ins of a kind that are checked, in alphabetical order.

    Args:
        kind: "method", "dataset", "report" or "engine".
    """
    found = sorted(plugins.engines() if kind == "engine" else plugins.names(kind))
    asked = [entry.partition(":") for entry in filter(None, os.environ.get(CHECKED, "").split(","))]
    return [name for name in found if not asked or (kind, ":", name) in asked]
