"""Defines what a column of evidence gives for a claim: figures, and the error of a weighted sum of them."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from refers_bench.analysis.paper.expression import Leaf


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure of a column of evidence: per cent for an AUC.

    Attributes:
        value: the figure.
        se: its standard error; 0 where the source gives none.
        df: degrees of freedom of `se`; infinity for a normal one.
    """

    value: float
    se: float = 0.0
    df: float = math.inf


@dataclass(frozen=True, kw_only=True)
class Error:
    """Standard error of a sum of figures, and its degrees of freedom (infinity for a normal one)."""

    se: float
    df: float = math.inf


class Missing(Exception):
    """A column of evidence lacks a figure; the message says why."""


class Undecidable(Missing):
    """The figures are there, but not how far chance could move them; the message says why."""


class Evidence:
    """A column of evidence: gives figures, or raises `Missing`."""

    def figure(self, leaf: Leaf) -> Figure:
        """The figure, or `Missing`."""
        raise NotImplementedError

    def error(self, weights: Mapping[Leaf, float]) -> Error:
        """The error of a weighted sum of figures, here as if they were independent.

        Args:
            weights: figure -> its weight, of figures with an error of their own.

        Raises:
            Undecidable: the figures are there, the error of their sum is not.
        """
        figures = {leaf: self.figure(leaf) for leaf in weights}
        return combined(Error(se=abs(weights[leaf]) * one.se, df=one.df) for leaf, one in figures.items())


def combined(parts: Iterable[Error]) -> Error:
    """The error of a sum of independent parts.

    Source of the degrees of freedom: Welch, Biometrika 34, 1947; Satterthwaite, Biometrics Bulletin 2, 1946.
    """
    parts = list(parts)
    variance = math.fsum(part.se**2 for part in parts)
    below = math.fsum(part.se**4 / part.df for part in parts)
    return Error(se=math.sqrt(variance), df=variance**2 / below if below else math.inf)
