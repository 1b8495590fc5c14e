"""Which published figures compare with which columns, on rows of the packaged file."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from refers_bench.analysis.cells import Target
from refers_bench.analysis.paper.comparability import TARGETS, Facts, Verdict, comparable
from refers_bench.analysis.paper.registry import Entry, entries
from refers_bench.manifest.packs import known
from refers_bench.plugins import load

NIH = Target(dataset="nih_chestxray14", task="findings", label_ratio=1.0)
NIH_1 = replace(NIH, label_ratio=0.01)
NIH_10 = replace(NIH, label_ratio=0.1)
PROBE = replace(NIH, evaluation="linear_probe")
FOLDS = replace(NIH, folds=5)
VINDR = Target(dataset="vinbigdata_cxr", task="findings", label_ratio=0.1)
SHENZHEN = Target(dataset="shenzhen_tb", task="tuberculosis", label_ratio=1.0)
KERMANY = Target(dataset="kermany_pneumonia", task="pneumonia", label_ratio=1.0, evaluation="linear_probe")
COVID = Target(dataset="covid19_idc", task="covid19_vs_other", label_ratio=1.0)

RELEASED = Facts(params={"split": "released", "lists": "nih_lists", "views": []}, images=112_120, documented=112_120)
OFFICIAL = replace(RELEASED, params={"split": "official", "lists": "", "views": []})
SEEDED = replace(RELEASED, params={"split": "seeded", "lists": "", "views": []})
PART = replace(RELEASED, images=2292)
LISTS = Facts(params={"lists": "vinbigdata_lists", "labels": "any"}, images=15_000, documented=15_000)
IMPORTED = Facts()

BENCHX_1 = {"method": "MRM", "target": "nih", "labels": "1%", "table": "Table 1", "source": "BenchX"}
BENCHX_10, BENCHX = {**BENCHX_1, "labels": "10%"}, {**BENCHX_1, "labels": "100%"}
BENCHX_DLR = {**BENCHX_1, "how": "fine-tune, +DLR", "table": "Table 6"}
BENCHX_PLAIN = {**BENCHX_DLR, "how": "fine-tune, plain head"}
BENCHX_TNI = {**BENCHX_DLR, "how": "fine-tune, +DLR+LN+TNI"}
BENCHX_VINDR = {**BENCHX_10, "target": "vindr"}
BENCHX_RSNA = {"method": "MRM", "target": "rsna", "labels": "100%", "source": "BenchX"}
EVA_X = {"method": "EVA-X", "target": "nih", "backbone": "ViT-S/16", "source": "EVA-X README"}
MAE = {"method": "MoCo v2", "target": "nih", "source": "Medical MAE README", "backbone": "ResNet-50"}
X_WIN = {"method": "X-WIN", "target": "nih", "source": "X-WIN"}
X_WIN_VINDR = {**X_WIN, "target": "vindr"}
CXRLEARN = {"method": "REFERS", "target": "nih", "source": "cxrlearn", "protocol": "linear probe"}
CXRLEARN_TUNED = {**CXRLEARN, "protocol": "fine-tune"}
CXRLEARN_TB = {**CXRLEARN_TUNED, "target": "shenzhen+montgomery"}
CXRLEARN_KERMANY = {**CXRLEARN, "target": "kermany-pneumonia"}
CHEXNET = {"target": "nih", "source": "zoogzog"}
ZHAO = {"method": "CheXNet (paper)", "source": "arnoweng"}
MACO_REFERS = {"method": "REFERS", "target": "nih", "labels": "100%", "source": "MaCo"}
MACO_MRM = {**MACO_REFERS, "method": "MRM"}
DIRA = {"method": "DiRA(MoCo-v2)", "target": "nih", "labels": "25%", "source": "DiRA"}
SHOTS = {"labels": "4-shot"}

BEST_EPOCH = 'chosen on test images: best epoch on the test list; val list "not used"'
INFERRED = (
    "chosen on test images: maximum over epochs is printed by main_finetune_chestxray.py; that the table reports it is "
    "inferred"
)
UNKNOWN_CHOICE, UNKNOWN_SPLIT = "unknown which images it was chosen on", "its split is unknown"
NO_RATIO = "its label ratio is not stated"
TUNED = "other protocol: fine-tune, ours is linear probe"
PROBED = "other protocol: linear probe, ours is fine-tuning"
CROPS = "its scores are means over ten crops, ours are of one"
MONTGOMERY = "other target: images of Shenzhen and Montgomery in splits of its own, ours is Shenzhen tuberculosis"
MISSING = "ours has 2,292 of the 112,120 images"
RATIO_1_100 = "trained on 1 % of labels, ours on 100 %"

PAIRS: list[tuple[dict[str, str], Target, Facts, tuple[str, ...]]] = [
    # Comparable: the lists of the REFERS release, fine-tuned, chosen on validation images.
    (BENCHX_1, NIH_1, RELEASED, ()),
    (BENCHX_10, NIH_10, RELEASED, ()),
    (BENCHX, NIH, RELEASED, ()),
    (BENCHX_PLAIN, NIH_1, RELEASED, ()),
    # Other head.
    (BENCHX_DLR, NIH_1, RELEASED, ("other head: +DLR, ours is a plain head",)),
    (BENCHX_TNI, NIH_1, RELEASED, ("other head: +DLR+LN+TNI, ours is a plain head",)),
    (BENCHX_TNI, replace(NIH_1, evaluation="linear_probe"), RELEASED, (TUNED,)),
    # Other ratio.
    (BENCHX_1, NIH, RELEASED, (RATIO_1_100,)),
    (BENCHX, NIH_10, RELEASED, ("trained on 100 % of labels, ours on 10 %",)),
    (DIRA, NIH, RELEASED, ("trained on 25 % of labels, ours on 100 %", UNKNOWN_SPLIT, UNKNOWN_CHOICE)),
    # Other split.
    (BENCHX, NIH, OFFICIAL, ("other split: nih-mrm, ours is official",)),
    (BENCHX, NIH, SEEDED, ("other split: nih-mrm, ours is seeded",)),
    (BENCHX, NIH, IMPORTED, ("our split is unknown",)),
    (BENCHX_VINDR, VINDR, LISTS, ("other split: vindr-benchx, ours is by lists",)),
    (BENCHX_VINDR, VINDR, replace(LISTS, params={"lists": ""}), ("other split: vindr-benchx, ours is seeded",)),
    (ZHAO, NIH, RELEASED, (UNKNOWN_SPLIT,)),
    # Folds.
    (BENCHX, FOLDS, RELEASED, ("ours is cross-validated over 5 folds",)),
    (
        X_WIN,
        replace(FOLDS, evaluation="linear_probe"),
        PART,
        (UNKNOWN_SPLIT, "ours is cross-validated over 5 folds", UNKNOWN_CHOICE, MISSING),
    ),
    # Other protocol.
    (BENCHX, PROBE, RELEASED, (TUNED,)),
    (BENCHX, replace(NIH, evaluation="knn"), RELEASED, ("other protocol: fine-tune, ours is k nearest neighbours",)),
    (
        BENCHX,
        replace(NIH, evaluation="probe_then_finetune"),
        RELEASED,
        ("other protocol: fine-tune, ours is linear probe, then fine-tuning",),
    ),
    (X_WIN, NIH, RELEASED, (UNKNOWN_SPLIT, PROBED, UNKNOWN_CHOICE)),
    (X_WIN, PROBE, RELEASED, (UNKNOWN_SPLIT, UNKNOWN_CHOICE)),
    (CHEXNET, NIH, RELEASED, (CROPS, UNKNOWN_CHOICE)),
    (MACO_REFERS, NIH, RELEASED, ("its protocol is unknown", UNKNOWN_CHOICE)),
    # Unknown selection, and chosen on test images.
    (MACO_MRM, NIH, RELEASED, (UNKNOWN_CHOICE,)),
    (EVA_X, NIH, OFFICIAL, (BEST_EPOCH,)),
    (EVA_X, NIH, RELEASED, ("other split: nih-official, ours is released", BEST_EPOCH)),
    (MAE, NIH, OFFICIAL, (INFERRED,)),
    # A probe with a fixed constant has nothing to choose.
    (CXRLEARN, PROBE, RELEASED, (NO_RATIO, UNKNOWN_SPLIT)),
    (CXRLEARN_TUNED, NIH, RELEASED, (NO_RATIO, UNKNOWN_SPLIT)),
    (CXRLEARN_KERMANY, KERMANY, Facts(params={"split": "official"}), (NO_RATIO, UNKNOWN_SPLIT)),
    (BENCHX, NIH, replace(RELEASED, chosen_on_test=True), ("a row of ours was chosen on test images",)),
    # Images: procedural, a part, one view.
    (BENCHX, NIH, PART, (MISSING,)),
    (BENCHX, NIH, replace(RELEASED, synthetic=True), ("ours is measured on procedural images",)),
    (BENCHX, NIH, replace(RELEASED, params={**RELEASED.params, "views": ["PA"]}), ("ours has the views PA alone",)),
    # Targets beside those of the paper: other metric, lists, version and labels.
    (
        BENCHX_RSNA,
        Target(dataset="rsna_pneumonia", task="pneumonia", label_ratio=1.0),
        Facts(params={"nih_map": "split_packs"}),
        (
            "other split: rsna-benchx, ours is seeded",
            "its lists: " + str(known()["rsna-benchx"].leaks[0]),
            "other metric: F1, ours is mean AUC",
        ),
    ),
    (
        {"method": "MRM", "target": "covidx-cxr4", "labels": "100%", "source": "BenchX"},
        Target(dataset="covidx", task="covid19", label_ratio=1.0),
        Facts(params={"version": "cxr3"}),
        (
            "other version: cxr4, ours is cxr3",
            "other split: covidx-cxr4-benchx, ours is seeded",
            "its lists: " + str(known()["covidx-cxr4-benchx"].leaks[0]),
            "other metric: F1, ours is mean AUC",
        ),
    ),
    # Other target, other metric.
    (CXRLEARN_TB, SHENZHEN, Facts(params={"split": "released"}), (MONTGOMERY, NO_RATIO, UNKNOWN_SPLIT)),
    (
        X_WIN_VINDR,
        NIH,
        RELEASED,
        ("other target: vindr, ours is nih_chestxray14: findings", UNKNOWN_SPLIT, PROBED, UNKNOWN_CHOICE),
    ),
    (BENCHX, replace(NIH, task="any_finding"), RELEASED, ("other target: nih, ours is nih_chestxray14: any_finding",)),
    (
        BENCHX_RSNA,
        COVID,
        Facts(params={"lists": "covid19_lists"}),
        (
            "other target: rsna, ours is covid19_idc: covid19_vs_other",
            "other split: rsna-benchx, ours is by lists",
            "its lists: LEAKS: 2,715 of 4,003 test images are of patients in its own training list (67.8 %)",
            "other metric: F1, ours is mean AUC",
        ),
    ),
    # Everything at once.
    (
        BENCHX_1,
        PROBE,
        replace(PART, params={"split": "seeded"}, synthetic=True),
        (RATIO_1_100, "other split: nih-mrm, ours is seeded", TUNED, "ours is measured on procedural images", MISSING),
    ),
]


def picked(wanted: dict[str, str]) -> Entry:
    """The first row of the file whose fields begin as wanted; a wanted `how` or `method` is the whole of it."""
    whole = {"how": "fine-tune", **wanted} if wanted.get("source") == "BenchX" else wanted

    def fits(one: Entry) -> bool:
        fields: dict[str, Any] = vars(one)
        exact = ("how", "method", "target", "labels")
        return all(fields[n] == v if n in exact else str(fields[n]).startswith(v) for n, v in whole.items())

    return next(one for one in entries() if fits(one))


@pytest.mark.parametrize(("wanted", "column", "facts", "reasons"), PAIRS)
def test_verdict_and_all_reasons(
    wanted: dict[str, str], column: Target, facts: Facts, reasons: tuple[str, ...]
) -> None:
    assert comparable(picked(wanted), column, facts) == Verdict(comparable=not reasons, reasons=reasons)


def test_the_table_is_large_enough_and_has_both_verdicts() -> None:
    assert len(PAIRS) >= 30 and {bool(reasons) for *_, reasons in PAIRS} == {True, False}


def test_a_head_that_is_stated_compares_where_it_is_ours() -> None:
    """BenchX's Table 6 has nine methods with four heads each; Table 1 does not say which it has."""
    found: dict[str, list[bool]] = {}
    for one in entries():
        if one.source.startswith("BenchX") and one.target == "nih" and one.labels == "1%":
            found.setdefault(one.head, []).append(comparable(one, NIH_1, RELEASED).comparable)
    assert found == {
        "": [True] * 10,
        "plain head": [True] * 9,
        "+DLR": [False] * 9,
        "+DLR+LN": [False] * 9,
        "+DLR+LN+TNI": [False] * 9,
    }


def test_no_other_particular_of_a_protocol_is_a_head() -> None:
    said = {one.how for one in entries() if not one.head}
    assert said == {
        "fine-tune",
        "fine-tune 480x480",
        "fine-tune, ten crops",
        "linear probe",
        "linear probe (logistic regression, C fixed)",
        "not in REFERS paper",
        "not in REFERS paper (MRM's authors inferred)",
        "reprinted",
    }


def test_few_shots_are_no_ratio() -> None:
    found = comparable(picked(SHOTS), COVID, Facts(params={"lists": ""})).reasons
    assert "trained on 4-shot, ours on 100 % of labels" in found


def test_nothing_chosen_on_test_compares_with_any_column() -> None:
    columns = [
        Target(dataset=d, task=t, label_ratio=r)
        for pairs in TARGETS.values()
        for d, t in pairs
        for r in (0.01, 0.1, 1.0)
    ]
    facts = [Facts(params={"split": split}) for split in ("released", "official", "seeded")]
    same = [one for one in entries() for c in columns for f in facts if comparable(one, c, f).comparable]
    assert same and {one.selection for one in same} == {"val"} and {one.split for one in same} == {"nih-mrm"}


def test_targets_are_tasks_of_datasets() -> None:
    assert {one.target for one in entries()} >= set(TARGETS)
    assert all(task in load("dataset", dataset).tasks for pairs in TARGETS.values() for dataset, task in pairs)


def planned(folder: Any, key: str, params: dict[str, Any], images: int, **cell: Any) -> Any:
    """Results of one cell whose images a job of the plan prepares."""
    folder.job(key, kind="prepare", spec={"kind": "prepare", "dataset": "nih_chestxray14", "params": params})
    found = folder.cell("refers", dataset="nih_chestxray14", task="findings", **cell)
    next(job for job in folder.lock["jobs"] if job["key"] == found)["spec"]["prepare"] = key
    folder.lock["images"] = {key: images}
    return folder.load()


def test_facts_are_those_of_the_plan(folder: Any) -> None:
    params = {"split": "released", "lists": "nih_lists", "views": [], "missing": "skip"}
    results = planned(folder, "images", params, 2292)
    # 112,120 images: the data's own paper.
    assert Facts.of(results, NIH) == Facts(params=params, images=2292, documented=112_120)


def test_facts_of_one_view_of_an_older_plan_and_of_folds(folder: Any) -> None:
    params = {"split": "official", "views": ["PA"], "gone": 1}
    planned(folder, "images", params, 67_310, folds=3)
    (crossed,) = [job for job in folder.lock["jobs"] if job["kind"] == "finetune"]
    folder.job("fold0", spec={"kind": "finetune", "prepare": "images"})
    crossed["spec"] = {"kind": "out_of_fold", "folds": ["fold0"]}
    results = folder.load()
    assert Facts.of(results, replace(NIH, folds=3)) == Facts(params=params, images=67_310, documented=67_310)


def test_facts_of_imported_and_of_procedural_images_are_unknown(folder: Any) -> None:
    folder.cell("refers", dataset="nih_chestxray14", task="findings", synthetic=True)
    assert Facts.of(folder.load(), NIH) == Facts(synthetic=True)
    folder.lock["cells"][0]["selected_on"] = "test"
    assert Facts.of(folder.load(), NIH) == Facts(synthetic=True, chosen_on_test=True)


def test_lists_by_name_are_those_of_the_registry_and_leaks_are_named() -> None:
    column = Target(dataset="nih_chestxray14", task="findings", label_ratio=0.01)
    named = Facts(params={"split": "released", "lists": {"pack": "nih-official", "accept": []}})
    entry = entries()[0]
    assert entry.split == "nih-mrm"
    assert "other split: nih-mrm, ours is nih-official" in comparable(entry, column, named).reasons
    assert comparable(replace(entry, split="nih-official"), column, named).comparable
    leaking = comparable(replace(entry, split="rsna-benchx"), column, named).reasons
    assert any("its lists: LEAKS: 2,715 of 4,003 test images" in reason for reason in leaking)
