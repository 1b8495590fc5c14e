"""Reads the prediction files of the REFERS release.

``Results_of_fine-tuning/<target>/[code/]<ratio or task>/<method>/<class>.txt``, one line ``label score`` for each test
image in the order of the released lists; one run of each method. For viral against bacterial pneumonia
(``bacterial_viral/<method>/bacterial_viral.txt``, 1 = viral) the release has no REFERS file and no list of the images.

Source: the prediction files of the REFERS release, as measured in the files themselves.
"""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv

from refers_bench.data.imported.predictions import ImportedRun, as_float32
from refers_bench.errors import UserError
from refers_bench.evaluations import UNKNOWN
from refers_bench.files import sha256_of

#: Folder name -> (row name, row title).
METHODS: Mapping[str, tuple[str, str]] = {
    "REFERS": ("refers", "REFERS"),
    "MG": ("model_genesis", "Model Genesis"),
    "C2L": ("c2l", "C2L"),
    "CR": ("context_restoration", "Context Restoration"),
    "TransVW": ("transvw", "TransVW"),
    "ImageNet": ("imagenet", "ImageNet pre-training"),
}
#: Folder name -> dataset id.
DATASETS: Mapping[str, str] = {
    "NIH ChestX-ray": "nih_chestxray14",
    "VinBigData Chest X-ray": "vinbigdata_cxr",
    "Shenzhen Tuberculosis": "shenzhen_tb",
    "COVID-19 Image Data Collection": "covid19_idc",
}
#: Folder name below the dataset -> (task or '' for the only one, label ratio).
PARTS: Mapping[str, tuple[str, float]] = {
    "data1": ("findings", 0.01),
    "data10": ("findings", 0.1),
    "data100": ("findings", 1.0),
    "tuberculosis": ("tuberculosis", 1.0),
    "covid_others": ("covid19_vs_other", 1.0),
    "bacterial_viral": ("viral_vs_bacterial", 1.0),
}
#: Names of single-class files -> the name of their class here.
CLASSES: Mapping[str, str] = {"covid_others": "COVID-19", "bacterial_viral": "Viral"}
#: The released fine-tuning code writes sigmoid scores (``label_prob/``).
PROBABILITIES = True
#: Files that an error lists.
MOST_NAMED = 20
#: The release states no code for its files, and so not either on which images the checkpoints behind them were chosen.
SELECTED_ON = UNKNOWN
FOOTNOTE = (
    "the prediction files of the REFERS release: one run; which code wrote them, and on which images its checkpoint "
    "was chosen, is not stated there"
)


def read_release(
    root: Path, classes: Mapping[tuple[str, str], tuple[str, ...]], *, allow_unread: bool = False
) -> tuple[tuple[ImportedRun, ...], tuple[str, ...]]:
    """Read every prediction file.

    Args:
        root: ``Results_of_fine-tuning``, or the folder that holds it.
        classes: (dataset, task) -> names and order of the classes; files of other names are an error.
        allow_unread: whether files may be there that no rule reads. Hidden ones (``.DS_Store``,
            ``.ipynb_checkpoints/``), which the release has in many folders, always may: they hold no predictions.

    Returns:
        The runs, in the order of datasets, parts and methods above; and the files that were not read, as relative
        paths.

    Raises:
        UserError: no prediction file, a file that no rule reads, a line that is not ``label score``, an unknown or
            missing class, or files of one run with different numbers of lines.
    """
    root = root / "Results_of_fine-tuning" if (root / "Results_of_fine-tuning").is_dir() else root
    if not root.is_dir():
        raise UserError("no such folder", allowed="the release's Results_of_fine-tuning", path=root)
    order = list(itertools.product(DATASETS, PARTS, METHODS))
    groups: dict[tuple[str, ...], dict[str, Path]] = {}
    unread, visible = [], []
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        inner = path.relative_to(root)
        where = tuple(part for part in inner.parts[:-1] if part != "code")
        if where in order and path.name.endswith(".txt"):
            groups.setdefault(where, {})[path.stem] = path
            continue
        unread.append(str(inner))
        if not any(part.startswith(".") for part in inner.parts):
            visible.append(str(inner))
    if not groups:
        allowed = "<target>/<ratio or task>/<method>/<class>.txt with the targets " + ", ".join(DATASETS)
        raise UserError("no prediction file", allowed=allowed, path=root)
    if visible and not allow_unread:  # a misspelt folder would otherwise drop a whole column of a table
        more = f", and {len(visible) - MOST_NAMED} more" if len(visible) > MOST_NAMED else ""
        found = f"{len(visible)} file{'s' * (len(visible) > 1)} that no rule reads: {', '.join(visible[:MOST_NAMED])}"
        allowed = "<target>/<ratio or task>/<method>/<class>.txt alone; --allow-unread takes the rest in without them"
        raise UserError(found + more, allowed=allowed, path=root)
    return tuple(_run(where, groups[where], root, classes) for where in order if where in groups), tuple(unread)


def _plain(name: str) -> str:
    return "".join(sign for sign in name.lower() if sign.isalnum())


def _run(
    where: tuple[str, ...], files: Mapping[str, Path], root: Path, known: Mapping[tuple[str, str], tuple[str, ...]]
) -> ImportedRun:
    dataset, (task, ratio), (method, label) = DATASETS[where[0]], PARTS[where[1]], METHODS[where[2]]
    classes = known[dataset, task]
    names = {_plain(name): name for name in classes}
    columns: dict[str, tuple[npt.NDArray[np.int8], npt.NDArray[np.float64], Path]] = {}
    for stem, path in files.items():
        name = names.get(_plain(CLASSES.get(stem, stem)))
        if name is None:
            raise UserError(f"a class '{stem}'", allowed=", ".join(classes), path=path)
        columns[name] = (*read_file(path), path)
    folder = next(iter(files.values())).parent
    if missing := [name for name in classes if name not in columns]:
        raise UserError(f"no file of {', '.join(missing)}", allowed="one file per class", path=folder)
    lengths = {len(labels): path for labels, _, path in columns.values()}
    if len(lengths) > 1:
        found = "files of one run with " + ", ".join(f"{count} ({path.name})" for count, path in lengths.items())
        raise UserError(found, allowed="one line per test image in every file", path=folder)
    scores_NK, merged = as_float32(np.stack([columns[name][1] for name in classes], axis=1))
    images = len(scores_NK)
    return ImportedRun(
        method=method,
        label=label,
        dataset=dataset,
        task=task,
        label_ratio=ratio,
        seed=0,
        classes=classes,
        image_ids=tuple(f"line {number:06d}" for number in range(1, images + 1)),
        patient_ids=("",) * images,
        labels_NK=np.stack([columns[name][0] for name in classes], axis=1),
        scores_NK=scores_NK,
        merged=merged,
        files={path.relative_to(root).as_posix(): sha256_of(path) for path in files.values()},
        footnotes=(FOOTNOTE,),
        selected_on=SELECTED_ON,
    )


def read_file(path: Path) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float64]]:
    """Labels and scores of one class.

    Raises:
        UserError: empty, or a line that is not a label of 0 or 1 and a number.
    """
    types, delimiter = dict.fromkeys(("label", "score"), pa.float64()), csv.ParseOptions(delimiter=" ")
    try:
        table = csv.read_csv(
            path,
            read_options=csv.ReadOptions(column_names=list(types)),
            parse_options=delimiter,
            convert_options=csv.ConvertOptions(column_types=types, null_values=[]),
        )
    except pa.ArrowInvalid as error:
        raise _bad_line(path, error) from error
    labels, scores = table["label"].to_numpy(), table["score"].to_numpy()
    if not np.isin(labels, (0.0, 1.0)).all():
        raise _bad_line(path, None)
    return labels.astype(np.int8), scores


def _bad_line(path: Path, error: Any) -> UserError:
    """The first line that cannot be read, with its number."""
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate((line.rstrip("\r\n") for line in file), start=1):
            try:
                label, score = line.split(" ")
                float(score)
                wrong = float(label) not in (0, 1)
            except ValueError:
                wrong = True
            if wrong:
                allowed = "'LABEL SCORE', label 0 or 1"
                return UserError(repr(line[:80]), allowed=allowed, path=path, line=number)
    return UserError(f"cannot read: {error}", allowed="lines 'LABEL SCORE'", path=path)
