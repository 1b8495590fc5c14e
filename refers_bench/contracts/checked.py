"""Names the plug-ins that the contract tests check: those that were asked for, or all that are found."""

from __future__ import annotations

import os

from refers_bench import plugins

#: Environment variable that names the plug-ins to check, for example "method:simsiam,report:my_table".
CHECKED = "REFERS_BENCH_CHECKED"


def names(kind: str) -> list[str]:
    """Ids of the plug-ins of a kind that are checked, in alphabetical order.

    Args:
        kind: "method", "dataset" or "report".
    """
    asked = os.environ.get(CHECKED, "")
    return [name for name in sorted(plugins.names(kind)) if not asked or f"{kind}:{name}" in asked.split(",")]
