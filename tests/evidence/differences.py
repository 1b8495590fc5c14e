"""Prints differences between the rows of a run, with intervals, detectable differences and Holm's correction.

    python tests/evidence/differences.py real_language --results DIR [--reference scratch]

Of each column: the reference minus each other row, in points of mean class AUC, with its 95 % interval over test units;
the difference that would be found with 80 % power at 5 %, 2.8 standard errors; P, and P adjusted for all rows of the
column. The tables of `results/evidence/README.md` are made of these lines.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from scipy.special import stdtr

from refers_bench.analysis.cells import Target
from refers_bench.analysis.image_statistics import image_statistics
from refers_bench.analysis.results import Results, load
from refers_bench.analysis.statistics.significance import holm

#: Standard errors between 0 and a difference that a two-sided test at 5 % finds four times in five.
DETECTABLE = 2.8


def lines(results: Results, target: Target, reference: str) -> Iterator[str]:
    """The lines of one column."""
    one = image_statistics(results, target, reference=reference)
    if one is None:
        return
    yield (
        f"{target.dataset} {target.task}{target.suffix}, {target.label_ratio:.0%} of labels: {reference} minus ..., "
        f"{one.n_units} {one.unit}s, {one.n_classes} classes"
    )
    p = {name: 2 * float(stdtr(found.df, -abs(found.estimate) / found.se)) for name, found in one.differences.items()}
    adjusted = dict(zip(p, holm(list(p.values())), strict=True))
    for name, found in one.differences.items():
        estimate, low, high, se = (100 * value for value in (found.estimate, found.low, found.high, found.se))
        yield (
            f"  {name}: {estimate:+.1f} ({low:.1f} to {high:.1f}), detectable {DETECTABLE * se:.1f}, "
            f"P = {p[name]:.2g}, with Holm's correction {adjusted[name]:.2g}"
        )


def main() -> None:
    """Print all columns of a run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("name", help="of a manifest that was run")
    parser.add_argument("--results", type=Path, default=Path("results"), help="results folder")
    parser.add_argument("--reference", help="row name; that of the report by default")
    given = parser.parse_args()
    results = load(given.results, given.name)
    for target in results.targets:
        print("\n".join(lines(results, target, given.reference or results.reference)))


if __name__ == "__main__":
    main()
