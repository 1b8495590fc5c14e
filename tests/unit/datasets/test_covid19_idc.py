"""Does the reader give the real collection's labels, splits and studies?"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from refers_bench.datasets.covid19_idc import DATASET, Params, group_of, index, read_lists


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


def test_folds_share_the_bacterial_patients(real_data: Path) -> None:
    """Five rounds: every image is tested once, no patient is in two splits, and the rare class is dealt evenly."""
    from refers_bench import plugins

    dataset, root = plugins.load("dataset", "covid19_idc"), real_data / "covid-chestxray-dataset"
    rounds = [dataset.index(root, dataset.Params(folds=5, fold=fold, split_seed=3), {}) for fold in range(5)]
    tested = [set(one.loc[one["split"] == "test", "image_id"]) for one in rounds]
    assert set.union(*tested) == set(rounds[0]["image_id"])
    assert sum(len(one) for one in tested) == len(rounds[0])
    label = "viral_vs_bacterial:Viral"
    negatives = [one[(one["split"] == "test") & (one[label] == 0)]["patient_id"].nunique() for one in rounds]
    assert max(negatives) - min(negatives) <= 1
    assert min(negatives) >= 1
    for one in rounds:
        assert one.groupby("patient_id")["split"].nunique().max() == 1
    other = dataset.index(root, dataset.Params(folds=5, fold=0, split_seed=4), {})
    assert set(other.loc[other["split"] == "test", "image_id"]) != tested[0], "a repetition is another deal"


@pytest.mark.parametrize("wrong", [{"folds": 2}, {"folds": 5, "fold": 5}, {"fold": 1}, {"folds": 5, "lists": "l"}])
def test_folds_that_do_not_fit(wrong: dict[str, object]) -> None:
    from pydantic import ValidationError

    from refers_bench.datasets.covid19_idc import Params

    with pytest.raises(ValidationError, match="fold"):
        Params(**wrong)  # type: ignore[arg-type]
