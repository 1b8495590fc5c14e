"""Says in words, with a place, where a YAML file does not fit its schema."""

from __future__ import annotations

from types import NoneType
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from refers_bench.errors import Problem
from refers_bench.manifest.yaml_text import Document, Loc

#: Lists of a manifest whose entries may be bare ids: what each is the id of, and the key that it stands for.
BARE = {"source": ("dataset", "dataset"), "methods": ("method", "id")}
#: Kind of pydantic's refusal -> what is allowed, in words for somebody who writes YAML; in braces what pydantic knows.
_WORDS = {
    **dict.fromkeys(("model_type", "dict_type"), "a mapping of keys to values"),
    **dict.fromkeys(("list_type", "tuple_type"), "a list"),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float", "int_parsing_size"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    "string_type": 'text; what YAML reads as another kind stands in quotes: "5"',
    "finite_number": "a finite number",
    "greater_than_equal": "{ge} or more",
    "greater_than": "more than {gt}",
    "less_than_equal": "{le} or less",
    "less_than": "less than {lt}",
    "too_short": "a list of {min_length} or more",
    "too_long": "a list of {max_length} or fewer",
    "string_too_short": "{min_length} or more characters",
    "string_too_long": "{max_length} or fewer characters",
    "literal_error": "{expected}",
    "string_pattern_mismatch": "letters, digits, '_' and '-', beginning with a letter or digit",
}


def allowed(detail: Any) -> str:
    """What is allowed in place of a value that pydantic refuses.

    Args:
        detail: one of `pydantic.ValidationError.errors`.
    """
    text: str = _WORDS.get(detail["type"], "")
    return text.format(**detail.get("ctx", {})) if text else str(detail["msg"]).removeprefix("Value error, ")


def problems(error: ValidationError, document: Document, model: type[BaseModel], *, at: Loc = ()) -> list[Problem]:
    """One problem for each thing that does not fit.

    Args:
        error: of `model`.
        document: the file.
        model: the schema of a part of it.
        at: place of that part.
    """
    return [_problem(detail, document, model, at) for detail in error.errors()]


def _problem(detail: Any, document: Document, model: type[BaseModel], at: Loc) -> Problem:
    inside: Loc = tuple(part for part in detail["loc"] if part != "[key]")
    loc, kind, last = (*at, *inside), detail["type"], detail["loc"][-1] if detail["loc"] else ""
    if kind == "extra_forbidden":
        return document.unknown(loc, "key", str(last), _keys_at(model, inside[:-1]))
    if kind == "missing":
        return document.problem(loc[:-1], f"key '{last}' is missing", allowed=f"'{last}' must be given")
    fitting = allowed(detail)
    if loc == ("seeds",) and kind == "list_type":
        fitting = "a list of seeds, or how many of each are crossed: {subset: 5, init: 3, order: 1}"
    if kind == "model_type" and len(loc) == 2 and loc[0] in BARE:
        fitting = f"the id of a {BARE[str(loc[0])][0]}, or a mapping of keys to values"
    if kind == "string_pattern_mismatch" and last == "root":
        fitting = "lower-case letters, digits and '_', beginning with a letter"
    elif kind == "string_pattern_mismatch" and "slurm" in loc:
        fitting = f"text that matches {detail['ctx']['pattern']}"
    return document.problem(loc, f"{'.'.join(map(str, loc))} is {detail['input']!r}"[:200], allowed=fitting)


def _keys_at(model: Any, loc: Loc) -> list[str]:
    """Names of the fields of the part of a schema at a place."""
    for part in loc:
        if isinstance(model, type) and issubclass(model, BaseModel) and part in model.model_fields:
            model = model.model_fields[str(part)].annotation
        else:  # an index of a list, or a key of a mapping: its last type argument is the part's model
            model = get_args(model)[-1] if get_args(model) else model
        some = [one for one in get_args(model) if one is not NoneType]
        model = some[0] if len(some) == 1 != len(get_args(model)) else model  # a part that may be left out
    if not isinstance(model, type) and get_args(model):  # a part or a list of such parts
        model = get_args(model)[-1]
    return sorted(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []
