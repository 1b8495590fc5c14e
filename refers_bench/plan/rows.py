"""Holds a table row while a manifest is expanded: what the manifest says of it, its method, and what that sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from refers_bench import plugins
from refers_bench.manifest import protocols
from refers_bench.manifest.protocols import Value
from refers_bench.manifest.schema import MethodPart


@dataclass(frozen=True, kw_only=True)
class Row:
    """A table row: what the manifest says of it, the method it names, and what that sets in the protocol."""

    part: MethodPart
    name: str
    plugin: plugins.Method
    model: Any
    params: Mapping[str, Any]
    unavailable: str
    pretrains: bool
    constants: Mapping[str, Value]

    @property
    def evaluation(self) -> str:
        """Of this row whatever its columns are for; '' for theirs."""
        return self.part.evaluation or ("linear_probe" if self.plugin.index_features else "")

    @classmethod
    def of(cls, part: MethodPart, *, preset: str) -> Row:
        """The row of a part of the manifest under a protocol preset."""
        plugin: plugins.Method = plugins.load("method", part.id)
        model = plugin.Params(**part.params)
        own = {**plugin.constants, **plugin.sheet(model), **(plugin.recipe if protocols.full_size(preset) else {})}
        return cls(
            part=part,
            name=part.name or part.id,
            plugin=plugin,
            model=model,
            params=model.model_dump(mode="json"),
            unavailable=plugin.unavailable(model),
            pretrains=plugin.pretrains(model),
            constants={
                name: Value(value=value, origin=f"{part.id}: {source}") for name, (value, source) in own.items()
            },
        )
