"""The Python API gives the numbers of the CSV files, as data frames, and speaks like the command line of mistakes."""

from __future__ import annotations

import inspect
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import refers_bench as rb
from refers_bench import api
from refers_bench.errors import UserError
from refers_bench.store import schemas
from results_folder import Folder

ROOT = Path(__file__).resolve().parents[2]
MANIFEST: dict[str, Any] = {
    "version": 1,
    "name": "small",
    "protocol": {"preset": "smoke"},
    "data": {"phantom": {"phantom": {"studies": 20, "size": 40}}},
    "source": {"dataset": "phantom"},
    "methods": ["refers", "scratch"],
    "targets": [{"dataset": "phantom", "tasks": ["findings"], "label_ratios": ["50%", 1.0]}],
    "seeds": (0, 1),
}


def predicted(folder: Folder, key: str, *, images: int = 40, seed: int = 0) -> None:
    """Predictions of two classes, of the test and the validation images."""
    random = np.random.default_rng(seed)
    rows = [
        {
            "image_id": f"{split}{image:03}",
            "patient_id": f"p{image // 2}",
            "class": name,
            "label": None if split == "val" and image == 0 else int(image % 4 == place),
            "logit": np.float32(random.normal() + (image % 4 == place)),
            "split": split,
        }
        for split in ("test", "val")
        for image in range(images)
        for place, name in enumerate(("normal", "opacity"))
    ]
    frame = pd.DataFrame(rows).astype({"label": "Int8", "logit": "float32"})
    schemas.write(folder.results / "store" / key / "predictions.parquet", frame, "predictions")


@pytest.fixture
def two_rows(folder: Folder) -> rb.StoredResults:
    """REFERS and random weights on two targets, three seeds each; one seed of the second target is missing."""
    for task, seeds in (("viral_vs_bacterial", 3), ("covid19_vs_other", 2)):
        for method, aucs in (("refers", (0.80, 0.82, 0.83)), ("scratch", (0.70, 0.74, 0.72))):
            for seed, auc in enumerate(aucs):
                own = {"normal": auc, "opacity": auc + 0.01 * seed}
                state = "missing" if method == "scratch" and seed >= seeds else "done"
                key = folder.cell(method, seed=seed, task=task, aucs=own, state=state)
                if state == "done":
                    predicted(folder, key, seed=seed + 10 * (method == "refers"))
    folder.save()
    return rb.results("tiny", results=folder.results)


def csv(results: rb.StoredResults, name: str) -> pd.DataFrame:
    """A table of the report as pandas reads it."""
    written = {path.name: path for path in results.report(["csv"])}
    text = written[name].read_text(encoding="utf-8")
    return pd.read_csv(io.StringIO(text), keep_default_na=False, na_values={"mean_auc": "", "auc": ""})


@pytest.mark.parametrize(("frame", "name"), [("cells", "tidy-cells.csv"), ("classes", "tidy-classes.csv")])
def test_frames_equal_the_csv_files(two_rows: rb.StoredResults, frame: str, name: str) -> None:
    found, expected = getattr(two_rows, frame)(), csv(two_rows, name)
    assert list(found.columns) == list(expected.columns)
    found["synthetic"] = found["synthetic"].astype("int64")
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


def test_comparison_equals_the_table_of_tests(two_rows: rb.StoredResults) -> None:
    found = two_rows.compare("refers", "scratch")
    table = csv(two_rows, "significance.csv").replace("", np.nan)
    rows = {name: row.set_index("column") for name, row in table.groupby("row", sort=False)}
    assert list(found["task"]) == ["viral_vs_bacterial", "covid19_vs_other"]
    first, second = found.to_dict("records")
    (complete,) = [row for name, row in rows.items() if "viral_vs_bacterial" in name]
    value = pd.to_numeric(complete["value"])
    assert first["difference"] * 100 == value["difference"]
    assert (first["t"], first["p"], first["p_holm"]) == (value["t"], value["P"], value["P, Holm"])
    assert (first["n_first"], first["n_second"], first["df"]) == (3, 3, 4)
    ends = pd.to_numeric(complete.loc["95 % interval", ["low", "high"]])
    assert [first["low"] * 100, first["high"] * 100] == list(ends)
    assert (first["test"], first["no_p"]) == (complete.loc["P", "test"], "")
    assert first["image_low"] < first["difference"] or first["image_high"] > first["image_low"]
    assert (first["unit"], first["n_units"]) == ("patient", 20)
    assert (second["n_first"], second["n_second"], second["test"]) == (3, 2, "")
    assert second["no_p"] and np.isnan([second[name] for name in ("difference", "low", "high", "p", "p_holm")]).all()


def test_a_comparison_turns_its_sign_with_the_order(two_rows: rb.StoredResults) -> None:
    one, other = (two_rows.compare(*rows).iloc[0] for rows in (("refers", "scratch"), ("scratch", "refers")))
    assert one["difference"] == -other["difference"] > 0.09
    assert one["p"] == other["p"] < 0.01
    assert one["image_low"] == pytest.approx(-other["image_high"])


def test_predictions_are_those_of_the_store(two_rows: rb.StoredResults) -> None:
    found = two_rows.predictions()
    assert len(found) == 11 * 40 * 2
    assert set(found["split"]) == {"test"}
    assert (str(found["label"].dtype), str(found["logit"].dtype)) == ("Int8", "float32")
    one = found[(found["method"] == "refers") & (found["task"] == "covid19_vs_other") & (found["seed"] == 2)]
    stored = schemas.read(two_rows.folder / "store" / one["key"].iloc[0] / "predictions.parquet", "predictions")
    stored = stored[stored["split"] == "test"]
    assert list(one["image_id"]) == list(stored["image_id"])
    assert list(one["logit"]) == list(stored["logit"])
    both = two_rows.predictions(method="scratch", dataset="covid19_idc", split=None)
    assert set(both["method"]) == {"scratch"} and set(both["split"]) == {"test", "val"}
    assert len(both) == 5 * 80 * 2 and both["label"].isna().sum() == 5 * 2


def test_a_result_that_seeds_share_is_listed_once(folder: Folder) -> None:
    key = folder.cell("refers", seed=0)
    folder.lock["cells"].append({**folder.lock["cells"][0], "seed": 1})
    predicted(folder, key)
    folder.save()
    found = rb.results("tiny", results=folder.results)
    assert len(found.cells()) == 2
    assert len(found.predictions()) == 80 and set(found.predictions()["seed"]) == {0}


def test_rows_that_share_a_result_are_both_listed(folder: Folder) -> None:
    key = folder.cell("refers")
    folder.lock["cells"].append({**folder.lock["cells"][0], "method": "same"})
    predicted(folder, key)
    folder.save()
    found = rb.results("tiny", results=folder.results).predictions()
    assert list(found["method"].unique()) == ["refers", "same"] and len(found) == 160


def test_means_over_other_classes_are_not_compared(folder: Folder) -> None:
    for method, opacity in (("refers", 0.7), ("scratch", None)):
        for seed in range(2):
            folder.cell(method, seed=seed, aucs={"normal": 0.8 + 0.01 * seed, "opacity": opacity})
    folder.save()
    (row,) = rb.results("tiny", results=folder.results).compare("refers", "scratch").to_dict("records")
    assert np.isnan(row["difference"]) and "classes" in row["no_p"]
    assert (row["n_first"], row["n_second"], row["unit"]) == (2, 2, "")


def test_one_seed_each_has_a_difference_and_no_p_value(folder: Folder) -> None:
    for method, auc in (("refers", 0.75), ("scratch", 0.5)):
        folder.cell(method, aucs={"normal": auc})
    folder.save()
    (row,) = rb.results("tiny", results=folder.results).compare("scratch", "refers").to_dict("records")
    assert row["difference"] == -0.25 and np.isnan(row["p"]) and "two seeds" in row["no_p"]


def test_a_figure_is_shown_and_saved(two_rows: rb.StoredResults, tmp_path: Path) -> None:
    figure = two_rows.figure("forest")
    assert figure._repr_svg_() == figure.svg()
    assert figure.svg().startswith("<?xml") and "minus each other method" in figure.caption
    assert two_rows.figure("figure-forest").svg() == figure.svg()
    assert figure.save(tmp_path / "new" / "f.svg").read_text() == figure.svg()
    assert figure.save(str(tmp_path / "f.pdf")).read_bytes().startswith(b"%PDF")
    with pytest.raises(UserError, match=r"cannot be written as '\.png'; allowed: \.svg or \.pdf"):
        figure.save(tmp_path / "f.png")


def test_one_of_several_figures_is_asked_for_by_its_id(two_rows: rb.StoredResults) -> None:
    with pytest.raises(UserError, match=r"2 figures of the kind 'classes'; allowed: one of figure-classes-") as caught:
        two_rows.figure("classes")
    name = str(caught.value).rpartition(", ")[2]
    assert two_rows.figure(name).figure.id == name


def test_mistakes_say_what_is_allowed(two_rows: rb.StoredResults) -> None:
    for call, message in (
        (lambda: two_rows.compare("refers", "scrach"), "unknown row 'scrach'; allowed: refers, scratch; did you mean"),
        (lambda: two_rows.compare("refers", "refers"), "'refers' is compared with itself"),
        (lambda: two_rows.predictions(method="x"), "unknown row 'x'"),
        (lambda: two_rows.predictions(dataset="covid"), "unknown target dataset 'covid'; allowed: covid19_idc"),
        (lambda: two_rows.figure("forrest"), "unknown figure 'forrest'; allowed: .*; did you mean 'forest'"),
        (lambda: two_rows.figure("attention"), "these results have nothing to draw for the figure 'attention'"),
        (lambda: rb.results("tyni", results=two_rows.folder), "manifest 'tyni' has no plan here.*did you mean 'tiny'"),
    ):
        with pytest.raises(UserError, match=message):
            call()


def test_without_predictions(folder: Folder) -> None:
    folder.cell("refers")
    folder.save()
    with pytest.raises(UserError, match="no finished cell has predictions"):
        rb.results("tiny", results=folder.results).predictions()


def test_a_plan_of_a_mapping(home: Path) -> None:
    found = rb.plan(MANIFEST)
    assert list(found.columns) == ["name", "kind", "state", "unavailable", "key"]
    assert (found["kind"] == "finetune").sum() == 8
    assert set(found["state"]) == {"to do"} and set(found["unavailable"]) == {""}
    assert (home / "results" / "small" / "plan.lock.json").is_file()
    few = rb.plan(MANIFEST, only="scratch.*.s1", results="elsewhere", write=False)
    assert set(few["name"]) < set(found["name"]) and (few["kind"] == "finetune").sum() == 2
    assert set(few["key"]) < set(found["key"])
    assert not (home / "elsewhere").exists()
    assert set(rb.results(MANIFEST).cells()["state"]) == {"missing"}


def test_a_plan_with_changes_is_that_of_the_command_line(home: Path) -> None:
    from command_line import command

    how: dict[str, Any] = {
        "set": {"finetune.steps": 60, "title": "Other: one"},
        "limit": 5,
        "seeds": [1],
        "rows": ["scratch"],
    }
    (home / "small.yaml").write_text(json.dumps(MANIFEST))
    found = rb.plan("small.yaml", **how)
    lock = (home / "results" / "small" / "plan.lock.json").read_bytes()
    options = [
        "--set",
        "finetune.steps=60",
        "--set",
        'title="Other: one"',
        "--limit",
        "5",
        "--seeds",
        "1",
        "--rows",
        "scratch",
    ]
    assert command("plan", "small.yaml", *options).code == 0
    assert (home / "results" / "small" / "plan.lock.json").read_bytes() == lock
    assert (found["kind"] == "finetune").sum() == 2
    assert list(rb.plan(MANIFEST, **how)["key"]) == list(found["key"])
    with pytest.raises(UserError, match=r"--set finetune\.stepz=3: unknown .*'finetune\.stepz'"):
        rb.plan(MANIFEST, set={"finetune.stepz": 3})
    with pytest.raises(UserError, match="set: Object of type object is not JSON serializable; allowed: numbers"):
        rb.plan(MANIFEST, set={"finetune.steps": object()})


def test_a_value_of_a_mapping_has_its_key_as_origin(home: Path) -> None:
    overrides = {"finetune": {"steps": 60}}
    rb.plan({**MANIFEST, "protocol": {"preset": "smoke", "overrides": overrides}})
    lock = (home / "results" / "small" / "plan.lock.json").read_text()
    assert "manifest['protocol']['overrides']['finetune']['steps']" in lock and "None:None" not in lock


def test_a_mapping_and_a_file_give_the_same_jobs(home: Path) -> None:
    (home / "small.yaml").write_text(
        "version: 1\nprotocol: {preset: smoke}\ndata: {phantom: {phantom: {studies: 20, size: 40}}}\n"
        "source: {dataset: phantom}\nmethods: [refers, scratch]\nseeds: [0, 1]\n"
        "targets: [{dataset: phantom, tasks: [findings], label_ratios: [50%, 100%]}]\n"
    )
    pd.testing.assert_frame_equal(rb.plan("small.yaml", results="a"), rb.plan(MANIFEST, results="b"))
    assert len(rb.plan("smoke", results="c")) > 100
    assert rb.results("small.yaml", results="a").name == "small"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ["refrs"]}, r"manifest['methods'][0]: unknown method 'refrs'; allowed: "),
        ({"seeds": [0, -1]}, r"manifest['seeds'][1]: "),
        ({"nam": "x"}, r"manifest['nam']: "),
        ({"title": object()}, r"manifest['title']: a object; allowed: plain YAML values"),
        ({"name": ""}, r"manifest: a mapping without 'name'; allowed: the name of its folder"),
        ({"name": "store"}, r"manifest['name']: the name 'store'; allowed: "),
        ({"include": ["absent.yaml"]}, r"manifest['include'][0]: included file absent.yaml does not exist"),
    ],
)
def test_mistakes_in_a_mapping_have_their_key(home: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        rb.plan({**MANIFEST, **changes})
    assert message in str(caught.value).splitlines()[0], caught.value


def test_the_verb_stays_when_the_package_of_its_name_is_imported() -> None:
    program = (
        "import refers_bench.plan.lock, refers_bench as rb; from refers_bench import plan; assert plan is rb.plan\n"
        "rb.results; import refers_bench.plan.states; assert rb.plan is plan and callable(plan), plan\n"
        "from refers_bench.plan import order; assert order.__name__ == 'refers_bench.plan.order'"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def test_the_public_names_are_documented() -> None:
    stub = (ROOT / "refers_bench" / "__init__.pyi").read_text()
    assert set(rb.__all__) - {"__version__"} == set(api.__all__)
    for name in api.__all__:
        assert f"import {name} as {name}" in stub
        assert getattr(rb, name) is getattr(api, name)
        assert inspect.getdoc(getattr(rb, name))
    with pytest.raises(AttributeError, match="has no attribute 'plans'"):
        _ = rb.plans  # type: ignore[attr-defined]
    assert set(dir(rb)) == set(rb.__all__)


@pytest.mark.parametrize("name", ["cells", "classes", "compare", "predictions"])
def test_every_column_is_documented(two_rows: rb.StoredResults, name: str) -> None:
    frame = getattr(two_rows, name)(*(("refers", "scratch") if name == "compare" else ()))
    documented = inspect.getdoc(getattr(rb.StoredResults, name)) or ""
    if name == "classes":
        documented += inspect.getdoc(rb.StoredResults.cells) or ""
    assert not [column for column in frame.columns if f"``{column}``" not in documented]
