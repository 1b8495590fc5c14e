"""Can a user take in the released files, or anybody's table, and see figures, findings and errors?"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

RELEASED = {
    ("refers", "nih_chestxray14", 0.01): 76.68, ("refers", "nih_chestxray14", 1.0): 84.41,
    ("refers", "vinbigdata_cxr", 0.01): 81.09, ("refers", "vinbigdata_cxr", 1.0): 88.59,
    ("refers", "shenzhen_tb", 1.0): 97.90, ("refers", "covid19_idc", 1.0): 82.15,
    ("context_restoration", "nih_chestxray14", 1.0): 81.6,
}  # fmt: skip


def command(results: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "refers_bench", "--results", str(results), *arguments]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def lines(name: str = "mine", images: int = 30) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"method": name, "dataset": "own", "task": "t", "label_ratio": 1, "class": label, "image_id": f"i{n}",
             "label": int(n % 3 == 0), "score": n % 7 + 0.01 * n + (n % 3 == 0)}
            for n in range(images) for label in ("x", "y")
        ]
    )  # fmt: skip


@pytest.mark.slow
def test_released_predictions_have_the_known_means(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "released-predictions"
    if not folder.is_dir():
        pytest.skip(f"no released predictions in {real_data}")
    done = command(tmp_path, "results", "import", "refers-release", str(folder))
    assert done.returncode == 0, done.stderr
    assert "model_genesis and transvw: identical scores of the positive images (14 classes)" in done.stdout
    report = command(tmp_path, "report", "refers-release", "--format", "csv", "--format", "html")
    assert report.returncode == 0, report.stderr
    out = tmp_path / "refers-release" / "report"
    cells = pd.read_csv(out / "tidy-cells.csv").set_index(["method", "dataset", "label_ratio"])["mean_auc"] * 100
    for where, figure in RELEASED.items():
        assert cells[where] == pytest.approx(figure, abs=0.0101 if figure != 81.6 else 0.051), where
    beside = pd.read_csv(out / "references.csv")
    row = beside[beside["row"].str.startswith("REFERS, nih_chestxray14: findings, 1 %")].set_index("column")["value"]
    assert (row["published"], row["released files"]) == pytest.approx((76.7, 76.68), abs=0.01)
    claims = command(tmp_path, "claims", "refers-release")
    assert claims.returncode == 0
    assert "published: 33 holds, 6 no data" in claims.stdout
    for name in ("integrity", "test-images", "delong-nih_chestxray14-findings-1", "claims"):
        assert (out / f"{name}.csv").is_file(), name


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_anybodys_table(tmp_path: Path, format: str) -> None:  # noqa: A002
    frame = lines().assign(extra=1)
    path = tmp_path / f"predictions.{format}"
    frame.to_csv(path, index=False) if format == "csv" else frame.to_parquet(path)
    done = command(tmp_path / "r", "results", "import", format, str(path))
    assert done.returncode == 0, done.stderr
    assert "columns not read: extra" in done.stdout
    lock = json.loads((tmp_path / "r" / "predictions" / "plan.lock.json").read_text())
    assert lock["manifest"]["origin"] == "imported"
    again = command(tmp_path / "r", "results", "import", format, str(path), "--name", "again")
    assert again.returncode == 0 and len(list((tmp_path / "r" / "store").iterdir())) == 1
    status = command(tmp_path / "r", "status")
    assert status.returncode == 0 and "again" in status.stdout


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="score"), "no column score"),
        (lambda f: f.assign(label=[2, *f["label"][1:]]), "predictions.csv:2: label '2'; allowed: 1, 0 or empty"),
        (lambda f: f.assign(score=[*f["score"][:-1].astype(str), "high"]), "predictions.csv:61: score 'high'"),
        (lambda f: f.assign(label_ratio=0), "label_ratio '0'"),
        (lambda f: f.assign(method=""), "predictions.csv:2: method ''"),
        (lambda f: f.assign(method="m" * 201), "at most 200 characters"),
        (lambda f: pd.concat([f, f[:1]]), "two rows of the class 'x'"),
        (lambda f: f[1:], "image 'i0' has rows of 1 of 2 classes"),
        (lambda f: f[:0], "no row"),
    ],
)
def test_bad_tables_are_one_clear_error(tmp_path: Path, change: object, message: str) -> None:
    path = tmp_path / "predictions.csv"
    change(lines()).to_csv(path, index=False)  # type: ignore[operator]
    done = command(tmp_path / "r", "results", "import", "csv", str(path))
    assert done.returncode == 2
    assert message in done.stderr.replace("\n", " ") and "Traceback" not in done.stderr
    assert not (tmp_path / "r" / "predictions").exists()


def test_empty_fields_of_a_parquet_file_are_not_names(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    frame = lines().assign(patient_id="p")
    frame.loc[3, "method"] = None
    frame.to_parquet(path)
    done = command(tmp_path / "r", "results", "import", "parquet", str(path))
    assert done.returncode == 2 and "in row 3; allowed: a name" in done.stderr.replace("\n", " ")
    frame = lines().assign(patient_id="p")
    frame.loc[3, "patient_id"] = None
    frame.to_parquet(path)
    assert command(tmp_path / "r", "results", "import", "parquet", str(path)).returncode == 0


def test_a_plan_of_ones_own_is_not_replaced_and_a_terminal_obeys_no_name(tmp_path: Path) -> None:
    path, plan = tmp_path / "smoke.csv", tmp_path / "r" / "smoke" / "plan.lock.json"
    lines().assign(score=0.5, method="\x1b]0;x\x07").to_csv(path, index=False)
    done = command(tmp_path / "r", "results", "import", "csv", str(path))
    assert done.returncode == 0 and "all images have one score" in done.stdout and "\x1b" not in done.stdout
    lock = json.loads(plan.read_text())
    plan.write_text(json.dumps({**lock, "manifest": {**lock["manifest"], "origin": "run"}}))
    before = plan.read_bytes()
    done = command(tmp_path / "r", "results", "import", "csv", str(path))
    assert done.returncode == 2 and "a plan 'smoke' of another origin: run" in done.stderr.replace("\n", " ")
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
    done = command(tmp_path / "r", "results", "import", "refers-release", str(tmp_path / "in"))
    assert done.returncode == 2, done.stdout
    assert message in done.stderr and "Traceback" not in done.stderr


def test_release_reads_what_it_knows_and_names_the_rest(tmp_path: Path) -> None:
    at = release(tmp_path / "in")
    (at.parents[1] / "notes.ipynb").write_text("{}")
    done = command(tmp_path / "r", "results", "import", "refers-release", str(tmp_path / "in"))
    assert done.returncode == 0, done.stderr
    assert "not read: Shenzhen Tuberculosis/notes.ipynb" in done.stdout and "100.0" in done.stdout
    assert "from the released prediction files" in done.stdout and "measured here" not in done.stdout
    shutil.rmtree(tmp_path / "in" / "Results_of_fine-tuning")
    empty = command(tmp_path / "r", "results", "import", "refers-release", str(tmp_path / "in"))
    assert empty.returncode == 2 and "no prediction file" in empty.stderr


def test_claims_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "version: 1\nclaims:\n  - {id: a, place: Table 1, statement: S., "
        'expression: \'auc("REFERS", "nih", 1)\', at_least: 90}\n'
    )
    done = command(tmp_path / "r", "claims", "--file", str(path))
    assert done.returncode == 0 and "published: 1 fails" in done.stdout
