"""A number of things in words."""

import pytest

from refers_bench.render.quantity import quantity


@pytest.mark.parametrize(
    ("number", "noun", "words"),
    [
        (0, "job", "0 jobs"),
        (1, "job", "1 job"),
        (2, "job", "2 jobs"),
        (1, "class", "1 class"),
        (3, "class", "3 classes"),
    ],
)
def test_words(number: int, noun: str, words: str) -> None:
    assert quantity(number, noun) == words
