"""Random initialisation: no pre-training at all, the canary arm of every comparison."""

from __future__ import annotations

from pydantic import BaseModel

from refers_bench.plugins import Method


class Params(BaseModel, extra="forbid", frozen=True):
    """No parameters."""


METHOD = Method(label="Random initialisation", source="no pre-training; not a row of the paper", impl=1, Params=Params)
