"""Is a key one value's, however its parts were put together?"""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given, settings

from refers_bench.identity import canonical_json, key, key_of

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(st.text(), VALUES, max_size=6))
def test_a_key_from_the_texts_of_its_parts_is_that_of_the_whole(value: dict[str, object]) -> None:
    assert key_of({name: canonical_json(part) for name, part in value.items()}) == key(value)
