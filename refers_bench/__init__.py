"""refers-bench: a reproducibility benchmark harness for radiograph representation learning.

``import refers_bench as rb`` offers the verbs of `refers_bench.api`, which is imported when one of them is used.
"""

import importlib

__version__ = "0.1.0"
__all__ = ["DrawnFigure", "JobsFailed", "StoredResults", "UserError", "__version__", "plan", "results", "run"]

# The package `refers_bench.plan` would take the name of the verb `plan` whenever it is first imported: it is imported
# now, and its name given back.
importlib.import_module("refers_bench.plan")
del plan  # noqa: F821 - bound by the import


def __getattr__(name: str) -> object:
    """A public name of `refers_bench.api`."""
    if name in __all__:
        return getattr(importlib.import_module("refers_bench.api"), name)
    raise AttributeError(f"module 'refers_bench' has no attribute '{name}'")


def __dir__() -> list[str]:
    """The public names, for completion in a notebook."""
    return __all__
