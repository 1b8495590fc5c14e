"""Indiana University chest X-rays of Open-I: the open source of studies with reports, labelled by its MeSH terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import pandas as pd
from PIL import Image
from pydantic import BaseModel, Field

from refers_bench import identity
from refers_bench.data.chexpert import FINDINGS_12, FINDINGS_14
from refers_bench.data.folders import files_by_name
from refers_bench.data.index import finished_index, patient_split
from refers_bench.data.official_tables import with_images
from refers_bench.data.openi_reports import Report, digest, illustrated, read_reports, with_first_images
from refers_bench.data.phantoms import radiographs, reported
from refers_bench.data.report_sections import FINDINGS, IMPRESSION, study_text, token_count
from refers_bench.machine import shared_out
from refers_bench.plugins import Dataset, RealReports, Task

#: Folders of the unpacked archives.
REPORTS, IMAGES = "ecgen-radiology", "NLMCXR_png"
SUFFIXES = {"png": (".png",), "dicom": (".dcm", ".dicom")}
FORMATS = {"png": ("PNG",), "dicom": ("DICOM",)}
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
    (root / REPORTS).mkdir()
    (root / IMAGES).mkdir()
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
            Image.fromarray(view.pixels_HW).save(root / IMAGES / f"{name}.png", compress_level=1)
        xml = _XML.format(
            uid=quoteattr(f"CXR{number}"),
            indication="XXXX-year-old, chest pain.",
            findings=escape(texts[FINDINGS]),
            impression=escape(texts[IMPRESSION]),
            mesh="".join(f"<major>{escape(term)}</major>" for term in terms),
            images="\n".join(f"   <parentImage id={quoteattr(name)}/>" for name in names),
        )
        (root / REPORTS / f"{number}.xml").write_text(xml, encoding="utf-8")


#: Reports that are worth the start of another process: drawing theirs takes some seconds.
_WORTH = 200


def _used(path: Path, params: radiographs.PhantomParams) -> tuple[list[Report], list[Report]]:
    """All reports at a place, and those that are written; all that have a text and an image where no number is set."""
    reports = read_reports(path)
    studies = params.studies if "studies" in params.model_fields_set else None
    return reports, illustrated(reports, studies=studies, seed=params.seed, path=path)


def read_real_reports(path: Path, params: radiographs.PhantomParams) -> dict[str, Any]:
    """Digest of the reports, and how many studies and images `write_real_reports` writes.

    Raises:
        DataError: see `read_reports`; more studies than there are reports to use.
    """
    reports, used = _used(path, params)
    images = sum(min(len(report.images), params.views) for report in used)
    return {"digest": digest(reports), "studies": len(used), "images": images}


def write_real_reports(root: Path, params: radiographs.PhantomParams, path: Path) -> None:
    """Write real reports, word for word, with a procedural radiograph for each image that they name.

    Of a report with more than ``params.views`` images the first ones are written, and named in its file.

    Raises:
        DataError: as `read_real_reports`.
    """
    (root / REPORTS).mkdir()
    (root / IMAGES).mkdir()
    shared_out(_write_studies, _used(path, params)[1], root, params, worth=_WORTH)


def _write_studies(reports: Sequence[Report], root: Path, params: radiographs.PhantomParams) -> list[int]:
    """Number of images of each study, written."""
    for report in reports:
        xml = with_first_images(report.xml, params.views)
        (root / REPORTS / report.path.name).write_bytes(xml)
        drawn = reported.views(params, report.uid, report.mesh)
        for name, view in zip(report.images[: params.views], drawn, strict=False):
            Image.fromarray(view.pixels_HW).save(root / IMAGES / f"{name}.png", compress_level=1)
    return [min(len(report.images), params.views) for report in reports]


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
    formats=lambda params: FORMATS[params.images],
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
    real_reports=RealReports(
        root="openi_reports", impl=reported.IMPL, read=read_real_reports, write_layout=write_real_reports
    ),
)
