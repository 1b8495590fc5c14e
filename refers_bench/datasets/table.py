"""One's own images, described by a table: CSV, TSV or Parquet, a row for each image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import pandas as pd
from pydantic import BaseModel, BeforeValidator, Field, model_validator

from refers_bench.data import own_images, own_labels, own_splits
from refers_bench.data.index import finished_index, leave_out
from refers_bench.data.metadata import ages
from refers_bench.data.official_tables import refuse
from refers_bench.data.own_splits import Split, Splits
from refers_bench.data.own_table import OwnTable, read_own_table
from refers_bench.data.problems import SHOWN
from refers_bench.data.report_sections import cleaned
from refers_bench.errors import DataError, Problem, nearest
from refers_bench.plugins import ABOUT, Dataset, Task

#: Name of the one task.
TASK = "labels"


def _texts(value: Any) -> Any:
    """One text or number, or several, as texts."""
    values = value if isinstance(value, list | tuple) else [value]
    return [str(one) if isinstance(one, int | float) and not isinstance(one, bool) else one for one in values]


def _columns(value: Any) -> Any:
    """The name of one column, or the names of several."""
    several = isinstance(value, list | tuple) and all(isinstance(one, str) and one for one in value)
    if not isinstance(value, str) and not several:
        raise ValueError("a list of columns of 0 and 1, or the name of one column of names")
    return value


class Params(BaseModel, extra="forbid", frozen=True):
    """What the columns of the table hold."""

    image: str = Field(
        default="image", description="column with the image's file, relative to the folder of the images"
    )
    patient: str = Field(default="", description="column with the patient; without it each study or image is its own")
    study: str = Field(
        default="", description="column with the study of several views; without it each image is its own"
    )
    labels: Annotated[tuple[str, ...] | str, BeforeValidator(_columns)] = Field(
        default=(), description="columns of 0 and 1, a class each; or one column of names such as Edema|Effusion"
    )
    classes: tuple[str, ...] = Field(
        default=(), description="names that one column of labels may hold; all that it holds by default"
    )
    negative: str = Field(default="", description="name in one column of labels that stands for none of the classes")
    missing: Annotated[tuple[str, ...], BeforeValidator(_texts)] = Field(
        default=(), description="what stands for an unknown label or metadata, beside an empty cell: -1, NA"
    )
    split: Splits | None = Field(
        default=None,
        description="column with train, val or test; or shares of the patients: {train: 0.7, val: 0.1, test: 0.2}",
    )
    text: str = Field(
        default="", description="column with the report of the study; makes the images a source with reports"
    )
    view: str = Field(default="", description="column with the view: PA, AP, L")
    sex: str = Field(default="", description="column with the sex: F, M")
    age: str = Field(default="", description="column with the age in years")
    about: tuple[str, ...] = Field(default=(), description="further columns of metadata, such as site or scanner")
    separator: str = Field(default="", max_length=1, description="of cells; by default ',' of .csv and a tab of .tsv")

    @model_validator(mode="before")
    @classmethod
    def _without_folds(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and "folds" in values:
            raise ValueError("folds as a key of the target: targets: [{dataset: ..., tasks: [labels], folds: 5}]")
        return values

    @model_validator(mode="after")
    def _fitting(self) -> Params:
        listed = isinstance(self.labels, str)
        if not listed and len(set(self.labels)) != len(self.labels):
            raise ValueError("each of 'labels' once")
        if not listed and (self.classes or self.negative):
            raise ValueError("'classes' and 'negative' only with one column of names: labels: findings")
        if self.split and not (self.split.column or self.split.drawn):
            raise ValueError("a 'split' with a column, or with shares of train, val and test")
        return self

    def columns(self) -> Iterator[tuple[str, str]]:
        """Each column that is named, with the key that names it."""
        yield self.image, "image"
        yield from (
            (name, "labels") for name in ([self.labels] if isinstance(self.labels, str) else self.labels) if name
        )
        if self.split and self.split.column:
            yield self.split.column, "split"
        for key in ("patient", "study", "text", "view", "sex", "age"):
            if name := getattr(self, key):
                yield name, key
        yield from ((name, "about") for name in self.about)


class Declared(Params, extra="forbid", frozen=True):
    """What a manifest declares: where the table and the images are, and what the columns hold."""

    file: str = Field(min_length=1, description="the table, relative to the manifest: .csv, .tsv or .parquet")
    images: str = Field(default=".", description="folder of the images, relative to the manifest")


def index(root: Path, params: Params, lists: Mapping[str, Path]) -> pd.DataFrame:
    """One row per row of the table.

    Raises:
        DataError: a table that cannot be read, a column that is not there, an image that is not there or twice, a label
            or split that is none, a patient in two splits, a study of two patients or with two texts: each with its
            line and column.
    """
    table = read_own_table(lists["file"], separator=params.separator)
    refuse(table.needed(params.columns()))
    cells = table.cells
    names = [str(PurePosixPath(name.replace("\\", "/"))) if name else "" for name in cells[params.image]]
    frame = pd.DataFrame({"image_id": names}, dtype=object)
    frame["study_id"] = (
        cells[params.study].where(cells[params.study] != "", frame["image_id"]) if params.study else names
    )
    frame["patient_id"] = cells[params.patient] if params.patient else frame["study_id"]
    frame["view"] = cells[params.view] if params.view else ""
    texts = [cleaned(text, deidentified="keep") or None for text in cells[params.text]] if params.text else None
    frame["report"] = pd.Series(texts, index=cells.index, dtype=object)
    paths, sizes = own_images.found_files(names, root)
    problems, missing = _wrong_images(table, params, names, paths, sizes, root)
    problems += _wrong_people(table, params, frame)
    labels, wrong_labels = _labels(table, params)
    splits, wrong_splits = _splits(table, params, frame["patient_id"])
    problems += [*wrong_labels, *wrong_splits]
    try:
        leave_out(missing.values(), refuse=True)
    except DataError as error:
        problems += error.problems
    if problems:
        raise DataError(sorted(problems, key=lambda one: (one.line or 0, one.column or 0)))
    if params.text:  # of each of its images, wherever the table has it
        frame["report"] = frame.groupby("study_id")["report"].transform("first")
    frame = frame.assign(path=paths, split=splits, **{f"{TASK}:{name}": values for name, values in labels.items()})
    frame = _with_metadata(frame, table, params).drop(index=list(missing))
    return finished_index(frame, root=root, table=table.path, sizes=lambda: [sizes[row] for row in frame.index])


def _wrong_images(
    table: OwnTable, params: Params, names: Sequence[str], paths: Sequence[str], sizes: Sequence[int], root: Path
) -> tuple[list[Problem], dict[int, Problem]]:
    """Images without a name, twice, outside the folder or of another kind; and by row those that are not there.

    Args:
        table: names them.
        params: say in which column.
        names: of each row.
        paths: file of each, relative to `root`.
        sizes: bytes of each; -1 where it is not there.
        root: folder of the images.
    """
    first: dict[str, int] = {}
    problems: list[Problem] = []
    missing: dict[int, Problem] = {}
    for row, (name, path, size) in enumerate(zip(names, paths, sizes, strict=True)):
        same, file, found, allowed = first.setdefault(path, row), root / path, "", f"a file below {root}"
        if not name:
            found, allowed = "no image", "the file of an image"
        elif same != row:
            found, allowed = f"image '{name}' stands in {table.line_of(same)}, too", "each image once"
        elif name.startswith("/") or ".." in name.split("/"):
            found = f"image '{name}' leads outside the folder of the images"
        elif size < 0 or not file.is_file():
            beside = own_images.siblings(name, root) if len(missing) < SHOWN else ()  # each takes some ms
            said, close = f"image '{name}' is not there", nearest(name, beside)
            missing[row] = table.problem(row, params.image, said, allowed=allowed, nearest=close)
        elif not own_images.readable(file):
            found, allowed = f"image '{name}' is a {file.suffix or 'file without ending'} file", own_images.ALLOWED
        if found:
            problems.append(table.problem(row, params.image, found, allowed=allowed))
    return problems, missing


def _wrong_people(table: OwnTable, params: Params, frame: pd.DataFrame) -> Iterator[Problem]:
    """Rows without a patient, ages that are none, and studies of several patients or with several texts."""
    if params.patient:
        for row in frame.index[frame["patient_id"] == ""]:
            yield table.problem(row, params.patient, "no patient", allowed="the patient of each image")
    if params.age:
        given = table.cells[params.age]
        wrong = (ages(given).isna() | given.str.startswith("-")) & ~own_labels.unknown_cells(given, params.missing)
        for row in given.index[wrong]:
            yield table.problem(row, params.age, f"age '{given[row]}'", allowed="years, such as 63 or 063Y, or empty")
    checks = (("patient_id", params.patient, "patient"), ("report", params.text, "text"))
    for column, name, what in checks if params.study else ():
        firsts = frame.groupby("study_id")[column].transform("first")
        for row in frame.index[frame[column].notna() & (frame[column] != firsts)] if name else ():
            study = frame["study_id"][row]
            where = table.line_of(int(frame.index[(frame["study_id"] == study) & frame[column].notna()][0]))
            found = f"study '{study}' has another {what} in {where}"
            yield table.problem(row, name, found, allowed=f"one {what} for each study")


def _labels(table: OwnTable, params: Params) -> tuple[dict[str, pd.Series], list[Problem]]:
    """Labels by class, and the wrong cells."""
    if isinstance(params.labels, str):
        how: dict[str, Any] = {"classes": params.classes, "negative": params.negative, "missing": params.missing}
        return own_labels.listed(table, params.labels, **how)
    return own_labels.zero_one(table, params.labels, missing=params.missing)


def _splits(table: OwnTable, params: Params, patients: pd.Series) -> tuple[pd.Series, list[Problem]]:
    """Split of each image, and the wrong cells."""
    split = params.split or Split()
    if not split.column:
        return own_splits.drawn(patients, split, dataset="table"), []
    cells = table.cells[split.column]
    known = {text: own_splits.split_of(text) if text else "" for text in cells.unique()}
    splits = cells.map(known)
    problems = []
    for row in cells.index[splits.isna()]:
        close = nearest(cells[row].lower(), list(own_splits.SPELLINGS))
        found = f"split '{cells[row]}'"
        problems.append(table.problem(row, split.column, found, allowed=own_splits.ALLOWED, nearest=close))
    used = splits[(splits != "") & splits.notna()]
    first = used.groupby(patients[used.index]).transform("first")
    for row in used.index[used != first]:
        other = int(used.index[(patients[used.index] == patients[row]) & (used == first[row])][0])
        found = f"patient '{patients[row]}' is in {used[row]} here and in {first[row]} in {table.line_of(other)}"
        problems.append(table.problem(row, split.column, found, allowed="one split for each patient"))
    return own_splits.with_validation(splits, patients, split, dataset="table"), problems


def _with_metadata(frame: pd.DataFrame, table: OwnTable, params: Params) -> pd.DataFrame:
    """With the columns of what else is known of an image; numbers where a column holds nothing else."""
    cells = table.cells
    given = {name: cells[name] for name in params.about} | ({"sex": cells[params.sex]} if params.sex else {})
    for name, column in given.items():
        values = column.where(~own_labels.unknown_cells(column, params.missing), None)
        numbers = pd.to_numeric(values, errors="coerce")
        frame[f"{ABOUT}{name}"] = numbers if numbers.notna().sum() == values.notna().sum() > 0 else values
    if params.age:
        unknown = own_labels.unknown_cells(cells[params.age], params.missing)
        frame[f"{ABOUT}age"] = ages(cells[params.age].mask(unknown, ""))
    return frame


def notes(params: Params) -> tuple[str, ...]:
    """What tables must say of patients and splits."""
    split = params.split or Split()
    unit = "study" if params.study else "image"
    patients = "" if params.patient else f"no patients are known: each {unit} counts as a patient of its own"
    return tuple(filter(None, (patients, own_splits.note(split, given=bool(split.column)))))


DATASET = Dataset(
    label="Own images, described by a table",
    source="the user's own files; docs/own_images.md",
    licence="as their owner says",
    citation="as their owner says",
    impl=1,
    Params=Params,
    Declared=Declared,
    places={"images": "", "file": "file"},
    tasks={TASK: Task(label="Labels", classes=())},
    index=index,
    source_task=lambda params: TASK if params.labels else "",
    has_reports=lambda params: bool(params.text),
    notes=notes,
    quirks=("a manifest gives them a name: 'data: {NAME: {table: {file: labels.csv, images: img, labels: [a, b]}}}'",),
)
