"""Damages good input at random: trees of values, texts and bytes; and bounds the time and memory a reader may take."""

from __future__ import annotations

import contextlib
import copy
import datetime
import json
import math
import resource
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

from refers_bench.errors import UserError

#: What a reader may take for one input: seconds of processor time, and of any time (this machine may be busy), and bytes.
SECONDS, PATIENCE_S, MEMORY = 5, 60, 1 << 30
#: Values that stand where others are expected.
ODD: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 2, 10**6, 2**31, 2**63, 10**400, -0.0, 0.5, 1e308, math.inf, -math.inf, math.nan,
    "", " ", "\x00", "\x1b]0;title\x07", "x" * 5000, "\u202e\ufeff", "\u00e9\u4e2d", "../../../etc/passwd", "/dev/zero", "/",
    "{{ 7 * 7 }}", "%s%n", "=1+1", "1e5", "10%", "-5%", "nan", "on", "~", "1_0", "0x10", "finetune", "refers", "test", "ok",
    "0" * 64, [], {}, [[]], [None], {"": ""}, {"a": {"b": [1]}}, [0] * 300, datetime.date(2020, 1, 1), b"\xff\x00",
)  # fmt: skip
#: Pieces of bytes that mean something in one of the formats.
TOKENS = (
    b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\n", b"\r", b"\t", b",", b";", b'"', b"'", b"|", b":", b": ", b"- ", b"[", b"]",
    b"{", b"}", b"&a ", b"*a", b"<<: *a", b"!!python/object:os.system ", b"!!binary ", b"? ", b"%YAML 1.1\n---\n", b"...", b"#",
    b"null", b"NaN", b"Infinity", b"-1", b"1e999", b"9" * 400, b"\\ud800", b"\xc3\x28", b"[" * 3000, b"{\"a\":" * 1500,
    b"PAR1", b"PK\x03\x04", b"\x1f\x8b", b"\x93NUMPY", b"../", b"\x7f\xff\xff\xff\xff\xff\xff\xff",
)  # fmt: skip


#: How many pieces are damaged.
EDITS = (1, 1, 1, 2, 3, 6)


def damaged_bytes(random: Random, seeds: Sequence[bytes]) -> bytes:
    """One of the seeds with some pieces cut, doubled, moved, overwritten or put in."""
    content = bytearray(random.choice(seeds))
    for _ in range(random.choice(EDITS)):
        at, to = (random.randrange(len(content) + 1) for _ in range(2))
        size = random.choice((1, 1, 1, 2, 4, 8, 40, 400))
        match random.choice(("set", "put", "cut", "double", "move", "flip", "end")):
            case "set":
                token = random.choice(TOKENS)
                content[at : at + len(token)] = token
            case "put":
                content[at:at] = random.choice((random.choice(TOKENS), random.randbytes(size)))
            case "cut":
                del content[at : at + size]
            case "double":
                content[at:at] = content[at : at + size] * random.choice((1, 2, 50))
            case "move":
                piece = content[at : at + size]
                del content[at : at + size]
                content[to:to] = piece
            case "flip" if at < len(content):
                content[at] ^= 1 << random.randrange(8)
            case "end":
                del content[at:]
    return bytes(content)


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """(container, key) of every value inside."""
    found, left = [], [tree]
    while left:
        one = left.pop()
        items = list(one.items()) if isinstance(one, dict) else list(enumerate(one)) if isinstance(one, list) else []
        found += [(one, key) for key, _ in items]
        left += [value for _, value in items]
    return found


def damaged_tree(random: Random, seeds: Sequence[Any]) -> Any:
    """One of the seeds, dicts and lists, with some values replaced, removed, exchanged, wrapped, renamed or doubled."""
    tree = copy.deepcopy(random.choice(seeds))
    for _ in range(random.choice(EDITS)):
        places = _places(tree)
        if not places:
            return tree
        (inside, key), (other, from_key) = random.choice(places), random.choice(places)
        odd = copy.deepcopy(random.choice(ODD))
        match random.choice(("odd", "odd", "odd", "remove", "take", "wrap", "name", "add", "double")):
            case "odd":
                inside[key] = odd
            case "remove":
                del inside[key]
            case "take":
                inside[key] = copy.deepcopy(other[from_key])
            case "wrap":
                inside[key] = [inside[key]]
            case "name" if isinstance(inside, dict):
                inside[random.choice((f"{key}s", "id", "key", "", "a.b", "\x1b[2J"))] = inside.pop(key)
            case "add" if isinstance(inside, dict):
                inside["extra"] = odd
            case "double" if isinstance(inside, list):
                inside.insert(key, copy.deepcopy(inside[key]))
    return tree


def as_json(tree: Any) -> bytes:
    """A tree as JSON; what JSON has no word for as text."""
    return json.dumps(tree, default=str, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _resident(field: str) -> int:
    """Bytes in memory now ("VmRSS") or at most since the last reset ("VmHWM")."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Let the block take `SECONDS` and `MEMORY` more than now at most; a `UserError` is what a reader may raise.

    Raises:
        TimeoutError: it took longer.
        MemoryError: it took more.
    """

    def ring(number: int, frame: Any) -> None:
        raise TimeoutError(f"over {SECONDS} s of work, or over {PATIENCE_S} s")

    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    resident, pages = _resident("VmRSS"), int(Path("/proc/self/statm").read_text().split()[0])
    limits = resource.getrlimit(resource.RLIMIT_AS)
    timers = {signal.SIGPROF: (signal.ITIMER_PROF, SECONDS), signal.SIGALRM: (signal.ITIMER_REAL, PATIENCE_S)}
    before = {number: signal.signal(number, ring) for number in timers}
    # Libraries reserve addresses that they never touch: this limit only keeps the machine from harm.
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 6 * MEMORY, limits[1]))
    for timer, seconds in timers.values():
        signal.setitimer(timer, seconds)
    try:
        with contextlib.suppress(UserError):
            yield
    finally:
        for timer, _ in timers.values():
            signal.setitimer(timer, 0)
        resource.setrlimit(resource.RLIMIT_AS, limits)
        for number, handler in before.items():
            signal.signal(number, handler)
    if (taken := _resident("VmHWM") - resident) > MEMORY:
        raise MemoryError(f"{taken >> 20} MiB")
