"""The reader gives back the studies, texts, labels and splits that were written in the official layout."""

from __future__ import annotations

import gzip
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from refers_bench.data.chexpert import FINDINGS_12, FINDINGS_14
from refers_bench.data.decode import decode
from refers_bench.data.index import absent_noted
from refers_bench.data.phantoms.mimic import ids, write_layout
from refers_bench.data.phantoms.radiographs import PhantomParams, PhantomStudy, studies
from refers_bench.data.report_sections import cleaned, sections
from refers_bench.datasets.mimic_cxr_jpg import (
    COUNTS,
    DATASET,
    PREFIX,
    Params,
    expected,
    folder_of,
    index,
    report_texts,
)
from refers_bench.errors import DataError

PHANTOM = PhantomParams(studies=120, size=32, views=3, seed=2)


@pytest.fixture(scope="module")
def drawn() -> dict[str, PhantomStudy]:
    return {"s" + ids(study)[1]: study for study in studies(PHANTOM)}


@pytest.fixture(scope="module")
def frame(original: Path) -> pd.DataFrame:
    return index(original, Params(), {})


def table_of(root: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(root / f"{PREFIX}{name}.csv.gz", dtype=str, keep_default_na=False)


def test_layout_is_the_official_one(original: Path) -> None:
    assert {path.name for path in original.iterdir()} == {
        "files", *(f"{PREFIX}{name}.csv.gz" for name in ("split", "metadata", "chexpert", "negbio")),
    }  # fmt: skip
    images = [path.relative_to(original).as_posix() for path in original.rglob("*.jpg")]
    pattern = re.compile(r"files/(p1\d)/\1\d{6}/s5\d{7}/[0-9a-f]{8}(-[0-9a-f]{8}){4}\.jpg")
    assert images
    assert all(pattern.fullmatch(path) for path in images)
    assert all((original / path).parent.with_suffix(".txt").is_file() for path in images)
    assert list(table_of(original, "split").columns) == ["dicom_id", "study_id", "subject_id", "split"]
    assert list(table_of(original, "chexpert").columns) == ["subject_id", "study_id", *FINDINGS_14]
    assert {"dicom_id", "subject_id", "study_id", "ViewPosition", "Rows", "Columns"} <= set(
        table_of(original, "metadata")
    )
    assert set(table_of(original, "split")["split"]) == {"train", "validate", "test"}


def test_same_phantoms_same_bytes(original: Path, tmp_path: Path) -> None:
    write_layout(tmp_path, PHANTOM)
    for path in original.rglob("*"):
        if path.is_file():
            assert (tmp_path / path.relative_to(original)).read_bytes() == path.read_bytes()


def test_images_patients_and_views(frame: pd.DataFrame, drawn: dict[str, PhantomStudy], original: Path) -> None:
    assert len(frame) == sum(len(study.views) for study in drawn.values())
    assert set(frame["study_id"]) == set(drawn)
    for study_id, rows in frame.groupby("study_id"):
        study = drawn[str(study_id)]
        assert set(rows["patient_id"]) == {"p" + ids(study)[0]}
        assert sorted(rows["view"]) == sorted(view.view for view in study.views)
    one = frame.iloc[0]
    pixels = [view.pixels_HW for view in drawn[one["study_id"]].views]
    # JPEG at quality 95 loses a little of the noise.
    assert min(abs(decode(original / one["path"]).astype(int) - view).mean() for view in pixels) < 4


def test_texts_are_findings_and_impression_or_the_last_paragraph(
    frame: pd.DataFrame, drawn: dict[str, PhantomStudy], original: Path
) -> None:
    kinds: dict[str, int] = {}
    for study_id, rows in frame.groupby("study_id"):
        study, text = drawn[str(study_id)], rows["report"].iloc[0]
        findings, _, impression = study.report.partition(" Impression: ")
        names = dict(sections((original / "files" / folder_of(*ids(study))).with_suffix(".txt").read_text()))
        has = "both" if {"findings", "impression"} <= set(names) else next(
            (name for name in ("findings", "impression", "last_paragraph") if name in names), "")  # fmt: skip
        if names.get("impression") == "___.":
            has, wanted = "nothing", None
        else:
            wanted = {"both": f"{findings} {impression}", "impression": impression}.get(has, findings)
        assert (None if pd.isna(text) else text) == (wanted and cleaned(wanted))
        kinds[has] = kinds.get(has, 0) + 1
    assert {"both", "findings", "impression", "last_paragraph", "nothing"} == set(kinds)
    assert kinds["both"] == max(kinds.values())


def test_studies_without_three_words_are_not_used(frame: pd.DataFrame, original: Path) -> None:
    without = frame["report"].isna()
    assert without.any()
    assert (frame.loc[without, "split"] == "").all()
    assert (frame.loc[~without, "split"] != "").all()
    short = index(original, Params(min_tokens=25), {})
    words = short["report"].str.split().str.len()
    assert 0 < (short["split"] != "").sum() < (frame["split"] != "").sum()
    assert words[short["split"] != ""].min() >= 25
    assert (index(original, Params(min_tokens=0), {})["split"] != "").all()


def test_splits_of_the_paper_and_of_the_owners(original: Path, drawn: dict[str, PhantomStudy]) -> None:
    paper, official = (index(original, Params(split=split, min_tokens=0), {}) for split in ("paper", "official"))
    for study_id, split in official.groupby("study_id")["split"].first().items():
        assert split == drawn[str(study_id)].split
    assert (paper["split"] == official["split"].replace("test", "val")).all()


def test_the_released_list_of_held_out_studies(original: Path, tmp_path: Path) -> None:
    official = index(original, Params(split="official", min_tokens=0), {})
    held = sorted(set(official.loc[official["split"] != "train", "study_id"]))
    listed = held[::2]
    paths = {row.study_id: row.path.rpartition("/")[0] for row in official.itertuples()}
    (tmp_path / "test.txt").write_text("".join(f"{paths[study]}/\r\n" for study in listed) + "\n")
    found = index(original, Params(lists="mimic_lists", min_tokens=0), {"mimic_lists": tmp_path})
    by_study = found.groupby("study_id")["split"].first()
    assert set(by_study[by_study == "val"].index) == set(listed)
    assert set(by_study[by_study == ""].index) == set(held) - set(listed)
    assert (found["split"] == "train").sum() == (official["split"] == "train").sum()
    (tmp_path / "test.txt").write_text("files/p10/p10000001/s99999999\n")
    with pytest.raises(DataError, match=r"test\.txt:1: 'files/p10/p10000001/s99999999'; allowed: a study's folder"):
        index(original, Params(lists="mimic_lists"), {"mimic_lists": tmp_path})


@pytest.mark.parametrize("labeler", ["chexpert", "negbio"])
@pytest.mark.parametrize("uncertain", ["u_zeros", "u_ones", "u_ignore"])
def test_labels(original: Path, labeler: str, uncertain: str) -> None:
    found = index(original, Params(labeler=labeler, uncertain=uncertain), {})
    said = table_of(original, labeler).set_index("study_id")
    assert (said == "-1.0").any(axis=None)
    meaning = {"1.0": 1, "0.0": 0, "": 0, "-1.0": {"u_zeros": 0, "u_ones": 1, "u_ignore": None}[uncertain]}
    for row in found.itertuples():
        study = row.study_id.removeprefix("s")
        for name in FINDINGS_14:
            value = found.at[row.Index, f"findings14:{name}"]
            assert (None if pd.isna(value) else value) == (
                meaning[said.at[study, name]] if study in said.index else None
            )
    for name in FINDINGS_12:
        pd.testing.assert_series_equal(found[f"findings12:{name}"], found[f"findings14:{name}"], check_names=False)
    assert not any(name in found for name in ("findings12:No Finding", "findings12:Support Devices"))


def test_the_task_of_label_supervised_pretraining_follows_the_parameters() -> None:
    assert DATASET.source_task_of(Params()) == "findings12"
    assert DATASET.source_task_of(Params(labels="14")) == "findings14"


def test_tables_may_be_unpacked(copy: Path, frame: pd.DataFrame) -> None:
    for path in copy.glob("*.csv.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    pd.testing.assert_frame_equal(index(copy, Params(), {}), frame)


def _move_reports(root: Path, target: Path) -> None:
    for path in list((root / "files").rglob("*.txt")):
        new = target / path.relative_to(root / "files")
        new.parent.mkdir(parents=True, exist_ok=True)
        path.rename(new)


@pytest.mark.parametrize("folder", ["mimic-cxr-reports/files", "mimic-cxr-reports", "reports/files", "reports"])
def test_reports_may_stand_beside_the_images(copy: Path, frame: pd.DataFrame, folder: str) -> None:
    _move_reports(copy, copy / folder)
    pd.testing.assert_frame_equal(index(copy, Params(), {}), frame)


def test_reports_may_stay_in_their_archive(copy: Path, frame: pd.DataFrame) -> None:
    _move_reports(copy, copy / "unpacked" / "files")
    with zipfile.ZipFile(copy / "mimic-cxr-reports.zip", "w") as archive:
        for path in (copy / "unpacked").rglob("*.txt"):
            archive.write(path, path.relative_to(copy / "unpacked").as_posix())
    shutil.rmtree(copy / "unpacked")
    pd.testing.assert_frame_equal(index(copy, Params(), {}), frame)


def test_the_owners_table_of_sections(copy: Path, frame: pd.DataFrame) -> None:
    rows = []
    for path in (copy / "files").rglob("*.txt"):
        names = dict(sections(path.read_text()))
        rows.append(
            {
                "study": path.stem,
                **{name: names.get(name, "") for name in ("impression", "findings", "last_paragraph", "comparison")},
            }
        )
        path.unlink()
    pd.DataFrame(rows).to_csv(copy / "mimic_cxr_sectioned.csv", index=False)
    pd.testing.assert_frame_equal(index(copy, Params(reports="sectioned"), {}), frame)


def test_without_reports_every_study_is_used(copy: Path) -> None:
    for path in (copy / "files").rglob("*.txt"):
        path.unlink()
    found = index(copy, Params(reports="none"), {})
    assert found["report"].isna().all()
    assert (found["split"] != "").all()
    with pytest.raises(DataError, match=r"no report here; allowed: files/p10/p1\d+/s5\d+\.txt.*reports=none"):
        index(copy, Params(), {})


def test_views(original: Path, frame: pd.DataFrame) -> None:
    assert set(frame["view"]) == {"PA", "AP", "L"}
    frontal = index(original, Params(views=("PA", "AP")), {})
    assert set(frontal["view"]) == {"PA", "AP"}
    assert len(frontal) == frame["view"].isin(["PA", "AP"]).sum()


def test_removed_words_can_be_kept(original: Path, copy: Path, frame: pd.DataFrame) -> None:
    path = next((copy / "files").rglob("*.txt"))
    path.write_text(" \n IMPRESSION: Seen by Dr. ___ and ___ today.\n")
    removed, kept = index(copy, Params(), {}), index(copy, Params(deidentified="keep"), {})
    assert set(removed.loc[removed["study_id"] == path.stem, "report"]) == {"Seen by Dr. and today."}
    assert set(kept.loc[kept["study_id"] == path.stem, "report"]) == {"Seen by Dr. ___ and ___ today."}


def test_documented_counts() -> None:
    assert expected(Params()) == {"images": 377_110, "studies": 227_835, "patients": 65_379}
    assert [sum(part[i] for part in COUNTS.values()) for i in range(3)] == list(expected(Params()).values())
    official = expected(Params(split="official", reports="none"))
    assert (official["train images"], official["val studies"], official["test patients"]) == (368_960, 1_808, 293)
    assert expected(Params(min_tokens=0))["val patients"] == 793


def edit_table(name: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Path], None]:
    def edit(root: Path) -> None:
        change(table_of(root, name)).to_csv(root / f"{PREFIX}{name}.csv.gz", index=False)

    return edit


def set_cell(name: str, row: int, column: str, value: str) -> Callable[[Path], None]:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        table.loc[row, column] = value
        return table

    return edit_table(name, change)


def two_splits(root: Path) -> None:
    table = table_of(root, "split")
    row = int(table.index[table["study_id"].duplicated()][0])
    other = "validate" if table.at[row, "split"] == "train" else "train"
    set_cell("split", row, "split", other)(root)


def cut(root: Path) -> None:
    path = root / f"{PREFIX}split.csv.gz"
    path.write_bytes(path.read_bytes()[:-200])


def first(root: Path, suffix: str) -> Path:
    return sorted((root / "files").rglob(f"*{suffix}"))[0]


#: How it is broken, and the message.
BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no split table": (lambda root: (root / f"{PREFIX}split.csv.gz").unlink(), r"split\.csv\.gz: missing table"),
    "cut-off table": (cut, r"split\.csv\.gz: a damaged file"),
    "not gzipped": (lambda root: (root / f"{PREFIX}metadata.csv.gz").write_text("a,b\n"), r"metadata\.csv\.gz: a damaged file"),
    "no column": (edit_table("metadata", lambda t: t.drop(columns="ViewPosition")), r"metadata\.csv\.gz:1: no column 'ViewPosition'"),
    "unknown split": (set_cell("split", 2, "split", "val"), r"split\.csv\.gz:4: unknown split 'val'; allowed: train, validate, test"),
    "image twice": (edit_table("split", lambda t: pd.concat([t, t.iloc[:1]])), r"split\.csv\.gz:\d+: image '.*' is listed twice"),
    "image without metadata": (edit_table("metadata", lambda t: t.iloc[1:]), r"metadata\.csv\.gz: no row for image '.*' of study 5\d+; allowed: every image of"),
    "tables contradict": (set_cell("metadata", 0, "study_id", "59999999"), r"metadata\.csv\.gz: no row for image"),
    "malformed id": (set_cell("split", 0, "subject_id", "../etc"), r"split\.csv\.gz:2: subject_id '\.\./etc'; allowed: eight digits"),
    "patient in two splits": (two_splits, r"patient 'p1\d+' is in train, val; allowed: one split per patient"),
    "unknown label": (set_cell("chexpert", 1, "Edema", "2.0"), r"chexpert\.csv\.gz:3: Edema is '2\.0'; allowed: 1\.0, 0\.0, -1\.0 or empty"),
    "study labelled twice": (edit_table("chexpert", lambda t: pd.concat([t, t.iloc[:1]])), r"chexpert\.csv\.gz:\d+: study '5\d+' is listed twice"),
    "image missing": (lambda root: first(root, ".jpg").unlink(), r"\.jpg: missing image"),
    "report missing": (lambda root: first(root, ".txt").unlink(), r"1 of 120 reports are not there.*\n.*no report p10/p1\d+/s5\d+\.txt"),
    "report in another encoding": (lambda root: first(root, ".txt").write_bytes(b"\xff\xfe"), r"report p10/.*\.txt: 'utf-8' codec can't decode"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_broken(what: str, copy: Path) -> None:
    breaker, message = BROKEN[what]
    breaker(copy)
    with pytest.raises(DataError, match=message):
        index(copy, Params(), {})


def test_a_damaged_archive_of_reports_is_named(copy: Path) -> None:
    for path in (copy / "files").rglob("*.txt"):
        path.unlink()
    (copy / "mimic-cxr-reports.zip").write_bytes(b"PK no archive")
    with pytest.raises(DataError, match=r"mimic-cxr-reports\.zip: a damaged archive"):
        index(copy, Params(), {})


def test_reports_are_unpacked_where_one_of_the_first_200_studies_lies(tmp_path: Path) -> None:
    """An index of all studies asks for few files: here the 201st alone lies in the folder, the archive holds them all."""
    asked = pd.DataFrame({"subject_id": "10000001", "study_id": [str(50000000 + number) for number in range(201)]})
    places = [folder_of("10000001", study) for study in asked["study_id"]]
    with zipfile.ZipFile(tmp_path / "mimic-cxr-reports.zip", "w") as archive:
        for place in places:
            archive.writestr(f"files/{place}.txt", " FINAL REPORT\n FINDINGS:\n\n From the archive.\n")
    folder = tmp_path / "files" / "p10" / "p10000001"
    folder.mkdir(parents=True)
    (folder / f"s{asked['study_id'].iloc[200]}.txt").write_text(" FINAL REPORT\n FINDINGS:\n\n From the folder.\n")
    assert set(report_texts(tmp_path, asked, params=Params()).values()) == {"From the archive."}
    (folder / f"s{asked['study_id'].iloc[199]}.txt").write_text(" FINAL REPORT\n FINDINGS:\n\n From the folder.\n")
    found = report_texts(tmp_path, asked, params=Params(missing="skip"))
    assert found == dict.fromkeys(asked["study_id"].iloc[199:], "From the folder.")


def test_what_is_missing_can_be_skipped(copy: Path, frame: pd.DataFrame) -> None:
    first(copy, ".jpg").unlink()
    report = sorted((copy / "files").rglob("*.txt"))[-1]
    report.unlink()
    with absent_noted() as noted:
        found = index(copy, Params(missing="skip"), {})
    assert sum("missing image" in one.found for one in noted.skipped) == 1
    assert len(found) == len(frame) - 1
    assert (found.loc[found["study_id"] == report.stem, "split"] == "").all()
