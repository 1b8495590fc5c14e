"""One's own images, in a folder for each class: ``DIR/<class>/*.png``, or ``DIR/train/<class>/*.png`` and so on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import pandas as pd
from pydantic import AfterValidator, BaseModel, Field

from refers_bench.data import own_images, own_splits
from refers_bench.data.folders import checked_name, walked
from refers_bench.data.index import finished_index
from refers_bench.data.own_splits import Split, Splits
from refers_bench.errors import DataError, Problem, nearest
from refers_bench.plugins import Dataset, Task

#: Name of the one task.
TASK = "labels"


def _pattern(value: str) -> str:
    """A regular expression with one group: the patient in a file's name."""
    try:
        groups = re.compile(value).groups
    except re.error as error:
        raise ValueError(f"a regular expression ({error})") from error
    if value and groups != 1:
        raise ValueError("a regular expression with one group, the patient: '^(person[0-9]+)_'")
    return value


class Params(BaseModel, extra="forbid", frozen=True):
    """Which classes there are, whose images they are, and where splits come from."""

    classes: tuple[str, ...] = Field(
        default=(),
        description="folders that are classes; images of others are negative for all; every folder by default",
    )
    patient: Annotated[str, AfterValidator(_pattern)] = Field(
        default="",
        description="regular expression whose group is the patient in a file's name; "
        "without it each image is its own patient",
    )
    split: Splits | None = Field(
        default=None,
        description="shares of the patients: {train: 0.7, val: 0.1, test: 0.2}; {val: 0.1} draws "
        "validation images from the folder 'train'",
    )


class Declared(Params, extra="forbid", frozen=True):
    """What a manifest declares: where the folders are, and what they are."""

    root: str = Field(
        min_length=1, description="folder of the classes or of train, val and test, relative to the manifest"
    )


def index(root: Path, params: Params, lists: Mapping[str, Path]) -> pd.DataFrame:
    """One row per image; its folder is its label.

    Raises:
        DataError: no image, one class, an image beside the folders or of a kind that cannot be read, folders of classes
            beside folders of splits, a class that the training images lack, a patient in two splits.
    """
    found, problems = _found(root)
    given, split = "" not in found, params.split or Split()
    named = sorted({name for classes in found.values() for name in classes})
    problems += [*_wrong_classes(root, params, found, named), *_wrong_split(root, split, given=given)]
    rows = [
        {"image_id": file.relative_to(root).as_posix(), "label": name, "split": part}
        for part, classes in found.items()
        for name, files in classes.items()
        for file in files
    ]
    frame = pd.DataFrame(rows, columns=["image_id", "label", "split"], dtype=object)
    frame["patient_id"] = [_patient(image, params) for image in frame["image_id"]]
    for image in frame.loc[frame["patient_id"].isna(), "image_id"]:
        found_in = "no patient in the file's name"
        problems.append(
            Problem(found=found_in, allowed=f"a name that {params.patient!r} finds one in", path=root / image)
        )
    problems += _patients_twice(root, frame) if given else []
    if problems:
        raise DataError(problems)
    patients = frame["patient_id"]
    if given:
        frame["split"] = own_splits.with_validation(frame["split"], patients, split, dataset="folder")
    else:
        frame["split"] = own_splits.drawn(patients, split, dataset="folder")
    labels = {f"{TASK}:{name}": (frame["label"] == name).astype("Int8") for name in params.classes or named}
    frame = frame.assign(path=frame["image_id"], study_id=frame["image_id"], view="", report=None, **labels)
    return finished_index(frame.drop(columns="label"), root=root, table=root)


def _found(root: Path) -> tuple[dict[str, dict[str, list[Path]]], list[Problem]]:
    """Split ('' where folders do not say it) -> class -> files; and what is wrong with the folders.

    Raises:
        DataError: no folder, folders of classes beside folders of splits, or two folders of one split.
    """
    folders = own_images.folders_of(root)
    if not folders:
        raise DataError("no folder here", allowed="a folder for each class, or train, val and test", path=root)
    splits = {folder: own_splits.split_of(folder.name) for folder in folders}
    if not any(splits.values()):
        classes, problems = _classes(root)
        return {"": classes}, problems
    problems, found = _beside(root), {}
    for folder, split in splits.items():
        same = next(one for one in folders if splits[one] == split)
        if split is None:
            said = "neither train, val nor test, which stand beside it"
            problems.append(Problem(found=said, allowed="folders of classes alone, or of splits alone", path=folder))
        elif same != folder:
            said = f"'{folder.name}' and '{same.name}' are both the {split} split"
            problems.append(Problem(found=said, allowed="one of them", path=folder))
        else:
            found[split], wrong = _classes(folder)
            problems += wrong
    return found, problems


def _classes(folder: Path) -> tuple[dict[str, list[Path]], list[Problem]]:
    """Class -> images in any folder below its own, sorted; and what is no image that can be read."""
    found: dict[str, list[Path]] = {}
    problems = _beside(folder)
    for inner in own_images.folders_of(folder):
        files = (Path(place) / name for place, names in walked(inner) for name in names)
        files_here = sorted(checked_name(file) for file in files if not file.name.startswith("."))
        foreign = [file for file in files_here if file.suffix.lower() in own_images.FOREIGN]
        problems += [Problem(found=f"a {file.suffix} file", allowed=own_images.ALLOWED, path=file) for file in foreign]
        found[inner.name] = [file for file in files_here if file not in foreign and own_images.readable(file)]
        if not found[inner.name] and not foreign:
            problems.append(Problem(found="no image in this folder", allowed=own_images.ALLOWED, path=inner))
    return found, problems


def _beside(folder: Path) -> list[Problem]:
    """Images that lie beside the folders in which they belong."""
    images = (file for file in own_images.files_directly(folder) if file.suffix.lower() in own_images.ENDINGS)
    return [
        Problem(found="an image in no folder of a class", allowed="a folder for each class", path=file)
        for file in images
    ]


def _wrong_classes(
    root: Path, params: Params, found: Mapping[str, Mapping[str, Sequence[Path]]], named: Sequence[str]
) -> Iterator[Problem]:
    """Classes that have no folder, a single one, or such as the training images lack."""
    for name in params.classes:
        if name not in named:
            said = f"no folder of the class '{name}'"
            yield Problem(found=said, allowed=", ".join(named), nearest=nearest(name, named), path=root)
    if len(named) < 2:
        yield Problem(found=f"{len(named)} class", allowed="two folders of classes or more", path=root)
    training = found.get("train")
    for split, classes in found.items() if training else ():
        for name in classes:
            if training and name not in training:
                said = f"class '{name}' is in the {split} split and not in train"
                yield Problem(found=said, allowed=", ".join(training), nearest=nearest(name, training), path=root)


def _wrong_split(root: Path, split: Split, *, given: bool) -> Iterator[Problem]:
    """A parameter `split` that does not fit the folders."""
    if split.column:
        yield Problem(found=f"split: {split.column}, a column", allowed="shares: folders have no columns", path=root)
    elif given and split.drawn:
        found = "shares of train and test, and folders that say which is which"
        yield Problem(found=found, allowed="one of both; {val: 0.1} draws validation images from train", path=root)
    elif not given and split.val and not split.drawn:
        yield Problem(found="a share of val alone, and no folder train", allowed="shares of all three", path=root)


def _patient(image: str, params: Params) -> str | None:
    """Patient of an image, by its file's name; None where the name has none."""
    if not params.patient:
        return image
    match = re.search(params.patient, image.rpartition("/")[2])
    return match[1] if match else None


def _patients_twice(root: Path, frame: pd.DataFrame) -> list[Problem]:
    """Images whose patient has an image in another split, which came first."""
    first = frame.groupby("patient_id")[["split", "image_id"]].transform("first")
    problems = []
    for row in frame.index[frame["split"] != first["split"]]:
        image, patient, split = (frame[name][row] for name in ("image_id", "patient_id", "split"))
        found = f"patient '{patient}' is in {split} here, and in {first['split'][row]} by {first['image_id'][row]}"
        problems.append(Problem(found=found, allowed="one split for each patient", path=root / image))
    return problems


def notes(params: Params) -> tuple[str, ...]:
    """What tables must say of patients and splits."""
    patients = "" if params.patient else "no patients are known: each image counts as a patient of its own"
    split = params.split
    return tuple(filter(None, (patients, own_splits.note(split, given=not split.drawn) if split else "")))


DATASET = Dataset(
    label="Own images, in a folder for each class",
    source="the user's own files; docs/own_images.md",
    licence="as their owner says",
    citation="as their owner says",
    impl=1,
    Params=Params,
    Declared=Declared,
    places={"root": ""},
    tasks={TASK: Task(label="Labels", classes=())},
    index=index,
    source_task=TASK,
    notes=notes,
    quirks=("a manifest gives them a name: 'data: {NAME: {folder: {root: DIR}}}'",),
)
