"""Makes texts that others chose (names, paths, titles, logs) safe to show: without signs that a terminal would obey.

A control sequence (ESC, or the single signs U+0080 to U+009F) could set a window's title, hide a line or repeat what
stood on the screen; marks of writing direction change the order in which signs are shown; a line feed begins a line
that seems to be ours.
"""

from __future__ import annotations

import re
import unicodedata

#: Blanks other than a plain space, with the plain ones around them.
_BREAKS = re.compile(r" *[^\S ]\s*")


def printable(text: object) -> str:
    r"""The text on one line, without control, format (bidirectional), unpaired or unassigned characters.

    Line feeds and tabs become a blank, every other such character U+FFFD.

    Example:
        >>> printable("a\nb")
        'a b'
    """
    whole = str(text)
    return whole if whole.isprintable() else _visible(_BREAKS.sub(" ", whole))


def printable_lines(text: object) -> str:
    """Like `printable`, but lines and indentation stay, without empty lines at the end: for tables and tracebacks."""
    whole = str(text)
    if whole.isprintable():  # most are, and a report has hundreds of thousands
        return whole
    return "\n".join(_visible(line.expandtabs(4)) for line in whole.splitlines()).rstrip("\n")


def _visible(line: str) -> str:
    if line.isprintable():
        return line
    signs = []
    for sign in line:
        category = unicodedata.category(sign)
        keep = category == "Zs" or category[0] not in "CZ"
        signs.append(sign if keep else "\N{REPLACEMENT CHARACTER}")
    return "".join(signs)
