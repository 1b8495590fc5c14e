"""Deals the patients of a task to the folds of a cross-validation: the same folds for every method and seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from refers_bench import identity
from refers_bench.errors import DataError, UserError

#: Fewer leave no images to train on beside the tested and the validating fold.
LEAST = 3

_Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Folds:
    """Folds of one task.

    Attributes:
        count: how many, at least `LEAST`.
        number: fold of each row, in [0, count), under the index of the rows.
        scarce: class -> patients that have its rarer label, where these are fewer than the folds: in some folds that
            class has no AUC.
    """

    count: int
    number: pd.Series
    scarce: dict[str, int]

    def splits(self, fold: int) -> pd.Series:
        """Split of each row in one round: the fold is "test", the one after it "val", the others "train".

        Raises:
            UserError: there is no such fold.
        """
        if not 0 <= fold < self.count:
            raise UserError(f"fold {fold} of {self.count}", allowed=f"0 to {self.count - 1}")
        what = {fold: "test", (fold + 1) % self.count: "val"}
        return self.number.map(lambda number: what.get(number, "train"))


def deal(rows: pd.DataFrame, *, dataset: str, task: str, classes: Sequence[str], count: int) -> Folds:
    """Deal patients to folds so that each label of each class is spread evenly, and images as evenly as that allows.

    The labels (positive and negative of each class) are taken in turn, always the one with the fewest patients still
    to be dealt. Each of its patients, those with most images first, goes to the fold that has the fewest patients with
    this label, and among such folds to the one with the fewest images. A patient has a label if any of its images has.
    Patients of equal size are in an order drawn from dataset, task and number of folds; order of rows, methods and
    seeds play no part.

    Source: iterative stratification of Sechidis, Tsoumakas and Vlahavas, ECML PKDD 2011, for groups of images.

    Args:
        rows: index rows with a label of the task (each known patient by its id); their splits are ignored.
        dataset: id.
        task: id.
        classes: label columns are ``"<task>:<class>"``.
        count: number of folds.

    Raises:
        UserError: fewer than `LEAST` folds.
        DataError: more folds than patients.
    """
    if count < LEAST:
        raise UserError(f"{count} folds", allowed=f"{LEAST} or more: one tests, one validates, the others train")
    names, sizes, has = _patients(rows, task, sorted(classes))
    if count > len(names):
        found = f"{count} folds for {len(names)} patients of task '{task}' of '{dataset}'"
        raise DataError(found, allowed=f"{LEAST} folds to one for each patient")
    place = np.array([identity.seed("folds", dataset, task, count, name) for name in names], dtype=np.uint64)
    # A patient without any known label is dealt last, as one of all patients.
    labels = np.column_stack([has, np.ones(len(has), bool)])
    dealt = pd.Series(_dealt(labels, sizes, np.lexsort((place, -sizes)), count), index=names)
    patients = dict(zip(sorted(classes), has.sum(axis=0).reshape(2, -1).min(axis=0).tolist(), strict=True))
    scarce = {name: patients[name] for name in classes if patients[name] < count}
    return Folds(count=count, number=rows["patient_id"].astype(str).map(dealt), scarce=scarce)


def splits(rows: pd.DataFrame, *, dataset: str, task: str, classes: Sequence[str], count: int, fold: int) -> pd.Series:
    """Split of each row ("train", "val" or "test") in one round; see `deal` and `Folds.splits`."""
    return deal(rows, dataset=dataset, task=task, classes=classes, count=count).splits(fold)


def _patients(rows: pd.DataFrame, task: str, classes: Sequence[str]) -> tuple[list[str], npt.NDArray[np.int64], _Flags]:
    """P names in order, images of each, and whether each has a label: (P, 2K), positive labels first."""
    labels = rows[[f"{task}:{name}" for name in classes]]
    flags = pd.concat([labels.eq(label).fillna(False).astype(bool) for label in (1, 0)], axis=1)
    groups = flags.groupby(rows["patient_id"].astype(str).to_numpy())
    has = groups.any()
    return has.index.tolist(), np.asarray(groups.size(), np.int64), has.to_numpy(bool)


def _dealt(
    has_PL: _Flags, sizes_P: npt.NDArray[np.int64], order: npt.NDArray[np.int64], count: int
) -> npt.NDArray[np.int64]:
    """Fold of each patient.

    Args:
        has_PL: whether each patient has each label; every patient has one.
        sizes_P: images of each patient.
        order: patients in the order in which those of one label are dealt.
        count: folds.
    """
    fold_P = np.full(len(sizes_P), -1)
    patients_FL, images_F = np.zeros((count, has_PL.shape[1]), np.int64), np.zeros(count, np.int64)
    while (waiting_P := fold_P < 0).any():
        left_L = has_PL[waiting_P].sum(axis=0)
        label = int(np.where(left_L > 0, left_L, len(sizes_P) + 1).argmin())
        for patient in order[(waiting_P & has_PL[:, label])[order]]:
            fold = int(np.lexsort((images_F, patients_FL[:, label]))[0])
            fold_P[patient] = fold
            patients_FL[fold] += has_PL[patient]
            images_F[fold] += sizes_P[patient]
    return fold_P
