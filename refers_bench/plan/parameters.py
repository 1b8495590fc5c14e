"""Lists what the source of a row's method says of its parameters and training constants, and what a table must say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from refers_bench.plugins import Method

#: Of their names in the lock: "params.queue [c2l]", with the row's name behind.
PREFIX = "params."
#: Constants of a pre-training on which the source of any method would have a word. All others belong to REFERS' own
#: objective or to the shared budget, or depend on one of these.
TRAINING: Mapping[str, str] = {
    "pretrain": "steps batch_size optimizer learning_rate momentum weight_decay decay_rule warmup_steps schedule "
    "clip_norm lookahead_steps select patience",
    "image.pretrain_augment": "crop rotation_degrees flip_probability jitter_probability",
}

#: Sections that a row which does not pre-train has no use for.
PRETRAINING = ("pretrain.", "image.pretrain_augment.")


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One parameter of a row's method; see `refers_bench.plugins.Method` for what a field says of its source.

    Attributes:
        name: field of the method's `Params`.
        value: a JSON value.
        changed: whether the row has another value than the default; always where there is no default.
        default: the field's own, None where there is none.
        description: what it is.
        stated: whether the method's source states a value.
        official: that value, where it does.
        deviation: how what we do with the parameter differs from its source, whatever the value; '' where it does not.
    """

    name: str
    value: Any
    changed: bool
    default: Any
    description: str
    stated: bool
    official: Any
    deviation: str

    @property
    def note(self) -> str:
        """What a table says of it."""
        return f"{self.name} = {self.value}" + ("" if self.default is None else f" (default {self.default})")


def parameters(model: BaseModel) -> Iterator[Parameter]:
    """All parameters of a row, in the order of its model."""
    for name, info in type(model).model_fields.items():
        said = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
        required, value = info.is_required(), to_jsonable_python(getattr(model, name))
        default = None if required else to_jsonable_python(info.get_default(call_default_factory=True))
        yield Parameter(
            name=name,
            value=value,
            changed=required or value != default,
            default=default,
            description=info.description or "",
            stated=not (required or said.get("unstated", False)),
            official=said.get("official", default),
            deviation=str(said.get("deviation", "")),
        )


def footnotes(method: Method, model: BaseModel) -> Iterator[str]:
    """What a table must say of a row's parameters: the method's own words, then all others that are not the default."""
    own = method.footnotes(model)
    yield from own
    for one in parameters(model):
        if one.changed:
            # The method's own words speak of it where they would be others at the default.
            default = type(model).model_fields[one.name].get_default(call_default_factory=True)
            if one.default is None or method.footnotes(model.model_copy(update={one.name: default})) == own:
                yield one.note


def statements(method: Method, *, pretrains: bool) -> dict[str, Mapping[str, Any]]:
    """Dotted constant -> {"value", "where"}; nothing in it for a constant that the source leaves open.

    Nothing for a method without a source of its own: REFERS' paper is the reference of its rows.

    Args:
        method: see `Method.source_values`.
        pretrains: whether the row pre-trains at all.
    """
    if not method.source_values:
        return {}
    found = {name: {"value": value, "where": where} for name, (value, where) in method.source_values.items()}
    if not pretrains:
        return {name: said for name, said in found.items() if not name.startswith(PRETRAINING)}
    silent = [f"{section}.{name}" for section, names in TRAINING.items() for name in names.split()]
    return {name: found.get(name, {}) for name in dict.fromkeys([*silent, *found])}
