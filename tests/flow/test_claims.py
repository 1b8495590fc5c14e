"""`claims --others` as a user sees it: whole on a narrow terminal, one line a figure in a file, and as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyte
import pytest

import refers_bench.analysis
from command_line import command_in
from on_terminal import written

PACKAGED = Path(refers_bench.analysis.__file__).parent / "paper" / "others.csv"
COLUMN = {"dataset": "nih_chestxray14", "task": "findings", "label_ratio": 0.01}


@pytest.fixture
def results(folder: Any) -> Path:
    """REFERS on NIH's released lists at 1 % of its labels: AUCs of 0.74, 0.75 and 0.79."""
    spec = {"kind": "prepare", "dataset": "nih_chestxray14", "params": {"split": "released", "lists": "nih_lists"}}
    folder.job("p" * 20, kind="prepare", spec=spec)
    folder.seeds("refers", [0.74, 0.75, 0.79], dataset="nih_chestxray14", task="findings", ratio=0.01)
    folder.save()
    found: Path = folder.results
    return found


def published() -> pd.DataFrame:
    """What others published at 1 % of NIH's labels, read by pandas."""
    frame = pd.read_csv(PACKAGED, dtype=str, keep_default_na=False)
    return frame[(frame["target"] == "nih") & (frame["label_ratio"] == "1%")]


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_every_word_is_whole_on_a_terminal(results: Path, columns: int) -> None:
    asked = ("claims", "tiny", "--others")
    code, content = written(["--results", str(results), *asked], columns=columns)
    assert code == 0
    screen = pyte.Screen(columns, 1000)
    pyte.ByteStream(screen).feed(content)
    shown = "\n".join(line.rstrip() for line in screen.display).rstrip().splitlines()
    # A line that the terminal itself had to break would stand on two lines of the screen.
    assert shown == [line.rstrip() for line in content.decode().splitlines()]
    assert max(map(len, shown)) < columns
    plain = command_in(results, *asked).out
    assert " ".join(shown).split() == plain.split(), "no word is lost, broken or moved"
    (ours,) = [place for place, line in enumerate(shown) if line.startswith("nih_chestxray14") and "refers:" in line]
    assert "76.0 ± 2.6 (this run)" in " ".join(" ".join(shown[ours : ours + 2]).split())
    heads = [line for line in shown if not line.startswith(" ")]
    assert any(line.startswith("nih_chestxray14: findings, 1 % of labels: MRM") for line in heads)


def test_a_file_has_one_line_for_each_figure(results: Path) -> None:
    out = command_in(results, "claims", "tiny", "--others").out
    (line,) = [one for one in out.splitlines() if "MRM (ViT-B/16), fine-tune: 80.1 ± 0.1" in one]
    assert line.startswith("nih_chestxray14: findings, 1 % of labels: ") and line.endswith(", comparable")
    (other,) = [one for one in out.splitlines() if "fine-tune, +DLR+LN: " in one]
    assert other.endswith("69.6 to 79.5 (BenchX (Zhou et al., NeurIPS 2024 D&B), Table 6), not comparable: other head: "
                          "+DLR+LN, ours is a plain head")  # fmt: skip


def test_as_json_it_has_the_claims_and_every_figure_of_others(results: Path) -> None:
    ended = command_in(results, "claims", "tiny", "--others", "--json")
    assert (ended.code, ended.err) == (0, "")
    content = json.loads(ended.out)
    assert content["version"] == 1
    assert content["counts"]["published"] == {"holds": 33, "fails": 0, "undecided": 0, "no data": 6}
    claims = {claim["id"]: claim for claim in content["claims"]}
    assert len(claims) == 39
    best = claims["best_covid_t2"]
    assert best["demanded"] == {"low": 7.0, "high": None, "ends_excluded": False}
    # The paper: 80.4 and, of the best baseline, 73.0.
    assert best["evidence"]["published"]["verdict"] == "holds"
    assert best["evidence"]["published"]["value"] == pytest.approx(80.4 - 73.0)
    assert best["evidence"]["measured here"]["verdict"] == "no data"
    (column,) = content["others"]
    assert {name: column[name] for name in COLUMN} == COLUMN
    assert (column["evaluation"], column["folds"]) == ("finetune", 0)
    (ours,) = column["ours"]
    assert (ours["method"], ours["n_seeds"], ours["n_seeds_planned"]) == ("refers", 3, 3)
    assert ours["value_percent"] == pytest.approx(76) and ours["sd_percent"] == pytest.approx(2.6457513)
    expected = published()
    assert [one["value_percent"] for one in column["figures"]] == list(expected["value_percent"].astype(float))
    for mine, given in zip(column["figures"], expected.to_dict("records"), strict=True):
        assert (mine["method"], mine["source"], mine["how"]) == (given["method"], given["source"], given["protocol"])
        assert mine["comparable"] == (not mine["reasons"])
    same = expected[(expected["split_id"] == "nih-mrm") & (expected["selection_set"] == "val")]
    same = same[same["protocol"].isin(["fine-tune", "fine-tune, plain head"])]
    assert len(same) == sum(one["comparable"] for one in column["figures"]) == 19
    (dlr,) = [one for one in column["figures"] if one["method"] == "MRM" and one["how"] == "fine-tune, +DLR"]
    assert dlr["head"] == "+DLR" and dlr["reasons"] == ["other head: +DLR, ours is a plain head"]
    whole = pd.read_csv(PACKAGED, dtype=str)
    assert column["left_out"] == (whole["target"] == "nih").sum() - len(expected)


def test_without_others_the_json_has_the_claims_alone(results: Path, folder: Any) -> None:
    content = json.loads(command_in(results, "claims", "--json").out)
    assert content["others"] is None and list(content["counts"]) == ["published"]
    folder.seeds("scratch", [0.6], dataset="kermany_pneumonia", task="subtype")
    folder.lock["cells"] = folder.lock["cells"][-1:]
    folder.save()
    content = json.loads(command_in(results, "claims", "tiny", "--others", "--json").out)
    assert content["others"] == [], "nobody published on this target"
    assert command_in(results, "claims", "tiny", "--others").out.endswith(
        "\n\nothers published no figure on the targets of this plan\n"
    )


def test_what_fails_is_an_exit_code_also_as_json(results: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "version: 1\nclaims:\n  - {id: a, place: here, statement: S., "
        'expression: \'auc("REFERS", "nih", 0.01)\', at_least: 99}\n'
    )
    ended = command_in(results, "claims", "tiny", "--file", str(path), "--fail", "--json")
    assert ended.code == 5
    (claim,) = json.loads(ended.out)["claims"]
    found = claim["evidence"]["measured here"]
    assert found["verdict"] == "fails" and found["value"] == pytest.approx(76)
    assert found["low"] < 76 < found["high"] < 99


def test_others_need_a_plan_also_as_json(results: Path) -> None:
    ended = command_in(results, "claims", "--others", "--json")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == (
        "error: --others without MANIFEST; allowed: a manifest, or the name of a plan, whose targets they are on\n"
    )
