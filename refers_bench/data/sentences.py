"""Cuts reports into sentences as GLoRIA and MGCA do, and chooses what of a report a method reads.

Source: marshuang80/gloria@416466a, gloria/datasets/pretraining_dataset.py:122-193; HKU-MedAI/MGCA@680fe4a,
    mgca/datasets/pretrain_dataset.py:73-137.
"""

from __future__ import annotations

import re
from typing import Literal

#: What of a report is read: all of it as it stands; its cleaned sentences joined by spaces (MGCA); one of them, drawn
#: anew each time (ConVIRT, GLoRIA); or one of those up to which there are exactly `STOP_AT` words (GLoRIA's code).
Reading = Literal["report", "sentences", "sentence", "sentence_official_code"]
#: GLoRIA's ``captions_per_image``, which its code compares with a number of words.
STOP_AT = 5
#: Words without which a sentence is left out.
LEAST = 2
#: Words without which all sentences together are left out (MGCA).
LEAST_OF_ALL = 3
_NUMBERED, _WORDS, _UNREADABLE = re.compile(r"[0-9]+\."), re.compile(r"\w+"), "\ufffd\ufffd"


def sentences(report: str, *, stop_at: int = 0) -> list[str]:
    """The sentences of a report: lower case, ASCII, words alone.

    A number before a full stop ends a sentence, so that "3.5 cm" leaves "5 cm", as in both codes.

    Args:
        report: its text.
        stop_at: stop after the sentence that brings the number of words to exactly this; 0 for never.

    Example:
        >>> sentences("1. Small effusion, unchanged.  2. Clear. Stable 3.5 cm nodule.")
        ['small effusion unchanged', '5 cm nodule']
    """
    found, words = [], 0
    for numbered in _NUMBERED.split(report.replace("\n", " ")):
        for sentence in numbered.split("."):
            tokens = _WORDS.findall(sentence.replace(_UNREADABLE, " ").lower())
            if len(tokens) < LEAST:
                continue
            kept = [word for token in tokens if (word := token.encode("ascii", "ignore").decode())]
            if not kept:
                continue
            found.append(" ".join(kept))
            words += len(kept)
            if words == stop_at:
                return found
    return found


def read(report: str, reading: Reading, chance: float) -> str:
    """What a method reads of a report; the report itself where nothing is left of it: both codes drop such a study.

    Args:
        report: its text.
        reading: see `Reading`.
        chance: in [0, 1): which sentence, where one is read.
    """
    if reading == "report":
        return report
    found = sentences(report, stop_at=STOP_AT if reading == "sentence_official_code" else 0)
    if reading == "sentences":
        text = " ".join(found)
        return text if len(text.split()) >= LEAST_OF_ALL else report
    return found[int(chance * len(found))] if found else report
