"""Reports become the stated tokens, and sides are swapped as each reading states."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refers_bench.data.text import EOS, PAD, SOS, SPECIAL, ReportTokenizer, clean, swap_sides

REPORTS = [
    "There is a left pleural effusion.",
    "No pneumothorax. Heart size is normal.",
    "Café-au-lait; RIGHT lung clear.",
] * 5


@pytest.mark.parametrize(
    ("text", "paper", "official"),
    [
        ("left lung", "right lung", "right lung"),
        ("Left lung", "Right lung", "Left lung"),
        ("RIGHT base", "LEFT base", "RIGHT base"),
        ("upright view", "upright view", "upleft view"),
        ("bright left", "bright right", "bleft right"),
        ("left and right", "right and left", "right and left"),
        ("no side", "no side", "no side"),
        ("left-sided, RIGHT/left", "right-sided, LEFT/right", "right-sided, RIGHT/right"),
        ("leftward of the copyright", "leftward of the copyright", "rightward of the copyleft"),
        ("Right. left", "Left. right", "Right. right"),
    ],
)
def test_swap(text: str, paper: str, official: str) -> None:
    assert swap_sides(text, reading="paper") == paper
    assert swap_sides(text, reading="official_code") == official
    assert swap_sides(swap_sides(text, reading="paper"), reading="paper") == text


@given(st.text(alphabet="left right LEFTRIGHT.-", max_size=60))
def test_swapping_twice_gives_the_text_back(text: str) -> None:
    assert swap_sides(swap_sides(text, reading="official_code"), reading="official_code") == text
    twice = swap_sides(swap_sides(text, reading="paper"), reading="paper")
    assert twice.lower() == text.lower()
    assert len(swap_sides(text, reading="paper").split()) == len(text.split())


def test_another_reading_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown reading 'both'; allowed: paper, official_code"):
        swap_sides("left", reading="both")


def test_tokens_are_bounded_and_the_end_is_lost_when_cut() -> None:
    tokenizer = ReportTokenizer.train(REPORTS, vocabulary=120)
    whole = tokenizer.encode("left pleural effusion", max_tokens=100)
    assert whole[0] == SOS
    assert whole[-1] == EOS
    assert PAD not in whole
    cut = tokenizer.encode("left pleural effusion", max_tokens=len(whole) - 1)
    assert cut == whole[:-1]


def test_case_and_accents_do_not_matter() -> None:
    tokenizer = ReportTokenizer.train(REPORTS, vocabulary=200)
    assert tokenizer.encode("CAFE right", max_tokens=50) == tokenizer.encode("café RIGHT", max_tokens=50)


def test_same_reports_same_tokenizer_whatever_their_order() -> None:
    one, two = (ReportTokenizer.train(reports, vocabulary=100) for reports in (REPORTS, REPORTS[::-1]))
    assert one.to_json() == two.to_json()
    again = ReportTokenizer.from_json(one.to_json())
    assert again.encode(REPORTS[0], max_tokens=40) == one.encode(REPORTS[0], max_tokens=40)
    assert one.vocabulary <= 100


def test_pieces_that_continue_a_word_are_told_from_those_that_begin_one() -> None:
    for vocabulary in (60, 200):
        tokenizer = ReportTokenizer.train(REPORTS, vocabulary=vocabulary)
        assert len(tokenizer.continues) == tokenizer.vocabulary
        assert not any(tokenizer.continues[: len(SPECIAL)])
        for report in REPORTS:
            begun = [not tokenizer.continues[number] for number in tokenizer.encode(report, max_tokens=99)[1:-1]]
            assert begun[0] and sum(begun) == len(report.split())


def test_clean() -> None:
    assert clean("  a\n b\t c ") == "a b c"
