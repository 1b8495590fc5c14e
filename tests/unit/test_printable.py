"""What a terminal would obey is shown as U+FFFD, in a line or in several; all else stays."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from refers_bench.errors import Problem, UserError
from refers_bench.printable import printable, printable_lines

OBEYED = {
    "window title": "\x1b]0;owned\x07",
    "colour": "\x1b[31m",
    "single introducer": "\x9b2J",
    "string terminator": "\x90q\x9c",
    "backspace": "a\x08b",
    "nothing": "a\x00b",
    "writing direction": "\u202egnp.exe\u202c",
    "isolates": "\u2066a\u2069",
    "no width": "a\u200bb",
    "half a pair": "caf\udce9",
    "private": "\ue000",
}


@pytest.mark.parametrize("text", OBEYED.values(), ids=OBEYED)
def test_is_shown_and_not_obeyed(text: str) -> None:
    for shown in (printable(text), printable_lines(text)):
        assert shown.isprintable() and "\N{REPLACEMENT CHARACTER}" in shown
        assert len(shown) == len(text)


def test_a_line_stays_one_line() -> None:
    assert printable("a.yaml\nerror: forged") == "a.yaml error: forged"
    assert printable("a\r\n\tb \u2028 c") == "a b c"
    assert printable("refers    100%  s0") == "refers    100%  s0", "columns stay aligned"


def test_lines_and_indentation_stay() -> None:
    assert printable_lines("def f():\n\treturn 1\n    x") == "def f():\n    return 1\n    x"


def test_people_s_own_letters_stay() -> None:
    text = "Pneumothorax, Größe 5 µm, 肺炎, פגיעה, ± 0.5"
    assert printable(text) == printable_lines(text) == text


@given(st.text())
@example("\r\x85")
def test_nothing_is_obeyed_whatever_the_text(text: str) -> None:
    line, lines = printable(text), printable_lines(text)
    for sign in line + lines.replace("\n", ""):
        assert unicodedata.category(sign)[0] != "C"
    assert not any(sign in line for sign in "\n\r\x0b\x0c\x85\u2028\u2029")
    assert printable(line) == line and printable_lines(lines) == lines


def test_every_problem_is_one_printable_line() -> None:
    problem = Problem(found="a\nb\x1b[2J", allowed="\x9b", nearest="\u202e", path="/data\n/x")
    assert str(problem) == "/data /x: a b\ufffd[2J; allowed: \ufffd; did you mean '\ufffd'?"
    assert str(UserError([problem, problem])).count("\n") == 1
