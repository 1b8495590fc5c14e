"""Jobs by hand: of any kind, and small ones that prepare phantoms, pre-train and fine-tune within a second or two."""

from __future__ import annotations

from typing import Any

from refers_bench import identity
from refers_bench.plan.lock import Job

#: What workers call where no-op jobs run, in any process that a test starts.
ENTRY = "noop_jobs:run"
AUGMENT = {
    "crop": "random", "scale": [0.08, 1.0], "ratio": [0.75, 1.33], "rotation_degrees": 10, "flip_probability": 0.5,
    "brightness": [0.8, 1.2], "contrast": [0.8, 1.2], "jitter_probability": 0.8,
}  # fmt: skip
IMAGE = {
    "prepared_size": 36, "size": 32, "channels": 1, "mean": [0.5], "std": [0.25],
    "pretrain_augment": AUGMENT, "finetune_augment": {**AUGMENT, "crop": "resized"},
}  # fmt: skip
NETWORK = {
    "reading": "paper", "patch_size": 8, "width": 16, "depth": 2, "heads": 2, "mlp_width": 32, "dropout": 0.1,
    "activation": "relu", "position": "concatenated", "aggregation": "concatenated", "readout": "auto", "init": "random",
    "init_path_name": "",
}  # fmt: skip
COMMON = {
    "steps": 12, "batch_size": 8, "optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.9, "weight_decay": 1e-4,
    "decay_rule": "no_norm_bias", "warmup_steps": 2, "schedule": "cosine", "schedule_order": "after_step",
    "clip_norm": 1.0, "precision": "fp32", "accumulate": 1, "validate_every": 4, "patience": 0,
}  # fmt: skip
PRETRAIN = {
    **COMMON, "processes": 1, "view_sampling": "paper", "report_flip": "paper", "text_learning_rate": 0.01,
    "decoder_learning_rate": 0.02, "lookahead_steps": 3, "lookahead_alpha": 0.5, "select": "best_validation",
    "temperature": 0.1, "image_to_text_weight": 0.75, "text_to_image_gradient": True, "text_tokens": 24,
    "vocabulary": 150,
    "text_encoder": {"path_name": "", "width": 16, "depth": 1, "heads": 2, "mlp_width": 32, "dropout": 0.1},
    "decoder": {"width": 16, "depth": 1, "heads": 2, "mlp_width": 32, "dropout": 0.1, "activation": "gelu"},
}  # fmt: skip
FINETUNE = {**COMMON, "schedule_order": "before_step", "select": "best_auc", "loss": "bce"}
CLASSES = ["Cardiomegaly", "Effusion", "Nodule", "Consolidation", "Pneumothorax", "Interstitial"]


def job(name: str, *needs: Job | str, kind: str = "noop", unavailable: str = "", **spec: Any) -> Job:
    """A job as the plan holds it, which needs others or keys; its own key is that of its specification, with its name."""
    spec = {"kind": kind, "recipe": 1, "name": name, **spec}
    keys = tuple(need if isinstance(need, str) else need.key for need in needs)
    return Job(key=identity.key(spec), kind=kind, name=name, needs=keys, spec=spec, unavailable=unavailable)


def sent_job(**spec: Any) -> dict[str, Any]:
    """A job as a worker is given it."""
    key = identity.key(spec)
    return {"key": key, "kind": spec["kind"], "name": f"test.{key}", "needs": [], "spec": spec, "unavailable": ""}


def prepare_job(dataset: str = "phantom", **more: Any) -> dict[str, Any]:
    """60 studies of up to three views."""
    phantom = {"seed": 1, "studies": 60, "size": 40, "views": 3}
    return sent_job(
        kind="prepare", dataset=dataset, params={}, impl=1, digest="planned", phantom=phantom, prepared_size=36, **more
    )


def pretrain_job(method: str, prepare: dict[str, Any], **section: Any) -> dict[str, Any]:
    dataset = prepare["spec"]["dataset"]
    return sent_job(
        kind="pretrain", method=method, params={}, impl=1, network=NETWORK, image=IMAGE,
        pretrain={**PRETRAIN, **section}, seed=0,
        source={"dataset": dataset, "params": {}, "prepare": prepare["key"], "task": "findings", "has_reports": True},
    )  # fmt: skip


def finetune_job(method: str, prepare: dict[str, Any], pretrained: str | None, **section: Any) -> dict[str, Any]:
    return sent_job(
        kind="finetune", method=method, params={}, impl=1, network=NETWORK, image=IMAGE,
        finetune={**FINETUNE, **section}, dataset="phantom", prepare=prepare["key"], task="findings",
        classes=CLASSES, label_ratio=0.5, seed=0, pretrain=pretrained,
    )  # fmt: skip
