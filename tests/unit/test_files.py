"""Does one process at a time make a folder, and is what killed ones left beside it removed?"""

from __future__ import annotations

import fcntl
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from refers_bench.errors import StorageError
from refers_bench.files import making, parsed_json, tidy, work_of

HOLD = """
import sys
from pathlib import Path
from refers_bench.files import making, staged_folder
with making(Path(sys.argv[1])), staged_folder(Path(sys.argv[1])):
    print("here", flush=True)
    input()
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that is making ``tmp_path / "made"``."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "made")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    yield process
    process.kill()
    process.communicate()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_second_process_waits_and_is_told_for_whom(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    told, found = [], []

    def wait() -> None:
        with making(tmp_path / "made", waiting=told.append):
            found.append((tmp_path / "made").is_dir())

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.5)
    assert found == []
    assert len(told) == 1
    assert told[0].startswith(f"process {other.pid} on ")
    other.communicate("\n")
    thread.join(10)
    assert found == [True]
    assert names(tmp_path) == ["made"]


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    other.kill()
    other.wait()
    assert len(names(tmp_path)) == 2, "the lock and the staged folder"
    with making(tmp_path / "made"):
        assert len(names(tmp_path)) == 1, "the lock"
    assert names(tmp_path) == []


def test_what_cannot_be_removed_does_not_stop_whoever_makes_it(tmp_path: Path) -> None:
    """A file is no staged folder; over NFS a file that somebody still reads leaves one, too."""
    stray = tmp_path / ".made.stray.part"
    stray.touch()
    with making(tmp_path / "made"):
        (tmp_path / "made").mkdir()
    assert names(tmp_path) == [".made.stray.part", "made"]


def test_tidying_leaves_alone_whom_it_finds_at_work(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    work_of(tmp_path / "made").mkdir()
    before = names(tmp_path)
    tidy(tmp_path / "made")
    assert names(tmp_path) == before
    other.kill()
    other.wait()
    tidy(tmp_path / "made")
    assert names(tmp_path) == [".made.work"], "work that can be resumed stays"
    (tmp_path / "made").mkdir()
    tidy(tmp_path / "made")
    assert names(tmp_path) == ["made"]


def test_a_lock_file_that_its_holder_removed_is_not_taken_for_a_lock(tmp_path: Path) -> None:
    """Whoever opened it before, and locks it afterwards, would be alone on a file that nobody else sees."""
    inside, most = 0, 0

    def enter() -> None:
        nonlocal inside, most
        for _ in range(20):
            with making(tmp_path / "made"):
                inside += 1
                most = max(most, inside)
                os.sched_yield()
                inside -= 1

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == 1
    assert names(tmp_path) == []


def test_a_lock_ends_after_its_file_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever took it between the two would lose the file, and the next process would lock a new one."""
    remove, held = Path.unlink, []

    def checked(path: Path, missing_ok: bool = False) -> None:
        with path.open("a") as other:
            try:
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                held.append(path)
        remove(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", checked)
    with making(tmp_path / "made"):
        pass
    assert len(held) == 1


def test_a_lock_that_cannot_be_written_is_an_error_with_its_path(tmp_path: Path) -> None:
    """What the stream still holds is not written again, outside of what names the path, when it is closed."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with pytest.raises(StorageError, match="larger than allowed"), making(tmp_path / "made"):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_half_a_character_is_no_json_and_a_whole_one_is() -> None:
    assert parsed_json(b'["\\ud83d\\ude00"]') == ["\N{GRINNING FACE}"]
    for half in (b'["\\ud800"]', b'{"\\udfff": 1}', b'["\xed\xa0\x80"]'):
        with pytest.raises(ValueError, match="utf-8"):
            parsed_json(half)
