"""Every kind of job that keeps something in the cache has a check that reads all of it."""

from __future__ import annotations

from refers_bench.data import features, prepare
from refers_bench.data.damage import DAMAGE
from refers_bench.store.context import CACHED


def test_each_cached_kind_has_its_check() -> None:
    assert set(DAMAGE) == set(CACHED)
    assert (DAMAGE["prepare"], DAMAGE["features"]) == (prepare.damage, features.damage)
