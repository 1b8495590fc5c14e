"""Writes procedural studies in the layout of MIMIC-CXR-JPG: folders, tables, reports with headers."""

from __future__ import annotations

import hashlib
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from refers_bench import identity
from refers_bench.data.chexpert import BLANK, FINDINGS_14, NEGATIVE, POSITIVE, UNCERTAIN
from refers_bench.data.phantoms import radiographs

#: Procedural finding -> labels of a report that mentions it.
LABELS = {
    "Cardiomegaly": ("Cardiomegaly",),
    "Effusion": ("Pleural Effusion",),
    "Nodule": ("Lung Lesion",),
    "Consolidation": ("Consolidation", "Lung Opacity"),
    "Pneumothorax": ("Pneumothorax",),
    "Interstitial": ("Edema",),
}
#: Kinds of reports and their shares, named after the sections that hold the text.
KINDS = {"both": 0.62, "impression": 0.15, "findings": 0.1, "last_paragraph": 0.07, "addendum": 0.04, "nothing": 0.02}
_VIEW_CODES = {"L": "lateral", "PA": "postero-anterior", "AP": "antero-posterior"}
SPLITS = {"train": "train", "val": "validate", "test": "test"}
_RULE = " ______________________________________________________________________________"


def ids(study: radiographs.PhantomStudy) -> tuple[str, str]:
    """Eight-digit subject and study id."""
    return str(10_000_001 + study.patient), str(50_000_001 + study.number)


def dicom_id(study: str, number: int) -> str:
    """Five groups of eight hexadecimal digits."""
    digits = hashlib.sha256(f"{study}/{number}".encode()).hexdigest()
    return "-".join(digits[start : start + 8] for start in range(0, 40, 8))


def _examination(study: radiographs.PhantomStudy) -> str:
    return "CHEST (PA AND LAT)" if len(study.views) > 1 else "CHEST (PORTABLE AP)"


def report(study: radiographs.PhantomStudy, *, kind: str) -> str:
    """A report file: lines of at most 79 characters, each body line after one space."""
    findings, _, impression = study.report.partition(" Impression: ")
    blocks = [
        f"EXAMINATION:  {_examination(study)}",
        "INDICATION:  ___-year-old with cough.  Referred by Dr. ___.",
        "COMPARISON:  ___.",
    ]
    if kind in ("both", "findings", "addendum"):
        blocks.append(f"FINDINGS:\n\n{findings}")
    if kind in ("both", "impression", "addendum"):
        blocks.append(f"IMPRESSION:\n\n{impression}")
    if kind == "last_paragraph":
        blocks.append(findings)
    if kind == "nothing":
        blocks.append("IMPRESSION:  ___.")
    top = ["                                 FINAL REPORT"]
    if kind == "addendum":
        top = ["                                 ADDENDUM", " The report was read by ___.", _RULE, *top]
    return "\n".join([*top, "\n \n".join(_wrapped(block) for block in blocks), ""])


def _wrapped(block: str) -> str:
    lines = (line for part in block.split("\n") for line in textwrap.wrap(part, width=78) or [""])
    return "\n".join(f" {line}" for line in lines)


def label_row(study: radiographs.PhantomStudy, *, rng: np.random.Generator) -> dict[str, str]:
    """What a labeller would write: positive, sometimes uncertain; negative where the report denies it; else blank."""
    row = dict.fromkeys(FINDINGS_14, BLANK)
    for name, names in LABELS.items():
        doubt = rng.random() < 0.12
        if name in study.findings:
            row |= dict.fromkeys(names, UNCERTAIN if doubt else POSITIVE)
        elif any(sentence in study.report for sentence in radiographs.NORMAL[name]):
            row[names[0]] = UNCERTAIN if doubt and rng.random() < 0.3 else NEGATIVE
    if not {POSITIVE, UNCERTAIN} & set(row.values()):
        row["No Finding"] = POSITIVE
    return row


def write_layout(root: Path, params: radiographs.PhantomParams) -> None:
    """Write procedural studies as ``files/pXX/pNNNNNNNN/sNNNNNNNN/*.jpg`` with reports and the four gzipped tables.

    Kinds of reports follow `KINDS`; studies whose report has nothing to read are not in the labellers' tables.
    """
    images, metadata, chexpert, negbio = [], [], [], []
    for study in radiographs.studies(params):
        rng = np.random.default_rng(identity.seed("mimic phantom", params.seed, study.number))
        kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
        subject, number = ids(study)
        keys = {"subject_id": subject, "study_id": number}
        folder = root / "files" / f"p{subject[:2]}" / f"p{subject}" / f"s{number}"
        folder.mkdir(parents=True)
        folder.with_suffix(".txt").write_text(report(study, kind=kind), encoding="utf-8")
        for place, view in enumerate(study.views):
            image = dicom_id(number, place)
            Image.fromarray(view.pixels_HW).save(folder / f"{image}.jpg", quality=95)
            images.append({"dicom_id": image, "study_id": number, "subject_id": subject, "split": SPLITS[study.split]})
            metadata.append({"dicom_id": image, **keys, **_metadata(view, study, rng=rng)})
        if kind != "nothing":
            chexpert.append({**keys, **label_row(study, rng=rng)})
            negbio.append({**keys, **label_row(study, rng=rng)})
    tables = {"split": images, "metadata": metadata, "chexpert": chexpert, "negbio": negbio}
    for name, rows in tables.items():
        path = root / f"mimic-cxr-2.0.0-{name}.csv.gz"
        # Without a time stamp, so that the same phantoms are the same bytes.
        pd.DataFrame(rows).to_csv(path, index=False, compression={"method": "gzip", "mtime": 0})


def _metadata(
    view: radiographs.PhantomView, study: radiographs.PhantomStudy, *, rng: np.random.Generator
) -> dict[str, str]:
    side = str(len(view.pixels_HW))
    return {
        "PerformedProcedureStepDescription": _examination(study),
        "ViewPosition": str(rng.choice(["LATERAL", "LL"])) if view.view == "L" else view.view,
        "Rows": side,
        "Columns": side,
        "StudyDate": str(21_800_101 + study.number % 28),
        "StudyTime": f"{study.number % 24:02d}1500.000",
        "ProcedureCodeSequence_CodeMeaning": "CHEST (PA AND LAT)",
        "ViewCodeSequence_CodeMeaning": _VIEW_CODES[view.view],
        "PatientOrientationCodeSequence_CodeMeaning": "Erect",
    }
