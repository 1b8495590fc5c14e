"""A user brings weights of their own into the tables, and takes pre-trained ones out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import timm
import torch
from ruamel.yaml import YAML
from safetensors.torch import load_file

from command_line import Commands
from refers_bench.manifest.protocols import names
from refers_bench.nets import radiograph_transformer

MANIFEST = """
version: 1
protocol:
  preset: smoke
  overrides:
    network: {aggregation: added}
    pretrain: {steps: 4, warmup_steps: 1, validate_every: 2}
    finetune: {steps: 4, warmup_steps: 1, validate_every: 2}
data: {phantom: {phantom: {seed: 4, studies: 60, size: 40, views: 1}}}
source: {dataset: phantom}
methods: [lsp_transformer, {id: checkpoint, params: {source: "a test"}}]
targets: [{dataset: phantom, tasks: [findings]}]
seeds: [0]
"""
FILES = {"m.yaml": MANIFEST}


def tiny() -> torch.nn.Module:
    torch.manual_seed(0)
    return timm.models.VisionTransformer(
        img_size=32, patch_size=8, in_chans=1, embed_dim=32, depth=2, num_heads=4, mlp_ratio=2, num_classes=0
    )


def test_weights_of_ones_own_become_a_row(home: Path, cli: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "data root 'checkpoint' is not set" in cli("plan", "m.yaml").out
    torch.save(tiny().state_dict(), home / "mine.pth")
    monkeypatch.setenv("REFERS_BENCH_ROOT_CHECKPOINT", str(home / "mine.pth"))
    shown, _ = cli("run", "m.yaml")
    assert "weights given by the user: a test" in " ".join(shown.split())
    assert "as its weights were trained: GELU in place of ReLU, added positions in place of concatenated" in " ".join(
        shown.split()
    )
    (record,) = (
        content
        for path in (home / "results" / "store").glob("*/run.json")
        if (content := json.loads(path.read_text()))["spec"].get("weights")
    )
    assert record["facts"]["encoder"]["layout"].startswith("timm ViT")
    assert record["facts"]["encoder"]["differ_from_random"] >= 15
    assert record["facts"]["encoder"]["missing"] == []
    assert (record["facts"]["encoder"]["derived"], record["facts"]["encoder"]["remark"]) == ([], "")
    assert (record["spec"]["network"]["activation"], record["spec"]["network"]["position"]) == ("gelu", "added")
    # Other weights are another cell; the same ones elsewhere are the same.
    before = record["key"]
    (home / "moved.pth").write_bytes((home / "mine.pth").read_bytes())
    monkeypatch.setenv("REFERS_BENCH_ROOT_CHECKPOINT", str(home / "moved.pth"))
    assert "to do        finetune" not in cli("run", "m.yaml", "--dry-run").out
    torch.save({name: value + 1 for name, value in tiny().state_dict().items()}, home / "moved.pth")
    assert before not in cli("plan", "m.yaml", "--jobs").out


def test_another_architecture_fails_its_cells_with_the_coverage(
    home: Path, cli: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(timm.create_model("resnet18").state_dict(), home / "mine.pth")
    monkeypatch.setenv("REFERS_BENCH_ROOT_CHECKPOINT", str(home / "mine.pth"))
    cli("run", "m.yaml", "--only", "checkpoint*", "--no-report", code=4)
    (failure,) = (home / "results" / "store").glob("*.failed.json")
    content = json.loads(failure.read_text())
    assert content["category"] == "data_error"
    assert "the checkpoint holds 0 of" in content["message"]


def test_inspect_convert_export(home: Path, cli: Commands) -> None:
    torch.save(timm.create_model("resnet18").state_dict(), home / "resnet.pth")
    found = json.loads(cli("weights", "inspect", "resnet.pth", "--depth", "18", "--json").out)
    assert (found["layout"], found["coverage"]) == ("ResNet (timm, torchvision)", 1.0)
    assert found["unexpected"] == ["net.fc.weight", "net.fc.bias"]
    assert "fills 0 of " in cli("weights", "inspect", "resnet.pth", "--preset", "smoke").out

    state = {**tiny().state_dict(), "head.weight": torch.zeros(2, 2)}
    torch.save(state, home / "mine.pth")
    shown, _ = cli("weights", "inspect", "mine.pth", "--preset", "smoke")
    assert "as its weights were trained: GELU in place of ReLU, added positions in place of concatenated" in shown
    assert "derived" not in shown, "there is no projection to derive"
    best = json.loads(cli("weights", "inspect", "mine.pth", "--json").out)
    assert best["network"] == "radiograph transformer of 'smoke'" and best["coverage"] == 1.0
    assert set(best["coverage_by_preset"]) == set(names()) and best["coverage_by_preset"]["paper"] < 0.5
    assert "smoke 100.0%" in cli("weights", "inspect", "mine.pth").out
    torch.save({**state, "blocks.2.norm1.weight": torch.zeros(32)}, home / "deeper.pth")
    assert (
        "blocks of another network (1): blocks.2.norm1.weight"
        in cli("weights", "inspect", "deeper.pth", "--preset", "smoke").out
    )
    out, _ = cli("weights", "convert", "mine.pth", "ours.safetensors", "--layout", "refers-bench")
    assert "blocks.0.attention.qkv.weight" in load_file("ours.safetensors")
    assert "head.weight" not in load_file("ours.safetensors")
    assert "; 1 more left out" in out
    cli("weights", "convert", "mine.pth", "ours.pth", code=2)

    assert "not pre-trained yet" in cli("weights", "export", "m.yaml", "lsp_transformer", "out.safetensors", code=2).err
    cli("run", "m.yaml", "--only", "pretrain.lsp*", "--no-report")
    assert (
        "unknown pre-trained row 'lsp'; allowed: lsp_transformer"
        in cli("weights", "export", "m.yaml", "lsp", "out.safetensors", code=2).err
    )
    cli("weights", "export", "m.yaml", "lsp_transformer", "out.safetensors")
    sheet = json.loads((home / "out.safetensors.json").read_text())
    assert sheet["timm"]["arguments"]["act_layer"] == "relu"
    theirs = timm.models.VisionTransformer(**sheet["timm"]["arguments"]).eval()
    theirs.load_state_dict(load_file("out.safetensors"))
    (trained,) = (home / "results" / "store").glob("*/checkpoint.safetensors")
    spec = json.loads((trained.parent / "run.json").read_text())["spec"]
    mine = radiograph_transformer.build(spec["network"], spec["image"]).eval()
    mine.load_state_dict(load_file(trained))
    images = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(theirs.forward_features(images), mine(images), rtol=1e-5, atol=1e-5)
    assert sheet["input"] == {
        "size": 32, "channels": 1, "mean": [0.5], "std": [0.25], "value_range": [0, 1], "resize": 36,
        "interpolation": "bilinear, antialiased",
    }  # fmt: skip
    assert sheet["data"]["synthetic"] is True
    assert sheet["data"]["licence"]
    card = (home / "out.safetensors.md").read_text()
    head = YAML(typ="safe").load(card.split("---\n")[1])
    assert head["datasets"] == ["phantom"] and head["library_name"] == "timm" and "synthetic-data" in head["tags"]
    assert "**Synthetic data.**" in card and "| protocol preset | smoke |" in card
    assert (
        "network.aggregation" in card
        and "pretrain.steps" in card
        and "finetune" not in card.partition("## Deviations")[2].partition("## Input")[0]
    )
    before = {path: path.read_bytes() for path in home.glob("out.safetensors*")}
    assert (
        "out.safetensors.md: model card" in cli("weights", "export", "m.yaml", "lsp_transformer", "out.safetensors").out
    )
    assert {path: path.read_bytes() for path in home.glob("out.safetensors*")} == before and len(before) == 3

    # As Hugging Face holds models: timm builds the network and reads the weights by itself.
    assert "hub/README.md: model card" in cli("weights", "export", "m.yaml", "lsp_transformer", "hub", "--hub").out
    names_there = sorted(path.name for path in (home / "hub").iterdir())
    assert names_there == ["README.md", "config.json", "data_sheet.json", "model.safetensors"]
    loaded = timm.create_model(f"local-dir:{home / 'hub'}", pretrained=True).eval()
    torch.testing.assert_close(loaded.forward_features(images), mine(images), rtol=1e-5, atol=1e-5)
    assert loaded.pretrained_cfg["input_size"] == (1, 32, 32) and tuple(loaded.pretrained_cfg["std"]) == (0.25,)
    assert r"data\_sheet.json" in (home / "hub" / "README.md").read_text()
    again = ("weights", "export", "m.yaml", "lsp_transformer")
    assert "a folder; allowed: a file that ends in" in cli(*again, "hub", code=2).err
    assert "a file; allowed: a folder" in cli(*again, "out.safetensors", "--hub", code=2).err
    assert "--hub with --layout" in cli(*again, "hub", "--hub", "--layout", "refers-bench", code=2).err


ENCODERS = """
version: 1
protocol:
  preset: smoke
  overrides: {finetune: {steps: 2, warmup_steps: 1, validate_every: 1}}
data: {phantom: {phantom: {seed: 4, studies: 40, size: 40, views: 1}}}
source: {dataset: phantom}
methods:
  - {id: encoder, params: &mine {layout: timm, architecture: vit_tiny_patch16_224, image_size: 32, arguments: {patch_size: 8, embed_dim: 32, depth: 4, num_heads: 2}}}
  - {id: shuffled_weights, params: *mine}
targets: [{dataset: phantom, tasks: [findings]}]
seeds: [0]
"""


def vit() -> torch.nn.Module:
    torch.manual_seed(3)
    return timm.models.VisionTransformer(img_size=32, patch_size=8, embed_dim=32, depth=4, num_heads=2, num_classes=5)


def test_an_encoder_and_its_floor_are_rows_with_the_encoders_own_images(
    home: Path, cli: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "e.yaml").write_text(ENCODERS)
    assert "set data root 'encoder' to a weight file or a Hugging Face folder" in cli("plan", "e.yaml").out
    torch.save({"model": vit().state_dict()}, home / "mine.pth")
    monkeypatch.setenv("REFERS_BENCH_ROOT_ENCODER", str(home / "mine.pth"))
    shown, _ = cli("run", "e.yaml")
    assert "floor: every weight matrix with its entries in random order" in shown
    assert "timm (vit_tiny_patch16_224), licence of the weights: of the weights" in shown
    records = [json.loads(path.read_text()) for path in (home / "results" / "store").glob("*/run.json")]
    (prepared,) = (one for one in records if one["spec"]["kind"] == "prepare")
    how = {name: prepared["spec"][name] for name in ("prepared_size", "interpolation", "fit")}
    assert how == {"prepared_size": 37, "interpolation": "bicubic", "fit": "crop"}
    tuned = {one["spec"]["method"]: one for one in records if one["spec"]["kind"] == "finetune"}
    assert set(tuned) == {"encoder", "shuffled_weights"}
    for one in tuned.values():
        image, filled = one["spec"]["image"], one["facts"]["encoder"]
        assert (image["size"], image["channels"], image["mean"]) == (32, 3, [0.485, 0.456, 0.406])
        assert (image["interpolation"], "intensity" in image) == ("bicubic", False)
        assert (filled["missing"], filled["unexpected"]) == ([], ["net.head.weight", "net.head.bias"])
    torch.save({"model": {k: v for k, v in vit().state_dict().items() if k != "norm.bias"}}, home / "mine.pth")
    cli("run", "e.yaml", "--only", "encoder*", "--no-report", code=4)
    (failure,) = (home / "results" / "store").glob("*.failed.json")
    assert "holds 53 of 54 tensors, missing e.g. 'net.norm.bias'" in json.loads(failure.read_text())["message"]


def test_a_fingerprint_is_compared(home: Path, cli: Commands) -> None:
    torch.save(vit().state_dict(), home / "mine.pth")
    arguments = [f"--argument={text}" for text in ("patch_size=8", "embed_dim=32", "depth=4", "num_heads=2")]
    how = ("mine.pth", "--architecture", "vit_tiny_patch16_224", "--image-size", "32", *arguments)
    found = json.loads(cli("weights", "fingerprint", *how, "--json").out)
    assert found["tensors"] == 54
    assert set(found["features"]) == {"auto", "cls", "mean", "cls_mean", "last4_cls"}
    assert found["fingerprint"] in cli("weights", "fingerprint", *how).out
    cli("weights", "fingerprint", *how, "--expect", found["fingerprint"])
    other, image = json.loads(cli("weights", "fingerprint", *how[:4], "40", *arguments, "--json").out), ("--expect",)
    assert "times the tolerance apart" in cli("weights", "fingerprint", *how, *image, other["fingerprint"], code=5).err
    assert "no fingerprint" in cli("weights", "fingerprint", *how, "--expect", "nonsense", code=2).err
    assert "--layout is 'none'; allowed: '" in cli("weights", "fingerprint", "mine.pth", "--layout", "none", code=2).err
