"""Is work shared out without another result than one process has, whatever becomes of the others?"""

from __future__ import annotations

import operator
import os
import signal
import subprocess
import sys
import time
import types
from collections.abc import Sequence
from pathlib import Path

import pytest

from refers_bench import machine
from refers_bench.analysis.stored_metrics import read_metrics
from refers_bench.errors import UserError
from refers_bench.machine import begun, cores, main_hidden, shared_out


@pytest.fixture(autouse=True)
def _buffered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Interpreters of users hold back what they write until it is flushed."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)


def test_cores_are_those_of_this_process() -> None:
    assert cores() == len(os.sched_getaffinity(0))


@pytest.mark.parametrize("processes", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [0, 1, 9, 10, 25])
def test_the_order_is_kept(processes: int, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cores", lambda: processes)
    # `operator.mul` of a list and 1 is the list: a function that any interpreter finds.
    assert shared_out(operator.mul, list(range(count)), 1, worth=5) == list(range(count))


def test_parts_are_worked_on_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 3)
    assert {pid for pid, _ in shared_out(_here, ["a", "b"], worth=10)} == {os.getpid()}
    # One of three processes is this one; each waits long enough with a part for the others to take theirs.
    assert len({pid for pid, _ in shared_out(_slowly, list(range(60)), worth=10)}) == 3


def test_work_is_cut_into_four_parts_for_each_process() -> None:
    done: list[int] = []
    shared_out(operator.mul, list(range(20)), 1, worth=20, told=done.append)
    assert done == [5, 10, 15, 20]
    done.clear()
    begun(operator.mul, list(range(20)), 1, worth=20, told=done.append)()
    assert done == [5, 10, 15, 20]


def test_parts_of_other_processes_count_as_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 2)
    done: list[int] = []
    found = shared_out(_slowly_elsewhere, list(range(16)), os.getpid(), worth=8, told=done.append)
    assert len(found) == 16 and len({pid for pid, _ in found}) == 2
    assert done[-1] == 16 and done == sorted(done)


def _slowly_elsewhere(items: Sequence[int], here: int) -> list[tuple[int, int]]:
    time.sleep(0.2 if os.getpid() == here else 1.5)
    return [(os.getpid(), item) for item in items]


def _slowly(items: Sequence[int]) -> list[tuple[int, int]]:
    time.sleep(0.2)
    return [(os.getpid(), item) for item in items]


def _here(items: Sequence[str]) -> list[tuple[int, str]]:
    return [(os.getpid(), item) for item in items]


def _not_elsewhere(items: Sequence[int], here: int, how: str) -> list[tuple[int, int]]:
    if os.getpid() != here:
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        elif how == "rubbish":
            os.write(1, b"rubbish")
        raise OSError(how)
    time.sleep(0.2)
    return [(os.getpid(), item) for item in items]


@pytest.mark.parametrize("how", ["killed", "rubbish", "an error"])
def test_a_process_that_fails_costs_nothing(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 2)
    found = shared_out(_not_elsewhere, list(range(16)), os.getpid(), how, worth=2)
    assert found == [(os.getpid(), item) for item in range(16)]


def test_an_interpreter_that_cannot_start_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 2)
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    assert shared_out(operator.mul, list(range(10)), 1, worth=2) == list(range(10))


def test_errors_are_those_of_the_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 2)
    for key in "abcd":
        (tmp_path / key).mkdir()
    with pytest.raises(UserError, match="cannot read"):
        shared_out(read_metrics, list("abcd"), tmp_path, worth=2)


def test_a_script_without_a_guarded_main_can_use_it(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import operator\nfrom refers_bench import machine\nmachine.cores = lambda: 2\n"
        "print('once', sum(machine.shared_out(operator.mul, list(range(10)), 1, worth=2)))\n"
    )
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "once 45\n"


def test_the_main_module_is_hidden_from_new_processes_only_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    main = types.ModuleType("__main__")
    main.__file__, before = "script.py", main.__spec__
    monkeypatch.setitem(sys.modules, "__main__", main)
    with pytest.raises(KeyError), main_hidden():
        assert not hasattr(main, "__file__") and main.__spec__ is None
        with main_hidden():
            pass
        assert not hasattr(main, "__file__")
        raise KeyError
    assert main.__file__ == "script.py" and main.__spec__ is before
    del main.__file__
    with main_hidden():
        pass
    assert not hasattr(main, "__file__"), "a notebook's has none"


#: Starts a program that starts another one; both wait for the end of the first, and one cannot run.
STARTER = """
import signal, subprocess, sys, time
from refers_bench.machine import environment
INNER = "from refers_bench.machine import exit_with_parent as watch; watch(); print('on', flush=True); import time; time.sleep(60)"
OUTER = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {INNER!r}]); print(p.pid, flush=True);" + INNER
outer = subprocess.Popen(
    [sys.executable, "-c", OUTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(), text=True
)
inner = int(outer.stdout.readline())
for _ in range(2):
    assert outer.stdout.readline() == "on\\n"
if sys.argv[1] == "stopped":
    outer.send_signal(signal.SIGSTOP)
print(outer.pid, inner, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked for in /proc (Linux)")
@pytest.mark.parametrize("how", ["running", "stopped"])
def test_programs_end_with_the_one_that_started_them(how: str, tmp_path: Path) -> None:
    (tmp_path / "starter.py").write_text(STARTER)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    command = [sys.executable, str(tmp_path / "starter.py"), how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as starter:
        assert starter.stdout is not None
        numbers = starter.stdout.readline().split()
        starter.kill()
    assert len(numbers) == 2
    until = time.monotonic() + 5
    while (left := [number for number in numbers if _runs(number)]) and time.monotonic() < until:
        time.sleep(0.05)
    assert left == []


def _runs(number: str) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
