"""Images are enlarged for a ResNet alone, and a row without that keeps its key."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from refers_bench.methods.checkpoint import METHOD, Params


def test_images_are_enlarged_for_a_resnet_alone() -> None:
    encoder = METHOD.build_encoder(Params(backbone="resnet18", upsampled=299), {}, {"size": 112, "channels": 1})
    assert encoder.upsampled == 150
    with pytest.raises(ValidationError, match="upsampled is for a ResNet"):
        Params(upsampled=299)


def test_without_it_it_is_in_no_key() -> None:
    assert "upsampled" not in Params().model_dump(mode="json")
    assert Params(backbone="resnet50", upsampled=299).model_dump(mode="json")["upsampled"] == 299
