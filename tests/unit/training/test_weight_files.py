"""Is anybody's encoder loaded whole, proven by its outputs, and is everything hostile or foreign refused unharmed?"""

from __future__ import annotations

import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from refers_bench.errors import DataError
from refers_bench.nets import foreign_layouts
from refers_bench.nets.convnet import ConvNet
from refers_bench.nets.radiograph_transformer import RadiographTransformer
from refers_bench.training import weight_files

WIDTH, DEPTH, HEADS, MLP = 32, 2, 4, 64


def ours(**changes: Any) -> RadiographTransformer:
    settings = {
        "image_size": 32, "patch_size": 8, "channels": 3, "width": WIDTH, "depth": DEPTH, "heads": HEADS,
        "mlp_width": MLP, "dropout": 0.0, "activation": "gelu", "position": "added", "aggregation": "added",
    }  # fmt: skip
    return RadiographTransformer(**{**settings, **changes}).eval()


def vit(**changes: Any) -> nn.Module:
    """A tiny ViT of timm with random weights everywhere (timm starts some at zero)."""
    torch.manual_seed(1)
    net = timm.models.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS, mlp_ratio=MLP / WIDTH,
        num_classes=0, **changes,
    )  # fmt: skip
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.2)
    return net.eval()


def torchvision_vit() -> nn.Module:
    from torchvision.models.vision_transformer import VisionTransformer

    torch.manual_seed(2)
    net = VisionTransformer(
        image_size=32, patch_size=8, num_layers=DEPTH, num_heads=HEADS, hidden_dim=WIDTH, mlp_dim=MLP
    )
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.2)
    return net.eval()


def hugging_face_vit() -> nn.Module:
    from transformers import ViTConfig, ViTModel

    torch.manual_seed(3)
    config = ViTConfig(
        hidden_size=WIDTH, num_hidden_layers=DEPTH, num_attention_heads=HEADS, intermediate_size=MLP, image_size=32,
        patch_size=8, layer_norm_eps=1e-6,
    )  # fmt: skip
    net = ViTModel(config, add_pooling_layer=False)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.2)
    return net.eval()


X = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize(
    ("wrap", "suffix"),
    [
        (lambda state: state, ".pth"),
        (lambda state: {"model": state, "epoch": 3, "optimizer": {}}, ".pt"),  # MAE
        (lambda state: {"state_dict": {f"module.{k}": v for k, v in state.items()}}, ".tar"),
        (
            lambda state: {  # MoCo v3: the base encoder counts
                "state_dict": {f"module.base_encoder.{k}": v for k, v in state.items()}
                | {f"module.momentum_encoder.{k}": torch.zeros_like(v) for k, v in state.items()}
                | {"module.predictor.0.weight": torch.zeros(2, 2)}
            },
            ".ckpt",
        ),
        (lambda state: state, ".safetensors"),
    ],
    ids=["bare", "MAE", "module", "MoCo v3", "safetensors"],
)
def test_timm_layout_gives_timms_output(tmp_path: Path, wrap: Any, suffix: str) -> None:
    theirs, net, path = vit(), ours(), tmp_path / f"w{suffix}"
    content = wrap(theirs.state_dict())
    save_file(content, path) if suffix == ".safetensors" else torch.save(content, path)
    coverage, layout = weight_files.load(net, path, minimum=1.0)
    assert layout.name.startswith("timm ViT")
    assert (coverage.share, coverage.unexpected) == (1.0, ())
    torch.testing.assert_close(net(X), theirs.forward_features(X))


def test_torchvision_layout_gives_its_output(tmp_path: Path) -> None:
    theirs, net, path = torchvision_vit(), ours(), tmp_path / "w.pth"
    torch.save(theirs.state_dict(), path)
    coverage, layout = weight_files.load(net, path, minimum=1.0)
    assert layout.name == "torchvision ViT"
    assert coverage.unexpected == ("heads.head.weight", "heads.head.bias")
    theirs.heads = nn.Identity()
    torch.testing.assert_close(net(X)[:, 0], theirs(X))


#: Names of transformers 5 in memory -> those of files on disk.
OLD_NAMES = {
    "layers.": "encoder.layer.", "attention.q_proj": "attention.attention.query", "mlp.fc1": "intermediate.dense",
    "attention.k_proj": "attention.attention.key", "attention.v_proj": "attention.attention.value",
    "attention.o_proj": "attention.output.dense", "mlp.fc2": "output.dense",
}  # fmt: skip


@pytest.mark.parametrize("prefix", ["", "vit."])
@pytest.mark.parametrize("old", [False, True])
def test_hugging_face_layout_gives_its_output(tmp_path: Path, prefix: str, old: bool) -> None:
    theirs, net, path = hugging_face_vit(), ours(), tmp_path / "w.bin"

    def name_of(name: str) -> str:
        for new, before in OLD_NAMES.items() if old else ():
            name = name.replace(new, before)
        return prefix + name

    torch.save({name_of(name): value for name, value in theirs.state_dict().items()}, path)
    coverage, layout = weight_files.load(net, path, minimum=1.0)
    assert layout.name == "Hugging Face ViT"
    assert coverage.share == 1.0
    torch.testing.assert_close(net(X), theirs(X).last_hidden_state)


def test_open_clip_layout_says_what_it_loses(tmp_path: Path) -> None:
    state = ours().state_dict()
    clip = {
        "visual.class_embedding": state["aggregation_embedding"].flatten(), "visual.proj": torch.zeros(WIDTH, 4),
        "visual.positional_embedding": state["position_embedding"][0], "logit_scale": torch.tensor(1.0),
        "visual.conv1.weight": state["patch_embedding.weight"], "visual.ln_pre.weight": torch.ones(WIDTH),
        "visual.ln_pre.bias": torch.zeros(WIDTH), "visual.ln_post.weight": state["norm.weight"],
        "visual.ln_post.bias": state["norm.bias"], "token_embedding.weight": torch.zeros(5, 4),
    }  # fmt: skip
    names = {
        "norm1": "ln_1", "norm2": "ln_2", "attention.out": "attn.out_proj", "fc1": "mlp.c_fc", "fc2": "mlp.c_proj",
    }  # fmt: skip
    for layer in range(DEPTH):
        for kind in ("weight", "bias"):
            base = f"visual.transformer.resblocks.{layer}"
            clip[f"{base}.attn.in_proj_{kind}"] = state[f"blocks.{layer}.attention.qkv.{kind}"]
            for mine, theirs in names.items():
                clip[f"{base}.{theirs}.{kind}"] = state[f"blocks.{layer}.{mine}.{kind}"]
    torch.save(clip, tmp_path / "w.pt")
    coverage, layout = weight_files.load(ours(), tmp_path / "w.pt", minimum=1.0)
    assert coverage.share == 1.0
    image = {"visual.ln_pre.weight", "visual.ln_pre.bias", "visual.proj"}
    assert set(coverage.unexpected) == image | {"token_embedding.weight", "logit_scale"}
    assert "ln_pre" in layout.remark


@pytest.mark.parametrize("name", ["checkpoint_pretrain_official_layout.pt", "checkpoint_finetuned_official_layout.bin"])
def test_the_releases_own_layouts(golden: Path, name: str) -> None:
    weights, layout = weight_files.converted(weight_files.read(golden / name), path=golden / name)
    assert layout.name == "REFERS release"
    assert weights["blocks.0.attention.qkv.weight"].shape[0] == 3 * weights["norm.weight"].shape[0]
    others = set(weights) - set(weight_files.encoder_only(weights))
    pretrained = {"textual.output.bias", "fusion.fc1.weight"}
    assert others == {"head.weight", "head.bias"} if name.endswith(".bin") else others >= pretrained


def test_arrays_without_a_place_are_seen(golden: Path, tmp_path: Path) -> None:
    with np.load(golden / "case10_vit_jax_layout.npz") as arrays:
        np.savez(tmp_path / "w.npz", **arrays, **{"pre_logits/kernel": np.zeros((2, 2)), "note": np.array("text")})
    weights, layout = weight_files.converted(weight_files.read(tmp_path / "w.npz"), path=tmp_path / "w.npz")
    assert layout.name == "REFERS release"
    assert "pre_logits/kernel" in set(weights) - set(weight_files.encoder_only(weights))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("prefix", ["", "module.encoder_q."])
def test_resnets(tmp_path: Path, channels: int, prefix: str) -> None:
    torch.manual_seed(4)
    theirs = timm.create_model("resnet18", num_classes=7).eval()
    torch.save(
        {"state_dict": {f"{prefix}{name}": value for name, value in theirs.state_dict().items()}}, tmp_path / "w.pth"
    )
    net = ConvNet(depth=18, channels=channels).eval()
    coverage, layout = weight_files.load(net, tmp_path / "w.pth", minimum=1.0)
    assert layout.backbone == "resnet"
    assert coverage.unexpected == ("net.fc.weight", "net.fc.bias")
    grey = X[:, :1].expand(-1, 3, -1, -1)
    features = theirs.forward_features(grey).mean((2, 3))
    torch.testing.assert_close(net.readout(net(grey[:, :channels])), features, rtol=1e-4, atol=1e-4)


def test_positions_are_resized_to_the_grid(tmp_path: Path) -> None:
    torch.save(vit().state_dict(), tmp_path / "w.pth")
    net = ours(image_size=64)
    coverage, _ = weight_files.load(net, tmp_path / "w.pth", minimum=1.0)
    assert coverage.share == 1.0
    assert net.position_embedding.shape == (1, 65, WIDTH)


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_added_positions_are_added_where_the_network_concatenates(tmp_path: Path, size: int, activation: str) -> None:
    theirs, path = vit(act_layer=activation), tmp_path / "w.pth"
    torch.save(theirs.state_dict(), path)
    how = {"activation": activation, "image_size": size}
    net, plain = ours(position="concatenated", aggregation="concatenated", **how), ours(**how)
    coverage, layout = weight_files.load(net, path, minimum=1.0)
    weight_files.load(plain, path, minimum=1.0)
    images = torch.randn(2, 3, size, size)
    torch.testing.assert_close(net(images), plain(images), rtol=1e-5, atol=1e-5)
    if size == 32:
        torch.testing.assert_close(net(X), theirs.forward_features(X), rtol=1e-5, atol=1e-5)
    assert coverage.derived == ("position_projection.weight", "position_projection.bias")
    assert (coverage.share, coverage.missing) == (1.0, ())
    assert layout.remark == ("" if activation == "gelu" else "weights trained with GELU run here with ReLU")


def test_a_projection_is_folded_where_the_network_adds(tmp_path: Path) -> None:
    torch.manual_seed(6)
    own, net = ours(position="concatenated"), ours()
    nn.init.normal_(own.aggregation_embedding)
    save_file(own.state_dict(), tmp_path / "w.safetensors")
    coverage, _ = weight_files.load(net, tmp_path / "w.safetensors", minimum=1.0)
    assert coverage.unexpected == ()
    torch.testing.assert_close(net(X), own(X), rtol=1e-5, atol=1e-5)


def test_own_weights_are_taken_as_they_are(tmp_path: Path) -> None:
    own, net = ours(position="concatenated", activation="relu"), ours(position="concatenated", activation="relu")
    save_file(own.state_dict(), tmp_path / "w.safetensors")
    coverage, layout = weight_files.load(net, tmp_path / "w.safetensors", minimum=1.0)
    assert (coverage.derived, layout.remark) == ((), "")
    assert all(torch.equal(value, own.state_dict()[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("position", ["added", "concatenated"])
@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_an_exported_encoder_is_timms(position: str, activation: str) -> None:
    torch.manual_seed(7)
    net, theirs = ours(position=position, activation=activation), vit(act_layer=activation)
    nn.init.normal_(net.aggregation_embedding)
    theirs.load_state_dict(foreign_layouts.to_timm(net.state_dict()))
    torch.testing.assert_close(theirs.forward_features(X), net(X), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"position_embedding": None}, "cannot be folded without 'position_embedding'"),
        ({"position_projection.bias": None}, r"cannot be folded without 'position_projection\.bias'"),
        ({"position_projection.weight": torch.zeros(WIDTH, WIDTH)}, "shapes that do not fit"),
        ({"position_projection.weight": torch.zeros(WIDTH)}, "shapes that do not fit"),
    ],
)
def test_a_projection_that_cannot_be_folded_is_not_exported(change: dict[str, Any], reason: str) -> None:
    state = {**ours(position="concatenated").state_dict(), **change}
    with pytest.raises(ValueError, match=reason):
        foreign_layouts.to_timm({name: value for name, value in state.items() if value is not None})


@pytest.mark.parametrize("kind", ["deeper", "scaled"])
def test_blocks_of_another_network_are_refused_with_the_coverage(tmp_path: Path, kind: str) -> None:
    state, path = vit().state_dict(), tmp_path / "w.pth"
    for name, value in list(state.items()):
        if kind == "deeper" and name.startswith("blocks.1."):
            state[name.replace("blocks.1.", "blocks.2.")] = value
    if kind == "scaled":
        state["blocks.0.ls1.gamma"] = torch.ones(WIDTH)
    torch.save(state, path)
    net = ours()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(DataError, match=r"fills 100\.0% of the network, but \d+ of its tensors .* 'blocks\.[02]\."):
        weight_files.load(net, path, minimum=0.95)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    coverage, _ = weight_files.load(net, path, minimum=0.0)
    assert set(coverage.other_blocks) == set(coverage.unexpected) != set()


def test_a_deeper_resnet_is_refused_with_the_coverage(tmp_path: Path) -> None:
    torch.save(timm.create_model("resnet34").state_dict(), tmp_path / "w.pth")
    with pytest.raises(DataError, match=r"fills 100\.0% of the network, but .* 'net\.layer1\.2\."):
        weight_files.load(ConvNet(depth=18, channels=3), tmp_path / "w.pth", minimum=0.95)


def official(**changes: torch.Tensor) -> dict[str, torch.Tensor]:
    """One block in the layout of the release."""
    base = "transformer.encoder.layer.0.attn"
    parts = {part: torch.zeros(WIDTH, WIDTH) for part in ("query", "key", "value")} | changes
    cls = {"transformer.embeddings.cls_token": torch.zeros(1, 1, WIDTH)}
    return cls | {f"{base}.{part}.weight": value for part, value in parts.items()}


def jax_arrays(**changes: Any) -> dict[str, Any]:
    """Arrays of a ViT without blocks in Google's layout."""
    norm = "Transformer/encoder_norm"
    names = {
        "cls": np.zeros((1, 1, WIDTH)), "embedding/kernel": np.zeros((8, 8, 3, WIDTH)), f"{norm}/scale": np.ones(WIDTH),
        "embedding/bias": np.zeros(WIDTH), f"{norm}/bias": np.zeros(WIDTH),
        "Transformer/posembed_input/pos_embedding": np.zeros((1, 17, WIDTH)),
    }  # fmt: skip
    return {**names, **changes}


def block_of_jax() -> dict[str, Any]:
    """A block whose attention kernel does not fit its bias."""
    base = "Transformer/encoderblock_0"
    attention = f"{base}/MultiHeadDotProductAttention_1/query"
    norms = {f"{base}/LayerNorm_{i}/{kind}": np.ones(WIDTH) for i in (0, 2) for kind in ("scale", "bias")}
    return {**norms, f"{attention}/kernel": np.zeros((3, 5)), f"{attention}/bias": np.zeros(WIDTH)}


CLIP = {f"visual.{name}": torch.zeros(WIDTH) for name in ("transformer.resblocks.0.ln_1.weight", "class_embedding")}
HUGGING_FACE = {
    "encoder.layer.0.layernorm_before.weight": torch.ones(WIDTH),
    "encoder.layer.0.attention.attention.query.weight": torch.zeros(WIDTH, WIDTH),
}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: jax_arrays(**{"embedding/kernel": np.zeros((8, WIDTH))}), "an array of another shape or type"),
        (lambda: jax_arrays(cls=np.array("text")), "an array of another shape or type"),
        (lambda: jax_arrays(**block_of_jax()), "an array of another shape or type"),
        (lambda: {**vit().state_dict(), "pos_embed": torch.zeros(17)}, r"a position embedding of shape \(17,\)"),
        (lambda: {**vit().state_dict(), "pos_embed": torch.zeros(1, 13, WIDTH)}, r"shape \(1, 13, 32\); allowed: \(1, 1 \+"),
        (lambda: {**vit().state_dict(), "patch_embed.proj.weight": torch.zeros(3)}, r"'patch_embedding.weight' has shape \(3,\)"),
        (lambda: {**torchvision_vit().state_dict(), "encoder.pos_embedding": torch.tensor(1.0)}, r"a position embedding of shape \(\)"),
        (lambda: official(key=torch.zeros(2)), "REFERS release with a tensor of another shape"),
        (lambda: dict(list(CLIP.items())[:1]), "open_clip image tower without 'aggregation_embedding'"),
        (lambda: CLIP | {"visual.positional_embedding": torch.tensor(1.0), "visual.conv1.weight": torch.tensor(1.0)},
         "open_clip image tower with a tensor of another shape"),
        (lambda: HUGGING_FACE, "Hugging Face ViT without 'encoder.layer.0.attention.attention.key.weight'"),
        (lambda: HUGGING_FACE | {f"encoder.layer.0.attention.attention.{part}.weight": torch.zeros(2) for part in ("key", "value")},
         "Hugging Face ViT with a tensor of another shape"),
        (lambda: {**ours().state_dict(), "position_embedding": torch.zeros(3)}, r"a position embedding of shape \(3,\)"),
        (lambda: {**ours().state_dict(), "position_projection.weight": torch.zeros(3), "position_projection.bias": torch.zeros(3)},
         "shapes that do not fit"),
        (lambda: {**timm.create_model("resnet18").state_dict(), "conv1.weight": torch.zeros(3)}, "the checkpoint holds 0 of"),
        (lambda: {7: torch.zeros(2)}, "no tensor inside"),
    ],
)  # fmt: skip
def test_malformed_tensors_of_known_layouts_are_one_clear_error(tmp_path: Path, content: Any, message: str) -> None:
    made = content()
    path = tmp_path / ("w.npz" if "cls" in made else "w.pth")
    np.savez(path, **made) if path.suffix == ".npz" else torch.save(made, path)
    with pytest.raises(DataError, match=message) as refused:
        weight_files.load(ours(), path, minimum=0.95)
    assert str(path) in str(refused.value)
    assert refused.value.exit_code == 2


class Evil:
    """A pickle that would write a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


def evil_zip(path: Path) -> None:
    torch.save({"model": Evil(path.parent / "ran")}, path)


def evil_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"model": Evil(path.parent / "ran")}))


def truncated(path: Path) -> None:
    torch.save(vit().state_dict(), path)
    path.write_bytes(path.read_bytes()[:2000])


def not_finite(path: Path) -> None:
    state = vit().state_dict()
    state["norm.weight"][3] = float("nan")
    torch.save(state, path)


def other_depth(path: Path) -> None:
    state = vit().state_dict()
    torch.save({name: value for name, value in state.items() if not name.startswith("blocks.1.")}, path)


def other_width(path: Path) -> None:
    torch.save({name: value[..., :16] for name, value in vit().state_dict().items()}, path)


def huge_header(path: Path) -> None:
    path.write_bytes(struct.pack("<Q", 2**31) + b"{" + b" " * 100)


def object_arrays(path: Path) -> None:
    np.savez(path, cls=np.array([Evil(path.parent / "ran")], dtype=object))


@pytest.mark.parametrize(
    ("make", "suffix", "message"),
    [
        (evil_zip, ".pt", "not weights alone .*allowed: tensors alone"),
        (evil_pickle, ".bin", "not weights alone|not a readable torch file"),
        (truncated, ".pth", "not a readable torch file"),
        (truncated, ".safetensors", "not a readable safetensors file"),
        (huge_header, ".safetensors", "not a readable safetensors file"),
        (object_arrays, ".npz", "not a readable .npz|no array"),
        (not_finite, ".pth", "'norm.weight' holds NaN or infinite values"),
        (other_depth, ".pth", r"the checkpoint holds \d+ of \d+ tensors, missing e\.g\. 'blocks\.1\..*at least 95%"),
        (other_width, ".pth", r"the checkpoint holds \d+ of \d+ tensors"),
        (lambda path: torch.save({"a.weight": torch.zeros(2)}, path), ".pt", "unknown layout: 1 tensors such as 'a.weight'"),
        (lambda path: torch.save({"epoch": 3}, path), ".pt", "no tensor inside"),
        (lambda path: torch.save([1, 2], path), ".pt", "a list; allowed: a mapping"),
        (lambda path: path.write_bytes(b""), ".pt", "not a readable torch file|not weights alone"),
        (lambda path: path.write_bytes(b"x"), ".h5", r"unknown format '\.h5'"),
        (lambda path: None, ".pt", "no such file"),
    ],
)  # fmt: skip
def test_hostile_and_foreign_files(tmp_path: Path, make: Any, suffix: str, message: str) -> None:
    path = tmp_path / f"w{suffix}"
    make(path)
    net = ours()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(DataError, match=message) as refused:
        weight_files.load(net, path, minimum=0.95)
    assert str(path) in str(refused.value)
    assert not (tmp_path / "ran").exists(), "code of the file was run"
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("error", [pickle.UnpicklingError, RuntimeError])
def test_what_torch_says_of_a_file_is_cut_to_one_line(
    tmp_path: Path, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: Any, **__: Any) -> Any:
        raise error("x" * 1000 + "\nmore")

    monkeypatch.setattr(torch, "load", load)
    (tmp_path / "w.pt").write_bytes(b"x")
    with pytest.raises(DataError) as refused:
        weight_files.load(ours(), tmp_path / "w.pt", minimum=0.95)
    assert "x" * 200 in str(refused.value) and "x" * 201 not in str(refused.value) and "more" not in str(refused.value)
