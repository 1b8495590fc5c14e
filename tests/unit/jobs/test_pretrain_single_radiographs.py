"""Table 3 row 3: each radiograph of a study alone is paired with the study's report, as many radiographs as in row 0."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from refers_bench import plugins
from refers_bench.data.prepare import PreparedImages
from refers_bench.data.text import ReportTokenizer
from refers_bench.jobs.pretrain import study_source
from refers_bench.jobs.reports import Tokenizers
from refers_bench.manifest import protocols
from refers_bench.manifest.load import load
from refers_bench.manifest.roots import Roots
from refers_bench.plan.expand import expand
from refers_bench.plan.lock import Job

ROOT = Path(__file__).resolve().parents[3]
NAMES = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def planned(manifest: str) -> dict[str, Job]:
    plan = expand(load(ROOT / "manifests" / f"{manifest}.yaml"), Roots())
    return {job.name: job for job in plan.jobs if job.kind == "pretrain"}


@pytest.mark.parametrize(
    ("manifest", "rows"),
    [("table3", {"row3": "refers"}), ("init_ablation", {"row3": "refers", "row3_imagenet": "refers"})],
)
def test_row_3_sees_as_many_radiographs_one_by_one(manifest: str, rows: dict[str, str]) -> None:
    jobs = planned(manifest)
    for row, full in rows.items():
        alone, whole = (jobs[f"pretrain.{name}.mimic_cxr_jpg"].spec for name in (row, full))
        assert whole["params"]["views"] == 3
        assert (alone["params"]["view_fusion"], alone["params"]["views"]) == (False, 1)
        assert alone["pretrain"]["batch_size"] == 3 * whole["pretrain"]["batch_size"] == 96
        assert {**alone["pretrain"], "batch_size": 32} == whole["pretrain"], "the same updates of the same rule"


def row_3() -> Any:
    """Its parameters, as the manifest of Table 3 has them."""
    return plugins.load("method", "refers").Params(**planned("table3")["pretrain.row3.mimic_cxr_jpg"].spec["params"])


@pytest.mark.parametrize("preset", ["paper", "official_code"])
def test_each_radiograph_of_a_study_is_drawn_equally_often_with_the_studys_report(preset: str) -> None:
    studies = [study for study in range(len(NAMES)) for _ in range(study % 4 + 1)]
    rows = pd.DataFrame(
        {
            "study_id": [f"s{study}" for study in studies], "image_id": [f"i{i}" for i in range(len(studies))],
            "place": range(len(studies)), "report": [NAMES[study] for study in studies],
        }
    )  # fmt: skip
    section = protocols.resolve_sections(preset)["pretrain"] | {"text_tokens": 6}
    still = {"crop": "none", "rotation_degrees": 0.0, "flip_probability": 0.5, "jitter_probability": 0.0}
    image = {"size": 2, "channels": 1, "mean": [0.0], "std": [1.0], "pretrain_augment": still}
    pixels = np.repeat(np.arange(len(studies), dtype=np.uint8), 4).reshape(-1, 2, 2)  # its number is in each pixel
    words = ReportTokenizer.train(NAMES, vocabulary=200)
    source = study_source(
        rows, images=PreparedImages(images_NHW=pixels, index=rows, meta={}),
        spec={"pretrain": section, "image": image, "source": {"task": ""}},
        method=plugins.load("method", "refers"), params=row_3(),
        words=Tokenizers(reports=words, text=words, bert_path=None), classes=(), device=torch.device("cpu"), key="k",
    )  # fmt: skip
    assert len(source) == len(NAMES), "an epoch has each report once"
    drawn, steps = np.zeros(len(studies)), 480
    for step in range(steps):
        batch = source.draw(step, batch_size=len(NAMES))
        assert batch.images_BVCHW.shape[1] == 1
        which = (batch.images_BVCHW[:, 0, 0, 0, 0] * 255).round().int().tolist()
        for one, tokens, length in zip(which, batch.tokens_BT, batch.lengths_B, strict=True):
            text = words.encode(NAMES[studies[one]], max_tokens=6)
            assert tokens[:length].tolist() == text, "the report is that of the radiograph's study"
            drawn[one] += 1
    assert drawn.sum() == steps * len(NAMES)
    for study in range(len(NAMES)):
        own = drawn[[one == study for one in studies]]
        assert own.sum() == steps
        assert len(own) == 1 or stats.chisquare(own).pvalue > 1e-4
