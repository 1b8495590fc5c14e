"""A reader finds first what matters, and behind each number where it comes from."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from scipy import stats

from refers_bench.reporting import page, provenance, summary
from refers_bench.reports import references, table1


def test_the_summary_says_who_leads_and_how_sure_that_is(folder: Any) -> None:
    folder.seeds("refers", [0.80, 0.82, 0.81], label="REFERS")
    folder.seeds("scratch", [0.60, 0.63, 0.64], label="Random")
    folder.seeds("refers", [0.5, 0.52, 0.51], ratio=0.1, label="REFERS")
    folder.seeds("scratch", [0.50, 0.53, 0.54], ratio=0.1, label="Random")
    folder.lock["title"] = "A title"
    results = folder.load()
    assert summary.facts(results) == (
        "2 methods x 2 columns (covid19_idc) x 3 seeds: 12 of 12 cells have a figure (a cell is one method, target, label "
        "ratio and seed)."
    )
    said, more = summary.sentences(results, page.items(results))
    assert said[0].startswith("REFERS is above the best other complete row in 1 of 2 columns; P < 0.05 over seeds")
    assert "in 1 of 2 tested columns, in 1 after Holm's correction" in said[0]
    assert "published figures: " in said[1] and len(said) == 2
    assert more[0] == "A title" and any(text.startswith("Claims of the paper") for text in more)
    assert not set(said) & set(more)


def test_holms_correction_may_leave_no_column(folder: Any) -> None:
    """P is 0.034 in either column, and 0.068 after the correction."""
    for ratio in (0.1, 1.0):
        folder.seeds("refers", [0.78, 0.79, 0.81], ratio=ratio)
        folder.seeds("scratch", [0.75, 0.76, 0.77], ratio=ratio)
    said = summary.sentences(folder.load(), [])[0]
    assert said[0] == (
        "refers is above the best other complete row in 2 of 2 columns; P < 0.05 over seeds, whichever is higher, in 2 of "
        "2 tested columns, in 0 after Holm's correction."
    )


def test_verdicts_on_published_figures_state_their_error_rates(folder: Any) -> None:
    """Published: 80.4. Three seeds whose mean is 80.4 with SD 1.0 replicate it, and 75 with SD 0.1 does not."""
    folder.seeds("refers", [0.794, 0.804, 0.814], label="REFERS")
    folder.seeds("c2l", [0.749, 0.750, 0.751], label="C2L")
    results = folder.load()
    table = references.build(results)
    assert table is not None
    rows = {
        row.title.split(",")[0]: dict(zip((column.title for column in table.columns), row.cells, strict=True))
        for row in table.rows
    }
    assert rows["REFERS"]["verdict"].text == "consistent" and rows["C2L"]["verdict"].text == "differs"
    # 4.3027 * 1.0 * sqrt(2 / 3), and the power by the non-central t distribution with 2 degrees of freedom.
    assert rows["REFERS"]["95 % prediction"].text == "\N{PLUS-MINUS SIGN} 3.51"
    shift = math.sqrt(3 / 2)
    power = stats.nct.sf(4.302653, 2, shift) + stats.nct.cdf(-4.302653, 2, shift)
    assert rows["REFERS"]["power at 1 point"].value == pytest.approx(power, abs=0.005)
    assert "n = 3 seeds and 3 published ones, df = 2" in rows["REFERS"]["P"].notes[0].text
    notes = " ".join(table.notes)
    assert "called consistent in 95 % of repetitions" in notes and "no evidence of equality" in notes
    (said,) = [text for text in summary.sentences(results, [])[0] if "published figures" in text]
    assert "1 consistent, 1 differs" in said and "a true difference of 1 point is noticed in" in said


def test_the_summary_promises_no_test_where_there_is_none(folder: Any) -> None:
    folder.cell("refers")
    folder.cell("scratch")
    said = summary.sentences(folder.load(), [])[0]
    assert "no column has a P-value over seeds" in said[0]


def test_a_number_leads_to_seeds_intervals_configuration_and_log(folder: Any) -> None:
    folder.seeds("refers", [0.80, 0.82, 0.81])
    key = "refers+covid19_idc-viral_vs_bacterial-1-0"
    folder.history(key, {"loss/total": [0.9, 0.25], "val/auc": [0.6, 0.71], "other": [1.0]})
    folder.lock["jobs"][0]["spec"] |= {"finetune": {"steps": 150}, "seed": 0, "pretrain": "pre"}
    folder.job("pre", "pretrain", spec={"kind": "pretrain", "source": "phantom", "pretrain": {"steps": 7}})
    (detail,) = provenance.details(folder.load())
    facts = dict(detail.facts)
    low, high = stats.t.interval(0.95, 2, loc=0.81, scale=0.01 / math.sqrt(3))
    assert facts["mean"] == "81.00, SD 1.00, n = 3 of 3 seeds"
    assert facts["95 % interval over seeds"] == f"{low * 100:.2f} to {high * 100:.2f} (t, df = 2)"
    assert facts["seed 1"].startswith("82.00 | key refers+")
    config = json.loads(detail.config)
    assert (config["finetune.steps"], config["pretrain.steps"]) == (150, 7) and "seed" not in config
    assert detail.code == "seed 0, last recorded: loss/total 0.25 (step 1), val/auc 0.71 (step 1)"


def test_two_seeds_have_a_spread_and_an_interval_and_one_has_none(folder: Any) -> None:
    folder.seeds("refers", [0.80, 0.84])
    folder.cell("c2l")
    two, one = (dict(detail.facts) for detail in provenance.details(folder.load()))
    low, high = stats.t.interval(0.95, 1, loc=82, scale=2)
    assert two["mean"] == "82.00, SD 2.83, n = 2 of 2 seeds"
    assert two["95 % interval over seeds"] == f"{low:.2f} to {high:.2f} (t, df = 1)"
    assert one["mean"] == "75.00, one seed: no SD, n = 1 of 1 seeds" and "95 % interval over seeds" not in one


def test_large_pages_say_where_configurations_stand(folder: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(provenance, "MOST_FULL", 1)
    for method in ("refers", "c2l"):
        folder.cell(method)
    details = provenance.details(folder.load())
    assert all(dict(one.facts)["configuration"].startswith("in plan.lock.json") and not one.config for one in details)


def test_one_seed_has_no_interval_over_seeds(folder: Any) -> None:
    folder.cell("refers")
    facts = dict(provenance.details(folder.load())[0].facts)
    assert "one seed: no SD" in facts["mean"] and "95 % interval over seeds" not in facts


def test_released_files_stand_beside_ours_in_the_papers_tables(folder: Any, new_folder: Any) -> None:
    where = {"dataset": "nih_chestxray14", "task": "findings", "ratio": 0.01}
    release = new_folder("refers-release")
    release.lock["manifest"] = {"origin": "released"}
    # One store for both: the released run is not the seed of ours.
    release.cell("refers", seed=9, aucs={"a": 0.76, "b": None}, **where)
    release.save()
    folder.seeds("refers", [0.70, 0.71], **where)
    folder.lock["tables"] = ["table1"]
    table = table1.build(folder.load())
    assert table is not None
    (row,) = [row for row in table.rows if row.block == "released"]
    assert row.title == "REFERS (released files)" and (row.cells[0].figure, row.cells[0].tag) == ("76.0", "1/2 classes")
    assert any("one run each" in note for note in table.notes)
    # Without the paper's figures none of the two reference columns is shown.
    section = page.section(folder.load(), published=False)
    assert not [row for item in section.tables for row in item.rows if row.block in ("published", "released")]


def test_a_killed_job_shows_the_end_of_its_log(folder: Any) -> None:
    killed = folder.cell("refers", state="to do")
    folder.failed(killed, "host_oom", message="worker died with exit status -9")
    raised = folder.cell("refers", seed=1, state="failed")
    logs = folder.results / "logs"
    logs.mkdir()
    for key in (killed, raised):
        (logs / f"{key}.txt").write_text("".join(f"line {number}\n" for number in range(50)))
    (detail,) = provenance.details(folder.load())
    assert "host_oom\nworker died with exit status -9\nline 35\n" in detail.code
    assert detail.code.count("line 49") == 1, "a traceback says enough by itself"
    (logs / f"{killed}.txt").unlink()
    (detail,) = provenance.details(folder.load())
    assert "worker died with exit status -9" in detail.code
