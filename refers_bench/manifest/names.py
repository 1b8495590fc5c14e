"""Says which names a plan may have: each is a folder below the results, beside folders that are no plan's."""

import re

from refers_bench.manifest.part import NAME

#: Folders below the results that are no manifest's.
RESERVED = ("store", "work", "logs", "probes", "published", "report", "data", "statistics")
#: What a plan may be called.
ALLOWED = f"letters, digits, '_' and '-', and none of {', '.join(RESERVED)}"


def usable(name: str) -> bool:
    """Whether a plan may have this name; on some file systems 'Store' is the folder 'store'.

    Example:
        >>> [usable(name) for name in ("table1", "Store", ".git", "a/b")]
        [True, False, False, False]
    """
    return re.fullmatch(NAME, name) is not None and name.casefold() not in RESERVED and not name.endswith("\n")
