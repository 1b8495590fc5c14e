"""Defines what all parts of a manifest share: names, durations, shares, patterns, and that unknown keys are refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

NAME = r"^[A-Za-z0-9][A-Za-z0-9_\-]{0,79}$"
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(value: Any) -> Any:
    """Seconds of "90s", "15m", "2h", "1d"; anything else is refused (10:30 is a number in old YAML)."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])", value) if isinstance(value, str) else None
    if not match:
        raise ValueError("a number and a unit: 90s, 15m, 2h or 1d")
    return float(match[1]) * _UNITS[match[2]]


def share(value: Any) -> Any:
    """The share that "1%" or 0.01 states: 0.01."""
    if isinstance(value, str) and (match := re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", value)):
        value = round(float(match[1]) / 100, 12)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise ValueError("a share in (0, 1] or a percentage such as 1%")
    return float(value)


def unique(values: list[Any]) -> list[Any]:
    """A list that names nothing twice."""
    if len(set(values)) != len(values):
        raise ValueError("each of them once")
    return values


def listed(value: Any) -> Any:
    """A single name as a list of one."""
    return [value] if isinstance(value, str) else value


def matching(pattern: str, allowed: str) -> AfterValidator:
    """Refuses text that does not match a pattern as a whole, with what is allowed in words."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(allowed)
        return value

    return AfterValidator(check)


Name = Annotated[str, Field(pattern=NAME)]
Ratio = Annotated[float, BeforeValidator(share, json_schema_input_type=str | float)]
Duration = Annotated[float, BeforeValidator(seconds, json_schema_input_type=str)]


def optional(description: str, default: Any = None, **limits: Any) -> Any:
    """A field that may be left out, and has its default then."""
    return Field(default=default, description=description, **limits)


def empty(kind: Callable[[], Any], description: str) -> Any:
    """A field that may be left out, and is an empty mapping, list or part then."""
    return Field(default_factory=kind, description=description)


class Part(BaseModel):
    """Unknown keys are errors: a misspelt setting must never be ignored."""

    model_config = ConfigDict(extra="forbid", strict=True)
