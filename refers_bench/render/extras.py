"""Imports packages that only some commands need, and says how to install them where they are missing."""

import importlib
from typing import Any

from refers_bench.errors import UserError


def imported(title: str, extra: str, *modules: str, otherwise: str = "") -> tuple[Any, ...]:
    """Modules of a package that an extra of this one brings.

    Args:
        title: of the package, for people.
        extra: of this package.
        modules: full names.
        otherwise: what can be done without it.

    Raises:
        UserError: one of them is not installed.
    """
    try:
        for name in dict.fromkeys(name.partition(".")[0] for name in modules):
            importlib.import_module(name)
        return tuple(importlib.import_module(name) for name in modules)
    except ImportError as error:
        allowed = f"pip install 'refers-bench[{extra}]'{f', or {otherwise}' if otherwise else ''}"
        raise UserError(f"{title} is not installed ({error})", allowed=allowed) from error
