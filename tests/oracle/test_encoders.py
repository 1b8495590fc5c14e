"""Released encoders give the features of the library that they are made for: timm's, transformers', torchvision's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from encoder_files import RELEASED, Released
from refers_bench import plugins
from refers_bench.errors import DataError
from refers_bench.nets.foreign_layouts import resize_positions
from refers_bench.training import weight_files

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def built(params: dict[str, Any], side: int, *, name: str = "encoder", channels: int = 3, readout: str = "auto") -> Any:
    method = plugins.load("method", name)
    torch.manual_seed(0)
    image = {"size": side, "channels": channels}
    return method.build_encoder(method.Params(**params), {"readout": readout}, image).eval()


def images(side: int, count: int = 2) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(3))


def written(one: Released, path: Path) -> Any:
    """The network that the file was written from."""
    net = one.reference()
    torch.save(one.content(net.state_dict()), path)
    return net


@pytest.mark.parametrize("name", RELEASED)
@torch.no_grad()
def test_a_released_layout_loads_whole_and_gives_timms_features(name: str, tmp_path: Path) -> None:
    one = RELEASED[name]
    net, encoder, x = written(one, tmp_path / "w.pth"), built(one.params, one.side), images(one.side)
    coverage, _ = weight_files.load(encoder, tmp_path / "w.pth", minimum=1.0)
    assert (coverage.share, coverage.missing) == (1.0, ())
    assert coverage.unexpected == (), "tensors that the sheet does not know"
    assert coverage.changed == len(coverage.loaded)
    tokens = net.forward_features(x)
    expected = one.pooled(net, tokens)
    torch.testing.assert_close(encoder.features(x, "auto"), expected, **CLOSE)
    torch.testing.assert_close(encoder.readout(encoder(x)), expected, **CLOSE)
    if "eva" not in name:
        torch.testing.assert_close(encoder.features(x, "tokens"), tokens.flatten(1, -2), **CLOSE)


@pytest.mark.parametrize("name", RELEASED)
def test_one_missing_tensor_is_refused_with_the_figure(name: str, tmp_path: Path) -> None:
    one = RELEASED[name]
    state = one.reference().state_dict()
    del state[one.essential]
    torch.save(one.content(state), tmp_path / "w.pth")
    encoder = built(one.params, one.side)
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    total = len(before)
    found = rf"holds {total - 1} of {total} tensors, missing e\.g\. 'net\.{one.essential}'; allowed: at least 100%"
    with pytest.raises(DataError, match=found):
        weight_files.load(encoder, tmp_path / "w.pth", minimum=1.0)
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items()), "half loaded"


@pytest.mark.parametrize("name", RELEASED)
def test_weights_of_another_architecture_are_refused(name: str, tmp_path: Path) -> None:
    """One more block, and half the width."""
    one = RELEASED[name]
    written(one, tmp_path / "w.pth")
    fewer = {"depths": [1, 1, 1, 1]} if one.layout == "ark" else {"depth": 3}
    with pytest.raises(DataError, match="blocks that the network does not have"):
        weight_files.load(
            built({**one.params, "arguments": {**one.arguments, **fewer}}, one.side), tmp_path / "w.pth", minimum=1.0
        )
    wider = {**one.arguments, "embed_dim": 2 * one.arguments["embed_dim"]}
    with pytest.raises(DataError, match=r"tensors|shape"):
        weight_files.load(built({**one.params, "arguments": wider}, one.side), tmp_path / "w.pth", minimum=1.0)


# --- position grids ----------------------------------------------------------------------------------------------------


def cubic(distance: float) -> float:
    """Keys' kernel with a = -0.75, as torch has it."""
    d, a = abs(distance), -0.75
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * (d**3 - 5 * d**2 + 8 * d - 4) if d < 2 else 0.0


@pytest.mark.parametrize(("old", "new"), [(37, 16), (14, 21), (5, 4)])
def test_metas_rule_is_the_closed_form(old: int, new: int) -> None:
    """Samples lie at (i + 1/2) old / (new + 0.1) - 1/2, edges repeated, no smoothing."""
    line = torch.randn(old, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    places = [(i + 0.5) * old / (new + 0.1) - 0.5 for i in range(new)]
    weights = torch.zeros(new, old, dtype=torch.float64)
    for row, place in enumerate(places):
        for column in range(int(place // 1) - 1, int(place // 1) + 3):
            weights[row, min(max(column, 0), old - 1)] += cubic(place - column)
    plane = torch.outer(line, line)
    given = torch.cat([torch.full((1, 1, 1), 9.0, dtype=torch.float64), plane.reshape(1, -1, 1)], 1)
    found = resize_positions(given, new, rule="meta")
    assert found[0, 0, 0] == 9
    torch.testing.assert_close(found[0, 1:, 0].view(new, new), weights @ plane @ weights.T, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("old", "new"), [(37, 16), (14, 21)])
@pytest.mark.parametrize("first", [0, 1, 5])
def test_timms_rule_is_timms(old: int, new: int, first: int) -> None:
    given = torch.randn(1, first + old**2, 6)
    theirs = timm.layers.resample_abs_pos_embed(given, [new, new], num_prefix_tokens=first)
    torch.testing.assert_close(resize_positions(given, new, rule="timm", first=first), theirs, rtol=1e-6, atol=1e-6)


def test_rules_differ() -> None:
    given = torch.randn(1, 1 + 37**2, 4)
    found = [resize_positions(given, 16, rule=rule) for rule in ("aligned", "timm", "meta", "size")]
    assert all((a - b).abs().max() > 0.05 for i, a in enumerate(found) for b in found[:i])


# --- transformers and torchvision --------------------------------------------------------------------------------------


def hugging_face(kind: str, **changes: Any) -> Any:
    import transformers

    torch.manual_seed(4)
    given = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, **changes}
    if kind == "dinov2":
        net = transformers.Dinov2Model(transformers.Dinov2Config(image_size=112, patch_size=14, mlp_ratio=4, **given))
    else:
        sizes = {"image_size": 64, "patch_size": 16, "intermediate_size": 128}
        net = transformers.ViTModel(transformers.ViTConfig(**sizes, **given), add_pooling_layer=False)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.2)
    return net.eval()


FOLDERS: list[tuple[str, dict[str, Any], int]] = [
    ("dinov2", {"layout": "rad_dino"}, 112),
    ("dinov2", {"layout": "rad_dino"}, 56),
    ("dinov2", {"layout": "timm", "architecture": "vit_small_patch14_dinov2"}, 56),
    ("dinov2", {"layout": "dinov2", "positions": "size"}, 56),
    ("vit", {"layout": "timm", "architecture": "vit_base_patch16_224"}, 64),
    ("vit", {"layout": "timm", "architecture": "vit_base_patch16_224"}, 96),
]


@pytest.mark.parametrize("pickled", [False, True])
@pytest.mark.parametrize(("kind", "params", "side"), FOLDERS)
@torch.no_grad()
def test_a_hugging_face_folder_gives_transformers_features(
    kind: str, params: dict[str, Any], side: int, pickled: bool, tmp_path: Path
) -> None:
    """At the file's image size, and at another one, where both resize the positions."""
    theirs = hugging_face(kind)
    theirs.save_pretrained(tmp_path)
    if pickled:
        (tmp_path / "model.safetensors").unlink()
        torch.save(theirs.state_dict(), tmp_path / "pytorch_model.bin")
    encoder = built({**params, "arguments": {"embed_dim": 32, "depth": 4, "num_heads": 2}}, side)
    coverage, layout = weight_files.load(encoder, tmp_path, minimum=1.0)
    assert coverage.share == 1.0
    assert layout.remark == "positions by the rule 'size'"
    x = images(side)
    how = {"interpolate_pos_encoding": True} if kind == "vit" else {}
    found = theirs(x, output_hidden_states=True, **how)
    torch.testing.assert_close(encoder.features(x, "tokens"), found.last_hidden_state, **CLOSE)
    last = torch.cat([theirs.layernorm(one)[:, 0] for one in found.hidden_states[-4:]], -1)
    torch.testing.assert_close(encoder.features(x, "last4_cls"), last, **CLOSE)
    both = torch.cat([found.last_hidden_state[:, 0], found.last_hidden_state[:, 1:].mean(1)], -1)
    torch.testing.assert_close(encoder.features(x, "cls_mean"), both, **CLOSE)


@pytest.mark.parametrize(
    ("change", "says"), [({"num_attention_heads": 4}, "4 heads"), ({"hidden_act": "relu"}, "hidden_act relu")]
)
def test_what_no_shape_shows_is_checked(change: dict[str, Any], says: str, tmp_path: Path) -> None:
    hugging_face("vit", **change).save_pretrained(tmp_path)
    encoder = built(
        {
            "layout": "timm",
            "architecture": "vit_base_patch16_224",
            "arguments": {"embed_dim": 32, "depth": 4, "num_heads": 2},
        },
        64,
    )
    with pytest.raises(DataError, match=says):
        weight_files.load(encoder, tmp_path, minimum=1.0)


@pytest.mark.parametrize("content", [None, "{", "[1]"])
def test_a_folder_without_a_configuration_is_refused(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(DataError, match=r"config\.json"):
        weight_files.load(built(RELEASED["dinov2"].params, 56), tmp_path, minimum=1.0)


@pytest.mark.parametrize("depth", [18, 50])
@torch.no_grad()
def test_a_resnet_of_torchvision_gives_its_features(depth: int, tmp_path: Path) -> None:
    torch.manual_seed(5)
    theirs = getattr(torchvision.models, f"resnet{depth}")(weights=None).eval()
    torch.save(theirs.state_dict(), tmp_path / "w.pth")
    encoder = built({"layout": "timm", "architecture": f"resnet{depth}"}, 64)
    coverage, _ = weight_files.load(encoder, tmp_path / "w.pth", minimum=1.0)
    assert set(coverage.unexpected) == {"net.fc.weight", "net.fc.bias"}
    theirs.fc = nn.Identity()
    x = images(64)
    torch.testing.assert_close(encoder.features(x, "mean"), theirs(x), **CLOSE)
    assert encoder.readouts == ("auto", "mean", "tokens")


@pytest.mark.parametrize("architecture", ["vit_tiny_patch16_224", "vit_base_patch16_clip_224", "swin_tiny_patch4_window7_224", "eva02_tiny_patch14_224", "vit_small_patch16_dinov3", "resnet18"])  # fmt: skip
@torch.no_grad()
def test_any_network_of_timm_is_read_as_timm_reads_it(architecture: str, tmp_path: Path) -> None:
    torch.manual_seed(6)
    side = 224
    theirs = timm.create_model(architecture, num_classes=0, **({} if "resnet" in architecture else {"img_size": side}))
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.05)
    save_file(
        {name: value.contiguous() for name, value in theirs.eval().state_dict().items()}, tmp_path / "w.safetensors"
    )
    encoder = built({"layout": "timm", "architecture": architecture}, side)
    coverage, _ = weight_files.load(encoder, tmp_path / "w.safetensors", minimum=1.0)
    assert (coverage.share, coverage.unexpected) == (1.0, ())
    x = images(side, 1)
    torch.testing.assert_close(encoder.features(x), theirs(x), **CLOSE)


def test_the_grey_input_of_a_coloured_file_is_the_grey_image(tmp_path: Path) -> None:
    one = RELEASED["dinov2"]
    net, encoder = written(one, tmp_path / "w.pth"), built(one.params, one.side, channels=1)
    weight_files.load(encoder, tmp_path / "w.pth", minimum=1.0)
    x = images(one.side)[:, :1]
    torch.testing.assert_close(encoder(x), net.forward_features(x.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_the_real_weights_load_whole(real_data: Path) -> None:
    """ViT-S/14 of DINOv2's shape; at 518 pixels it is timm's network with timm's own loading, to the last digit."""
    path = next((real_data / "weights").glob("vit_small_patch14_dinov2*.safetensors"), None)
    if path is None:
        pytest.skip(f"no real weights in {real_data / 'weights'}")
    encoder, x = built({"layout": "dinov2"}, 518), images(518, 1)
    coverage, _ = weight_files.load(encoder, path, minimum=1.0)
    assert (len(coverage.loaded), coverage.missing, coverage.unexpected) == (174, (), ())
    theirs = timm.create_model("vit_small_patch14_dinov2", num_classes=0, checkpoint_path=str(path)).eval()
    torch.testing.assert_close(encoder.features(x, "tokens"), theirs.forward_features(x), **CLOSE)
