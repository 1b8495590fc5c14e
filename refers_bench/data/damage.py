"""Finds damage in what jobs keep in the cache, by their kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from refers_bench.data import features, prepare
from refers_bench.errors import Problem

#: Kind of job, as in `refers_bench.store.context.CACHED` -> what is wrong with its folder in the cache; it reads all.
DAMAGE: Mapping[str, Callable[[Path], list[Problem]]] = {"prepare": prepare.damage, "features": features.damage}
