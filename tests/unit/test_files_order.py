"""Files and folders are published in an order that a crash at any moment leaves the old content or the new one."""

from __future__ import annotations

import errno
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from refers_bench.errors import StorageError
from refers_bench.files import making, publish_bytes, publish_json, staged_folder, tidy, work_of

#: What each case does to a folder "F": its name, and the calls in their order. Rows are the promise: content is
#: written, forced to disk, renamed; the folder that holds the new name is forced to disk at last.
PUBLISHED = ["write .a.txt.*.part", "fsync .a.txt.*.part 3", "rename .a.txt.*.part a.txt", "fsync ."]
STAGED = ["mkdir .made.*.part", "write .made.*.part/x", "mkdir .made.*.part/sub", "write .made.*.part/sub/y"]
FORCED = ["fsync .made.*.part", "fsync .made.*.part/sub", "fsync .made.*.part/sub/y 3", "fsync .made.*.part/x 3"]
REPLACED = ["rename made .made.*.old", "rename .made.*.part made", "rmtree .made.*.old", "rmdir .made.*.old", "fsync ."]


def publish(folder: Path) -> None:
    publish_bytes(folder / "a.txt", b"new")


def stage(folder: Path, *, replace: bool = False, content: bytes = b"new") -> None:
    with staged_folder(folder / "made", replace=replace) as staged:
        (staged / "x").write_bytes(content)
        (staged / "sub").mkdir()
        (staged / "sub" / "y").write_bytes(content)


def replaced(folder: Path) -> None:
    stage(folder, replace=True)


def content(folder: Path) -> dict[str, bytes]:
    """Relative path -> content of every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def of_made(content: bytes) -> dict[str, bytes]:
    return {"x": content, "sub/y": content}


@pytest.mark.parametrize("before", [None, b"old content"], ids=["new", "again"])
def test_a_file_is_forced_to_disk_before_its_name_and_the_name_afterwards(
    system_calls: Any, tmp_path: Path, before: bytes | None
) -> None:
    if before:
        (tmp_path / "a.txt").write_bytes(before)
    assert system_calls.of(lambda: publish(tmp_path)) == PUBLISHED
    assert content(tmp_path) == {"a.txt": b"new"}


def test_json_is_published_like_any_file_and_its_text_is_this(system_calls: Any, tmp_path: Path) -> None:
    calls = system_calls.of(lambda: publish_json(tmp_path / "a.txt", {"b": [1, "é"], "a": None}))
    text = '{\n "b": [\n  1,\n  "é"\n ],\n "a": null\n}\n'.encode()
    assert calls == [call.replace(" 3", f" {len(text)}") for call in PUBLISHED]
    assert (tmp_path / "a.txt").read_bytes() == text
    with pytest.raises(ValueError, match="not JSON compliant"):
        publish_json(tmp_path / "b.txt", float("nan"))


def test_a_folder_is_forced_to_disk_before_its_name_and_the_name_afterwards(system_calls: Any, tmp_path: Path) -> None:
    calls = system_calls.of(lambda: stage(tmp_path))
    assert calls[:4] == STAGED
    assert sorted(calls[4:8]) == FORCED
    assert calls[8:] == ["rename .made.*.part made", "fsync ."]


def test_a_folder_that_is_replaced_is_removed_after_the_new_one_has_its_name(system_calls: Any, tmp_path: Path) -> None:
    stage(tmp_path, content=b"old")
    calls = system_calls.of(lambda: replaced(tmp_path))
    assert calls[:4] == STAGED
    assert sorted(calls[4:8]) == FORCED
    assert calls[8:] == REPLACED
    assert content(tmp_path / "made") == of_made(b"new")
    assert names(tmp_path) == ["made"]


def test_a_folder_that_is_there_stays_and_the_staged_one_goes(system_calls: Any, tmp_path: Path) -> None:
    stage(tmp_path, content=b"old")
    calls = system_calls.of(lambda: stage(tmp_path))
    assert calls[:4] == STAGED
    assert calls[8:] == ["rmtree .made.*.part", "rmdir .made.*.part"]
    assert content(tmp_path) == {f"made/{name}": text for name, text in of_made(b"old").items()}
    assert names(tmp_path) == ["made"]


def test_a_folder_that_appears_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is taken between the look and the rename: the system refuses to rename over a folder with content."""
    monkeypatch.setattr(Path, "exists", lambda path: False)
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "x").write_bytes(b"old")
    stage(tmp_path)
    assert content(tmp_path) == {"made/x": b"old"}
    assert names(tmp_path) == ["made"]


@pytest.mark.parametrize("action", [publish, stage, replaced], ids=["file", "folder", "folder again"])
def test_killed_before_any_call_the_old_or_the_new_content_is_there(
    system_calls: Any, tmp_path: Path, action: Callable[[Path], None]
) -> None:
    """Between the two renames of a folder that is replaced both lie beside the name, whole."""

    def begin() -> None:
        for path in tmp_path.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if action is publish:
            publish_bytes(tmp_path / "a.txt", b"old")
        elif action is replaced:
            stage(tmp_path, content=b"old")

    def standing() -> str:
        if action is publish:
            return (tmp_path / "a.txt").read_bytes().decode()
        if (tmp_path / "made").exists():
            made = content(tmp_path / "made")
            return next(text for text in ("old", "new") if made == of_made(text.encode()))
        beside = {path.suffix: content(path) for path in tmp_path.iterdir()}
        return "both" if beside == {".old": of_made(b"old"), ".part": of_made(b"new")} else "none"

    begin()
    whole = system_calls.of(lambda: action(tmp_path))
    count, seen = len(whole), []
    for number in range(count):
        begin()
        calls = system_calls.of(lambda: action(tmp_path), killed_before=number)
        assert len(calls) == number
        seen.append(standing())
    first = "none" if action is stage else "old"
    at = [number for number, call in enumerate(whole) if call.startswith("rename")]
    between = ["both"] * (at[-1] - at[0])
    assert seen == [first] * (at[0] + 1) + between + ["new"] * (count - at[-1] - 1)


# --- the same by the system's own record -----------------------------------------------------------------------------

TRACED = """
import sys
from pathlib import Path
from refers_bench.files import publish_bytes, staged_folder
folder = Path(sys.argv[1])
publish_bytes(folder / "a.txt", b"new")
with staged_folder(folder / "made", replace=True) as stage:
    (stage / "x").write_bytes(b"new")
"""
CALLS = "openat,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,rmdir,write"


def traced(folder: Path, log: Path) -> list[str]:
    """Calls that change files below the folder, as strace records them: "write PATH" is one of content here."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    command = [strace, "-f", "-y", "-o", str(log), "-e", f"trace={CALLS}"]
    done = subprocess.run(
        [*command, sys.executable, "-c", TRACED, str(folder)], capture_output=True, text=True, check=False
    )
    if "ptrace" in done.stderr or "PTRACE" in done.stderr:
        pytest.skip(f"processes may not be traced here: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    found = []
    for line in log.read_text().splitlines():
        match = re.match(r"\d+\s+(\w+)\((.*)\)\s+= \d", line)
        if not match or str(folder) not in line:
            continue
        name, arguments = match[1].removesuffix("at2").removesuffix("at"), match[2]
        if name == "open":
            continue
        quoted = '"([^"]*)"' if name in ("rename", "unlink", "rmdir") else r"<([^>]*)>"
        paths = [one for one in re.findall(quoted, arguments) if one != str(Path.cwd())]
        name = {"fdatasync": "fsync", "unlink": "rmdir" if "REMOVEDIR" in arguments else "remove"}.get(name, name)
        shown = [re.sub(r"[0-9a-f]{32}", "*", os.path.relpath(path, folder) if "/" in path else path) for path in paths]
        found.append(" ".join([name, *shown]))
    return found


def test_a_record_of_the_systems_calls_has_this_order(tmp_path: Path) -> None:
    folder = tmp_path / "traced"
    (folder / "made").mkdir(parents=True)
    (folder / "made" / "x").write_bytes(b"old")
    calls = traced(folder, tmp_path / "log")
    assert calls[:-3] == [
        "write .a.txt.*.part",
        "fsync .a.txt.*.part",
        "rename .a.txt.*.part a.txt",
        "fsync .",
        "write .made.*.part/x",
        "fsync .made.*.part/x",
        "fsync .made.*.part",
        "rename made .made.*.old",
        "rename .made.*.part made",
    ]
    removed, gone, last = calls[-3:]
    assert (removed.split()[0], removed[-1], gone, last) == ("remove", "x", "rmdir .made.*.old", "fsync .")


# --- what the system refuses -----------------------------------------------------------------------------------------

REFUSED = {
    errno.ENOSPC: "no space left on the device",
    errno.EDQUOT: "disk quota exceeded",
    errno.EFBIG: "the file is larger than allowed",
    errno.EIO: "input/output error of the device",
    errno.ESTALE: "the file system's server no longer knows the file",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "no permission to write",
    errno.EPERM: "no permission to write",
    errno.ENOLCK: "the file system gives no locks",
    errno.ENOTSUP: "the file system gives no locks",
}


@pytest.mark.parametrize("number", REFUSED)
@pytest.mark.parametrize("call", ["fsync", "replace", "rename"])
def test_what_the_system_refuses_is_said_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    (tmp_path / "a.txt").write_bytes(b"old")

    def refuse(*arguments: object, **more: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        for name, action in (("a.txt", publish), ("made", stage)):
            if call == {"a.txt": "rename", "made": "replace"}[name]:
                continue
            with pytest.raises(StorageError) as raised:
                action(tmp_path)
            assert str(raised.value) == (
                f"{tmp_path / name}: cannot write: {REFUSED[number]}; allowed: a writable folder with free space; then "
                "run the same command again"
            )
            assert raised.value.exit_code == 2
    assert content(tmp_path) == {"a.txt": b"old"}
    assert names(tmp_path) == ["a.txt"]


def test_another_error_is_none_of_storage_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(errno.ENOMEM, "out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        for action in (publish, stage):
            with pytest.raises(OSError, match="out of memory") as raised:
                action(tmp_path)
            assert not isinstance(raised.value, StorageError)
    assert names(tmp_path) == []


def test_an_exception_inside_leaves_the_old_folder_and_nothing_else(tmp_path: Path) -> None:
    stage(tmp_path, content=b"old")
    with pytest.raises(KeyboardInterrupt), staged_folder(tmp_path / "made", replace=True) as staged:
        (staged / "x").write_bytes(b"new")
        raise KeyboardInterrupt
    assert content(tmp_path) == {f"made/{name}": text for name, text in of_made(b"old").items()}
    assert names(tmp_path) == ["made"]


def test_an_old_folder_that_cannot_be_removed_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network file system keeps files that somebody still has open under other names."""
    stage(tmp_path, content=b"old")

    def refuse(*arguments: object, **more: object) -> None:
        raise OSError(errno.ENOTEMPTY, "directory not empty")

    with monkeypatch.context() as patch:
        patch.setattr(os, "rmdir", refuse)
        replaced(tmp_path)
    assert content(tmp_path / "made") == of_made(b"new")


def test_a_lock_names_the_process_that_holds_it_now(tmp_path: Path) -> None:
    """A process that was killed leaves its lock file with its own name in it."""
    path = tmp_path / ".made.lock"
    path.write_text(f"process {10**12} on a host with a very long name")
    with making(tmp_path / "made"):
        assert path.read_text() == f"process {os.getpid()} on {socket.gethostname()}"
    assert names(tmp_path) == []


def test_a_lock_that_is_gone_is_no_failure_and_one_left_behind_is_tidied(tmp_path: Path) -> None:
    with making(tmp_path / "made"):
        (tmp_path / ".made.lock").unlink()
    (tmp_path / ".made.lock").write_text("of a process that was killed")
    tidy(tmp_path / "made")
    assert names(tmp_path) == []


def test_no_file_stays_open(tmp_path: Path) -> None:
    def free() -> int:
        """The lowest number that the system would give to another file."""
        number = os.dup(0)
        os.close(number)
        return number

    before = free()
    for replace in (False, True, False):
        publish(tmp_path)
        stage(tmp_path, replace=replace)
        with making(tmp_path / "made"):
            pass
    assert free() == before


def test_folders_above_are_made(tmp_path: Path) -> None:
    publish_bytes(tmp_path / "b" / "c" / "a.txt", b"new")
    with staged_folder(tmp_path / "d" / "e" / "made") as staged:
        (staged / "x").write_bytes(b"new")
    with making(tmp_path / "f" / "g" / "made"):
        assert work_of(tmp_path / "f" / "g" / "made").parent.is_dir()
    assert content(tmp_path) == {"b/c/a.txt": b"new", "d/e/made/x": b"new"}
