"""A model card says what a stranger must know of weights, and no name in it is read as markup or ends its head."""

from __future__ import annotations

import re
from importlib import resources
from typing import Any

import pytest
from ruamel.yaml import YAML

from refers_bench.render.model_card import card
from refers_bench.render.table import Row, Table, columns, words

HOSTILE = 'x"\n---\nevil: 1 | <script>alert(1)</script> [a](http://b) `c` _d_ % $ \u202e'


def sheet(**changes: Any) -> dict[str, Any]:
    data = {"id": "nih", "label": "NIH", "source": "nih.gov", "licence": "as stated", "synthetic": False, "digest": "d"}
    known: dict[str, Any] = {
        "version": 1, "architecture": "vision transformer", "layout": "timm",
        "timm": {"build": "timm.create_model(**arguments)", "arguments": {}, "output": "tokens"},
        "input": {"size": 224, "mean": [0.5]}, "network": {},
        "method": {"id": "refers", "label": "REFERS", "source": "a paper", "params": {"views": 3}},
        "pretraining": {"steps": 5, "selected": "last", "seed": 0, "examples": {"train": 3}, "initial_weights": "random"},
        "data": data, "key": "abc", "packages": {"refers-bench": "1.2"},
    }  # fmt: skip
    return {**known, **changes}


def made(deviations: Table | None = None, *, row: str = "refers", **changes: Any) -> str:
    return card(sheet(**changes), row=row, preset="paper", sheet_name="w.safetensors.json", deviations=deviations)


def head(text: str) -> Any:
    _, found, _ = text.split("---\n", 2)
    return YAML(typ="safe").load(found)


def test_what_a_stranger_must_know() -> None:
    text = made()
    assert head(text) == {
        "license": "other", "license_name": "as-the-source-data", "library_name": "timm",
        "pipeline_tag": "image-feature-extraction", "datasets": ["nih"],
        "tags": ["radiology", "chest-x-ray", "refers-bench"],
    }  # fmt: skip
    assert "| NIH (nih) | nih.gov | as stated | no |" in text.replace("\\", "")
    assert "| steps | 5 |" in text and "a paper" in text and "paper |" in text and "no medical device" in text
    assert "to be filled in by the authors" in text and "Synthetic" not in text
    assert "No resolved value of the pre-training differs" in text
    assert "timm.create_model" in text and "timm" not in made(timm=None, layout="refers-bench").partition("---\n# ")[2]


def test_synthetic_sources_are_named_first() -> None:
    one = sheet()["data"]
    text = made(data=[one, {**one, "id": "fake", "label": "Fake", "synthetic": True}])
    assert "synthetic-data" in head(text)["tags"] and head(text)["datasets"] == ["nih", "fake"]
    assert "(Fake)" in text.partition("**Synthetic data.**")[2].partition("\n\n")[0]


def test_deviations_are_a_table() -> None:
    table = Table(
        id="d", caption="Ledger", stub="Value", columns=columns("paper", "ours"),
        rows=(Row(title="pretrain.steps", cells=words("300", "5")),), numeric=False,
    )  # fmt: skip
    assert "| pretrain.steps | 300 | 5 |" in made(table)


@pytest.mark.parametrize("place", ["method", "data", "row", "architecture", "layout"])
def test_hostile_names_are_text(place: str) -> None:
    known = sheet()
    changes: dict[str, Any] = {
        "method": {"method": {**known["method"], "label": HOSTILE, "id": HOSTILE, "params": {HOSTILE: HOSTILE}}},
        "data": {"data": {**known["data"], "id": HOSTILE, "label": HOSTILE, "licence": HOSTILE, "synthetic": True}},
        "row": {"row": HOSTILE}, "architecture": {"architecture": HOSTILE}, "layout": {"layout": HOSTILE},
    }  # fmt: skip
    text = made(**changes[place])
    found = head(text)
    assert "evil" not in found and set(found) == set(head(made()))
    body = text.partition("---\n# ")[2]
    assert "<script" not in body and "[a](" not in body and "\u202e" not in text and "\nevil" not in body
    if place == "data":
        assert found["datasets"] == [HOSTILE]


def test_every_value_of_the_template_passes_a_filter() -> None:
    """Nothing but what the program itself writes stands in the card unescaped."""
    template = resources.files("refers_bench.render").joinpath("templates/model_card.md.j2").read_text()
    bare = [one for one in re.findall(r"{{ (.*?) }}", template) if not re.search(r"\| (md|json)$", one)]
    assert bare == ['"yes" if one.synthetic else "no"', "deviations", "sheet.timm.build"]
