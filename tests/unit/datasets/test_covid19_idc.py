"""The reader gives the labels, splits and studies of the real collection and of a small one, row by row."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from refers_bench.data.index import metadata_columns
from refers_bench.datasets.covid19_idc import DATASET, Params, group_of, index, read_lists
from refers_bench.errors import DataError


@pytest.mark.parametrize(
    ("finding", "group"),
    [
        ("COVID-19", "COVID-19"), ("COVID-19, ARDS", "COVID-19"), ("Pneumonia/Viral/COVID-19", "COVID-19"),
        ("SARS", "Other viral"), ("Pneumonia/Viral/SARS", "Other viral"), ("Pneumonia/Viral/Herpes ", "Other viral"),
        ("Pneumonia/Viral/Influenza/H1N1", "Other viral"), ("Streptococcus", "Bacterial"), ("Pneumonia/Bacterial", "Bacterial"),
        ("Pneumonia/Bacterial/Staphylococcus/MRSA", "Bacterial"), ("Mycoplasma Bacterial Pneumonia", "Bacterial"),
        ("Pneumonia/Fungal/Pneumocystis", "Fungal"), ("Pneumonia", "Other disease"), ("Tuberculosis", "Other disease"),
        ("No Finding", "No finding"), ("todo", None), ("Unknown", None), ("", None),
    ],
)  # fmt: skip
def test_both_spellings(finding: str, group: str | None) -> None:
    assert group_of(finding) == group


@pytest.fixture(scope="module")
def real(real_data: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    lists = real_data / "official-splits" / "covid"
    return index(real_data / "covid-chestxray-dataset", Params(lists="covid"), {"covid": lists}), read_lists(lists)


def test_released_lists(real: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    frame, lists = real
    assert lists["split"].value_counts().to_dict() == {"train": 664, "test": 172, "val": 93}
    assert frame[frame["split"] != ""]["split"].value_counts().to_dict() == {"train": 435, "test": 168, "val": 93}


def test_labels_equal_the_released_ones(real: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    frame, lists = real
    both = frame.merge(lists, left_on="image_id", right_on="name")
    assert len(both) == 696
    assert (both["covid19_vs_other:COVID-19"] == both["listed"]).all()


def test_findings_agree_with_the_lists_in_val_and_test(real: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    frame, _ = real
    held_out = frame[frame["split"].isin(["val", "test"])]
    assert (held_out["findings:COVID-19"] == held_out["covid19_vs_other:COVID-19"]).all()


def test_viral_against_bacterial(real: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    test = real[0][real[0]["split"] == "test"]["viral_vs_bacterial:Viral"]
    assert (int((test == 1).sum()), int((test == 0).sum()), int(test.isna().sum())) == (139, 16, 13)


def test_a_study_has_one_report_and_one_split(real: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    frame = real[0]
    assert (frame.groupby("study_id")["report"].nunique(dropna=False) == 1).all()
    assert (frame[frame["split"] != ""].groupby("patient_id")["split"].nunique() == 1).all()
    assert frame[frame["split"] == "train"].groupby("study_id")["report"].first().notna().sum() == 269


def test_filters(real_data: Path) -> None:
    root = real_data / "covid-chestxray-dataset"
    whole, xray = (index(root, Params(modalities=m, split_seed=1), {}) for m in (("CT", "X-ray"), ("X-ray",)))
    frontal = index(root, Params(views=("PA", "AP", "AP Supine")), {})
    assert len(frontal) < len(xray) < len(whole) == 698
    assert set(frontal["view"]) == {"PA", "AP", "AP Supine"}
    assert whole["split"].value_counts(normalize=True)["train"] == pytest.approx(0.7, abs=0.06)
    assert set(DATASET.tasks) == {"covid19_vs_other", "viral_vs_bacterial", "findings"}


def test_five_folds_of_the_collection_share_the_bacterial_patients(real_data: Path) -> None:
    """Every fold can be scored, where a fifth of the patients as they come may hold hardly a bacterial one."""
    from refers_bench import plugins
    from refers_bench.data.folds import deal

    dataset, root = plugins.load("dataset", "covid19_idc"), real_data / "covid-chestxray-dataset"
    label = "viral_vs_bacterial:Viral"
    whole = dataset.index(root, dataset.Params(modalities=("X-ray",)), {})
    rows = whole[whole[label].notna()]
    found = deal(rows, dataset="covid19_idc", task="viral_vs_bacterial", classes=("Viral",), count=5)
    negatives = [rows.loc[(found.number == f) & (rows[label] == 0), "patient_id"].nunique() for f in range(5)]
    assert sorted(negatives) == [3, 3, 3, 4, 4], "17 patients have bacterial pneumonia"
    assert found.scarce == {}


@pytest.mark.parametrize("old", [{"folds": 5}, {"folds": 5, "fold": 4}, {"fold": 1}])
def test_folds_are_asked_for_elsewhere(old: dict[str, int]) -> None:
    from pydantic import ValidationError

    from refers_bench.datasets.covid19_idc import Params

    with pytest.raises(ValidationError, match="folds are a field of the target"):
        Params(**old)  # type: ignore[arg-type]


HEADER = "patientid,offset,finding,view,modality,folder,filename,clinical_notes"
#: Patient, day, finding, view, modality, folder, file and notes of a small collection.
ROWS = (
    "1,0,Pneumonia/Viral/COVID-19,PA,X-ray,images,a.png,",
    "1,0,Pneumonia/Viral/COVID-19,L,X-ray,images,b.png, Cough. ",
    "1,4,Pneumonia/Viral/COVID-19,AP,X-ray,images,c.png,Better.",
    "2,0,Pneumonia/Bacterial/Streptococcus,PA,X-ray,images,d.jpg,Fever.",
    "3,,SARS,Axial,CT,images,e.png,",
    "4,1,No Finding,PA,X-ray,images,f.png,Well.",
    "5,1,todo,PA,X-ray,images,g.png,",
    "6,1,COVID-19,PA,X-ray,volumes,h.nii.gz,",
    "7,1,Pneumonia/Fungal/Pneumocystis,PA,X-ray,images,gone.png,",
)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    root = tmp_path / "covid"
    (root / "images").mkdir(parents=True)
    (root / "metadata.csv").write_text("\n".join((HEADER, *ROWS)) + "\n")
    for name in ("a.png", "b.png", "c.png", "d.jpg", "e.png", "f.png", "g.png", "extra.png"):
        (root / "images" / name).write_bytes(b"x" * len(name))
    return root


def test_metadata_of_a_small_collection(small: Path, tmp_path: Path) -> None:
    table = small / "metadata.csv"
    more = {0: ",F,65.0,https://www.nejm.org/x,Hanoi", 3: ",,unknown,https://radiopaedia.org/cases/1,", 4: ",M,7,,"}
    rows = [f"{row}{more.get(place, ',,,,')}" for place, row in enumerate(ROWS)]
    table.write_text("\n".join((f"{HEADER},sex,age,url,location", *rows)) + "\n")
    Image.new("L", (30, 20)).save(small / "images" / "a.png")
    lists = tmp_path / "lists"
    lists.mkdir()
    for split, line in (("train", "a.png 0 1\n"), ("val", "d.jpg 1 0\n"), ("test", "extra.png 0 1\n")):
        (lists / f"{split}.txt").write_text(line)
    frame = index(small, Params(lists="l"), {"l": lists})
    names = ("sex", "age", "site", "location", "offset", "modality", "file_type", "width", "height")
    found = cells(frame, *(f"about:{name}" for name in names))
    assert found["a.png"] == ("F", 65, "nejm.org", "Hanoi", 0, "X-ray", "png", 30, 20)
    assert found["d.jpg"] == (None, None, "radiopaedia.org", None, 0, "X-ray", "jpg", None, None)
    assert found["e.png"] == ("M", 7, None, None, None, "CT", "png", None, None)
    # Nothing is known of what the lists alone name.
    assert found["extra.png"] == (None,) * 6 + ("png", None, None)
    assert set(metadata_columns(index(small, Params(), {}))) == {f"about:{name}" for name in names}


def test_metadata_of_the_real_collection(real: tuple[pd.DataFrame, pd.DataFrame], real_data: Path) -> None:
    frame = real[0]
    root = real_data / "covid-chestxray-dataset"
    table = pd.read_csv(root / "metadata.csv").drop_duplicates("filename").set_index("filename")
    rows = table.reindex(frame["image_id"])
    for site in ("radiopaedia.org", "eurorad.org", "sirm.org"):
        from_it = rows["url"].str.startswith((f"https://www.{site}", f"https://{site}")).fillna(False)
        assert (frame["about:site"] == site).sum() == from_it.sum() > 50, site
    assert ((frame["about:age"].to_numpy() == rows["age"].to_numpy()) | rows["age"].isna().to_numpy()).all()
    assert frame["about:age"].isna().sum() == rows["age"].isna().sum()
    for image_id, width, height in frame[["path", "about:width", "about:height"]].iloc[::50].itertuples(index=False):
        assert Image.open(root / image_id).size == (width, height)


def cells(frame: pd.DataFrame, *columns: str) -> dict[str, tuple[object, ...]]:
    """Image -> some of its columns, None for null."""
    return {
        row[0]: tuple(None if pd.isna(value) else value for value in row[1:])
        for row in frame[["image_id", *columns]].itertuples(index=False, name=None)
    }


def test_rows_of_a_small_collection(small: Path) -> None:
    frame = index(small, Params(), {})
    assert cells(frame, "path", "patient_id", "study_id", "view", "report") == {
        # The text of a study is that of any of its rows.
        "a.png": ("images/a.png", "1", "1@0", "PA", "Cough."),
        "b.png": ("images/b.png", "1", "1@0", "L", "Cough."),
        "c.png": ("images/c.png", "1", "1@4", "AP", "Better."),
        "d.jpg": ("images/d.jpg", "2", "2@0", "PA", "Fever."),
        "e.png": ("images/e.png", "3", "3@", "Axial", None),
        "f.png": ("images/f.png", "4", "4@1", "PA", "Well."),
        "g.png": ("images/g.png", "5", "5@1", "PA", None),
    }
    # COVID-19 against other; viral (1) against bacterial (0), null for the rest; nobody has labelled g.
    assert cells(frame, "covid19_vs_other:COVID-19", "viral_vs_bacterial:Viral") == {
        "a.png": (1, 1),
        "b.png": (1, 1),
        "c.png": (1, 1),
        "d.jpg": (0, 0),
        "e.png": (0, 1),
        "f.png": (0, None),
        "g.png": (None, None),
    }
    classes = DATASET.tasks["findings"].classes
    assert classes == ("COVID-19", "Other viral", "Bacterial", "Fungal", "Other disease", "No finding")
    expected = {"a.png": 0, "b.png": 0, "c.png": 0, "d.jpg": 2, "e.png": 1, "f.png": 5}
    assert cells(frame, *(f"findings:{name}" for name in classes)) == {
        **{image: tuple(int(place == k) for k in range(6)) for image, place in expected.items()},
        "g.png": (None,) * 6,
    }
    assert frame.groupby("patient_id")["split"].nunique().max() == 1


@pytest.mark.parametrize(
    ("params", "images"),
    [
        ({"modalities": ("X-ray",)}, "abcdfg"),
        ({"modalities": ("CT",)}, "e"),
        ({"views": ("PA", "L")}, "abdfg"),
        ({"views": ("AP",)}, "c"),
        ({"views": ("PA",), "modalities": ("CT",)}, ""),
    ],
)
def test_views_and_modalities_that_are_kept(params: dict[str, tuple[str, ...]], images: str, small: Path) -> None:
    if not images:
        with pytest.raises(DataError):
            index(small, Params(**params), {})  # type: ignore[arg-type]
        return
    frame = index(small, Params(**params), {})  # type: ignore[arg-type]
    assert "".join(sorted(name[0] for name in frame["image_id"])) == images


def test_lists_give_splits_and_labels_of_covid_and_keep_what_the_metadata_lack(small: Path, tmp_path: Path) -> None:
    lists = tmp_path / "lists"
    lists.mkdir()
    # The list says of d that it is COVID-19, and of a that it is not.
    for split, lines in (
        ("train", "a.png 1 0\nb.png 0 1\n"),
        ("val", "extra.png 0 1\nabsent.png 1 0\n"),
        ("test", "d.jpg 0 1\n"),
    ):
        (lists / f"{split}.txt").write_text(lines)
    frame = index(small, Params(lists="covid"), {"covid": lists})
    assert cells(
        frame, "split", "patient_id", "covid19_vs_other:COVID-19", "viral_vs_bacterial:Viral", "findings:COVID-19"
    ) == {
        "a.png": ("train", "1", 0, 1, 1),
        "b.png": ("train", "1", 1, 1, 1),
        "c.png": ("", "1", 1, 1, 1),
        "d.jpg": ("test", "2", 1, 0, 0),
        "e.png": ("", "3", 0, 1, 0),
        "f.png": ("", "4", 0, None, 0),
        "g.png": ("", "5", None, None, None),
        "extra.png": ("val", "extra.png", 1, None, None),
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.png 1", r"train\.txt:2: 'a\.png 1'; allowed: 'name 0 1' \(COVID-19\) or 'name 1 0'"),
        ("a.png 1 1", r"train\.txt:2: 'a\.png 1 1'"),
        ("a.png 0 0", r"train\.txt:2: 'a\.png 0 0'"),
        ("x.png 0 1", r"train\.txt:2: 'x\.png' is in train\.txt, too"),
        ("v.png 0 1", r"val\.txt:1: 'v\.png' is in train\.txt, too"),
    ],
)
def test_broken_lists(line: str, message: str, tmp_path: Path) -> None:
    for name, text in (("train", f"x.png 1 0\n{line}\n"), ("val", "v.png 0 1\n"), ("test", "t.png 0 1\n")):
        (tmp_path / f"{name}.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        read_lists(tmp_path)


def test_a_missing_list_an_unknown_finding_and_a_missing_image(small: Path, tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("a.png 0 1\n")
    with pytest.raises(DataError, match=r"val\.txt: missing list; allowed: train\.txt, val\.txt and test\.txt"):
        read_lists(tmp_path)
    with pytest.raises(DataError, match=r"images.gone\.png|gone\.png"):
        index(small, Params(missing="refuse"), {})
    table = small / "metadata.csv"
    table.write_text(table.read_text().replace("No Finding", "No Findng"))
    with pytest.raises(DataError, match=r"metadata\.csv:7: unknown finding 'No Findng'.*'No Finding'\?"):
        index(small, Params(), {})
