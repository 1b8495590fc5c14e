"""Data sheets are complete, agree with timm's networks, and become constants of a protocol."""

from __future__ import annotations

from typing import get_args

import pytest
import timm
import torch
from pydantic import ValidationError

from refers_bench.manifest import protocols
from refers_bench.manifest.protocols import Value
from refers_bench.nets.encoder_sheets import SHEETS, EncoderParams, EncoderSheet
from refers_bench.nets.foreign_layouts import POSITION_RULES

ALL = [(layout, variant) for layout, variants in SHEETS.items() for variant in variants]


def test_every_sheet_is_a_layout_and_every_layout_has_a_sheet() -> None:
    assert set(get_args(EncoderParams.model_fields["layout"].annotation)) == set(SHEETS)
    assert {*get_args(EncoderParams.model_fields["positions"].annotation)} - {""} == set(POSITION_RULES)


@pytest.mark.parametrize(("layout", "variant"), ALL)
def test_a_sheet_states_its_sources(layout: str, variant: str) -> None:
    sheet = SHEETS[layout][variant]
    assert sheet.title
    assert sheet.licence
    assert set(sheet.sources) == {"architecture", "positions", "readout"}
    assert {"size", "prepared_size", "channels", "mean", "std", "interpolation", "fit"} <= set(sheet.image)
    assert all(source for _, source in sheet.image.values())
    assert all(sheet.sources.values())


@pytest.mark.parametrize(("layout", "variant"), [one for one in ALL if one[0] != "timm"])
def test_sizes_are_those_of_timms_network(layout: str, variant: str) -> None:
    from refers_bench.nets.timm_encoder import TimmEncoder

    sheet = SHEETS[layout][variant]
    with torch.device("meta"):
        encoder = TimmEncoder(sheet, image_size=sheet.image["size"][0], channels=3)
    assert encoder.width == sheet.width
    parts = [name for name, one in encoder.net.named_modules() if hasattr(one, "num_heads") and name.endswith("attn")]
    assert len(parts) == sheet.depth
    assert encoder.net.get_submodule(parts[-1]).num_heads == sheet.heads
    last = encoder.net.get_submodule(parts[-1].removesuffix("attn") + "mlp.fc2")
    assert last.in_features == sheet.mlp_width
    assert encoder.chosen == sheet.readout


@pytest.mark.parametrize("preset", protocols.names())
@pytest.mark.parametrize(("layout", "variant"), ALL)
def test_a_sheets_constants_fit_together_in_every_preset(layout: str, variant: str, preset: str) -> None:
    architecture = "resnet18" if layout == "timm" else ""
    constants = EncoderParams(layout=layout, variant=variant, architecture=architecture).constants()
    values = protocols.resolve(preset, method={name: Value(value=v, origin=o) for name, (v, o) in constants.items()})
    assert all(values[name].value == value for name, (value, _) in constants.items())


def test_another_image_size_keeps_the_share_that_is_shown() -> None:
    constants = EncoderParams(layout="ark", image_size=384).constants()
    assert (constants["image.size"][0], constants["image.prepared_size"][0]) == (384, 448)
    assert "image_size of the row" in constants["image.size"][1]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"layout": "dinov2", "variant": "huge"}, "no variant 'huge'; allowed: small, base, large, giant"),
        ({"layout": "timm"}, "architecture is for layout timm"),
        ({"layout": "dinov2", "architecture": "resnet18"}, "architecture is for layout timm"),
        ({"layout": "timm", "architecture": "hf_hub:some/thing"}, "String should match pattern"),
        ({"layout": "another"}, "Input should be"),
    ],
)
def test_parameters_that_name_nothing_are_refused(given: dict[str, str], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        EncoderParams(**given)


def test_what_was_not_read_in_its_source_is_said() -> None:
    notes = EncoderParams(layout="rad_dino").footnotes()
    assert notes[0].startswith("RAD-DINO (vit_base_patch14_dinov2), licence of the weights: MIT in the present")
    assert notes[-1] == "RAD-DINO: not read in its source: mean, std"
    assert timm.is_model(SHEETS["rad_dino"]["base"].architecture)
    assert isinstance(SHEETS["rad_dino"]["base"], EncoderSheet)
