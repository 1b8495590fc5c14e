"""PadChest: radiographs from Alicante whose labels were read from reports, by physicians or by a network."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from PIL import Image
from pydantic import BaseModel, Field

from refers_bench import identity
from refers_bench.data.folders import files_by_name
from refers_bench.data.index import finished_index, patient_split, read_table
from refers_bench.data.metadata import Columns, numbers, table_metadata, texts
from refers_bench.data.official_tables import refuse, table_path, with_images, wrong_cells
from refers_bench.data.phantoms import radiographs
from refers_bench.errors import DataError
from refers_bench.plugins import Dataset, Task

TABLE = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
#: NIH's classes -> labels that say the same, as the table spells them.
EXACT: Mapping[str, tuple[str, ...]] = {
    "Atelectasis": ("atelectasis",),
    "Cardiomegaly": ("cardiomegaly",),
    "Effusion": ("pleural effusion",),
    "Infiltration": ("infiltrates",),
    "Mass": ("mass", "pulmonary mass"),
    "Nodule": ("nodule",),
    "Pneumonia": ("pneumonia",),
    "Pneumothorax": ("pneumothorax",),
    "Consolidation": ("consolidation",),
    "Edema": ("pulmonary edema",),
    "Emphysema": ("emphysema",),
    "Fibrosis": ("pulmonary fibrosis",),
    "Pleural_Thickening": ("pleural thickening",),
    "Hernia": ("hiatal hernia",),
}
CLASSES = tuple(EXACT)
#: Texts of which one must stand anywhere in the cell, in torchxrayvision: a class's name in lower case, and these.
#: Source: torchxrayvision, `PC_Dataset`.
SUBSTRINGS: Mapping[str, tuple[str, ...]] = {
    "Infiltration": (
        *("infiltrates", "interstitial pattern", "ground glass pattern", "reticular interstitial pattern"),
        *("reticulonodular interstitial pattern", "alveolar pattern", "consolidation", "air bronchogram"),
    ),
    "Pleural_Thickening": ("pleural thickening",),
    "Consolidation": ("air bronchogram",),
}
#: Who read the report.
PHYSICIAN, NETWORK = "Physician", "RNN_model"
#: Says that an image is none of a chest, or of no use.
EXCLUDE = "exclude"
#: Files that are missing or broken in the distribution. Source: torchxrayvision, `PC_Dataset`.
UNREADABLE = (
    "216840111366964012283393834152009033102258826_00-059-087.png",
    "216840111366964012339356563862009072111404053_00-043-192.png",
    "216840111366964012373310883942009117084022290_00-064-025.png",
    "216840111366964012373310883942009152114636712_00-102-045.png",
    "216840111366964012373310883942009170084120009_00-097-074.png",
    "216840111366964012487858717522009280135853083_00-075-001.png",
    "216840111366964012558082906712009327122220177_00-102-064.png",
    "216840111366964012819207061112010281134410801_00-129-131.png",
    "216840111366964012819207061112010306085429121_04-020-102.png",
    "216840111366964012819207061112010307142602253_04-014-084.png",
    "216840111366964012819207061112010315104455352_04-024-184.png",
    "216840111366964012959786098432011033083840143_00-176-115.png",
    "216840111366964012989926673512011074122523403_00-163-058.png",
    "216840111366964012989926673512011083134050913_00-168-009.png",
    "216840111366964012989926673512011151082430686_00-157-045.png",
    "216840111366964013076187734852011291090445391_00-196-188.png",
    "216840111366964013590140476722013043111952381_02-065-198.png",
    "216840111366964013590140476722013058110301622_02-056-111.png",
    "216840111366964013686042548532013208193054515_02-026-007.png",
    "216840111366964013829543166512013353113303615_02-092-190.png",
    "216840111366964013962490064942014134093945580_01-178-104.png",
)
METADATA: Columns = {
    "about:sex": (("PatientSex_DICOM",), texts),
    "about:birth_year": (("PatientBirth",), numbers),
    "about:width": (("Columns_DICOM",), numbers),
    "about:height": (("Rows_DICOM",), numbers),
}


class Params(BaseModel, extra="forbid", frozen=True):
    """Which projections, whose labels are tested on, and the seed of the split: there is no official one."""

    views: tuple[str, ...] = Field(
        default=("PA", "AP", "AP_horizontal"), description="projections kept, such as PA, L, COSTAL; empty for all"
    )
    test_labels: Literal["physician", "any"] = Field(
        default="physician",
        description="physician: of the test patients, images whose report a network labelled are not used",
    )
    excluded: Literal["leave_out", "keep"] = Field(
        default="leave_out", description=f"images labelled '{EXCLUDE}'; torchxrayvision keeps them"
    )
    split_seed: int = Field(default=0, ge=0, description="of the 70/10/20 split of the patients")
    missing: Literal["skip", "refuse"] = Field(default="refuse", description="rows of the table without an image")


def label_list(cell: str) -> tuple[str, ...] | None:
    """The labels of a cell, each once, without blanks around them; None for a cell that is no list of texts.

    Example:
        >>> label_list("['pleural effusion', ' normal', 'normal ']"), label_list("normal")
        (('pleural effusion', 'normal'), None)
    """
    try:
        found = ast.literal_eval(cell.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if not isinstance(found, list) or not all(isinstance(label, str) for label in found):
        return None
    return tuple(dict.fromkeys(stripped for label in found if (stripped := label.strip())))


def exact_labels(found: tuple[str, ...]) -> dict[str, int]:
    """Class -> 1 where one of its `EXACT` labels is among those of an image.

    Example:
        >>> exact_labels(("subcutaneous emphysema", "pulmonary edema"))["Emphysema"]
        0
    """
    return {name: int(any(label in found for label in same)) for name, same in EXACT.items()}


def torchxrayvision_labels(cell: str) -> dict[str, int]:
    """Class -> 1 where its name in lower case, or one of its `SUBSTRINGS`, stands anywhere in the cell.

    Example:
        >>> torchxrayvision_labels("['subcutaneous emphysema', 'air bronchogram']")["Emphysema"]
        1
    """
    return {name: int(any(text in cell for text in (name.lower(), *SUBSTRINGS.get(name, ())))) for name in CLASSES}


def read_labels(path: Path) -> pd.DataFrame:
    """The rows of the table that have labels.

    Returns:
        Columns image_id (name without ending), patient_id, study_id, view, method, excluded, those of `METADATA`,
        about:age in years, and an Int8 column for each class of both tasks.

    Raises:
        DataError: malformed, a file that is no PNG, no patient, labels that are no list of texts, or another method.
    """
    needed = ("ImageID", "StudyID", "PatientID", "Projection", "MethodLabel", "Labels")
    frame = read_table(path, required=needed)
    cells = frame["Labels"].str.strip()
    lists = {cell: label_list(cell) for cell in cells.unique() if cell not in ("", "nan")}
    wrong = cells.isin([cell for cell, found in lists.items() if found is None])
    allowed = "a list of texts, such as ['normal']"
    problems = list(wrong_cells(frame["Labels"], wrong, found='labels "{}"', allowed=allowed, path=path))
    checks = {
        "MethodLabel": (~frame["MethodLabel"].isin((PHYSICIAN, NETWORK)), f"{PHYSICIAN} or {NETWORK}"),
        "ImageID": (~frame["ImageID"].str.lower().str.endswith(".png"), "a name that ends with .png"),
        "PatientID": (frame["PatientID"].str.strip() == "", "the id of a patient"),
    }
    for name, (odd, allowed) in checks.items():
        problems += wrong_cells(frame[name], odd, found=f"{name} '{{}}'", allowed=allowed, path=path)
    refuse(problems)
    known = cells.map(lambda cell: bool(lists.get(cell)))
    frame, cells = frame[known], cells[known]
    columns = {"patient_id": "PatientID", "view": "Projection", "method": "MethodLabel"}
    rows = pd.DataFrame({name: frame[column].str.strip() for name, column in columns.items()})
    # One number of a study is that of two patients.
    rows["study_id"] = rows["patient_id"] + "/" + frame["StudyID"].str.strip()
    rows["image_id"] = frame["ImageID"].str.strip().str[: -len(".png")]
    rows["excluded"] = cells.map(lambda cell: EXCLUDE in (lists[cell] or ()))
    of = {cell: _both(cell, found) for cell, found in lists.items() if found}
    labels = pd.DataFrame.from_dict(of, orient="index", dtype="Int8").reindex(cells).set_index(rows.index)
    about = table_metadata(frame, METADATA)
    if "about:birth_year" in about and "StudyDate_DICOM" in frame:
        about["about:age"] = numbers(frame["StudyDate_DICOM"].str[:4]) - about["about:birth_year"]
    return rows.join([about.drop(columns="about:birth_year", errors="ignore"), labels])


def _both(cell: str, found: tuple[str, ...]) -> dict[str, int]:
    exact = {f"findings14_exact:{name}": value for name, value in exact_labels(found).items()}
    return exact | {f"findings14_txv:{name}": value for name, value in torchxrayvision_labels(cell).items()}


def index(root: Path, params: Params, lists: Mapping[str, Path]) -> pd.DataFrame:
    """One row per image of the table that has labels and a projection asked for, but for the known broken files.

    Raises:
        DataError: see `read_labels` and `refers_bench.data.index.finished_index`; with ``missing: refuse``, an image
            that is not there; no row of the projections asked for.
    """
    table = table_path(root, TABLE)
    frame = read_labels(table)
    if params.views:
        known = sorted(frame["view"].unique())
        frame = frame[frame["view"].isin(params.views)]
        if frame.empty:
            found = f"no image of the projections {', '.join(params.views)}"
            raise DataError(found, allowed=", ".join(known), path=table)
    frame = frame[~(frame["image_id"] + ".png").isin(UNREADABLE)]
    if params.excluded == "leave_out":
        frame = frame[~frame["excluded"]]
    split = patient_split(frame["patient_id"], dataset="padchest", seed=params.split_seed)
    if params.test_labels == "physician":
        split = split.where((split != "test") | (frame["method"] == PHYSICIAN), "")
    frame = frame.drop(columns=["method", "excluded"]).assign(split=split, report=None, table=str(table))
    files = files_by_name(root, (".png",))
    return finished_index(
        with_images(frame, files, root=root, ending=".png", missing=params.missing), root=root, table=table
    )


#: Label of a phantom's finding.
_PHANTOM = {
    "Cardiomegaly": "cardiomegaly",
    "Effusion": "pleural effusion",
    "Nodule": "nodule",
    "Consolidation": "consolidation",
    "Pneumothorax": "pneumothorax",
    "Interstitial": "pulmonary edema",
}


def write_layout(root: Path, params: radiographs.PhantomParams) -> None:
    """Write procedural studies as the archives unpack: the table, and numbered folders of 16-bit PNG files."""
    rows: list[dict[str, str]] = []
    for study in radiographs.studies(params):
        rng = np.random.default_rng(identity.seed("padchest phantom", params.seed, study.number))
        person = np.random.default_rng(identity.seed("padchest phantom patient", params.seed, study.patient))
        known = {"PatientBirth": f"{person.integers(1920, 2000)}.0", "PatientSex_DICOM": "FM"[person.integers(2)]}
        digits = hashlib.sha256(f"padchest phantom {params.seed} {study.number}".encode()).hexdigest()
        number, folder = str(int(digits[:30], 16)), str(study.number % 3)
        method = PHYSICIAN if rng.random() < 0.6 else NETWORK
        # The real lists have blanks and repeats.
        labels = [_PHANTOM[name] for name in sorted(study.findings)] or ["normal"]
        cell = str([*labels, f" {labels[-1]}"] if rng.random() < 0.3 else labels)
        (root / folder).mkdir(exist_ok=True)
        for place, view in enumerate(study.views):
            file = f"{number}_{digits[30 + 6 * place : 36 + 6 * place]}.png"
            Image.fromarray(view.pixels_HW.astype(np.uint16) * 257).save(root / folder / file, compress_level=1)
            about = {
                "ImageID": file,
                "ImageDir": folder,
                "StudyID": number,
                "PatientID": str(study.patient + 1),
                **known,
            }
            about["StudyDate_DICOM"] = str(20_100_101 + study.number % 28)
            about["Projection"] = "AP_horizontal" if view.view == "AP" and rng.random() < 0.5 else view.view
            rows.append({**about, "MethodLabel": method, "Labels": cell})
    pd.DataFrame(rows).to_csv(root / TABLE, index=False)


#: Counted in the table: images and patients without and with those labelled `EXCLUDE`, of all projections and of the
#: default ones, but for rows without labels and `UNREADABLE` files.
COUNTS = {
    ((), "leave_out"): (158_649, 66_983),
    ((), "keep"): (159_961, 67_377),
    (("PA", "AP", "AP_horizontal"), "leave_out"): (109_053, 66_613),
    (("PA", "AP", "AP_horizontal"), "keep"): (110_026, 67_005),
}


def expected(params: Params) -> dict[str, int]:
    """Counts of the table; of other projections nobody has counted."""
    found = COUNTS.get((params.views, params.excluded))
    return {"images": found[0], "patients": found[1]} if found else {}


DATASET = Dataset(
    label="PadChest",
    source="bimcv.cipf.es/bimcv-projects/padchest: the table and the image archives 0.zip to 54.zip",
    licence="research use agreement of BIMCV",
    impl=1,
    Params=Params,
    tasks={
        "findings14_exact": Task(label="PadChest, NIH's 14 classes, by equal labels", classes=CLASSES),
        "findings14_txv": Task(label="PadChest, NIH's 14 classes, as torchxrayvision", classes=CLASSES),
    },
    formats=lambda params: ("PNG",),
    index=index,
    source_task="findings14_exact",
    expected=expected,
    citation=(
        "Bustos et al., PadChest: A large chest x-ray image dataset with multi-label annotated reports, "
        "Medical Image Analysis 2020"
    ),
    quirks=(
        "27 % of the reports were labelled by physicians, the rest by a network (micro-F1 0.93): it is not tested on",
        "there is no official split: figures of different authors are on different test sets",
        "torchxrayvision looks for parts of texts: consolidation and air bronchogram make an infiltration, "
        "subcutaneous emphysema an emphysema, pericardial effusion an effusion; it keeps one image a patient",
        "labels form a tree: an image with a lobar atelectasis need not have the label atelectasis, and is no positive "
        "of it by equal labels",
        "labels are texts of lists, with blanks and repeats; 103 rows without labels and 777 with an empty one, "
        "which torchxrayvision takes as negative, are left out",
        "24 % of the images have physicians' labels",
        "one StudyID is that of two patients",
        "21 files are missing or broken in the distribution, as torchxrayvision lists them; they are left out",
        "PNG files of 16 bits",
        "reports are in Spanish, cut to word stems, and are not read",
        "an image labelled exclude is left out unless asked for",
    ),
    write_layout=write_layout,
)
