"""Are folders found once for a command, however often it asks for them?"""

from __future__ import annotations

from pathlib import Path

import pytest

from refers_bench.execution.settings import Settings
from refers_bench.manifest import roots
from refers_bench.manifest.roots import Roots


def test_folders_are_found_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []

    def read() -> Roots:
        reads.append(1)
        return Roots(results=tmp_path / "results", cache=tmp_path / "cache")

    monkeypatch.setattr(roots, "load_roots", read)
    settings = Settings(results_option=None, cache_option=None)
    assert {settings.cache for _ in range(3)} == {tmp_path / "cache"}
    assert {settings.results for _ in range(3)} == {tmp_path / "results"}
    assert len(reads) == 2


def test_an_option_wins_over_the_environment_and_this_over_the_config_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roots, "load_roots", lambda: Roots(results=tmp_path / "config", cache=tmp_path / "config"))
    assert Settings().results == Settings().cache == tmp_path / "config"
    monkeypatch.setenv("REFERS_BENCH_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("REFERS_BENCH_CACHE", str(tmp_path / "cache"))
    assert (Settings().results, Settings().cache) == (tmp_path / "results", tmp_path / "cache")
    given = Settings(results_option=tmp_path / "r", cache_option=tmp_path / "c")
    assert (given.results, given.cache) == (tmp_path / "r", tmp_path / "c")
