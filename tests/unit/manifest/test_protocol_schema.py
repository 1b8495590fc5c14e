"""Each training constant accepts its range with the ends and nothing beyond, and constants that clash are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from refers_bench.errors import UserError
from refers_bench.manifest import protocols
from refers_bench.manifest.protocol_schema import CONSTANTS, ProtocolSchema, in_specifications
from refers_bench.manifest.protocols import Override
from refers_bench.manifest.yaml_text import Place

COUNT: tuple[list[Any], list[Any]] = ([1, 10**6], [0, -1, 1.5, "1", True])
WHOLE: tuple[list[Any], list[Any]] = ([0, 1], [-1, 0.5])
SHARE: tuple[list[Any], list[Any]] = ([0.0, 1.0, 1], [-0.001, 1.001])
DROPOUT: tuple[list[Any], list[Any]] = ([0.0, 0.999], [-0.001, 1.0])
POSITIVE: tuple[list[Any], list[Any]] = ([0.001, 1e6], [0.0, -1.0])
NOT_NEGATIVE: tuple[list[Any], list[Any]] = ([0.0, 5.0], [-0.001])
RANGE: tuple[list[Any], list[Any]] = ([[0.5, 1.5]], [[0.0, 1.0], [1.0], [0.5, 1.0, 1.5], 1.0])
SWITCH: tuple[list[Any], list[Any]] = ([True, False], [1, "yes"])
TEXT: tuple[list[Any], list[Any]] = (["", "a_root"], [1, None])
READING: tuple[list[Any], list[Any]] = (["paper", "official_code"], ["other", ""])
SIZE: tuple[list[Any], list[Any]] = ([16, 2048], [15, 2049])


def one_of(*values: Any) -> tuple[list[Any], list[Any]]:
    return list(values), ["?", None]


AUGMENT = {
    "crop": one_of("random", "resized", "none"),
    "scale": RANGE,
    "ratio": RANGE,
    "rotation_degrees": ([0.0, 180.0], [-0.001, 180.001]),
    "rotation_order": one_of("before_crop", "after_crop"),
    "flip_probability": SHARE,
    "brightness": RANGE,
    "contrast": RANGE,
    "jitter_probability": SHARE,
}
TRAINING = {
    "steps": COUNT, "batch_size": COUNT, "optimizer": one_of("sgd", "adam", "adamw"), "learning_rate": NOT_NEGATIVE,
    "momentum": DROPOUT, "weight_decay": NOT_NEGATIVE, "decay_rule": one_of("no_norm_bias", "official_code", "all"),
    "warmup_steps": WHOLE, "schedule": one_of("cosine", "linear", "constant", "multistep"),
    "milestones": ([[], [0.0, 1.0]], [[-0.1], [1.1], 0.5]), "milestone_factor": ([0.001, 1.0], [0.0, 1.001]),
    "schedule_order": one_of("before_step", "after_step"), "clip_norm": NOT_NEGATIVE,
    "precision": one_of("fp32", "bf16", "fp16"), "accumulate": COUNT, "validate_every": WHOLE, "patience": WHOLE,
}  # fmt: skip
BLOCKS = {"width": COUNT, "depth": COUNT, "heads": COUNT, "mlp_width": COUNT, "dropout": DROPOUT}
#: Dotted name -> what it accepts and what it refuses.
RANGES: dict[str, tuple[list[Any], list[Any]]] = {
    "image.interpolation": one_of("bilinear", "bicubic"), "image.fit": one_of("stretch", "crop"),
    "image.intensity": one_of("as_is", "min_max"),
    "image.prepared_size": SIZE, "image.size": SIZE, "image.channels": ([1, 3], [2, 0, 4]),
    "image.mean": ([[0.0], [1.0, 0.5, 0.5]], [[-0.1], [1.1], 0.5]), "image.std": ([[0.1]], [[0.0], 0.5]),
    **{f"image.{part}_augment.{name}": one for part in ("pretrain", "finetune") for name, one in AUGMENT.items()},
    **{f"network.{name}": one for name, one in BLOCKS.items()},
    "network.reading": READING, "network.patch_size": COUNT, "network.activation": one_of("relu", "gelu"),
    "network.position": one_of("concatenated", "added"),
    "network.aggregation": one_of("concatenated", "added", "none"), "network.readout": one_of("auto", "cls", "mean"),
    "network.init": one_of("random", "imagenet"), "network.init_path_name": TEXT,
    **{f"{part}.{name}": one for part in ("pretrain", "finetune") for name, one in TRAINING.items()},
    "finetune.select": one_of("best_auc", "best_loss", "last"), "finetune.loss": one_of("bce"),
    "pretrain.budget": one_of("updates", "images", "compute"), "pretrain.budget_views": COUNT,
    "pretrain.own_batch_size": WHOLE, "pretrain.processes": COUNT, "pretrain.view_sampling": READING,
    "pretrain.report_flip": READING, "pretrain.text_learning_rate": NOT_NEGATIVE,
    "pretrain.decoder_learning_rate": NOT_NEGATIVE, "pretrain.lookahead_steps": WHOLE,
    "pretrain.lookahead_alpha": ([0.001, 1.0], [0.0, 1.001]), "pretrain.select": one_of("best_validation", "last"),
    "pretrain.temperature": POSITIVE, "pretrain.image_to_text_weight": SHARE,
    "pretrain.text_to_image_gradient": SWITCH, "pretrain.text_tokens": ([4, 512], [3, 513]),
    "pretrain.vocabulary": ([10], [9]), "pretrain.text_encoder.path_name": TEXT,
    **{f"pretrain.text_encoder.{name}": one for name, one in BLOCKS.items()},
    **{f"pretrain.decoder.{name}": one for name, one in BLOCKS.items()},
    "pretrain.decoder.activation": one_of("relu", "gelu"),
    "frozen.readout": one_of("auto", "cls", "mean", "cls_mean", "last4_cls"), "frozen.components": WHOLE,
    "frozen.grid": ([[0.5], [0.1, 1.0]], [[], [0.0], [1.0, 0.1], [1.0, 1.0], 1.0]),
    "frozen.neighbours": ([[1], [5, 10]], [[], [0], [10, 5], [5, 5], 5]), "frozen.temperature": POSITIVE,
    "frozen.attentive_heads": COUNT, "frozen.attentive_learning_rate": POSITIVE,
    "frozen.attentive_weight_decay": NOT_NEGATIVE,
}  # fmt: skip


def accepted(name: str, value: Any) -> bool:
    tree = protocols.resolve_sections("smoke")
    node = tree
    *path, last = name.split(".")
    for part in path:
        node = node[part]
    node[last] = value
    try:
        ProtocolSchema.model_validate(tree, strict=True)
    except ValidationError:
        return False
    return True


def test_every_constant_has_a_range_below() -> None:
    assert set(RANGES) == set(CONSTANTS)


@pytest.mark.parametrize("name", RANGES)
def test_a_constant_has_this_range(name: str) -> None:
    right, wrong = RANGES[name]
    assert [value for value in right if not accepted(name, value)] == []
    assert [value for value in wrong if accepted(name, value)] == []


def test_unknown_and_missing_constants_are_refused() -> None:
    assert not accepted("finetune.stepz", 3)
    tree = protocols.resolve_sections("smoke")
    del tree["finetune"]["steps"]
    with pytest.raises(ValidationError, match="steps"):
        ProtocolSchema.model_validate(tree, strict=True)


#: Constants that came later, with the value at which specifications leave them out.
LATER = {
    "image.pretrain_augment.rotation_order": "before_crop", "image.finetune_augment.rotation_order": "before_crop",
    "pretrain.milestones": [], "pretrain.milestone_factor": 0.1, "pretrain.own_batch_size": 0,
    "finetune.milestones": [], "finetune.milestone_factor": 0.1,
    "image.interpolation": "bilinear", "image.fit": "stretch", "image.intensity": "as_is",
}  # fmt: skip


def test_specifications_leave_out_later_constants_at_their_defaults_alone() -> None:
    """A key of a result that stands in somebody's store must not change when a constant is added."""
    values = {name: one.value for name, one in protocols.resolve("smoke").items()}
    assert {name for name in CONSTANTS if not in_specifications(name, values[name])} == set(LATER)
    for name, value in LATER.items():
        assert not in_specifications(name, value)
        assert in_specifications(name, "another")


def refused(**overrides: Any) -> list[str]:
    """What a manifest is told that sets these constants, in its third line."""
    listed = [
        Override(name=name.replace("__", "."), value=value, place=Place(Path("m.yaml"), 3, 10 + number))
        for number, (name, value) in enumerate(overrides.items())
    ]
    try:
        protocols.resolve("smoke", listed)
    except UserError as error:
        return [str(problem) for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ({"image__size": 36, "network__patch_size": 4}, ""),
        ({"image__size": 40}, "image.size is 40, image.prepared_size is 36; allowed: the first at most the second"),
        ({"pretrain__warmup_steps": 30}, ""),
        ({"pretrain__warmup_steps": 31}, "pretrain.warmup_steps is 31, pretrain.steps is 30; allowed: the first at most the second"),
        ({"finetune__steps": 2}, "finetune.warmup_steps is 3, finetune.steps is 2; allowed: the first at most the second"),
        ({"network__patch_size": 7}, "image.size is 32, network.patch_size is 7; allowed: the first a multiple of the second"),
        ({"network__width": 33}, "network.width is 33, network.heads is"),
        ({"pretrain__text_encoder__width": 33}, "pretrain.text_encoder.width is 33, pretrain.text_encoder.heads is"),
        ({"pretrain__decoder__width": 33}, "pretrain.decoder.width is 33, pretrain.decoder.heads is"),
        ({"image__mean": [0.5, 0.5]}, "image.mean is [0.5, 0.5], image.channels is 1; allowed: one number for each channel"),
        ({"image__std": [0.5, 0.5]}, "image.std is [0.5, 0.5], image.channels is 1; allowed: one number for each channel"),
        ({"image__pretrain_augment__scale": [1.0, 1.0]}, ""),
        ({"image__pretrain_augment__scale": [1.0, 0.9]}, "image.pretrain_augment.scale is [1.0, 0.9]; allowed: the smaller number first"),
        ({"image__finetune_augment__ratio": [1.3, 0.9]}, "image.finetune_augment.ratio is [1.3, 0.9]; allowed: the smaller number first"),
        ({"image__finetune_augment__brightness": [1.3, 0.9]}, "image.finetune_augment.brightness is [1.3, 0.9]; allowed: the smaller number first"),
        ({"image__finetune_augment__contrast": [1.3, 0.9]}, "image.finetune_augment.contrast is [1.3, 0.9]; allowed: the smaller number first"),
        ({"image__finetune_augment__scale": [0.5, 1.1]}, "image.finetune_augment.scale is [0.5, 1.1]; allowed: shares of the image's area, at most 1"),
        ({"image__finetune_augment__ratio": [0.5, 1.1]}, ""),
        ({"finetune__milestones": [0.5, 0.2]}, "finetune.milestones is [0.5, 0.2]; allowed: shares of the steps in ascending order"),
        ({"pretrain__schedule": "multistep"}, "pretrain.schedule is 'multistep', pretrain.milestones is []; allowed: at least one milestone"),
        ({"pretrain__schedule": "multistep", "pretrain__milestones": [0.5]}, ""),
        ({"network__init": "imagenet"}, "network.init is 'imagenet', network.init_path_name is ''; allowed: the data root of the weight file"),
        ({"network__init": "imagenet", "network__init_path_name": "a"}, ""),
    ],
    ids=lambda value: ", ".join(f"{name}={one}" for name, one in value.items()) if isinstance(value, dict) else "",
)  # fmt: skip
def test_constants_that_do_not_fit_together(overrides: dict[str, Any], says: str) -> None:
    found = refused(**overrides)
    assert len(found) == bool(says), found
    assert not says or found[0].startswith(f"m.yaml:3:10: {says}")


def test_all_that_is_wrong_is_said_at_once() -> None:
    found = refused(image__size=40, pretrain__warmup_steps=31, network__width=33)
    assert [line.split(" is ")[0] for line in found] == [
        "m.yaml:3:10: image.size", "m.yaml:3:11: pretrain.warmup_steps", "m.yaml:3:12: network.width",
    ]  # fmt: skip
