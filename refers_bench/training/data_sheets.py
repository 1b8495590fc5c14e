"""Writes the sheet beside an exported encoder: its input, training, source data and licence."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

#: Licences of sources that restrict what may be done with weights trained on them are named in the sheet.
UNKNOWN = "not stated"


def timm_model(architecture: str, network: Mapping[str, Any], image: Mapping[str, Any]) -> dict[str, Any]:
    """How timm builds the model that takes the exported tensors, all of them, and what it gives.

    Args:
        architecture: "transformer", or timm's name of a ResNet.
        network: of the protocol.
        image: of the protocol.
    """
    if architecture != "transformer":
        arguments = {"model_name": architecture, "in_chans": image["channels"], "num_classes": 0}
        return {"build": "timm.create_model(**arguments)", "arguments": arguments, "output": "mean over the last map"}
    return {
        "build": "timm.models.VisionTransformer(**arguments)",
        "arguments": {
            "img_size": image["size"],
            "patch_size": network["patch_size"],
            "in_chans": image["channels"],
            "embed_dim": network["width"],
            "depth": network["depth"],
            "num_heads": network["heads"],
            "mlp_ratio": network["mlp_width"] / network["width"],
            "act_layer": network["activation"],
            "num_classes": 0,
        },
        "output": "forward_features gives all tokens after the final norm, the aggregation embedding first; the "
        "recurrent concatenation has no weights and is no part of the model: token 0 joined or added to the others",
    }


def hub_config(sheet: Mapping[str, Any]) -> dict[str, Any]:
    """``config.json`` of a folder from which timm builds the model and reads its weights ("local-dir:", "hf-hub:").

    Args:
        sheet: of weights under timm's names.
    """
    arguments, given = dict(sheet["timm"]["arguments"]), sheet["input"]
    # Arguments replace those of any vision transformer of timm.
    architecture = arguments.pop("model_name", "vit_base_patch16_224")
    arguments.pop("num_classes")
    return {
        "architecture": architecture,
        "num_classes": 0,
        "model_args": arguments,
        "pretrained_cfg": {
            "input_size": [given["channels"], given["size"], given["size"]],
            "mean": given["mean"],
            "std": given["std"],
            "crop_pct": given["size"] / given["resize"],
            "interpolation": "bilinear",
            "num_classes": 0,
        },
    }


def data_sheet(
    record: Mapping[str, Any],
    *,
    method: Any,
    sources: Mapping[str, Any],
    layout: str,
    architecture: str,
    phantoms: Collection[str] = (),
) -> dict[str, Any]:
    """The sheet that stands beside exported weights.

    Args:
        record: ``run.json`` of the pre-training.
        method: the `Method` that was pre-trained.
        sources: id of each dataset it was pre-trained on -> the `Dataset`.
        layout: of the exported names.
        architecture: in words.
        phantoms: ids of those sources for which procedural radiographs stood in.
    """
    spec, facts = record["spec"], record["facts"]
    digests = facts["data_digest"]
    data = [
        {
            "id": dataset,
            "label": source.label,
            "source": source.source,
            "licence": source.licence or UNKNOWN,
            "synthetic": source.synthetic or dataset in phantoms,
            "digest": digests if isinstance(digests, str) else digests[dataset],
        }
        for dataset, source in sources.items()
    ]
    image, name = spec["image"], method.architecture(method.Params(**spec["params"]))
    return {
        "version": 1,
        "architecture": architecture,
        "layout": layout,
        **({"timm": timm_model(name, spec["network"], image)} if layout == "timm" else {}),
        "input": {
            **{name: image[name] for name in ("size", "channels", "mean", "std")},
            "value_range": [0, 1],
            "resize": image["prepared_size"],
            "interpolation": "bilinear, antialiased",
        },
        "network": spec["network"],
        "method": {"id": spec["method"], "label": method.label, "source": method.source, "params": spec["params"]},
        "pretraining": {
            "steps": facts["steps"],
            "selected": facts["selected"],
            "seed": spec["seed"],
            "examples": facts["examples"],
            "initial_weights": facts["initial_weights"],
        },
        "data": data[0] if len(data) == 1 else data,
        "key": record["key"],
        "packages": record["provenance"]["packages"],
    }
