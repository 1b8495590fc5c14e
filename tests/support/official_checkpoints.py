"""Checkpoints of the released code, read as our networks name their tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from refers_bench.errors import UserError
from refers_bench.nets.foreign_layouts import LAYOUTS
from refers_bench.training.weight_files import encoder_only

(RELEASE,) = (layout for layout in LAYOUTS if layout.name == "REFERS release")
#: Official prefix -> ours, for everything of a pre-training checkpoint but the encoder.
_OBJECTIVE = {
    **{f"fusion.fc{view + 1}.": f"view_fusion.gates.{view}." for view in range(3)},
    "textual.visual_projection.": "report_transformer.visual_projection.",
    "textual.embedding.words.": "report_transformer.words.",
    "textual.embedding.positions.": "report_transformer.positions.",
    "textual.embedding.layer_norm.": "report_transformer.norm.",
    "textual.transformer.layers.": "report_transformer.layers.",
    "textual.output.bias": "report_transformer.output_bias",
    "contrastive_bert.text_encoder.": "text_encoder.bert.",
    "contrastive_bert.fc.": "text_encoder.fc.",
}


def encoder_weights(official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Official names (``transformer.embeddings...``) -> names of `RadiographTransformer`; other entries are left out.

    Raises:
        UserError: no entry belongs to a radiograph transformer (a silent zero match tests random weights).
    """
    found = encoder_only(RELEASE.convert(official))
    if not found:
        raise UserError(f"no weight of a radiograph transformer among {len(official)} entries")
    return found


def head_weights(official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``head.weight`` and ``head.bias`` of a fine-tuned checkpoint; empty for a pre-trained one."""
    return {name: value for name, value in official.items() if name in ("head.weight", "head.bias")}


def unwrapped(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """The state dict of a checkpoint: itself, or its ``model`` entry (pre-training layout with optimiser)."""
    inner = content.get("model", content)
    return {name: value for name, value in inner.items() if isinstance(value, Tensor)}


def objective_weights(official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A whole pre-training state dict -> names of `StudyObjective` (also right for gradients)."""
    found: dict[str, Tensor] = {}
    if any("transformer.embeddings" in name for name in official):
        found = {f"encoder.{name}": value for name, value in encoder_weights(official).items()}
    for name, value in official.items():
        prefix = next((prefix for prefix in _OBJECTIVE if name.startswith(prefix)), None)
        if prefix and not name.endswith("position_ids"):  # a buffer that transformers no longer stores
            found[_OBJECTIVE[prefix] + name.removeprefix(prefix)] = value
    return found
