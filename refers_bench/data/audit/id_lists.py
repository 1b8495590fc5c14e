"""Finds the images that two lists share, whatever folders and file endings the lists write."""

import collections
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pandas as pd

from refers_bench.data.audit.naming import plain
from refers_bench.data.index import read_table
from refers_bench.errors import DataError
from refers_bench.files import plain_file

#: Shared ids that a summary names.
SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class IdList:
    """A named list of images.

    Attributes:
        name: what it is called in a report.
        ids: as they stand in it.
        patients: id, and id as `plain` gives it -> patient, where that is known.
        naming: how its images are named, see `refers_bench.data.audit.naming`; '' to find it out from the ids.
    """

    name: str
    ids: tuple[str, ...]
    patients: Mapping[str, str] = field(default_factory=dict)
    naming: str = ""


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """What two lists share.

    Attributes:
        first: name of a list.
        second: name of another.
        ids: shared ids, sorted.
        patients: shared patients, sorted; None where not every image's patient is known.
    """

    first: str
    second: str
    ids: tuple[str, ...]
    patients: tuple[str, ...] | None


def read_ids(path: Path, *, column: str = "") -> IdList:
    """A list from a file.

    Args:
        path: ``.csv`` (gzipped or not) with a header: the ids stand in `column`, by default the first; any other file:
            the first word of each line is an id, as in the released lists.
        column: of a CSV.

    Raises:
        DataError: missing, unreadable, empty, or without that column.
    """
    if path.name.lower().endswith((".csv", ".csv.gz")):
        frame = read_table(path, required=[column] if column else [])
        ids = frame[column or frame.columns[0]].tolist()
    elif column:
        raise DataError(f"column '{column}' of a list without columns", allowed="a .csv", path=path)
    else:
        try:
            ids = [
                line.split()[0] for line in plain_file(path).read_text(encoding="utf-8").splitlines() if line.strip()
            ]
        except FileNotFoundError as error:
            raise DataError("missing list", path=path) from error
        except (UnicodeDecodeError, OSError) as error:
            raise DataError(f"not a readable list ({error})", allowed="text", path=path) from error
    if not ids:
        raise DataError("an empty list", allowed="an image a line", path=path)
    return IdList(name=str(path), ids=tuple(ids))


def of_index(frame: pd.DataFrame, *, name: str) -> list[IdList]:
    """The used splits of a dataset's index as lists "<name>:<split>" that know their patients."""
    lists = []
    for split, rows in frame[frame["split"] != ""].groupby("split", sort=True):
        ids = tuple(rows["image_id"])
        known = [(image, f"{name}/{who}") for image, who in zip(ids, rows["patient_id"], strict=True)]
        # Where two files differ in their endings alone, the id itself tells them apart.
        patients = {plain(image): who for image, who in known} | dict(known)
        lists.append(IdList(name=f"{name}:{split}", ids=ids, patients=patients))
    return lists


def repeated(one: IdList) -> tuple[str, ...]:
    """File names, or ids, that a list holds more than once, sorted.

    Endings count here: a collection may hold a radiograph's JPEG beside another one's PNG of the same stem.
    """
    counts = collections.Counter(PurePosixPath(name.strip()).name for name in one.ids)
    return tuple(sorted(name for name, count in counts.items() if count > 1))


def overlaps(lists: Sequence[IdList]) -> list[Overlap]:
    """What any two lists share, in the order given; pairs that share nothing are kept: they were compared.

    Where one list knows the patient of an image, this patient is used for all lists.
    """
    patients: dict[str, str] = {}
    for one in lists:
        patients |= one.patients
    sets = [{plain(name) for name in one.ids} for one in lists]
    people = [_patients(ids, patients) for ids in sets]
    found = []
    for (one, ids, who), (other, more, whom) in itertools.combinations(zip(lists, sets, people, strict=True), 2):
        both = None if who is None or whom is None else tuple(sorted(who & whom))
        found.append(Overlap(first=one.name, second=other.name, ids=tuple(sorted(ids & more)), patients=both))
    return found


def _patients(ids: Iterable[str], known: Mapping[str, str]) -> set[str] | None:
    people = {known.get(name) for name in ids}
    return None if None in people else {person for person in people if person is not None}


def record(lists: Sequence[IdList], found: Sequence[Overlap]) -> dict[str, object]:
    """What was compared and found, as plain values: all shared ids."""
    named, overlapping = [], []
    for one in lists:
        different, twice = len(set(map(plain, one.ids))), list(repeated(one))
        named.append({"name": one.name, "ids": len(one.ids), "different": different, "repeated": twice})
    for pair in found:
        shared = {"first": pair.first, "second": pair.second, "shared": len(pair.ids), "ids": list(pair.ids)}
        people = None if pair.patients is None else list(pair.patients)
        number = None if people is None else len(people)
        overlapping.append({**shared, "shared_patients": number, "patients": people})
    return {"lists": named, "overlaps": overlapping}
