"""What must somebody know who uses an exported encoder: input, training, source, licence?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Licences of sources that restrict what may be done with weights trained on them are named in the sheet.
UNKNOWN = "not stated"


def data_sheet(
    record: Mapping[str, Any], *, method: Any, source: Any, layout: str, architecture: str
) -> dict[str, Any]:
    """The sheet that stands beside exported weights.

    Args:
        record: ``run.json`` of the pre-training.
        method: the `Method` that was pre-trained.
        source: the `Dataset` it was pre-trained on.
        layout: of the exported names.
        architecture: in words.
    """
    spec, facts = record["spec"], record["facts"]
    image = spec["image"]
    return {
        "version": 1,
        "architecture": architecture,
        "layout": layout,
        "input": {
            "size": image["size"], "channels": image["channels"], "mean": image["mean"], "std": image["std"],
            "value_range": [0, 1], "resize": image["prepared_size"], "interpolation": "bilinear, antialiased",
        },
        "network": spec["network"],
        "method": {"id": spec["method"], "label": method.label, "source": method.source, "params": spec["params"]},
        "pretraining": {
            "steps": facts["steps"], "selected": facts["selected"], "seed": spec["seed"],
            "examples": facts["examples"], "initial_weights": facts["initial_weights"],
        },
        "data": {
            "id": spec["source"]["dataset"], "label": source.label, "source": source.source,
            "licence": source.licence or UNKNOWN, "synthetic": source.synthetic, "digest": facts["data_digest"],
        },
        "key": record["key"],
        "packages": record["provenance"]["packages"],
    }  # fmt: skip
