"""Computes AUCs by sex, age and view of the test images, with the largest gap between groups, and keeps them.

Groups are known where the index of the prepared images, which stays in the store, has these columns: not of imported
results and not of archives. The groups of one attribute are compared on the same classes: those of which each group
has enough positive and negative units. A patient may stand in several groups, with images of several ages or views:
then the groups' errors are correlated, and the variance of a gap takes this into account.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from refers_bench.analysis.cells import Target
from refers_bench.analysis.kept import kept
from refers_bench.analysis.predictions import Predictions, stacked
from refers_bench.analysis.results import Results
from refers_bench.analysis.statistics.auc_intervals import Interval, mean_aucs
from refers_bench.analysis.statistics.delong import LEAST
from refers_bench.analysis.statistics.placements import Units, class_errors
from refers_bench.errors import UserError

#: Raised when the same predictions and index would give other figures.
IMPL = 1
INDEX = "index.parquet"
#: Attribute -> column of the index that holds it.
ATTRIBUTES = {"sex": "about:sex", "age": "about:age", "view": "view"}
#: Age groups: name -> first year, and first year that is too old; ages beyond are mistakes.
AGES = {"under 18": (0.0, 18.0), "18 to 39": (18.0, 40.0), "40 to 59": (40.0, 60.0), "60 and over": (60.0, 120.0)}

_Bools = npt.NDArray[np.bool_]
_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Group:
    """One group of one row: its mean AUC over classes and seeds, and on how many units, "image" or "patient"."""

    auc: Interval
    n_units: int


@dataclass(frozen=True, kw_only=True)
class ByAttribute:
    """One row's figures by one attribute.

    Attributes:
        groups: name -> figures.
        highest, lowest: names of the groups with the largest gap.
        gap: of their AUCs, with an interval that accounts for the choice among all pairs (Bonferroni).
        unit: "image" or "patient".
        n_classes: classes that the means are taken over.
    """

    groups: Mapping[str, Group]
    highest: str
    lowest: str
    gap: Interval
    unit: str
    n_classes: int


@dataclass(frozen=True, kw_only=True)
class Subgroups:
    """Figures of one column: row name -> attribute -> figures, for attributes with two groups to compare."""

    rows: Mapping[str, Mapping[str, ByAttribute]]


def subgroups(results: Results, target: Target) -> Subgroups:
    """Figures of one column, computed or read back; without rows where nothing is known of the images."""
    runs = results.predicted_keys(target)
    indices = {method: _index_of(results, keys[0]) for method, keys in runs.items()}
    runs = {method: keys for method, keys in runs.items() if indices[method]}
    if not runs:
        return Subgroups(rows={})
    what = {"subgroups": IMPL, "runs": runs, "indices": {method: indices[method] for method in runs}}
    return kept(Subgroups, what, results.store, functools.partial(_of_column, results, runs, indices))


def _index_of(results: Results, key: str) -> str:
    """Key of the preparation whose index stands in the store; '' for none."""
    spec = results.spec(key)
    if spec.get("kind") == "out_of_fold":
        spec = results.spec(spec["folds"][0])
    prepared = str(spec.get("prepare", ""))
    usable = prepared and prepared not in results.damaged
    return prepared if usable and (results.store / prepared / INDEX).is_file() else ""


def _of_column(results: Results, runs: Mapping[str, Sequence[str]], indices: Mapping[str, str]) -> Subgroups:
    rows: dict[str, dict[str, ByAttribute]] = {}
    known: dict[tuple[str, tuple[str, ...]], dict[str, dict[str, _Bools]]] = {}
    for method, keys in runs.items():
        several = [results.scores(key) for key in keys]
        first = several[0]
        if any(first.differs(one) or np.isnan(one.scores_NK).any() for one in several):
            continue
        where = indices[method], first.image_ids
        if where not in known:  # rows mostly share both
            known[where] = _attributes(results, *where)
        figures = {name: compared(several, groups) for name, groups in known[where].items()}
        rows[method] = {name: one for name, one in figures.items() if one is not None}
    return Subgroups(rows={method: found for method, found in rows.items() if found})


def _attributes(results: Results, key: str, image_ids: Sequence[str]) -> dict[str, dict[str, _Bools]]:
    """Attribute -> group -> which of some images are in it.

    Raises:
        UserError: the index cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = results.store / key / INDEX
    try:
        with pq.ParquetFile(path) as file:  # never the reports, which are most of it
            there = {name: column for name, column in ATTRIBUTES.items() if column in file.schema_arrow.names}
            columns = file.read(columns=["image_id", *there.values()]).to_pydict()
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"cannot read: {error}", allowed="the index of prepared images", path=path) from error
    place = {name: n for n, name in enumerate(columns["image_id"])}
    rows = [place.get(name) for name in image_ids]
    values = {name: [None if n is None else columns[column][n] for n in rows] for name, column in there.items()}
    return {name: groups_of(name, some) for name, some in values.items()}


def groups_of(attribute: str, values: Sequence[Any]) -> dict[str, _Bools]:
    """Group -> which of some images are in it; an image with an unknown value is in none.

    Args:
        attribute: one of `ATTRIBUTES`.
        values: of each image: a sex ("M", "female"), an age in years, a view ("PA"), or None.
    """
    if attribute == "age":
        ages = np.array([np.nan if value is None else value for value in values], np.float64)
        return {name: (ages >= least) & (ages < most) for name, (least, most) in AGES.items()}
    texts = np.array(["" if value is None else str(value).strip() for value in values], dtype=object)
    if attribute == "sex":
        first = np.array([text[:1].lower() for text in texts])
        return {name: first == name[0] for name in ("female", "male")}
    several = [name for name, times in Counter(texts).items() if name and times >= 2 * LEAST]
    return {name: texts == name for name in sorted(several)}


def compared(runs: Sequence[Predictions], groups: Mapping[str, _Bools]) -> ByAttribute | None:
    """Figures of some seeds on the same images by group; None where no two groups have enough units of one class.

    A group is compared where it has at least half as many such classes as the group with most.

    Args:
        runs: at least one.
        groups: name -> which images are in it.
    """
    first, units = runs[0], runs[0].units
    enough = {name: _classes(first.labels_NK, inside, units) for name, inside in groups.items()}
    most = max(map(len, enough.values()), default=0)
    chosen = [name for name, classes in enough.items() if classes and 2 * len(classes) >= most]
    classes = sorted(set.intersection(*(enough[name] for name in chosen))) if chosen else []
    if len(chosen) < 2 or not classes:
        return None
    scores_RNK = stacked({"": runs}, first.classes)[0][:, :, classes]
    found, errors = {}, {}
    for name in chosen:
        labels_NK = np.where(groups[name][:, None], first.labels_NK[:, classes], -1)
        figures = mean_aucs(labels_NK, scores_RNK, units=units)
        found[name] = Group(auc=figures.mean(*range(len(runs))), n_units=figures.n_units)
        errors[name] = _errors(labels_NK, scores_RNK, units)
    highest, lowest = (choose(found, key=lambda name: found[name].auc.estimate) for choose in (max, min))
    shared = units.count / (units.count - 1) * float(errors[highest] @ errors[lowest])
    pairs = len(list(combinations(chosen, 2)))
    gap = _gap(found[highest].auc, found[lowest].auc, covariance=shared, pairs=pairs)
    return ByAttribute(groups=found, highest=highest, lowest=lowest, gap=gap, unit=units.name, n_classes=len(classes))


def _classes(labels_NK: npt.NDArray[np.int8], inside_N: _Bools, units: Units) -> set[int]:
    """Classes of which a group has `LEAST` units with positive, and with negative images."""
    of_image, found = units.of_image_N[inside_N], set()
    for k, labels_N in enumerate(labels_NK[inside_N].T):
        if min(len(np.unique(of_image[labels_N == label])) for label in (1, 0)) >= LEAST:
            found.add(k)
    return found


def _errors(labels_NK: npt.NDArray[Any], scores_RNK: npt.NDArray[Any], units: Units) -> _Floats:
    """What each unit adds to the error of the mean over classes and runs: (U,)."""
    whole_RU = np.zeros((len(scores_RNK), units.count))
    for k in range(labels_NK.shape[1]):
        for group in class_errors(labels_NK[:, k], np.ascontiguousarray(scores_RNK[:, :, k]), units).groups:
            group.add_to(whole_RU)
    return np.asarray(whole_RU.mean(axis=0) / labels_NK.shape[1])


def _gap(high: Interval, low: Interval, *, covariance: float, pairs: int) -> Interval:
    """The difference of two groups, with the interval at 95 % for all pairs together."""
    from scipy.special import stdtrit

    estimate, variance = high.estimate - low.estimate, high.se**2 + low.se**2 - 2 * covariance
    if not (high.se > 0 and low.se > 0 and variance > 0):
        return Interval(estimate=estimate, low=estimate, high=estimate, se=0.0, df=0.0)
    df = (high.se**2 + low.se**2) ** 2 / (high.se**4 / high.df + low.se**4 / low.df)
    half = float(stdtrit(df, 1 - 0.025 / pairs)) * math.sqrt(variance)
    return Interval(estimate=estimate, low=estimate - half, high=estimate + half, se=math.sqrt(variance), df=df)
