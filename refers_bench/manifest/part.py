"""Defines what all parts of a manifest share: names, durations, patterns, and that unknown keys are refused."""

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


def matching(pattern: str, allowed: str) -> AfterValidator:
    """Refuses text that does not match a pattern as a whole, with what is allowed in words."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(allowed)
        return value

    return AfterValidator(check)


Name = Annotated[str, Field(pattern=NAME)]
Duration = Annotated[float, BeforeValidator(seconds, json_schema_input_type=str)]


def optional(description: str) -> Any:
    """A field that may be left out, and is None then."""
    return Field(default=None, description=description)


def empty(kind: Callable[[], Any], description: str) -> Any:
    """A field that may be left out, and is an empty mapping, list or part then."""
    return Field(default_factory=kind, description=description)


class Part(BaseModel):
    """Unknown keys are errors: a misspelt setting must never be ignored."""

    model_config = ConfigDict(extra="forbid", strict=True)
