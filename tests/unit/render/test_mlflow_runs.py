"""Names and values of any manifest become ones that MLflow takes, and different ones stay different."""

from __future__ import annotations

import re

from refers_bench.render.mlflow_runs import _named, _text

NAMES = ["loss/total", "a=b", "a_b", "a;b", "../x", "x//y", "déjà", "", "n" * 500, "n" * 501, "a b:c.d-e"]


def test_names_fit_and_stay_apart() -> None:
    found = _named(NAMES)
    assert list(found) == NAMES and len(set(found.values())) == len(NAMES)
    assert found["loss/total"] == "loss/total" and found["a b:c.d-e"] == "a b:c.d-e"
    assert (found["a=b"], found["a_b"], found["a;b"]) == ("a_b", "a_b-2", "a_b-3")
    assert (found["../x"], found["x//y"]) == ("_/x", "x/_/y"), "no part that a folder could not have"
    for name in found.values():
        assert re.fullmatch(r"[A-Za-z0-9_. :/-]{1,250}", name), name


def test_values_are_texts_of_bounded_length() -> None:
    assert [_text(value) for value in ("x", 1e-3, [1, None], {"a": True})] == ["x", "0.001", "[1, null]", '{"a": true}']
    assert _text("v" * 9000) == "v" * 4997 + "..."
