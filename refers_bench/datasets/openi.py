"""Indiana University chest X-rays of Open-I: the open source of studies with reports, labelled by its MeSH terms."""

from __future__ import annotations

import tarfile
import xml.etree.ElementTree as ET  # trusted archive of a public library; expat limits entity expansion
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import pandas as pd
from PIL import Image
from pydantic import BaseModel, Field

from refers_bench import identity
from refers_bench.data.chexpert import FINDINGS_12, FINDINGS_14
from refers_bench.data.folders import files_below, files_by_name
from refers_bench.data.index import finished_index, patient_split
from refers_bench.data.official_tables import refuse, with_images
from refers_bench.data.phantoms import radiographs
from refers_bench.data.report_sections import FINDINGS, IMPRESSION, study_text, token_count
from refers_bench.errors import DataError, Problem
from refers_bench.plugins import Dataset, Task

ARCHIVE = "NLMCXR_reports.tgz"
SUFFIXES = {"png": (".png",), "dicom": (".dcm", ".dicom")}
SECTIONS = ("COMPARISON", "INDICATION", "FINDINGS", "IMPRESSION")
#: Finding -> MeSH headings that mean it, each with qualifiers of which one must follow (none: any will do).
MESH: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "Atelectasis": {"Pulmonary Atelectasis": ()},
    "Cardiomegaly": {"Cardiomegaly": (), "Cardiac Shadow": ("enlarged",)},
    "Consolidation": {"Consolidation": ()},
    "Edema": {"Pulmonary Edema": (), "Pulmonary Congestion": ()},
    "Enlarged Cardiomediastinum": {"Mediastinum": ("enlarged", "prominent")},
    "Fracture": {"Fractures, Bone": ()},
    "Lung Lesion": {"Nodule": (), "Mass": (), "Cavitation": ()},
    "Lung Opacity": {"Opacity": (), "Airspace Disease": (), "Infiltrate": (), "Density": ("lung",)},
    "No Finding": {"normal": ()},
    "Pleural Effusion": {"Pleural Effusion": (), "Hydropneumothorax": (), "Hemothorax": (), "Hemopneumothorax": ()},
    "Pleural Other": {"Thickening": ("pleura",), "Pleura": ()},
    "Pneumonia": {"Pneumonia": ()},
    "Pneumothorax": {"Pneumothorax": (), "Hydropneumothorax": (), "Hemopneumothorax": ()},
    "Support Devices": {
        "Catheters, Indwelling": (),
        "Implanted Medical Device": (),
        "Medical Device": (),
        "Tube, Inserted": (),
        "Stents": (),
    },
}
#: Headings that say nothing about findings: a report with no other has no labels.
UNINDEXED = ("No Indexing", "Technical Quality of Image Unsatisfactory")


class Params(BaseModel, extra="forbid", frozen=True):
    """Which images and texts, which labels, and where the splits come from."""

    images: Literal["png", "dicom"] = Field(default="png", description="which of the two image archives is read")
    labels: Literal["12", "14"] = Field(
        default="12", description="findings of label-supervised pre-training; 14 adds No Finding and Support Devices"
    )
    min_tokens: int = Field(default=1, ge=0, description="studies with fewer words are not used; 0 uses all")
    deidentified: Literal["remove", "keep"] = Field(
        default="remove", description="what becomes of XXXX, the mark of a removed word"
    )
    split_seed: int = Field(default=0, ge=0, description="of the 70/10/20 split; a report is a patient")
    missing: Literal["skip", "refuse"] = Field(default="refuse", description="images that are not there")


@dataclass(frozen=True, kw_only=True)
class Report:
    """One XML file.

    Attributes:
        uid: of the report ("CXR1"), which stands for its patient, too.
        sections: "findings", "impression", "comparison", "indication" -> text, stripped; '' for none.
        mesh: MeSH terms given by people ("Opacity/lung/base/left").
        images: ids of its images.
        path: the file.
    """

    uid: str
    sections: Mapping[str, str]
    mesh: tuple[str, ...]
    images: tuple[str, ...]
    path: Path


def parsed(xml: bytes, *, path: Path) -> Report:
    """A report from its XML.

    Raises:
        DataError: not XML, or no report id.
    """
    try:
        root = ET.fromstring(xml)
    except ET.ParseError as error:
        line, column = error.position
        allowed = "an Open-I report as downloaded"
        raise DataError(
            Problem(found=f"not XML ({error})", allowed=allowed, path=path, line=line, column=column + 1)
        ) from error
    uid = root.find("uId")
    if uid is None or not uid.get("id"):
        raise DataError("no uId", allowed='<uId id="CXR..."/>, as in Open-I reports', path=path)
    texts = {part.get("Label", ""): "".join(part.itertext()).strip() for part in root.iter("AbstractText")}
    return Report(
        uid=str(uid.get("id")),
        sections={name.lower(): texts.get(name, "") for name in SECTIONS},
        mesh=tuple((term.text or "").strip() for term in root.findall("./MeSH/major")),
        images=tuple(image.get("id", "") for image in root.findall("./parentImage")),
        path=path,
    )


def read_reports(root: Path) -> list[Report]:
    """All reports below a folder, unpacked, or in the archive of reports; in the order of their numbers.

    Raises:
        DataError: no report, a malformed one, or an id or image in two of them.
    """
    reports = [parsed(path.read_bytes(), path=path) for path in files_below(root, (".xml",))]
    if not reports and (root / ARCHIVE).is_file():
        reports = list(_archived(root / ARCHIVE))
    if not reports:
        allowed = f"the XML reports of {ARCHIVE}, unpacked or not"
        raise DataError("no report here", allowed=allowed, path=root)
    problems, places = [], dict[str, Path]()
    for report in reports:
        for name in (report.uid, *report.images):
            if name in places:
                found = f"'{name}' is in {places[name]}, too"
                problems.append(Problem(found=found, allowed="each report and image once", path=report.path))
            places[name] = report.path
    refuse(problems)
    return sorted(reports, key=lambda report: (len(report.uid), report.uid))


def _archived(archive: Path) -> Iterator[Report]:
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                stream = tar.extractfile(member) if member.name.endswith(".xml") else None
                if stream is not None:
                    yield parsed(stream.read(), path=archive / member.name)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DataError(f"a damaged archive ({error})", allowed="a whole .tgz", path=archive) from error


def image_files(root: Path, *, kind: str) -> dict[str, str]:
    """Image id -> path relative to `root`; DICOM files leave the id's ``CXR`` out.

    Raises:
        DataError: an image in two folders.
    """
    return files_by_name(root, SUFFIXES[kind], name=lambda stem: stem if stem.startswith("CXR") else f"CXR{stem}")


def mesh_labels(mesh: tuple[str, ...]) -> dict[str, int | None]:
    """Finding -> 1 or 0, or None throughout when nobody has indexed the report.

    Example:
        >>> labels = mesh_labels(("Opacity/lung/base/left", "Cardiac Shadow/borderline"))
        >>> labels["Lung Opacity"], labels["Cardiomegaly"], mesh_labels(("No Indexing",))["Edema"]
        (1, 0, None)
    """
    terms = [tuple(part.strip() for part in term.split("/")) for term in mesh]
    if all(heading in UNINDEXED or not heading for heading, *_ in terms):
        return dict.fromkeys(FINDINGS_14)

    def has(headings: Mapping[str, tuple[str, ...]]) -> bool:
        return any(
            heading in headings and (not headings[heading] or bool(set(headings[heading]) & set(qualifiers)))
            for heading, *qualifiers in terms
        )

    return {name: int(has(MESH[name])) for name in FINDINGS_14}


def index(root: Path, params: Params, lists: Mapping[str, Path]) -> pd.DataFrame:
    """One row per image that a report names; studies without text are not used.

    Raises:
        DataError: see `read_reports` and `refers_bench.data.index.finished_index`; with ``missing: refuse``, an image
            that is not there.
    """
    rows = []
    for report in read_reports(root):
        text = study_text(dict(report.sections), deidentified=params.deidentified)
        labels = mesh_labels(report.mesh)
        study = {
            "patient_id": report.uid,
            "study_id": report.uid,
            "view": "",
            "report": text or None,
            "used": token_count(text) >= params.min_tokens,
            "table": report.path,
            **{f"mesh12:{name}": labels[name] for name in FINDINGS_12},
            **{f"mesh14:{name}": labels[name] for name in FINDINGS_14},
        }
        rows += [{"image_id": image, **study} for image in report.images]
    frame = pd.DataFrame(rows, columns=list(rows[0]) if rows else ["image_id", "table"])
    frame = with_images(frame, image_files(root, kind=params.images), root=root, missing=params.missing)
    if not frame.empty:
        split = patient_split(frame["patient_id"], dataset="openi", seed=params.split_seed)
        frame["split"] = split.where(frame["used"], "")
    return finished_index(frame, root=root, table=root)


#: What a phantom's findings are called by those who index reports.
_PHANTOM_MESH = {
    "Cardiomegaly": "Cardiomegaly",
    "Effusion": "Pleural Effusion/{side}",
    "Nodule": "Nodule/lung/{side}",
    "Consolidation": "Consolidation/lung/{side}",
    "Pneumothorax": "Pneumothorax/apex/{side}",
    "Interstitial": "Pulmonary Edema/interstitial",
}
_XML = """<?xml version="1.0" encoding="utf-8"?>
<eCitation>
   <meta type="rr"/>
   <uId id={uid}/>
   <MedlineCitation Owner="phantom"><Article><Abstract>
      <AbstractText Label="COMPARISON">None.</AbstractText>
      <AbstractText Label="INDICATION">{indication}</AbstractText>
      <AbstractText Label="FINDINGS">{findings}</AbstractText>
      <AbstractText Label="IMPRESSION">{impression}</AbstractText>
   </Abstract></Article></MedlineCitation>
   <MeSH>{mesh}</MeSH>
{images}
</eCitation>
"""


def write_layout(root: Path, params: radiographs.PhantomParams) -> None:
    """Write procedural studies as ``ecgen-radiology/*.xml`` and PNG files; some reports lack a section, or all text."""
    (root / "ecgen-radiology").mkdir()
    (root / "NLMCXR_png").mkdir()
    for study in radiographs.studies(params):
        number = study.number + 1
        rng = np.random.default_rng(identity.seed("openi phantom", params.seed, study.number))
        findings, _, impression = study.report.partition(" Impression: ")
        kind = rng.choice(["both", "impression", "findings", "none"], p=[0.85, 0.12, 0.02, 0.01])
        texts = {FINDINGS: f"{findings} Compared to XXXX." if rng.random() < 0.3 else findings, IMPRESSION: impression}
        texts = {name: text if kind in ("both", name) else "" for name, text in texts.items()}
        terms = [_PHANTOM_MESH[item.finding].format(side=item.side) for item in study.lesions] or ["normal"]
        names = [f"CXR{number}_1_IM-{number:04d}-{1001 * (view + 1)}" for view in range(len(study.views))]
        for name, view in zip(names, study.views, strict=True):
            Image.fromarray(view.pixels_HW).save(root / "NLMCXR_png" / f"{name}.png", compress_level=1)
        xml = _XML.format(
            uid=quoteattr(f"CXR{number}"),
            indication="XXXX-year-old, chest pain.",
            findings=escape(texts[FINDINGS]),
            impression=escape(texts[IMPRESSION]),
            mesh="".join(f"<major>{escape(term)}</major>" for term in terms),
            images="\n".join(f"   <parentImage id={quoteattr(name)}/>" for name in names),
        )
        (root / "ecgen-radiology" / f"{number}.xml").write_text(xml, encoding="utf-8")


DATASET = Dataset(
    label="Indiana University chest X-rays (Open-I)",
    source="openi.nlm.nih.gov: NLMCXR_reports.tgz with NLMCXR_png.tgz or NLMCXR_dcm.tgz",
    licence="CC BY-NC-ND 4.0, as each report states",
    impl=1,
    Params=Params,
    tasks={
        "mesh12": Task(label="Findings from MeSH", classes=FINDINGS_12),
        "mesh14": Task(label="Findings from MeSH, with No Finding and Support Devices", classes=FINDINGS_14),
    },
    index=index,
    source_task=lambda params: f"mesh{params.labels}",
    has_reports=True,
    expected={"images": 7_470, "studies": 3_851, "studies with text": 3_826},
    citation=(
        "Demner-Fushman et al., Preparing a collection of radiology examinations for distribution and retrieval, "
        "J Am Med Inform Assoc 2016"
    ),
    quirks=(
        "3,955 reports: 3,419 with findings and impression, 502 impression only, 6 findings only, 28 without text",
        "104 reports have no image",
        "about 1/57 of the studies of MIMIC-CXR: a method check at reduced scale, not a reproduction",
        "one report per patient, no official split: seeded, by report",
        "anonymised words are XXXX (2.5 % of all words), also inside others (x-XXXX)",
        "labels are MeSH terms given by people to positive findings; what is not indexed counts as negative",
        "95 reports are not indexed and have no labels",
        "the view is not stated; that of the DICOM headers is noisy, so none is given",
        "3,582 of the 7,467 DICOM files are MONOCHROME1; the PNG files are rendered already",
    ),
    write_layout=write_layout,
)
