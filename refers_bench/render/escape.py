"""Escapes texts that a user chose, so that no format reads them as markup."""

import re
import tomllib
import unicodedata
from pathlib import Path

from refers_bench.printable import printable

_LATEX: dict[str, str] = tomllib.loads(Path(__file__).with_name("latex_signs.toml").read_text(encoding="utf-8"))
#: Latin letters and signs that LaTeX's default font encoding lacks, which a bare document has.
_LATEX_LACKS = frozenset("\xab\xad\xbb\xd0\xde\xf0\xfeĄąĐđĘęĦħĮįĸĿŀŉŊŋŦŧŲų\u017f")
#: What it sets without any package, besides ASCII; other signs are shown by their numbers.
_LATEX_PLAIN = (
    frozenset(map(chr, range(0xA1, 0x180))) - _LATEX_LACKS
    | frozenset("ȘșȚț•‰€™")
    | frozenset(
        "\N{LEFT SINGLE QUOTATION MARK}\N{RIGHT SINGLE QUOTATION MARK}\N{LEFT DOUBLE QUOTATION MARK}"
        "\N{RIGHT DOUBLE QUOTATION MARK}"
    )
)
#: Signs that a font lacks are written out as long as there are not many.
_MOST_NUMBERS = 12
#: Signs that Markdown (with GitHub's tables, mathematics and strike-through) could read as markup.
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+!|~$^=])")


def encodable(text: str) -> str:
    """The text with halves of surrogate pairs replaced, which no file can hold."""
    return text.encode("utf-8", errors="replace").decode("utf-8")


def latex(text: object) -> str:
    r"""The text for LaTeX.

    Example:
        >>> latex("50 % of a_b")
        '50 \\% of a\\_b'
    """
    # Two hyphens would become a dash; `printable` leaves no NUL, so it can stand for an empty group.
    plain = re.sub("-(?=-)", "-\0", _settable(printable(text)))
    return "".join("{}" if sign == "\0" else _LATEX.get(sign, sign) for sign in plain)


def _settable(line: str) -> str:
    """The line with every sign that LaTeX cannot set as a plain relative of it, or as its number: "[U+05E9 U+05DC]"."""
    signs = [
        sign if _has(sign) else plain if all(map(_has, plain := unicodedata.normalize("NFKC", sign))) else "\0" + sign
        for sign in unicodedata.normalize("NFC", line)
    ]

    def numbers(match: re.Match[str]) -> str:
        found = [f"U+{ord(sign):04X}" for sign in match[0][1::2]]
        more = f" and {len(found) - _MOST_NUMBERS} more" if len(found) > _MOST_NUMBERS else ""
        return f"[{' '.join(found[:_MOST_NUMBERS])}{more}]"

    return re.sub(r"(?:\0.)+", numbers, "".join(signs))


def _has(sign: str) -> bool:
    return sign.isascii() or sign in _LATEX_PLAIN or sign in _LATEX


def markdown(text: object) -> str:
    """The text for Markdown, also inside a table cell."""
    plain = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # '@' would notify a person and 'http://' would become a link when the summary is posted.
    plain = _MARKDOWN.sub(r"\\\1", plain).replace("@", "&#64;").replace("://", ":&#47;&#47;")
    # At the start of a line these begin a list or a rule.
    return re.sub(r"^(-|\d+\.(?=\s|$))", lambda match: f"&#{ord(match[0][0])};" + match[0][1:], plain)


def csv(text: object) -> str:
    r"""The text for a CSV cell: a spreadsheet must not take it for a formula.

    Some skip blanks before a formula, and take full-width and small signs for the plain ones.

    Example:
        >>> csv("=1+1"), csv(" \N{FULLWIDTH EQUALS SIGN}A1"), csv("a = b")
        ("'=1+1", "' ＝A1", 'a = b')
    """
    plain = printable(text)
    first = unicodedata.normalize("NFKC", plain.lstrip()[:1])
    return "'" + plain if first in ("=", "+", "-", "@") else plain
