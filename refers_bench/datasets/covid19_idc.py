"""COVID-19 Image Data Collection (Cohen et al.): both tasks of the paper, and a small source of images and text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from PIL import Image
from pydantic import BaseModel, Field, model_validator

from refers_bench import identity
from refers_bench.data.index import finished_index, leave_out, patient_split, read_table
from refers_bench.data.metadata import Columns, ages, numbers, picture_sizes, sites, table_metadata, texts
from refers_bench.data.official_tables import refuse
from refers_bench.data.phantoms import radiographs
from refers_bench.data.split_packs import read_pack
from refers_bench.errors import DataError, Problem, unknown
from refers_bench.files import plain_file
from refers_bench.manifest import packs
from refers_bench.plugins import Dataset, Task

TABLE = "metadata.csv"
#: Class of the `findings` task -> its findings, in either spelling and without the path, separated by semicolons.
FINDINGS: Mapping[str, str] = {
    "COVID-19": "COVID-19; COVID-19, ARDS",
    "Other viral": "SARS; MERS-CoV; Influenza; Influenza/H1N1; Varicella; Herpes",
    "Bacterial": "Streptococcus; Klebsiella; E.Coli; Legionella; Mycoplasma; Chlamydophila; Nocardia; Staphylococcus; "
    "Staphylococcus/MRSA; Bacterial; Mycoplasma Bacterial Pneumonia",
    "Fungal": "Pneumocystis; Aspergillosis; Aspergillosis/H1N1",
    "Other disease": "Lipoid; Aspiration; Pneumonia; ARDS; Tuberculosis",
    "No finding": "No Finding",
}
CLASSES = tuple(FINDINGS)
GROUPS = {finding: name for name, findings in FINDINGS.items() for finding in findings.split("; ")}
#: What became of the patient is no metadata of an image.
METADATA: Columns = {
    "about:age": (("age",), ages),
    "about:sex": (("sex",), texts),
    "about:offset": (("offset",), numbers),
    "about:modality": (("modality",), texts),
    "about:location": (("location",), texts),
    "about:site": (("url",), sites),
}
#: Tasks that lists may give the labels of.
TWO_CLASSES = ("covid19_vs_other", "viral_vs_bacterial")
#: Images of the released lists.
EXPECTED = {"listed train images": 664, "listed val images": 93, "listed test images": 172}
#: Rows nobody has labelled.
UNLABELLED = ("todo", "Unknown", "")
_PREFIXES = ("Pneumonia/Viral/", "Pneumonia/Bacterial/", "Pneumonia/Fungal/", "Pneumonia/")


class Params(BaseModel, extra="forbid", frozen=True):
    """What counts as an image, and where the splits come from."""

    modalities: tuple[Literal["X-ray", "CT"], ...] = Field(
        default=("CT", "X-ray"), min_length=1, description="the released lists hold CT slices, too"
    )
    views: tuple[str, ...] = Field(
        default=(), description="projections kept, such as PA, AP, 'AP Supine'; empty for all"
    )
    lists: packs.Lists = Field(
        default="",
        description="data root with train.txt, val.txt, test.txt, or {pack: NAME} of published lists; '' for a seeded "
        "split",
    )
    split_seed: int = Field(default=0, ge=0, description="of the patient-wise 70/10/20 split, without lists")
    # Both are part of every key of this dataset, so they stay, at their defaults.
    folds: int = Field(default=0, description="0; folds are a field of the target, for any dataset")
    fold: int = Field(default=0, description="0; as `folds`")
    missing: Literal["skip", "refuse"] = Field(default="skip", description="rows whose image file is not there")

    @model_validator(mode="after")
    def _no_folds(self) -> Params:
        if self.folds or self.fold:
            raise ValueError("folds are a field of the target ('folds: 5'), not of this dataset's parameters")
        packs.fitting(self.lists, "files")
        return self


def group_of(finding: str) -> str | None:
    """Class of a finding in the mid-2020 or the final spelling; None when unlabelled.

    Raises:
        KeyError: unknown finding.

    Example:
        >>> group_of("Pneumonia/Viral/COVID-19"), group_of("Streptococcus"), group_of("todo")
        ('COVID-19', 'Bacterial', None)
    """
    finding = finding.strip()
    if finding in UNLABELLED:
        return None
    prefix = next((prefix for prefix in _PREFIXES if finding.startswith(prefix)), "")
    return GROUPS[finding.removeprefix(prefix)]


def read_lists(folder: Path) -> pd.DataFrame:
    """The released lists: ``name a b`` a line, ``0 1`` for COVID-19; columns name, split, listed (0 or 1).

    Raises:
        DataError: a missing file, a malformed line, or a name in two places.
    """
    rows, problems, seen = [], [], dict[str, str]()
    for split in ("train", "val", "test"):
        path = folder / f"{split}.txt"
        if not path.is_file():
            raise DataError("missing list", allowed="train.txt, val.txt and test.txt", path=path)
        for number, line in enumerate(plain_file(path).read_text(encoding="utf-8").splitlines(), start=1):
            parts = line.split()
            if len(parts) != 3 or parts[1:] not in (["0", "1"], ["1", "0"]):
                allowed = "'name 0 1' (COVID-19) or 'name 1 0'"
                problems.append(Problem(found=f"'{line.strip()}'", allowed=allowed, path=path, line=number))
                continue
            if parts[0] in seen:
                found = f"'{parts[0]}' is in {seen[parts[0]]}, too"
                problems.append(Problem(found=found, allowed="each image once", path=path, line=number))
            seen[parts[0]] = path.name
            rows.append({"name": parts[0], "split": split, "listed": int(parts[2])})
    refuse(problems)
    return pd.DataFrame(rows, columns=["name", "split", "listed"])


def read_packed(lists: packs.Pack, roots: Mapping[str, Path]) -> pd.DataFrame:
    """Published lists, ``name label`` a line; columns name, split, listed (0 or 1).

    Raises:
        DataError: see `refers_bench.data.split_packs.read_pack`.
    """
    frame = read_pack(lists, roots).reset_index(drop=True)
    return frame[["name", "split"]].assign(listed=[int(labels[0]) for labels in frame["labels"]])


def _labelled(frame: pd.DataFrame, table: Path) -> pd.DataFrame:
    problems: list[Problem] = []
    groups: list[str | None] = []
    for line, finding in zip(frame["line"], frame["finding"], strict=True):
        try:
            groups.append(group_of(finding))
        except KeyError:
            known = {*GROUPS, *UNLABELLED} - {""}
            problems.append(unknown("finding", finding, known, path=table, line=line))
    refuse(problems)
    return frame.assign(group=pd.Series(groups, index=frame.index, dtype=object))


def index(root: Path, params: Params, lists: Mapping[str, Path]) -> pd.DataFrame:
    """Rows of ``metadata.csv`` (and of the lists) whose image is on disk.

    A study is a patient's examination on one day (`patientid`, `offset`); its report is the `clinical_notes` of its
    rows. With lists, their labels hold for COVID-19 against other, and images that the metadata does not know stay,
    without report and finding, each as its own patient.

    Raises:
        DataError: see `refers_bench.data.index.finished_index`; an unknown finding; a malformed list.
    """
    table = root / TABLE
    frame = read_table(
        table, required=("patientid", "offset", "finding", "view", "modality", "folder", "filename", "clinical_notes")
    )
    frame["line"] = np.arange(2, len(frame) + 2)
    frame = _labelled(frame[frame["folder"] == "images"], table)
    frame = frame[frame["modality"].isin(params.modalities)]
    if params.views:
        frame = frame[frame["view"].isin(params.views)]
    if params.lists:
        named = params.lists
        listed = read_packed(named, lists) if isinstance(named, packs.Pack) else read_lists(lists[named])
        beside = ~listed["name"].isin(read_table(table, required=("filename",))["filename"])
        both = frame.merge(listed, left_on="filename", right_on="name", how="left")
        names = listed.loc[beside, "name"]
        extra = listed[beside].assign(
            filename=names, patientid=names, offset="", view="", clinical_notes="", group=None
        )
        frame = pd.concat([both, extra], ignore_index=True)
        frame["split"] = frame["split"].fillna("")
    else:
        split = patient_split(frame["patientid"], dataset="covid19_idc", seed=params.split_seed)
        frame = frame.assign(listed=np.nan, split=split)
    present = {path.name for path in (root / "images").iterdir()} if (root / "images").is_dir() else set[str]()
    if params.missing == "skip":
        # A name that is a path is kept: the check of the index refuses it by name.
        there = np.array([name in present or "/" in name for name in frame["filename"]], dtype=bool)
        leave_out(_without_file(frame[~there], root=root, table=table), refuse=False)
        frame = frame[there]
    found = _columns(frame, listed_task(params.lists)).join(table_metadata(frame, METADATA)).reset_index(drop=True)
    endings = found["path"].str.lower().str.extract(r"\.([a-z0-9]+)$")[0].replace("jpeg", "jpg")
    found = found.assign(**{"about:file_type": endings}).join(picture_sizes(found["path"].tolist(), root))
    return finished_index(found, root=root, table=table, spread=packs.accepted(params.lists))


def listed_task(lists: str | packs.Pack) -> str:
    """The task whose labels lists give."""
    viral = isinstance(lists, packs.Pack) and lists.pack.startswith("covid19-mrm/viral")
    return "viral_vs_bacterial" if viral else "covid19_vs_other"


def _without_file(frame: pd.DataFrame, *, root: Path, table: Path) -> Iterator[Problem]:
    """Rows whose image is not there: of the metadata, or (without a line) of the lists alone."""
    for name, line in zip(frame["filename"], frame["line"], strict=True):
        found = f"image '{name}' is not in {root / 'images'}"
        yield Problem(found=found, path=table, line=None if pd.isna(line) else int(line))


def _columns(frame: pd.DataFrame, listed: str) -> pd.DataFrame:
    """Columns of the index; `listed` is the task whose labels the lists give."""
    group = frame["group"]
    none = pd.Series(np.nan, index=frame.index)
    given = {task: frame["listed"].astype(float) if task == listed else none for task in TWO_CLASSES}
    findings = {name: (group == name).astype(float).where(group.notna()) for name in CLASSES}
    viral = group.map({"COVID-19": 1.0, "Other viral": 1.0, "Bacterial": 0.0})
    columns = {
        "image_id": frame["filename"],
        "path": "images/" + frame["filename"],
        "patient_id": frame["patientid"].astype(str),
        "study_id": frame["patientid"].astype(str) + "@" + frame["offset"].astype(str),
        "view": frame["view"],
        "split": frame["split"],
        "report": frame["clinical_notes"].str.strip().replace("", None),
        "covid19_vs_other:COVID-19": given["covid19_vs_other"].fillna(findings["COVID-19"]),
        "viral_vs_bacterial:Viral": given["viral_vs_bacterial"].fillna(viral.astype(float)),
        **{f"findings:{name}": values for name, values in findings.items()},
    }
    # A study's text is the first one its rows carry.
    out = pd.DataFrame(columns)
    out["report"] = out.groupby("study_id")["report"].transform("first")
    return out


#: What a phantom study of this layout has, by class: procedural findings.
PHANTOM_FINDINGS: Mapping[str, frozenset[str]] = {
    "COVID-19": frozenset({"Interstitial"}),
    "Other viral": frozenset({"Interstitial", "Cardiomegaly"}),
    "Bacterial": frozenset({"Consolidation"}),
    "Fungal": frozenset({"Nodule"}),
    "Other disease": frozenset({"Effusion"}),
    "No finding": frozenset(),
}
_SPELLING = {
    "COVID-19": "Pneumonia/Viral/COVID-19",
    "Other viral": "Pneumonia/Viral/SARS",
    "Bacterial": "Pneumonia/Bacterial/Streptococcus",
    "Fungal": "Pneumonia/Fungal/Pneumocystis",
    "Other disease": "Pneumonia/Lipoid",
    "No finding": "No Finding",
}
_SHARES = (0.35, 0.15, 0.25, 0.05, 0.1, 0.1)


def write_layout(root: Path, params: radiographs.PhantomParams) -> None:
    """Write procedural studies as ``metadata.csv`` (final spelling) and ``images/``, PNG and JPEG."""
    (root / "images").mkdir()
    rows = []
    for number in range(params.studies):
        rng = np.random.default_rng(identity.seed("covid19_idc phantom", params.seed, number))
        about = np.random.default_rng(identity.seed("covid19_idc phantom, about", params.seed, number))
        person = {"sex": "MF"[int(about.integers(2))], "age": int(about.integers(18, 90))}
        place = f"https://www.site{about.integers(4)}.example/{number}"
        name = str(rng.choice(CLASSES, p=_SHARES))
        study = radiographs.study(params, number, findings=PHANTOM_FINDINGS[name])
        for view_number, view in enumerate(study.views):
            file = f"phantom-{number:05d}-{view_number}.{'jpg' if number % 3 == 0 else 'png'}"
            Image.fromarray(view.pixels_HW).save(root / "images" / file)
            rows.append(
                {
                    "patientid": str(study.patient),
                    "offset": str(number - study.patient),
                    **person,
                    "finding": _SPELLING[name],
                    "view": view.view,
                    "modality": "X-ray",
                    "folder": "images",
                    "filename": file,
                    "url": place,
                    "clinical_notes": study.report,
                }
            )
    pd.DataFrame(rows).to_csv(root / TABLE, index=False)


DATASET = Dataset(
    label="COVID-19 Image Data Collection",
    source="github.com/ieee8023/covid-chestxray-dataset",
    licence="per image, in the metadata's license column",
    impl=1,
    Params=Params,
    tasks={
        "covid19_vs_other": Task(label="COVID-19 vs other", classes=("COVID-19",), published="covid-t1"),
        "viral_vs_bacterial": Task(label="Viral vs bacterial", classes=("Viral",), published="covid-t2"),
        "findings": Task(label="Findings", classes=CLASSES),
    },
    formats=lambda params: ("PNG", "JPEG"),
    index=index,
    lists=lambda params: params.lists,
    source_task="findings",
    has_reports=True,
    expected=lambda params: packs.expected(params.lists) or EXPECTED,
    notes=lambda params: packs.notes(params.lists),
    citation="Cohen et al., COVID-19 Image Data Collection: Prospective Predictions Are the Future, 2020",
    quirks=(
        "the released lists hold CT slices and lateral views",
        "the lists are contiguous blocks of the metadata, so the share of COVID-19 differs between splits",
        "viral against bacterial has no released list; it is built from the findings (reconstructed), or read from the "
        "lists covid19-mrm/viral1 to viral5",
        "images come from many sources: strong confounding; the owners warn against performance claims",
    ),
    write_layout=write_layout,
)
