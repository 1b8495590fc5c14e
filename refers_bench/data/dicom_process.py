"""Decodes DICOM files in a process beside this one: damaged files crash decoders, and unpack to any size.

The process has a limit of memory, and for each image one of processor time. It is started with the first image that
this process decodes, and again after an image that ended it; it ends with this process.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

import numpy as np

from refers_bench.data.dicom import Reading, decode_dicom
from refers_bench.errors import DataError, Problem, UserError
from refers_bench.files import plain_file
from refers_bench.machine import exit_with_parent, started

#: Memory of the process in bytes, and processor time for an image in seconds.
MEMORY, SECONDS = 1 << 30, 60
#: How the process of a decoder that fails ends; one that is killed otherwise was not ended by its image.
_CRASHES = {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL}
#: The process of this one, by its id: a forked process has the pipes of its parent, and starts its own.
_STARTED: dict[int, subprocess.Popen[bytes]] = {}
_ONE_AT_A_TIME = threading.Lock()


def decoded(path: Path, *, reading: Reading, max_pixels: int) -> np.ndarray:
    """`decode_dicom` of a file, in the process beside this one.

    Raises:
        DataError: as `decode_dicom`; a file that crashes a decoder, or needs too much memory or time.
        UserError: as `decode_dicom`.
        MemoryError: the process was killed, as the system does where memory is short.
    """
    with plain_file(path).open("rb"):  # what cannot be opened is said by whoever asked
        pass
    question = {"path": os.fspath(path), "reading": reading, "max_pixels": max_pixels}
    with _ONE_AT_A_TIME:
        process = _STARTED.get(os.getpid()) or _start()
        assert process.stdin is not None and process.stdout is not None
        try:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps(question).encode() + b"\n")
                process.stdin.flush()
            line = process.stdout.readline()
            if not line:
                raise _ended(process.wait(), path)
            answer = json.loads(line)
            if "shape" in answer:
                content = process.stdout.read(int(np.prod(answer["shape"])))
                return np.frombuffer(content, np.uint8).reshape(answer["shape"]).copy()
        except BaseException:  # also when interrupted: the next image must not get this one's answer
            _stop(os.getpid())
            raise
    kind = DataError if answer["data"] else UserError
    raise kind(Problem(found=answer["found"], allowed=answer["allowed"], path=path))


def _ended(code: int, path: Path) -> Exception:
    """What the end of the process means."""
    if -code == signal.SIGXCPU:
        return DataError(f"an image that takes more than {SECONDS} s to decode", allowed="a whole image", path=path)
    if -code in _CRASHES:
        found = f"an image that crashes its decoder ({signal.Signals(-code).name})"
        return DataError(found, allowed="a whole image", path=path)
    return MemoryError(f"the process that decodes {path} was ended (exit status {code})")


def _start() -> subprocess.Popen[bytes]:
    _STARTED[os.getpid()] = process = started("refers_bench.data.dicom_process", OPENBLAS_NUM_THREADS="1")
    atexit.register(_stop, os.getpid())
    return process


def _stop(owner: int) -> None:
    """End the process that the process `owner` has started, if it is this one."""
    process = _STARTED.pop(owner, None)
    if process is not None and owner == os.getpid():
        process.kill()
        process.communicate()


def _answer(questions: IO[bytes], answers: IO[bytes]) -> None:
    """Answer each line of `questions`: the shape in a line and then the pixels, or what is wrong."""
    for line in questions:
        _allow_seconds(SECONDS)
        asked = json.loads(line)
        path, pixels = Path(asked.pop("path")), b""
        try:
            grey_HW = decode_dicom(path, **asked)
            found: dict[str, Any] = {"shape": grey_HW.shape}
            pixels = grey_HW.tobytes()
        except UserError as error:
            problem = error.problems[0]
            found = {"data": isinstance(error, DataError), "found": problem.found, "allowed": problem.allowed}
        except MemoryError:
            found = {"data": True, "found": f"an image that would need more than {MEMORY >> 20} MiB"}
            found["allowed"] = "a whole image, no larger than radiographs are"
        except OSError as error:  # it was there a moment ago
            found = {"data": True, "found": error.strerror or str(error), "allowed": "a DICOM file"}
        answers.write(json.dumps(found).encode() + b"\n" + pixels)
        answers.flush()


def _allow_seconds(seconds: int) -> None:
    """Processor time from now on; the signal that follows ends this process."""
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    end = int(used.ru_utime + used.ru_stime) + seconds + 1
    resource.setrlimit(resource.RLIMIT_CPU, (end, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _main() -> None:
    import resource

    exit_with_parent()
    answers, sys.stdout = sys.stdout.buffer, sys.stderr  # what a decoder prints does not get among the answers
    with contextlib.suppress(ValueError, OSError):  # a limit below is in force, or this system has none
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    _answer(sys.stdin.buffer, answers)


if __name__ == "__main__":
    _main()
