"""What a method reads of a report: all of it, its sentences, or one of them."""

from __future__ import annotations

from typing import get_args

import pytest

from refers_bench.data.sentences import STOP_AT, Reading, read, sentences

REPORT = "FINDINGS: Heart size is normal. Lungs clear.\nIMPRESSION:\n 1. No pneumothorax in the left lung. 2. Normal."


def test_sentences_are_words_in_lower_case() -> None:
    # "Impression" and "normal" are one word each.
    expected = ["findings heart size is normal", "lungs clear", "no pneumothorax in the left lung"]
    assert sentences(REPORT) == expected


def test_a_stop_is_at_exactly_so_many_words() -> None:
    assert sentences(REPORT, stop_at=STOP_AT) == ["findings heart size is normal"]
    assert sentences("Lungs are clear. No pneumothorax. Heart size is normal.", stop_at=4) == sentences(
        "Lungs are clear. No pneumothorax. Heart size is normal."
    )


@pytest.mark.parametrize("reading", get_args(Reading))
def test_readings(reading: Reading) -> None:
    found = {read(REPORT, reading, n / 40) for n in range(40)}
    expected = {
        "report": {REPORT},
        "sentences": {" ".join(sentences(REPORT))},
        "sentence": set(sentences(REPORT)),
        "sentence_official_code": {"findings heart size is normal"},
    }
    assert found == expected[reading]


@pytest.mark.parametrize("report", ["Normal.", "", " 1. 2. ", "é è. ü ö."])
@pytest.mark.parametrize("reading", get_args(Reading))
def test_a_report_without_sentences_is_read_as_it_is(report: str, reading: Reading) -> None:
    assert read(report, reading, 0.0) == report
