"""Fingerprints are the same for the same encoder up to rounding, and others for every other reading of it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from encoder_files import RELEASED
from refers_bench import plugins
from refers_bench.errors import UserError
from refers_bench.training import fingerprints, weight_files

ONE = RELEASED["dinov2"]
IMAGE: dict[str, Any] = {
    "size": 56, "prepared_size": 64, "channels": 3, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
    "interpolation": "bicubic", "fit": "crop",
    "finetune_augment": {"crop": "random"},
}  # fmt: skip


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("weights") / "w.pth"
    torch.save(ONE.content(ONE.reference().state_dict()), file)
    return file


def digest(path: Path, *, noise: float = 0.0, positions: str = "", **image: Any) -> str:
    method = plugins.load("method", "encoder")
    given = {**IMAGE, **image}
    encoder = method.build_encoder(method.Params(**ONE.params, positions=positions), {"readout": "auto"}, given)
    weight_files.load(encoder, path, minimum=1.0)
    if noise:
        torch.manual_seed(0)
        for parameter in encoder.parameters():
            parameter.data.mul_(1 + noise * torch.randn_like(parameter))
    return fingerprints.digest(fingerprints.features(encoder, given)["auto"])


def test_the_images_are_these_on_every_machine() -> None:
    found = [(one.shape, hashlib.sha256(one.tobytes()).hexdigest()[:12]) for one in fingerprints.images()]
    assert found == [((300, 400), "90eb7ed92f1a"), ((640, 512), "2ad3af932623"), ((448, 448), "8e158b6f54de")]
    assert all(one.dtype == np.uint8 and one.std() > 30 for one in fingerprints.images())


def test_rounding_does_not_change_it(path: Path) -> None:
    assert fingerprints.difference(digest(path, noise=1e-6), digest(path)) <= 1
    assert fingerprints.difference(digest(path), digest(path)) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"mean": [0.5, 0.5, 0.5]}, {"std": [0.25, 0.25, 0.25]}, {"size": 70, "prepared_size": 80}, {"prepared_size": 56},
        {"interpolation": "bilinear"}, {"fit": "stretch"}, {"intensity": "min_max", "fit": "stretch"}, {"noise": 0.02},
        {"size": 42, "prepared_size": 48, "positions": "timm"},
    ],
    ids=str,
)  # fmt: skip
def test_every_other_reading_changes_it(path: Path, change: dict[str, Any]) -> None:
    usual = {
        name: value for name, value in change.items() if name in ("size", "prepared_size") and "positions" in change
    }
    assert fingerprints.difference(digest(path, **change), digest(path, **usual)) > 1


def test_sums_are_those_of_the_normed_features() -> None:
    """By hand: features along one axis have length 7 and sums of plus or minus one."""
    features = torch.zeros(3, 40)
    features[:, 5] = 7.0
    numbers = fingerprints._numbers(fingerprints.digest(features))
    assert numbers[:3] == (19459,) * 3
    assert [numbers[3 + 3 * k] for k in range(2)] == [
        10000 if bin(5 & mask).count("1") % 2 == 0 else -10000 for mask in fingerprints.MASKS
    ]


@pytest.mark.parametrize("text", ["", "f0-AAAA", "f1-AAAA", "f1-!", "nonsense"])
def test_what_is_no_fingerprint_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="no fingerprint"):
        fingerprints.difference(fingerprints.digest(torch.ones(3, 8)), text)
