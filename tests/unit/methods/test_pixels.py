"""The floor of pixels: its constants, and what it reaches on real radiographs that brightness and shape tell apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from refers_bench import plugins
from refers_bench.data.decode import decode
from refers_bench.data.prepare import resized
from refers_bench.datasets import kermany_pneumonia

METHOD: plugins.Method = plugins.load("method", "pixels")


def test_is_a_floor_whose_features_are_reduced_before_they_are_classified() -> None:
    assert METHOD.floor and not METHOD.pretrains(METHOD.Params())
    (name,) = METHOD.constants
    assert (name, METHOD.constants[name][0]) == ("frozen.components", 64)


def thumbnails(root: Path, paths: list[str]) -> NDArray[np.float32]:
    images = np.stack([resized(decode(root / path), 224) for path in paths])
    encoder = METHOD.build_encoder(METHOD.Params(), {}, {"size": 224, "channels": 1})
    found: NDArray[np.float32] = encoder.features(torch.from_numpy(images)[:, None] / 255).numpy()
    return found


@pytest.mark.slow
def test_tells_pneumonia_of_children_from_normal_radiographs(real_data: Path) -> None:
    root = real_data / "kermany-pneumonia"
    if not root.is_dir():
        pytest.skip(f"no {root}")
    frame = kermany_pneumonia.index(root, kermany_pneumonia.Params(), {}).iloc[::3]
    parts = {split: frame[frame["split"] == split] for split in ("train", "test")}
    train, test = (thumbnails(root, rows["path"].tolist()) for rows in parts.values())
    labels = {split: rows["pneumonia:Pneumonia"].to_numpy(int) for split, rows in parts.items()}
    reduced = PCA(64, random_state=0).fit(train)
    spread = reduced.transform(train).std(0)
    probe = LogisticRegression(C=0.1, max_iter=500).fit(reduced.transform(train) / spread, labels["train"])
    auc = roc_auc_score(labels["test"], probe.decision_function(reduced.transform(test) / spread))
    assert 0.9 < auc < 1
