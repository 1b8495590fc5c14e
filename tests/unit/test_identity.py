"""Is a key one value's, however its parts were put together?"""

from __future__ import annotations

import hashlib
import math
from types import MappingProxyType

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from refers_bench.identity import canonical_json, dotted, flat, key, key_of, seed

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(st.text(), VALUES, max_size=6))
def test_a_key_from_the_texts_of_its_parts_is_that_of_the_whole(value: dict[str, object]) -> None:
    assert key_of({name: canonical_json(part) for name, part in value.items()}) == key(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (1.0, "1"),
        (-0.0, "0"),
        (0.1, "0.1"),
        (2.0**53 - 1, "9007199254740991"),
        (2.0**53, "9007199254740992.0"),
        (-(2.0**53), "-9007199254740992.0"),
        (-(2.0**53) + 1, "-9007199254740991"),
        ((1, (2, "é")), '[1,[2,"\\u00e9"]]'),
        ({"b": {"d": 1, "c": []}, "a": {}}, '{"a":{},"b":{"c":[],"d":1}}'),
        (MappingProxyType({"b": 1, "a": 2.5}), '{"a":2.5,"b":1}'),
        (range(2), "[0,1]"),
    ],
)
def test_one_text_for_each_value(value: object, text: str) -> None:
    assert canonical_json(value) == text
    assert key(value) == hashlib.sha256(text.encode()).hexdigest()[:20]


@pytest.mark.parametrize(
    ("value", "error", "says"),
    [
        (math.nan, ValueError, "canonical JSON takes finite numbers only, got nan"),
        ([math.inf], ValueError, "canonical JSON takes finite numbers only, got inf"),
        ({1: 2}, TypeError, "canonical JSON takes string keys only, got 1"),
        (b"bytes", TypeError, "canonical JSON cannot hold bytes: b'bytes'"),
        ({"a": {1}}, TypeError, "canonical JSON cannot hold set: {1}"),
    ],
)
def test_what_has_no_text(value: object, error: type[Exception], says: str) -> None:
    with pytest.raises(error) as raised:
        canonical_json(value)
    assert str(raised.value) == says


def test_nested_mappings_are_flattened_to_their_values() -> None:
    node = {"a": {"b": 1, "c": {"d": [{"e": 2}], "f": {}}}, "g": {}, "h.i": None}
    found = {("a", "b"): 1, ("a", "c", "d"): [{"e": 2}], ("a", "c", "f"): {}, ("g",): {}, ("h.i",): None}
    assert dict(flat(node)) == found
    assert dotted(node) == {".".join(path): value for path, value in found.items()}
    assert list(dotted(node)) == ["a.b", "a.c.d", "a.c.f", "g", "h.i"], "in their order"
    assert dotted({}) == {}


def test_seeds_are_the_first_63_bits_of_a_hash_of_the_name() -> None:
    for names, text in (
        (("finetune", "shuffle", 0), '["finetune","shuffle",0]'),
        ((), "[]"),
        (("é", 0.5), '["\\u00e9",0.5]'),
    ):
        digits = hashlib.sha256(text.encode()).hexdigest()[:16]
        assert seed(*names) == int(digits, 16) // 2
    assert len({seed("a", "b"), seed("ab"), seed("a,b"), seed("b", "a"), seed("a", "b", 0)}) == 5
