"""The presets `paper` and `official_code` say of every constant what the paper's text and the released code say of it."""

from __future__ import annotations

from typing import Any

import pytest

from refers_bench.manifest import protocols

#: The source says nothing of it, or nothing that decides a value.
SILENT = "silent"

#: Written by hand from the facts (reference/official-code.md, sections 1 to 3 and 5; methods-and-datasets.md, 0):
#: constant -> (what the paper's text states, what the released code has).
AUGMENT = {
    "crop": ("random", "resized"),  # ledger 14
    "scale": (SILENT, [0.05, 1.0]),
    "ratio": (SILENT, [0.6, 1.0]),
    "rotation_degrees": (10, 0),
    "rotation_order": (SILENT, SILENT),
    "flip_probability": (SILENT, 0.5),  # the paper flips, and gives no probability
    "brightness": (SILENT, [0.6, 1.4]),  # the paper changes grey levels, and gives no range
    "contrast": (SILENT, [0.6, 1.4]),
    "jitter_probability": (SILENT, 0.8),
}
STATED: dict[str, tuple[Any, Any]] = {
    "image.prepared_size": (256, SILENT),  # the code: short side 320, targets at full size
    "image.size": (224, 224),
    "image.channels": (SILENT, 3),
    "image.interpolation": (SILENT, "bilinear"),
    "image.fit": ("stretch", SILENT),  # the code stretches in pre-training and crops in fine-tuning
    "image.intensity": (SILENT, "as_is"),
    "image.mean": (SILENT, [0.485, 0.456, 0.406]),
    "image.std": (SILENT, [0.229, 0.224, 0.225]),
    **{f"image.pretrain_augment.{name}": both for name, both in AUGMENT.items()},
    # Ledger 21: fine-tuning as in pre-training in the paper; a resized crop and a flip in the code.
    **{f"image.finetune_augment.{name}": both for name, both in AUGMENT.items()},
    "image.finetune_augment.scale": (SILENT, [0.08, 1.0]),
    "image.finetune_augment.ratio": (SILENT, [0.75, 1.3333333333]),
    "image.finetune_augment.brightness": (SILENT, [1.0, 1.0]),
    "image.finetune_augment.contrast": (SILENT, [1.0, 1.0]),
    "image.finetune_augment.jitter_probability": (SILENT, 0.0),
    "network.reading": ("paper", "official_code"),
    "network.patch_size": (16, 16),
    "network.width": (SILENT, 768),
    "network.depth": (12, 12),
    "network.heads": (SILENT, 12),
    "network.mlp_width": (SILENT, 3072),
    "network.dropout": (SILENT, 0.1),
    "network.activation": ("relu", "gelu"),  # ledger 3
    "network.position": ("concatenated", "added"),  # 2
    "network.aggregation": ("concatenated", "added"),  # 1
    "network.readout": (SILENT, "auto"),  # the code classifies the aggregation embedding, as `auto` does there
    "network.init": ("random", "imagenet"),  # 4
    "network.init_path_name": ("", "vit_b16_npz"),
    "pretrain.steps": (300_000, 400_000),  # 10
    "pretrain.batch_size": (32, 2),
    "pretrain.budget": (SILENT, SILENT),
    "pretrain.budget_views": (3, 3),
    "pretrain.own_batch_size": (SILENT, SILENT),
    "pretrain.processes": (1, SILENT),  # 18: a single RTX 3090
    "pretrain.view_sampling": ("paper", "official_code"),  # 16
    "pretrain.report_flip": ("paper", "official_code"),  # 15
    "pretrain.optimizer": ("sgd", "sgd"),  # 12
    "pretrain.learning_rate": (0.003, 0.003),  # 11
    "pretrain.text_learning_rate": (0.0003, 0.0003),
    "pretrain.decoder_learning_rate": (0.0003, 0.003),
    "pretrain.momentum": (0.9, 0.9),
    "pretrain.weight_decay": (0.0001, 0.0001),
    "pretrain.decay_rule": ("no_norm_bias", "official_code"),  # 13
    "pretrain.warmup_steps": (10_000, 10_000),
    "pretrain.schedule": ("cosine", "cosine"),
    "pretrain.milestones": (SILENT, SILENT),
    "pretrain.milestone_factor": (SILENT, SILENT),
    "pretrain.schedule_order": (SILENT, "after_step"),
    "pretrain.clip_norm": (SILENT, 10.0),  # "paper silent"
    "pretrain.lookahead_steps": (SILENT, 5),
    "pretrain.lookahead_alpha": (SILENT, 0.5),
    "pretrain.precision": (SILENT, "fp16"),
    "pretrain.accumulate": (SILENT, 1),
    "pretrain.validate_every": (6782, 2000),  # 17: once an epoch of 217,000 studies in batches of 32
    "pretrain.select": ("best_validation", "last"),
    "pretrain.patience": (SILENT, 0),
    "pretrain.temperature": (SILENT, 0.1),  # 7
    "pretrain.image_to_text_weight": (1.0, 0.75),
    "pretrain.text_to_image_gradient": (SILENT, False),
    "pretrain.text_tokens": (SILENT, 100),
    "pretrain.vocabulary": (SILENT, 10_000),
    "pretrain.text_encoder.path_name": ("bert", "bert"),  # 8
    "pretrain.text_encoder.width": (SILENT, 768),
    "pretrain.text_encoder.depth": (SILENT, 12),
    "pretrain.text_encoder.heads": (SILENT, 12),
    "pretrain.text_encoder.mlp_width": (SILENT, 3072),
    "pretrain.text_encoder.dropout": (SILENT, 0.1),
    "pretrain.decoder.width": (SILENT, 1024),  # 9: by way of a reference, and implied
    "pretrain.decoder.depth": (SILENT, 1),
    "pretrain.decoder.heads": (SILENT, 16),
    "pretrain.decoder.mlp_width": (SILENT, 4096),
    "pretrain.decoder.dropout": (SILENT, 0.1),
    "pretrain.decoder.activation": (SILENT, "gelu"),  # the paper's ReLU is that of the radiograph transformer's MLP
    "finetune.steps": (SILENT, 60_000),  # 22
    "finetune.batch_size": (128, 128),  # "batch size of 128"
    "finetune.optimizer": ("sgd", "sgd"),
    "finetune.learning_rate": (0.003, 0.01),  # 19
    "finetune.momentum": (0.9, 0.9),
    "finetune.weight_decay": (SILENT, 0.0),
    "finetune.decay_rule": (SILENT, "all"),
    "finetune.warmup_steps": (SILENT, 1000),
    "finetune.schedule": ("cosine", "cosine"),  # "the same learning rate decay strategy as in pre-training"
    "finetune.milestones": (SILENT, SILENT),
    "finetune.milestone_factor": (SILENT, SILENT),
    "finetune.schedule_order": (SILENT, "before_step"),
    "finetune.clip_norm": (SILENT, 1.0),
    "finetune.precision": (SILENT, "fp16"),
    "finetune.accumulate": (SILENT, 1),
    "finetune.validate_every": (SILENT, 614),
    "finetune.select": (SILENT, "best_auc"),
    "finetune.patience": (SILENT, 11),
    # Neither evaluates a frozen encoder.
    **{
        f"frozen.{name}": (SILENT, SILENT)
        for name in (
            "readout",
            "components",
            "grid",
            "neighbours",
            "temperature",
            "attentive_heads",
            "attentive_learning_rate",
            "attentive_weight_decay",
        )
    },
    "finetune.loss": (SILENT, "bce"),  # 20: the paper says cross-entropy, and not how for several findings
}

#: README:128-143 and the four train.py: target -> learning rate, steps, warm-up, validation every, patience.
CODE_TARGETS = {
    "nih_chestxray14": (0.01, 60_000, 1000, 614, 11),
    "vinbigdata_cxr": (0.03, 100, 10, 83, 11),
    "shenzhen_tb": (0.03, 100, 5, 4, 21),
    "covid19_idc": (0.03, 500, 50, 6, 21),
}
PER_TARGET = ("learning_rate", "steps", "warmup_steps", "validate_every", "patience")


@pytest.mark.parametrize(("preset", "column"), [("paper", 0), ("official_code", 1)])
def test_every_constant_says_what_its_source_says(preset: str, column: int) -> None:
    values = protocols.resolve(preset)
    assert sorted(STATED) == sorted(protocols.CONSTANTS)
    open_ones = {name for name, both in STATED.items() if both[column] == SILENT}
    assert {name for name, value in values.items() if not value.stated} == open_ones
    stated = {name: both[column] for name, both in STATED.items() if name not in open_ones}
    assert {name: values[name].value for name in stated} == stated


def test_no_value_of_the_released_code_is_taken_from_the_paper() -> None:
    inherited = {name for name, value in protocols.resolve("official_code").items() if value.origin.startswith("paper")}
    assert inherited == {name for name in protocols.CONSTANTS if name.startswith("frozen.")}  # of neither: ours


@pytest.mark.parametrize("dataset", CODE_TARGETS)
def test_the_released_commands(dataset: str) -> None:
    values = protocols.resolve("official_code", dataset=dataset)
    assert tuple(values[f"finetune.{name}"].value for name in PER_TARGET) == CODE_TARGETS[dataset]
    assert all(values[f"finetune.{name}"].stated for name in PER_TARGET)


#: Lengths of our own: 60,000 x images / 78,468 updates, at least 5,000; a sixtieth of them warm-up.
PAPER_TARGETS = {
    "nih_chestxray14": (0.003, 60_000, 1000, 614, 11),
    "vinbigdata_cxr": (0.003, 8029, 134, 83, 11),  # 10,500 images
    "shenzhen_tb": (0.003, 5000, 83, 50, 21),  # 463 images: 354
    "covid19_idc": (0.003, 5000, 83, 50, 21),  # 664 images: 508
}


@pytest.mark.parametrize("dataset", PAPER_TARGETS)
def test_lengths_that_the_paper_leaves_open(dataset: str) -> None:
    values = protocols.resolve("paper", dataset=dataset)
    assert tuple(values[f"finetune.{name}"].value for name in PER_TARGET) == PAPER_TARGETS[dataset]
    assert {name: values[f"finetune.{name}"].stated for name in PER_TARGET} == {
        name: name == "learning_rate" for name in PER_TARGET
    }
