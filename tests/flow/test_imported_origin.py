"""What a bundle brought is never taken for our own: a run refuses it unless told so, and tables, views and checks say it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import refers_bench as rb
from command_line import command_in
from refers_bench.plan import lock
from refers_bench.store.results import ResultStore
from stored_results import recorded, scored

MANIFEST = """
version: 1
title: A small run
protocol: {preset: smoke}
data: {phantom: {phantom: {seed: 4, studies: 20, size: 40, views: 2}}}
source: {dataset: phantom}
methods: [refers, scratch]
targets: [{dataset: phantom, tasks: [findings]}]
seeds: [0, 1]
"""
FILES = {"small.yaml": MANIFEST}


@pytest.fixture
def bundle(home: Path) -> Path:
    """A bundle of the manifest's pre-training and of one row, whose forged predictions are all right."""
    assert command_in(home / "theirs", "plan", "small.yaml").code == 0
    store = ResultStore(home / "theirs")
    for job in lock.read(home / "theirs" / "small" / lock.LOCK).jobs:
        if job.kind == "pretrain":
            recorded(store, job, {}, {"checkpoint.safetensors": b"weights"})
        elif job.kind == "finetune" and job.name.startswith("scratch"):
            scored(store, job, strength=50.0)
    path = home / "small.tar.gz"
    done = command_in(home / "theirs", "results", "bundle", "small", "--checkpoints", "--out", str(path))
    assert done.code == 0, done.err
    return path


@pytest.fixture
def results(bundle: Path, home: Path) -> Path:
    """A results folder that has taken the bundle in."""
    taken = command_in(home / "results", "results", "import", "bundle", str(bundle), "--name", "theirs")
    assert taken.code == 0 and "3 results added" in taken.out, taken.err
    return home / "results"


def test_what_a_bundle_brought_is_used_only_when_told(results: Path) -> None:
    planned = command_in(results, "plan", "small.yaml", "--no-write")
    assert planned.code == 0 and "3 finished jobs were imported from bundle 'small' (SHA-256 " in planned.out
    refused = command_in(results, "run", "small.yaml")
    assert refused.code == 2 and not (results / "small").exists(), refused.err
    for text in ("3 finished jobs were imported from bundle 'small'", "pretrain.refers.phantom", "--accept-imported"):
        assert text in refused.err, refused.err
    with pytest.raises(rb.UserError, match="accept_imported=True"):
        rb.run("small.yaml", results=results)
    alone = command_in(results, "run", "small.yaml", "--only", "prepare.*", "--max-jobs", "0", "--no-report")
    assert alone.code == 3, "jobs that use nothing of it may run"
    accepted = command_in(results, "run", "small.yaml", "--accept-imported", "--max-jobs", "0", "--no-report")
    assert accepted.code == 3, accepted.err
    rb.run("small.yaml", results=results, accept_imported=True, max_jobs=0)
    status = command_in(results, "status", "small")
    assert "3 finished jobs were imported from bundle 'small'" in status.out


@pytest.mark.slow
def test_whatever_rests_on_it_says_so(results: Path, home: Path) -> None:
    """Also a fine-tuning of our own that started from their weights."""
    assert command_in(results, "plan", "small.yaml").code == 0
    store, plan = ResultStore(results), lock.read(results / "small" / lock.LOCK)
    scored(store, next(job for job in plan.jobs if job.name.startswith("refers.phantom")), strength=1.0)
    printed = command_in(results, "run", "small.yaml", "--accept-imported", "--max-jobs", "0")
    assert printed.code == 3 and "imported from bundle 'small'" in printed.out.replace("\n", " "), printed.err
    page = (results / "small" / "report" / "index.html").read_text()
    assert "rests on a pretrain that was imported from bundle" in page and "not computed here" in page
    checked = command_in(results, "check", "small", "--baseline", str(home / "baseline.json"), "--update")
    assert "3 of 4 cells rest on results that were imported with a bundle" in checked.out
    differ = command_in(results, "results", "diff", "small", "theirs")
    assert "A: 3 of 4 cells rest on results that were imported with a bundle" in differ.out, differ.out


def test_the_mark_stays_through_a_second_bundle(bundle: Path, home: Path) -> None:
    first, second = home / "first", home / "second"
    assert command_in(first, "results", "import", "bundle", str(bundle)).code == 0
    again = home / "again.tar.gz"
    assert command_in(first, "results", "bundle", "small", "--checkpoints", "--out", str(again)).code == 0
    assert command_in(second, "results", "import", "bundle", str(again), "--name", "theirs").code == 0
    records = [json.loads(path.read_text()) for path in (second / "store").glob("*/run.json")]
    assert len(records) == 3
    for record in records:
        assert record["origin"]["file"] == "again.tar.gz" and record["origin"]["before"]["file"] == "small.tar.gz"
        assert {"imported", "bundle", "sha256", "at"} <= record["origin"].keys()
    refused = command_in(second, "run", "small.yaml")
    assert refused.code == 2 and ", which had it from bundle 'small'" in refused.err, refused.err


@pytest.mark.slow
def test_the_imported_plan_itself_is_reported_with_its_footnote(bundle: Path, home: Path) -> None:
    assert command_in(home / "results", "results", "import", "bundle", str(bundle)).code == 0
    assert command_in(home / "results", "report", "small").code == 0
    assert "imported from bundle &#39;small&#39;" in (home / "results" / "small" / "report" / "index.html").read_text()
