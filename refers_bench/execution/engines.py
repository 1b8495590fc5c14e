"""Makes the engine of a name from what manifest and user config file say about it."""

from collections.abc import Mapping
from typing import Any, cast

from refers_bench import plugin_files, plugins
from refers_bench.errors import UserError, unknown
from refers_bench.execution.engine import Engine, Settings


def make(
    name: str, settings: Settings, execution: Mapping[str, Any], *, site: Mapping[str, Mapping[str, Any]] | None = None
) -> Engine:
    """The engine of that name.

    Args:
        name: one of `refers_bench.plugins.engines`.
        settings: how jobs run.
        execution: of a plan.
        site: engine name -> what the user config file says about it; the manifest wins, key by key.

    Raises:
        UserError: no engine of that name, or what it needs is not installed.
    """
    section = name if name in plugins.ENGINES else "options"
    own = merged((site or {}).get(name, {}), execution.get(section) or {})
    return cast(Engine, factory(name)(settings, {**execution, section: own}))


def factory(name: str) -> Any:
    """What makes the engine of that name: a class with the attributes of `Engine`, or a function without any.

    Raises:
        UserError: no engine of that name, several, or one that cannot be imported.
    """
    known = plugins.engines()
    if name not in known:
        raise UserError(unknown("executor", name, known))
    if clash := plugin_files.twice("engine", name):
        raise UserError(clash)
    plugin_files.imported(known[name].partition(":")[0])
    return plugins.resolve(known[name])


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Two sections: what the upper one sets wins, mappings key by key; None is not set."""
    result = dict(below)
    for name, value in above.items():
        if isinstance(value, Mapping) and isinstance(result.get(name), Mapping):
            result[name] = merged(result[name], value)
        elif value is not None:
            result[name] = value
    return result
