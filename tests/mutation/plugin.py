"""Tells which tests run which lines, and runs chosen tests in a chosen order.

A plug-in of pytest. With ``MUTATION_MAP`` (a folder) every test is one context of coverage.py: its number is put into
the configuration that processes started by the test read, so that their lines count as its own. With
``MUTATION_TESTS`` (a JSON list of ids) only these tests run, in this order.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

#: What coverage.py is told, here and in the processes that tests start.
CONFIGURATION = """\
[run]
source_pkgs = refers_bench
data_file = {data}
parallel = True
concurrency = multiprocessing,thread
sigterm = True
disable_warnings = no-data-collected,module-not-imported,module-not-measured
context = {context}
"""


def pytest_configure(config: pytest.Config) -> None:
    if (folder := os.environ.get("MUTATION_MAP")) and not (config.getoption("numprocesses", None)):
        config.pluginmanager.register(Recorder(Path(folder)))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if path := os.environ.get("MUTATION_TESTS"):
        place = {name: n for n, name in enumerate(json.loads(Path(path).read_text()))}
        left_out = [item for item in items if item.nodeid not in place]
        items[:] = sorted((item for item in items if item.nodeid in place), key=lambda item: place[item.nodeid])
        config.hook.pytest_deselected(items=left_out)


class Recorder:
    """Writes `<folder>/coverage.*` and `<folder>/tests-<process>.json`."""

    def __init__(self, folder: Path) -> None:
        import coverage

        self._folder, self._me = folder, os.getpid()
        self._numbers: dict[str, str] = {}
        self._uses: dict[str, list[str]] = {}
        self._seconds: dict[str, float] = defaultdict(float)
        self._passed: dict[str, bool] = {}
        self._file = folder / f"configuration-{self._me}.ini"
        self._context = ""
        self._configure("")
        os.environ["COVERAGE_PROCESS_START"] = str(self._file)
        self._coverage = coverage.Coverage(config_file=str(self._file), data_suffix=True)
        self._coverage.start()

    def _configure(self, context: str) -> None:
        self._file.write_text(CONFIGURATION.format(data=self._folder / "coverage", context=context))

    def _number(self, name: str) -> str:
        return self._numbers.setdefault(name, f"{self._me}-{len(self._numbers)}")

    def _switch(self, context: str) -> str:
        before, self._context = self._context, context
        self._coverage.switch_context(context)
        self._configure(context)
        return before

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._switch(self._number(item.nodeid))
        shared = item._fixtureinfo.name2fixturedefs if hasattr(item, "_fixtureinfo") else {}
        self._uses[item.nodeid] = [
            self._number(_name(one)) for several in shared.values() for one in several if one.scope != "function"
        ]
        try:
            return (yield)
        finally:
            self._switch("")

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Iterator[None]:
        """What a shared fixture runs belongs to every test that uses it."""
        if fixturedef.scope == "function":
            return (yield)
        before = self._switch(self._number(_name(fixturedef)))
        try:
            return (yield)
        finally:
            self._switch(before)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid] += report.duration
        if report.when == "call" or not report.passed:
            self._passed[report.nodeid] = report.passed and self._passed.get(report.nodeid, True)

    def pytest_sessionfinish(self) -> None:
        self._coverage.stop()
        self._coverage.save()
        tests = {
            name: {
                "contexts": [self._numbers[name], *self._uses[name]],
                "seconds": round(self._seconds[name], 3),
                "passed": self._passed.get(name, False),
            }
            for name in self._uses
        }
        (self._folder / f"tests-{self._me}.json").write_text(json.dumps(tests))


def _name(fixture: Any) -> str:
    return f"fixture {fixture.argname} of {fixture.baseid}"
