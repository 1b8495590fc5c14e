"""Does the reader give the real collection's studies and texts, and name what is wrong with a folder?"""

from __future__ import annotations

import re
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from refers_bench.data.chexpert import FINDINGS_12, FINDINGS_14
from refers_bench.data.decode import decode
from refers_bench.data.openi_reports import ARCHIVE, Report, read_reports
from refers_bench.data.phantoms.radiographs import PhantomParams, studies
from refers_bench.data.report_sections import study_text
from refers_bench.datasets.openi import (
    DATASET,
    Params,
    image_files,
    index,
    mesh_labels,
    read_real_reports,
    write_layout,
    write_real_reports,
)
from refers_bench.errors import DataError


@pytest.fixture(scope="module")
def real_root(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive of reports as downloaded, with an empty file for each image that a report names."""
    root = tmp_path_factory.mktemp("openi")
    (root / ARCHIVE).symlink_to(real_data / "labels" / ARCHIVE)
    for report in read_reports(root):
        for image in report.images:
            (root / f"{image}.png").touch()
    return root


@pytest.fixture(scope="module")
def real(real_root: Path) -> list[Report]:
    return read_reports(real_root)


def test_all_real_reports_have_the_documented_sections(real: list[Report]) -> None:
    texts = Counter((bool(report.sections["findings"]), bool(report.sections["impression"])) for report in real)
    assert len(real) == 3_955
    assert texts == {(True, True): 3_419, (False, True): 502, (True, False): 6, (False, False): 28}


def test_images_of_the_real_reports(real: list[Report]) -> None:
    images = Counter(len(report.images) for report in real)
    assert images == {0: 104, 1: 446, 2: 3_208, 3: 181, 4: 15, 5: 1}
    usable = [report for report in real if report.images and study_text(dict(report.sections))]
    assert len(usable) == 3_826
    assert sum(len(report.images) >= 2 for report in usable) == 3_391
    assert sum(bool(report.sections["findings"] and report.sections["impression"]) for report in usable) == 3_331


def test_the_index_of_the_real_reports(real_root: Path) -> None:
    frame = index(real_root, Params(), {})
    expected = DATASET.expected_of(Params())
    assert frame["study_id"].nunique() == expected["studies"]
    assert len(frame) == expected["images"] == frame["image_id"].nunique()
    used = frame[frame["split"] != ""]
    assert used["study_id"].nunique() == expected["studies with text"] == 3_826
    assert used["report"].notna().all()
    assert frame[frame["split"] == ""]["report"].isna().all()
    assert not used["report"].str.contains("XXXX", na=False).any()
    shares = used.groupby("study_id")["split"].first().value_counts(normalize=True)
    assert shares.to_dict() == pytest.approx({"train": 0.7, "test": 0.2, "val": 0.1}, abs=0.005)


def test_unpacked_reports_equal_the_archived_ones(real_root: Path, real: list[Report], tmp_path: Path) -> None:
    with tarfile.open(real_root / ARCHIVE) as archive:
        for number in (1, 2, 3, 1000):
            archive.extract(f"ecgen-radiology/{number}.xml", tmp_path, filter="data")
    unpacked = {report.uid: report for report in read_reports(tmp_path)}
    assert sorted(unpacked) == ["CXR1", "CXR1000", "CXR2", "CXR3"]
    for report in real:
        if report.uid in unpacked:
            assert unpacked[report.uid].sections == report.sections
            assert (unpacked[report.uid].mesh, unpacked[report.uid].images) == (report.mesh, report.images)


def test_labels_of_the_real_reports(real: list[Report]) -> None:
    labels = pd.DataFrame([mesh_labels(report.mesh) for report in real])
    assert tuple(labels.columns) == FINDINGS_14
    assert labels.isna().all(axis=1).sum() == labels.isna().any(axis=1).sum() == 101
    positives = labels.sum().to_dict()
    assert positives["No Finding"] == 1_391
    assert positives["Atelectasis"] == 332
    assert positives["Cardiomegaly"] >= 375
    assert min(positives.values()) >= 20
    # A report coded as normal has no finding but, at most, a device.
    normal = labels[labels["No Finding"] == 1]
    assert (normal[list(FINDINGS_12)].sum(axis=1) == 0).mean() > 0.99


@pytest.mark.parametrize(
    ("mesh", "positive"),
    [
        (("normal",), {"No Finding"}),
        (("Opacity/lung/base/left", "Cardiomegaly/mild"), {"Lung Opacity", "Cardiomegaly"}),
        (("Cardiac Shadow/enlarged/mild",), {"Cardiomegaly"}),
        (("Cardiac Shadow/borderline",), set()),
        (("Density/lung/lingula",), {"Lung Opacity"}),
        (("Density/mediastinum",), set()),
        (("Thickening/pleura/apex/left",), {"Pleural Other"}),
        (("Thickening/bronchi",), set()),
        (("Hydropneumothorax/left",), {"Pleural Effusion", "Pneumothorax"}),
        (("Catheters, Indwelling/right", "No Indexing"), {"Support Devices"}),
        (("Technical Quality of Image Unsatisfactory ",), None),
        (("No Indexing",), None),
        ((), None),
    ],
)
def test_mesh(mesh: tuple[str, ...], positive: set[str] | None) -> None:
    labels = mesh_labels(mesh)
    if positive is None:
        assert set(labels.values()) == {None}
    else:
        assert {name for name, value in labels.items() if value} == positive
        assert all(value in (0, 1) for value in labels.values())


PHANTOM = PhantomParams(studies=60, size=32, views=3, seed=6)  # one study has no text


@pytest.fixture
def phantom(tmp_path: Path) -> Path:
    root = tmp_path / "openi"
    root.mkdir()
    write_layout(root, PHANTOM)
    return root


def test_phantoms_come_back(phantom: Path) -> None:
    drawn = {f"CXR{study.number + 1}": study for study in studies(PHANTOM)}
    frame = index(phantom, Params(min_tokens=0), {})
    assert len(frame) == sum(len(study.views) for study in drawn.values())
    for uid, rows in frame.groupby("study_id"):
        study = drawn[str(uid)]
        assert len(rows) == len(study.views)
        assert (decode(phantom / rows["path"].iloc[0]) == study.views[0].pixels_HW).all()
        assert (rows["mesh14:Cardiomegaly"] == int("Cardiomegaly" in study.findings)).all()
        assert (rows["mesh14:No Finding"] == int(not study.findings)).all()
        assert rows["report"].nunique(dropna=False) == 1
    without = {
        report.uid
        for report in read_reports(phantom)
        if not any(report.sections[k] for k in ("findings", "impression"))
    }
    assert without
    assert set(frame.loc[frame["report"].isna(), "study_id"]) == without


def test_parameters(phantom: Path) -> None:
    whole = index(phantom, Params(min_tokens=0), {})
    long = index(phantom, Params(min_tokens=25), {})
    assert 0 < (long["split"] != "").sum() < (whole["split"] != "").sum() == len(long) == len(whole)
    kept = index(phantom, Params(deidentified="keep"), {})
    assert kept["report"].str.contains("XXXX", na=False).any()
    assert not index(phantom, Params(), {})["report"].str.contains("XXXX", na=False).any()
    assert (index(phantom, Params(split_seed=1), {})["split"] != whole["split"]).any()
    assert DATASET.source_task_of(Params()) == "mesh12"
    assert DATASET.source_task_of(Params(labels="14")) == "mesh14"


def test_dicom_names_leave_the_prefix_out(tmp_path: Path) -> None:
    (tmp_path / "1000").mkdir()
    (tmp_path / "1000" / "1000_IM-0003-2001.dcm").touch()
    (tmp_path / "CXR7_IM-1.png").touch()
    assert list(image_files(tmp_path, kind="dicom")) == ["CXR1000_IM-0003-2001"]
    assert list(image_files(tmp_path, kind="png")) == ["CXR7_IM-1"]


def first_report(root: Path) -> Path:
    return root / "ecgen-radiology" / "1.xml"


def first_image(root: Path) -> Path:
    return sorted((root / "NLMCXR_png").iterdir())[0]


def edit(root: Path, pattern: str, new: str) -> None:
    path = first_report(root)
    text = path.read_text()
    assert re.search(pattern, text)
    path.write_text(re.sub(pattern, new, text, count=1))


def copy_report(root: Path) -> None:
    (root / "copy.xml").write_bytes(first_report(root).read_bytes())


def copy_image(root: Path) -> None:
    (root / first_image(root).name).write_bytes(first_image(root).read_bytes())


#: How it is broken, and the message.
BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no report": (lambda root: [path.unlink() for path in (root / "ecgen-radiology").iterdir()], r"no report here; allowed: the XML reports of NLMCXR_reports\.tgz"),
    "cut-off report": (lambda root: first_report(root).write_text(first_report(root).read_text()[:300]), r"1\.xml:\d+:\d+: not XML"),
    "empty report": (lambda root: first_report(root).write_text(""), r"1\.xml:1:1: not XML"),
    "no id": (lambda root: edit(root, r"<uId [^>]*>", ""), r"1\.xml: no uId"),
    "report twice": (copy_report, r"copy\.xml.*too; allowed: each report and image once|'CXR1' is in .*copy\.xml, too"),
    "image twice": (copy_image, r"'CXR10_1_IM-0010-1001' is at .*, too"),
    "image missing": (lambda root: first_image(root).unlink(), r"1 of \d+ images are not there.*\n.*'CXR10_1_IM-0010-1001' is not below"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_broken(what: str, phantom: Path) -> None:
    breaker, message = BROKEN[what]
    breaker(phantom)
    with pytest.raises(DataError, match=message):
        index(phantom, Params(min_tokens=0), {})


def test_missing_images_can_be_left_out(phantom: Path) -> None:
    first_image(phantom).unlink()
    whole = sum(len(study.views) for study in studies(PHANTOM))
    assert len(index(phantom, Params(min_tokens=0, missing="skip"), {})) == whole - 1


def test_no_image_at_all_is_refused(phantom: Path) -> None:
    for path in (phantom / "NLMCXR_png").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="images are not there"):
        index(phantom, Params(missing="skip"), {})


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / ARCHIVE).write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"NLMCXR_reports\.tgz: a damaged archive"):
        read_reports(tmp_path)


# --- real reports with procedural radiographs ------------------------------------------------------------------------

REPORTED = PhantomParams(studies=80, size=32, views=2, reports="openi", seed=4)


@pytest.fixture(scope="module")
def reported(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("reported")
    write_real_reports(root, REPORTED, real_data / "labels" / ARCHIVE)
    return root


def test_real_reports_are_written_word_for_word(reported: Path, real_data: Path) -> None:
    """The original files, but for images beyond the second; each named image is there, and no other."""
    named = set()
    with tarfile.open(real_data / "labels" / ARCHIVE) as archive:
        paths = sorted((reported / "ecgen-radiology").iterdir())
        for path in paths:
            stream = archive.extractfile(f"ecgen-radiology/{path.name}")
            assert stream is not None
            original, found = stream.read(), path.read_bytes()
            images = ElementTree.fromstring(original).findall("parentImage")
            assert found == original or len(images) > 2
            one, other = (ElementTree.fromstring(xml) for xml in (original, found))
            for tree in (one, other):
                for image in tree.findall("parentImage")[2:]:
                    tree.remove(image)
            texts = [[text.strip() for text in tree.itertext() if text.strip()] for tree in (one, other)]
            assert texts[0] == texts[1]
            named |= {image.attrib["id"] for image in images[:2]}
    assert len(paths) == REPORTED.studies
    assert {path.stem for path in (reported / "NLMCXR_png").iterdir()} == named


def test_the_index_has_the_texts_of_the_xml(reported: Path) -> None:
    """As another parse of the files gives them: findings, then impression."""
    frame = index(reported, Params(deidentified="keep"), {})
    assert frame["study_id"].nunique() == REPORTED.studies
    for path in (reported / "ecgen-radiology").iterdir():
        tree = ElementTree.parse(path)
        sections = {one.attrib["Label"]: one.text or "" for one in tree.iter("AbstractText")}
        text = " ".join(f"{sections['FINDINGS']} {sections['IMPRESSION']}".split())
        uid = tree.find("uId")
        assert uid is not None
        rows = frame[frame["study_id"] == uid.attrib["id"]]
        assert set(rows["report"]) == {text}
        assert len(rows) == min(2, len(tree.findall("parentImage"))) and rows["split"].nunique() == 1
        normal = "normal" in {term.text for term in tree.iter("major")}
        assert (rows["mesh14:No Finding"] == int(normal)).sum() == (
            0 if rows["mesh14:No Finding"].isna().all() else len(rows)
        )
    assert frame.groupby("patient_id")["split"].nunique().max() == 1


def test_what_planning_reads_of_real_reports(reported: Path, real_data: Path) -> None:
    archive = real_data / "labels" / ARCHIVE
    facts = read_real_reports(archive, REPORTED)
    assert facts["studies"] == REPORTED.studies
    assert facts["images"] == len(list((reported / "NLMCXR_png").iterdir()))
    every = read_real_reports(archive, PhantomParams(reports="openi", views=4))
    assert (every["studies"], every["images"], every["digest"]) == (3_826, 7_429, facts["digest"])


@pytest.mark.slow
def test_a_linear_classifier_learns_what_the_reports_state_but_not_all_of_it(real_data: Path, tmp_path: Path) -> None:
    """From 64 x 64 pixels of frontal radiographs: there is something to learn, and something to be better at."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    params = PhantomParams(studies=3_826, size=64, views=1, reports="openi", contrast=2.0, noise=0.02)
    write_real_reports(tmp_path, params, real_data / "labels" / ARCHIVE)
    frame = index(tmp_path, Params(), {}).dropna(subset=["mesh12:Cardiomegaly"])
    pixels = np.stack([decode(tmp_path / path).ravel() / 255.0 for path in frame["path"]])
    train, test = (frame["split"] == "train").to_numpy(), (frame["split"] == "test").to_numpy()
    for name, least in {"Cardiomegaly": 0.85, "Pleural Effusion": 0.85, "Lung Opacity": 0.8}.items():
        labels = frame[f"mesh12:{name}"].astype(int).to_numpy()
        model = make_pipeline(StandardScaler(), PCA(100, random_state=0), LogisticRegression(C=0.01, max_iter=500))
        model.fit(pixels[train], labels[train])
        assert least < roc_auc_score(labels[test], model.decision_function(pixels[test])) < 0.99, name
