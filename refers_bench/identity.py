"""Makes content keys and named seeds from canonical JSON: what makes two computations the same one."""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

#: Hexadecimal digits of a key: 80 bits, no collision to be expected among 10**9 jobs.
KEY_LENGTH = 20


#: Made once: a plan asks for a hundred thousand texts.
_text = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), allow_nan=False).encode


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str):
                raise TypeError(f"canonical JSON takes string keys only, got {name!r}")
        return {name: _plain(value[name]) for name in sorted(value)}
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"canonical JSON takes finite numbers only, got {value!r}")
        # 1.0 and 1 are the same value of a setting: YAML writers mix them freely.
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    raise TypeError(f"canonical JSON cannot hold {type(value).__name__}: {value!r}")


def canonical_json(value: Any) -> str:
    """One text per value: sorted keys, no spaces, ASCII, finite numbers; 1.0 equals 1.

    Raises:
        TypeError: for anything that is not made of mappings with string keys, sequences, strings,
            numbers, booleans and None.
        ValueError: for NaN and infinities.

    Example:
        >>> canonical_json({"b": 1.0, "a": (1, 2)})
        '{"a":[1,2],"b":1}'
    """
    return _text(_plain(value))


def key(value: Any) -> str:
    """Content key of a value: the first 20 hexadecimal digits of SHA-256 over its canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:KEY_LENGTH]


def key_of(texts: Mapping[str, str]) -> str:
    """`key` of a mapping whose values have these canonical texts: what many mappings share is put into words once.

    Args:
        texts: name -> `canonical_json` of its value.

    Example:
        >>> key_of({"b": canonical_json(1.0), "a": canonical_json([2])}) == key({"a": [2], "b": 1})
        True
    """
    text = ",".join([f"{_quoted(name)}:{texts[name]}" for name in sorted(texts)])
    return hashlib.sha256(f"{{{text}}}".encode()).hexdigest()[:KEY_LENGTH]


_quoted = functools.lru_cache(maxsize=1024)(json.dumps)


def flat(node: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The values of nested mappings, each with its path of names; an empty mapping is a value, too.

    Example:
        >>> list(flat({"a": {"b": 1, "c": {}}, "d": [2]}))
        [(('a', 'b'), 1), (('a', 'c'), {}), (('d',), [2])]
    """
    for name, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, (*path, name))
        else:
            yield (*path, name), value


def dotted(node: Mapping[str, Any]) -> dict[str, Any]:
    """`flat` with dotted names.

    Example:
        >>> dotted({"a": {"b": 1, "c": {}}, "d": [2]})
        {'a.b': 1, 'a.c': {}, 'd': [2]}
    """
    return {".".join(path): value for path, value in flat(node)}


def seed(*names: str | int | float) -> int:
    """A 63-bit seed for the stream of this name; the parts are delimited, so ("a", "b") is not ("ab",).

    Example:
        >>> seed("finetune", "shuffle", 0) == seed("finetune", "shuffle", 0)
        True
        >>> seed("a", "b_c") == seed("a_b", "c")
        False
    """
    digest = hashlib.sha256(canonical_json(list(names)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
