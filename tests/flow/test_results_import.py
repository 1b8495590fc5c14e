"""A user takes in the released files, or anybody's table, and sees figures, findings and errors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from command_line import command_in
from refers_bench.analysis.results import load
from refers_bench.plan import lock
from refers_bench.reporting.page import items

RELEASED = {
    ("refers", "nih_chestxray14", 0.01): 76.68, ("refers", "nih_chestxray14", 1.0): 84.41,
    ("refers", "vinbigdata_cxr", 0.01): 81.09, ("refers", "vinbigdata_cxr", 1.0): 88.59,
    ("refers", "shenzhen_tb", 1.0): 97.90, ("refers", "covid19_idc", 1.0): 82.15,
    ("context_restoration", "nih_chestxray14", 1.0): 81.6,
}  # fmt: skip


def lines(name: str = "mine", images: int = 30) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"method": name, "dataset": "own", "task": "t", "label_ratio": 1, "class": label, "image_id": f"i{n}",
             "label": int(n % 3 == 0), "score": n % 7 + 0.01 * n + (n % 3 == 0), "selected_on": "val"}
            for n in range(images) for label in ("x", "y")
        ]
    )  # fmt: skip


@pytest.mark.slow
def test_released_predictions_have_the_known_means(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "released-predictions"
    if not folder.is_dir():
        pytest.skip(f"no released predictions in {real_data}")
    done = command_in(tmp_path, "results", "import", "refers-release", str(folder))
    assert done.code == 0, done.err
    three = "nih_chestxray14, 100 %: model_genesis, context_restoration, transvw"
    assert f"{three}: identical scores of the positive images (14 classes)" in done.out
    report = command_in(tmp_path, "report", "refers-release", "--format", "csv", "--format", "html")
    assert report.code == 0, report.err
    out = tmp_path / "refers-release" / "report"
    cells = pd.read_csv(out / "tidy-cells.csv").set_index(["method", "dataset", "label_ratio"])["mean_auc"] * 100
    for where, figure in RELEASED.items():
        assert cells[where] == pytest.approx(figure, abs=0.0101 if figure != 81.6 else 0.051), where
    beside = pd.read_csv(out / "references.csv")
    row = beside[beside["row"].str.startswith("REFERS, nih_chestxray14: findings, 1 %")].set_index("column")["value"]
    assert (row["published"], row["released files"]) == pytest.approx((76.7, 76.68), abs=0.01)
    files = sum(1 for part in folder.rglob("*") if part.is_dir() and any(part.glob("*.txt")))
    page = (out / "index.html").read_text()
    assert f"Of the {files} mean AUCs of the released files, " in page
    # 48 in the whole release without viral against bacterial; the 36 of the folder here lack the ratio of 10 %.
    assert files in (36, 48)
    off = (24, 11) if files == 48 else (16, 8)
    assert f"{off[0]} differ from the published ones by more than 0.1 point, {off[1]} by more than 1 point" in page
    shared = "Model Genesis, Context Restoration and TransVW share scores in this column"
    for name in ("test-images", "references", "classes-nih_chestxray14-findings-1"):
        assert shared in (out / f"{name}.csv").read_text(), name
    # Tables of many columns have one footnote for all rows that share scores.
    assert (
        "shares scores with other rows of its column: see the table of integrity." in (out / "table1.csv").read_text()
    )
    claims = command_in(tmp_path, "claims", "refers-release")
    assert claims.code == 0
    assert "published: 33 holds, 6 no data" in claims.out
    for name in ("integrity", "test-images", "delong-nih_chestxray14-findings-1", "claims"):
        assert (out / f"{name}.csv").is_file(), name


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_anybodys_table(tmp_path: Path, format: str) -> None:  # noqa: A002
    frame = lines().assign(extra=1)
    path = tmp_path / f"predictions.{format}"
    frame.to_csv(path, index=False) if format == "csv" else frame.to_parquet(path)
    done = command_in(tmp_path / "r", "results", "import", format, str(path))
    assert done.code == 0, done.err
    assert "columns not read: extra" in done.out
    lock = json.loads((tmp_path / "r" / "predictions" / "plan.lock.json").read_text())
    assert lock["manifest"]["origin"] == "imported"
    again = command_in(tmp_path / "r", "results", "import", format, str(path), "--name", "again")
    assert again.code == 0 and len(list((tmp_path / "r" / "store").iterdir())) == 1
    status = command_in(tmp_path / "r", "status")
    assert status.code == 0 and "again" in status.out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="score"), "no column score"),
        (lambda f: f.assign(label=[2, *f["label"][1:]]), "predictions.csv:2: label '2'; allowed: 1, 0 or empty"),
        (lambda f: f.assign(score=[*f["score"][:-1].astype(str), "high"]), "predictions.csv:61: score 'high'"),
        (lambda f: f.assign(label_ratio=0), "label_ratio '0'"),
        (
            lambda f: f.assign(label_ratio="101%"),
            "predictions.csv:2: label_ratio '101%'; allowed: above 0, at most 1, or",
        ),
        (
            lambda f: f.assign(dataset=[*f["dataset"][:-1], "shenzhen_tb"], task=[*f["task"][:-1], "tb"]),
            "predictions.csv:61: task of shenzhen_tb 'tb'; allowed: tuberculosis",
        ),
        (lambda f: f.assign(method=""), "predictions.csv:2: method ''"),
        (lambda f: f.assign(method="m" * 201), "at most 200 characters"),
        (lambda f: pd.concat([f, f[:1]]), "two rows of the class 'x'"),
        (lambda f: f[1:], "image 'i0' has rows of 1 of 2 classes"),
        (lambda f: f[:0], "no row"),
        (
            lambda f: f.drop(columns="selected_on"),
            "on which images the checkpoints were chosen is not stated; allowed: a column 'selected_on', or --selected-on: "
            "val, test, none, unknown",
        ),
        (lambda f: f.assign(selected_on="train"), "predictions.csv:2: selected_on 'train'; allowed: val, test, none"),
        (
            lambda f: f.assign(selected_on=["test", *f["selected_on"][1:]]),
            "mine.own.t.100%.s0: selected_on is test and val",
        ),
    ],
)
def test_bad_tables_are_one_clear_error(tmp_path: Path, change: object, message: str) -> None:
    path = tmp_path / "predictions.csv"
    change(lines()).to_csv(path, index=False)  # type: ignore[operator]
    done = command_in(tmp_path / "r", "results", "import", "csv", str(path))
    assert done.code == 2
    assert message in done.err.replace("\n", " ")
    assert not (tmp_path / "r" / "predictions").exists()


def test_a_percentage_is_the_share_it_states(tmp_path: Path) -> None:
    for place, ratio in enumerate(("100%", "1", "12.5 %", "0.125")):
        path = tmp_path / f"p{place}.csv"
        lines().assign(label_ratio=ratio).to_csv(path, index=False)
        assert command_in(tmp_path / "r", "results", "import", "csv", str(path)).code == 0
    plans = [json.loads((tmp_path / "r" / f"p{place}" / "plan.lock.json").read_text()) for place in range(4)]
    assert [plan["cells"][0]["label_ratio"] for plan in plans] == [1.0, 1.0, 0.125, 0.125]


def test_what_was_chosen_on_test_images_is_marked_wherever_it_appears(tmp_path: Path) -> None:
    """A row that states it, beside one that does not: tables in all formats, captions of figures, the terminal."""
    both = pd.concat([lines("mine"), lines("theirs")])
    both["seed"], again = 0, both.assign(seed=1, score=both["score"] + both["label"])
    path = tmp_path / "p.csv"
    frame = pd.concat([both, again])
    frame["selected_on"] = frame["method"].map({"mine": "val", "theirs": "test"})
    frame.to_csv(path, index=False)
    done = command_in(tmp_path / "r", "results", "import", "csv", str(path), "--report")
    assert done.code == 0, done.err
    (line,) = [line for line in done.out.splitlines() if "chosen on test" in line and "theirs" in line]
    assert not [line for line in done.out.splitlines() if "chosen on test" in line and "mine" in line], line
    out = tmp_path / "r" / "p" / "report"
    formats = [word for name in ("csv", "markdown", "latex") for word in ("--format", name)]
    assert command_in(tmp_path / "r", "report", "p", *formats).code == 0
    why = "chosen on test, as its importer states"
    for name in (
        "index.html",
        "report.md",
        "cells.tex",
        "cells.csv",
        "test-images.csv",
        "operating.csv",
        "classes-own-t-1.csv",
    ):
        assert why in (out / name).read_text(), name
    marked = pd.read_csv(out / "cells.csv").set_index("row")["tag"].fillna("")
    assert marked.loc["theirs"] == "chosen on test" and marked.loc["mine"] == ""
    assert "Chosen on test images: theirs, own: t, 100 % of labels." in (out / "report.md").read_text()


def test_a_file_without_the_column_is_stated_as_a_whole_and_never_twice(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    lines().drop(columns="selected_on").to_csv(path, index=False)
    line = ("results", "import", "csv", str(path), "--selected-on", "unknown", "--report")
    assert command_in(tmp_path / "r", *line).code == 0
    page = (tmp_path / "r" / "p" / "report" / "index.html").read_text()
    assert "unknown on which images its checkpoint was chosen" in page and "--selected-on unknown" in page
    assert "chosen on test" not in page
    lines().to_csv(path, index=False)
    done = command_in(tmp_path / "r", *line)
    assert done.code == 2 and "is stated by a column and by --selected-on" in done.err.replace("\n", " ")


def test_empty_fields_of_a_parquet_file_are_not_names(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    frame = lines().assign(patient_id="p")
    frame.loc[3, "method"] = None
    frame.to_parquet(path)
    done = command_in(tmp_path / "r", "results", "import", "parquet", str(path))
    assert done.code == 2 and "in row 3; allowed: a name" in done.err.replace("\n", " ")
    frame = lines().assign(patient_id="p")
    frame.loc[3, "patient_id"] = None
    frame.to_parquet(path)
    assert command_in(tmp_path / "r", "results", "import", "parquet", str(path)).code == 0


def test_a_plan_of_ones_own_is_not_replaced_and_a_terminal_obeys_no_name(tmp_path: Path) -> None:
    path, plan = tmp_path / "smoke.csv", tmp_path / "r" / "smoke" / "plan.lock.json"
    lines().assign(score=0.5, method="\x1b]0;x\x07").to_csv(path, index=False)
    done = command_in(tmp_path / "r", "results", "import", "csv", str(path))
    assert done.code == 0 and "all images have one score" in done.out and "\x1b" not in done.out
    lock = json.loads(plan.read_text())
    plan.write_text(json.dumps({**lock, "manifest": {**lock["manifest"], "origin": "run"}}))
    before = plan.read_bytes()
    done = command_in(tmp_path / "r", "results", "import", "csv", str(path))
    assert done.code == 2 and "a plan 'smoke' of another origin: run" in done.err.replace("\n", " ")
    assert plan.read_bytes() == before


def release(folder: Path) -> Path:
    at = folder / "Results_of_fine-tuning" / "Shenzhen Tuberculosis" / "tuberculosis" / "REFERS"
    at.mkdir(parents=True)
    (at / "Tuberculosis.txt").write_text("0.0 0.1\n1.0 0.9\n1.0 0.8\n")
    return at


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("Tuberculosis.txt", "0.0 0.1\n2.0 0.5\n", "Tuberculosis.txt:2: '2.0 0.5'"),
        ("Tuberculosis.txt", "0.0 0.1\n1.0\n", "Tuberculosis.txt:2: '1.0'"),
        ("Tuberculosis.txt", "0.0 x\n", "Tuberculosis.txt:1: '0.0 x'"),
        ("Tuberculosis.txt", "", "Tuberculosis.txt: "),
        ("Cough.txt", "0.0 0.1\n", "a class 'Cough'; allowed: Tuberculosis"),
    ],
)
def test_bad_release_files(tmp_path: Path, name: str, text: str, message: str) -> None:
    (release(tmp_path / "in") / name).write_text(text)
    done = command_in(tmp_path / "r", "results", "import", "refers-release", str(tmp_path / "in"))
    assert done.code == 2, done.out
    assert message in done.err


def test_a_file_that_no_rule_reads_is_an_error_or_stands_in_the_report(tmp_path: Path) -> None:
    """A folder that is called otherwise must not drop a column of the table in silence."""
    at = release(tmp_path / "in")
    stray = at.parents[1] / "tuberculosus" / "MG" / "Tuberculosis.txt"
    stray.parent.mkdir(parents=True)
    stray.write_text("0.0 0.1\n1.0 0.9\n")
    line = ("results", "import", "refers-release", str(tmp_path / "in"))
    done = command_in(tmp_path / "r", *line)
    said = " ".join(done.err.split())
    assert done.code == 2
    assert "1 file that no rule reads: Shenzhen Tuberculosis/tuberculosus/MG/Tuberculosis.txt" in said
    assert "--allow-unread" in said and not (tmp_path / "r" / "refers-release").exists()
    done = command_in(tmp_path / "r", *line, "--allow-unread", "--report")
    assert done.code == 0, done.err
    assert "not read: Shenzhen Tuberculosis/tuberculosus/MG/Tuberculosis.txt" in done.out
    page = (tmp_path / "r" / "refers-release" / "report" / "index.html").read_text()
    assert "Not read by the import: Shenzhen Tuberculosis/tuberculosus/MG/Tuberculosis.txt" in page
    assert "--allow-unread" in page


def test_release_reads_what_it_knows(tmp_path: Path) -> None:
    at = release(tmp_path / "in")
    # The release has both in many folders.
    (at / ".ipynb_checkpoints").mkdir()
    (at / ".ipynb_checkpoints" / "roc.ipynb").write_text("{}")
    (at.parent / ".DS_Store").write_bytes(b"")
    done = command_in(tmp_path / "r", "results", "import", "refers-release", str(tmp_path / "in"))
    assert done.code == 0, done.err
    assert "not read: Shenzhen Tuberculosis/tuberculosis/.DS_Store" in done.out and "100.0" in done.out
    assert "from the released prediction files" in done.out and "measured here" not in done.out
    shutil.rmtree(tmp_path / "in" / "Results_of_fine-tuning")
    empty = command_in(tmp_path / "r", "results", "import", "refers-release", str(tmp_path / "in"))
    assert empty.code == 2 and "no prediction file" in empty.err


def test_viral_against_bacterial_in_the_layout_of_the_release(tmp_path: Path) -> None:
    """139 lines, 14 bacterial (0) before 125 viral (1), three digits: as the release has them of five methods."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [14, 125])
    at = tmp_path / "in" / "Results_of_fine-tuning" / "COVID-19 Image Data Collection" / "bacterial_viral"
    expected = {}
    for method, name in (("MG", "model_genesis"), ("TransVW", "transvw")):
        scores = np.round(1 / (1 + np.exp(-(rng.normal(size=139) + labels))), 3)
        (at / method).mkdir(parents=True)
        rows = (f"{label:.1f} {score:.3f}\n" for label, score in zip(labels, scores, strict=True))
        (at / method / "bacterial_viral.txt").write_text("".join(rows))
        expected[name] = roc_auc_score(labels, scores)
    done = command_in(tmp_path / "r", "results", "import", "refers-release", str(tmp_path / "in"))
    assert done.code == 0, done.err
    done = command_in(tmp_path / "r", "report", "refers-release", "--format", "csv")
    assert done.code == 0, done.err
    cells = pd.read_csv(tmp_path / "r" / "refers-release" / "report" / "tidy-cells.csv").set_index("method")
    assert set(cells["dataset"] + " " + cells["task"]) == {"covid19_idc viral_vs_bacterial"}
    assert cells["mean_auc"].to_dict() == pytest.approx(expected, abs=1e-12)
    beside = pd.read_csv(tmp_path / "r" / "refers-release" / "report" / "references.csv")
    figures = beside[beside["row"].str.startswith("Model Genesis")].set_index("column")["value"]
    assert figures["published"] == 71.8 and figures["released files"] == pytest.approx(100 * expected["model_genesis"])


def test_columns_that_were_not_read_stand_in_the_report(tmp_path: Path) -> None:
    lines().assign(extra=1).to_csv(tmp_path / "p.csv", index=False)
    done = command_in(tmp_path / "r", "results", "import", "csv", str(tmp_path / "p.csv"), "--report")
    assert done.code == 0, done.err
    assert "Not read by the import: column extra" in (tmp_path / "r" / "p" / "report" / "index.html").read_text()


def test_only_declared_probabilities_are_out_of_range(tmp_path: Path) -> None:
    frame = lines()
    frame["score"] = [0.01 * (n % 97) for n in range(len(frame))]
    frame.loc[0, "score"] = 1.5
    frame.to_csv(tmp_path / "p.csv", index=False)
    line = ("results", "import", "csv", str(tmp_path / "p.csv"))
    assert "outside 0 to 1" not in command_in(tmp_path / "r", *line).out
    done = command_in(tmp_path / "r", *line, "--probabilities", "--name", "declared")
    assert "mine: declared probabilities, but some scores lie outside 0 to 1 (x)" in done.out


def test_claims_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "version: 1\nclaims:\n  - {id: a, place: Table 1, statement: S., "
        'expression: \'auc("REFERS", "nih", 1)\', at_least: 90}\n'
    )
    done = command_in(tmp_path / "r", "claims", "--file", str(path))
    assert done.code == 0 and "published: 1 fails" in done.out


def test_a_table_may_say_what_crossed_seeds_stand_for(tmp_path: Path) -> None:
    runs = [
        lines().assign(seed=2 * subset + init, subset_seed=subset, init_seed=init)
        for subset in (0, 1)
        for init in (0, 1)
    ]
    for run in runs:
        run["score"] += np.random.default_rng(run["seed"][0]).normal(size=len(run))
    frame = pd.concat(runs)
    frame.to_csv(tmp_path / "mine.csv", index=False)
    done = command_in(tmp_path / "r", "results", "import", "csv", str(tmp_path / "mine.csv"))
    assert done.code == 0, done.err
    plan = lock.read(tmp_path / "r" / "mine" / "plan.lock.json")
    assert [cell.crossed for cell in plan.cells] == [(0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 0)]
    (table,) = (item for item in items(load(tmp_path / "r", "mine"), ("variance",)) if item.id == "variance")
    assert table.rows[0].title == "own: t, 100 % of labels: mine"
    frame.assign(init_seed=range(len(frame))).to_csv(tmp_path / "mine.csv", index=False)
    done = command_in(tmp_path / "r", "results", "import", "csv", str(tmp_path / "mine.csv"))
    assert done.code == 2 and "60 combinations of seeds; allowed: one for each seed" in done.err
