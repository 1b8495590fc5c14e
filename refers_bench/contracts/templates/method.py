"""A pre-training method of one's own, in one file: it runs as it is, and each part says what to replace.

What it does now: the encoder's readout predicts a thumbnail of the radiograph that it looks at, so that it learns where
an image is bright. It needs neither labels nor reports.

    refers-bench plugins check template_name.py          gradients, sizes, determinism, resuming
    refers-bench run MANIFEST --plugins template_name.py  with `methods: [template_name, scratch]` in the manifest

The name of the file is the name of the method, in manifests and in results.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from refers_bench.plugins import Method

# Planning loads this file and trains nothing: torch, and what needs it, is imported inside `build_objective` alone.
if TYPE_CHECKING:
    from torch import Tensor, nn

    from refers_bench.data.batches import StudyBatch
    from refers_bench.nets.facts import SourceFacts


class Params(BaseModel):
    """What a manifest may set under `params`: each with a default, a range and a description."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    thumbnail: int = Field(default=4, ge=1, le=16, description="side of the thumbnail, in pixels")


def build_objective(
    params: Params,
    facts: SourceFacts,
    network: Mapping[str, Any],
    image: Mapping[str, Any],
    pretrain: Mapping[str, Any],
    encoder: nn.Module,
) -> nn.Module:
    """The module that pre-training trains: batch in, named losses out; their sum is minimised.

    Args:
        params: of this method, as the manifest sets them.
        facts: sizes that come from the source dataset: images, classes, vocabulary.
        network: section of the protocol that describes the encoder.
        image: section of the protocol about images: "size", "channels", "mean", "std".
        pretrain: section of the protocol about pre-training.
        encoder: to be trained. ``encoder(x_BCHW)`` gives tokens, ``encoder.readout(tokens)`` one vector per image, with
            ``encoder.readout_width`` numbers: what fine-tuning will classify, and therefore what must be trained.
    """
    from torch import nn
    from torch.nn.functional import adaptive_avg_pool2d, mse_loss

    class Objective(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder  # under this name: it is what is kept
            width: int = encoder.readout_width  # type: ignore[assignment]
            self.predict = nn.Linear(width, image["channels"] * params.thumbnail**2)

        def forward(self, batch: StudyBatch) -> dict[str, Tensor]:
            # (B, V, C, H, W): V views of a study, here one. A method with `crops` gets as many augmented versions.
            x_BCHW = batch.images_BVCHW[:, 0]
            wanted = adaptive_avg_pool2d(x_BCHW, params.thumbnail).flatten(1)
            readout: Any = self.encoder.readout
            found = self.predict(readout(self.encoder(x_BCHW)))
            return {"thumbnail": mse_loss(found, wanted)}

    return Objective()


METHOD = Method(
    label="Template title",  # of the row in tables
    source="a template; replace it by the paper or repository that defines the method",
    impl=1,  # raise it whenever the numbers change: earlier results are then no longer taken for this method's
    Params=Params,
    build_objective=build_objective,
    # What it needs of the source dataset: "reports", "labels", or nothing but images.
    needs=frozenset(),
    # Losses that are means over independent examples: a batch that does not fit in memory may be processed in parts.
    # Where they compare the images of a batch with each other, leave this line out.
    parts="examples",
)
