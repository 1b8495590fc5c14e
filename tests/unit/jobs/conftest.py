"""Prepared stores and specifications by hand, a few hundred bytes each, for tests that change what a job may see."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tiny_jobs
from refers_bench.store.context import JobContext

SIZE = 16
CLASSES = ("Effusion", "Nodule")
#: Views of each study, in turn.
VIEWS = (1, 2, 3, 1)
AUGMENT = {
    **tiny_jobs.AUGMENT, "crop": "none", "scale": [0.5, 1.0], "ratio": [0.8, 1.25], "rotation_degrees": 0,
    "brightness": [0.9, 1.1], "contrast": [0.9, 1.1], "jitter_probability": 0.5,
}  # fmt: skip
IMAGE = {
    **tiny_jobs.IMAGE, "prepared_size": SIZE, "size": SIZE, "pretrain_augment": AUGMENT, "finetune_augment": AUGMENT,
}  # fmt: skip
NETWORK = {**tiny_jobs.NETWORK, "width": 8, "depth": 1, "mlp_width": 16}
TRAINING = {
    **tiny_jobs.COMMON, "steps": 8, "learning_rate": 1.0, "warmup_steps": 0, "schedule": "constant", "clip_norm": 0.0,
    "validate_every": 1,
}  # fmt: skip
PRETRAIN = {
    **tiny_jobs.PRETRAIN, **TRAINING, "steps": 4, "validate_every": 2, "learning_rate": 0.02, "lookahead_steps": 0,
    "select": "last", "text_tokens": 12, "vocabulary": 60,
    "text_encoder": {**tiny_jobs.PRETRAIN["text_encoder"], "width": 8, "mlp_width": 16},
    "decoder": {**tiny_jobs.PRETRAIN["decoder"], "width": 8, "mlp_width": 16},
}  # fmt: skip
SIDES, FINDINGS = ("left", "right", "both"), ("effusion", "nodule", "clear lung", "fracture")


@dataclass(frozen=True)
class Images:
    """Prepared radiographs: pixels (N, size, size), and their index rows."""

    pixels: np.ndarray
    index: pd.DataFrame

    def rows(self, split: str) -> np.ndarray:
        """Places of the radiographs of a split."""
        return np.flatnonzero((self.index["split"] == split).to_numpy())

    def changed(self, change: Callable[[np.ndarray, pd.DataFrame], None]) -> Images:
        """The same after `change(pixels, index)`, which writes into its arguments."""
        pixels, index = self.pixels.copy(), self.index.copy()
        change(pixels, index)
        return Images(pixels, index)

    def context(self, folder: Path) -> JobContext:
        """Where these are the prepared images of the job "prepare"."""
        target = folder / "cache" / "prepared" / "prepare"
        target.mkdir(parents=True)
        self.pixels.tofile(target / "images.u8")
        self.index.to_parquet(target / "index.parquet", index=False)
        meta = {"version": 1, "count": len(self.index), "size": SIZE, "digest": "d", "unreadable": []}
        (target / "meta.json").write_text(json.dumps(meta))
        return JobContext(results=folder / "results", cache=folder / "cache")


def drawn(splits: Mapping[str, int]) -> Images:
    """Random radiographs, the number of studies of each split given: brighter above where the first class is positive.

    Each study is of a patient of its own. Validation and test splits of equally many studies have equal labels.
    """
    rng, rows, pixels = np.random.default_rng(5), [], []
    for split, studies in splits.items():
        for study in range(studies):
            labels = [study % 2, study // 2 % 2]
            report = f"{SIDES[study % 3]} {FINDINGS[study % 4]} {FINDINGS[(study // 3) % 4]}"
            for view in range(VIEWS[study % len(VIEWS)]):
                name = f"{split}{study:02d}"
                rows.append({
                    "image_id": f"{name}.{view}", "path": f"{name}.{view}.png", "patient_id": f"p.{name}",
                    "study_id": name, "view": "PA", "split": split, "report": report,
                    **{f"findings:{one}": label for one, label in zip(CLASSES, labels, strict=True)},
                })  # fmt: skip
                image = rng.integers(0, 200, (SIZE, SIZE))
                image[: SIZE // 2] += 40 * labels[0]
                pixels.append(image)
    index = pd.DataFrame(rows).astype({f"findings:{name}": "Int8" for name in CLASSES})
    return Images(np.stack(pixels).astype(np.uint8), index)


@pytest.fixture(scope="session")
def images() -> Images:
    """8 training studies, 6 of validation and 6 of the test."""
    return drawn({"train": 8, "val": 6, "test": 6})


@pytest.fixture(scope="session")
def draw_images() -> Callable[[Mapping[str, int]], Images]:
    """`drawn`."""
    return drawn


@pytest.fixture(scope="session")
def finetuning() -> Callable[..., dict[str, Any]]:
    """The specification of a cell on these images: ``finetuning(section changes, **changes of the specification)``."""

    def spec(section: Mapping[str, Any] = {}, **more: Any) -> dict[str, Any]:
        return {
            "kind": "finetune", "method": "scratch", "params": {}, "impl": 1, "network": copy.deepcopy(NETWORK),
            "image": copy.deepcopy(IMAGE), "finetune": {**TRAINING, "select": "best_auc", "loss": "bce", **section},
            "dataset": "phantom", "prepare": "prepare", "task": "findings", "classes": list(CLASSES),
            "label_ratio": 1.0, "seed": 0, "pretrain": None, **more,
        }  # fmt: skip

    return spec


@pytest.fixture(scope="session")
def pretraining() -> Callable[..., dict[str, Any]]:
    """The specification of a pre-training on these images: ``pretraining(method, params, **changes of the section)``."""

    def spec(method: str = "refers", params: Mapping[str, Any] = {}, **section: Any) -> dict[str, Any]:
        return {
            "kind": "pretrain", "method": method, "params": dict(params), "impl": 1,
            "network": copy.deepcopy(NETWORK), "image": copy.deepcopy(IMAGE),
            "pretrain": {**copy.deepcopy(PRETRAIN), **section}, "seed": 0,
            "source": {
                "dataset": "phantom", "params": {}, "prepare": "prepare", "task": "findings", "has_reports": True
            },
        }  # fmt: skip

    return spec


@pytest.fixture(scope="session")
def featuring() -> Callable[..., dict[str, Any]]:
    """A job that computes features of these images: ``featuring(**changes of the specification)``."""

    def job(**more: Any) -> dict[str, Any]:
        return tiny_jobs.sent_job(**{
            "kind": "features", "method": "scratch", "params": {}, "impl": 1, "network": copy.deepcopy(NETWORK),
            "image": copy.deepcopy(IMAGE), "dataset": "phantom", "prepare": "prepare", "pretrain": None,
            "readout": "auto", **more,
        })  # fmt: skip

    return job


GRID = [0.001, 0.1, 10.0]
FROZEN = {
    "heads": {"components": 0, "grid": GRID},
    "linear_probe": {},
    "knn": {"components": 0, "neighbours": [1, 5, 10], "temperature": 0.07},
    "attentive_probe": {"attentive_heads": 2, "attentive_learning_rate": 0.01, "attentive_weight_decay": 0.05},
}
CELL = {"task": "findings", "classes": list(CLASSES), "label_ratio": 1.0, "seed": 0}


@pytest.fixture(scope="session")
def probing() -> Callable[..., dict[str, Any]]:
    """A job that fits linear probes on features: ``probing(features job, groups, **changes of the section)``."""

    def job(features: Mapping[str, Any], groups: Sequence[Mapping[str, Any]] = ({},), **section: Any) -> dict[str, Any]:
        return tiny_jobs.sent_job(
            kind="heads", dataset="phantom", prepare="prepare", features=features["key"],
            frozen={**FROZEN["heads"], **section}, groups=[{**CELL, **group} for group in groups],
        )  # fmt: skip

    return job


@pytest.fixture(scope="session")
def freezing() -> Callable[..., dict[str, Any]]:
    """A job that evaluates features: ``freezing(evaluation, features job, section changes, **of the specification)``."""

    def job(
        evaluation: str, features: Mapping[str, Any], section: Mapping[str, Any] = {}, **more: Any
    ) -> dict[str, Any]:
        training = {**TRAINING, "select": "best_auc", "loss": "bce"}
        return tiny_jobs.sent_job(**{
            "kind": "frozen", "evaluation": evaluation, "features": features["key"], "prepare": "prepare",
            "dataset": "phantom", "finetune": training, "frozen": {**FROZEN[evaluation], **section}, **CELL, **more,
        })  # fmt: skip

    return job


@pytest.fixture(autouse=True)
def _readouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """TODO goes with the merge of the encoders."""
    from refers_bench.nets.radiograph_transformer import RadiographTransformer

    def features(self: Any, x: Any, readout: str) -> Any:
        if readout == "tokens":
            return self.patches(self(x))
        if readout != "auto":
            raise ValueError("auto, tokens")
        return self.readout(self(x))

    if not hasattr(RadiographTransformer, "features"):
        monkeypatch.setattr(RadiographTransformer, "features", features, raising=False)
