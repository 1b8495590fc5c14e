"""Names the failure category of a job, from its exception or from how its process died."""

import contextlib
import signal
from pathlib import Path

from refers_bench.errors import Interrupted, NotFiniteLoss, UserError
from refers_bench.jobs.interruption import SIGNALS

#: Words of allocation failures that are no MemoryError; a thread needs memory, too.
_HOST_OOM = (
    "can't allocate memory", "cannot allocate memory", "not enough memory", "unable to mmap", "bad_alloc", "bad alloc",
    "can't start new thread", "thread creation failed", "memory allocation still failed",
)  # fmt: skip
#: Exit status of a worker that ends because it has no memory left to return how its job ended.
EXHAUSTED = 71
#: Exit statuses of a process that a scheduler's signals ended while it had no training state to save: what it did so
#: far is kept or repeated. A worker that handles SIGTERM exits with the signal's number.
_PREEMPTED = {int(signal.SIGTERM), *(status for number in SIGNALS for status in (-number, 128 + number))}


def of_exception(error: BaseException) -> str:
    """Failure category of an exception that a job raised.

    Recognised by name where the class would need torch.
    """
    names = {kind.__name__ for kind in type(error).__mro__}
    text = str(error).lower()
    if isinstance(error, Interrupted):
        return "preempted"
    if isinstance(error, NotFiniteLoss):
        return "nan"
    if isinstance(error, UserError):
        return "data_error"
    if "OutOfMemoryError" in names or "cuda out of memory" in text:
        return "cuda_oom"
    if isinstance(error, MemoryError) or _names_memory(text):
        return "host_oom"
    return "crash"


def _names_memory(text: str) -> bool:
    """Whether a text, in lower case, says that memory could not be allocated."""
    return any(words in text for words in _HOST_OOM)


def of_exit(exitcode: int | None, *, oom_kills: int, printed: str = "") -> str:
    """Failure category of a process that died: for want of memory, preempted, or crashed.

    Args:
        exitcode: negative for a signal.
        oom_kills: how many processes of this control group the kernel killed for memory meanwhile.
        printed: its last lines: a library that ends the process says why.
    """
    if exitcode in _PREEMPTED:
        return "preempted"
    killed = exitcode in (-signal.SIGKILL, 128 + signal.SIGKILL)
    if exitcode == EXHAUSTED or (killed and oom_kills > 0) or (not killed and _names_memory(printed.lower())):
        return "host_oom"
    return "crash"


def oom_kill_count(*, own: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> int:
    """Processes that the kernel has killed for memory in this process's control group; 0 where that is unknown.

    Args:
        own: names the control groups of this process: a cluster gives each job its own.
        root: where control groups are mounted.
    """
    for path in _memory_files(own, root):
        with contextlib.suppress(OSError, ValueError):
            for line in path.read_text(encoding="utf-8").splitlines():
                name, _, value = line.partition(" ")
                if name == "oom_kill":
                    return int(value)
    return 0


def _memory_files(own: Path, root: Path) -> list[Path]:
    """Where the kernel counts: for the control groups of version 2 and 1 that a process is in, then for all."""
    groups = ["0::", "0:memory:"]
    with contextlib.suppress(OSError):
        groups = own.read_text(encoding="utf-8").splitlines() + groups
    found = []
    for line in groups:
        _, controllers, group = line.split(":", 2)
        if not controllers:
            found.append(root / group.lstrip("/") / "memory.events")
        elif "memory" in controllers.split(","):
            found.append(root / "memory" / group.lstrip("/") / "memory.oom_control")
    return found
