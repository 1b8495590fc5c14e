"""Are signals noted while a training can save its state, and given back afterwards?"""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from refers_bench.jobs.interruption import PROCESSES, SIGNALS, STOP, caught, preempted


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_noted_and_its_handler_comes_back(number: signal.Signals) -> None:
    def mine(*_: object) -> None:
        raise AssertionError("the handler of before was called")

    before = signal.signal(number, mine)
    try:
        with caught() as signalled:
            assert not signalled()
            os.kill(os.getpid(), number)
            assert signalled()
        assert signal.getsignal(number) is mine
    finally:
        signal.signal(number, before)


def test_handlers_come_back_after_an_error() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with pytest.raises(KeyError), caught():
        raise KeyError
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_another_thread_installs_nothing() -> None:
    seen = []

    def work() -> None:
        with caught() as signalled:
            seen.extend([signalled(), *(signal.getsignal(number) for number in SIGNALS)])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False, *(signal.getsignal(number) for number in SIGNALS)]


def test_several_processes_are_told_by_a_file(tmp_path: Path) -> None:
    asked = preempted(tmp_path, lambda: False)
    assert not asked()
    (tmp_path / PROCESSES).mkdir()
    (tmp_path / PROCESSES / STOP).touch()
    assert asked()
    assert preempted(tmp_path / "elsewhere", lambda: True)()
