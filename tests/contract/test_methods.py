"""The contract of methods, kept by every one that is found on disk, and by the rows of Table 3."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from refers_bench import plugins
from refers_bench.contracts.method_training import *  # noqa: F403
from refers_bench.contracts.method_training import mixes_examples, without_dropout
from refers_bench.contracts.methods import *  # noqa: F403
from refers_bench.contracts.methods import NAMES, PRETRAINED, case, check_readout

MANIFESTS = Path(__file__).resolve().parents[2] / "manifests"


def test_all_methods_of_the_paper_are_there() -> None:
    paper = {"refers", "model_genesis", "c2l", "context_restoration", "transvw", "imagenet", "lsp_transformer"}
    assert {*paper, "lsp_convnet", "scratch", "checkpoint"} <= set(NAMES)
    assert len(PRETRAINED) >= 8


def table_rows() -> Iterator[tuple[str, dict[str, Any]]]:
    """Method and parameters of each row that differs by them in the ablation of the paper."""
    for part in YAML(typ="safe").load(MANIFESTS / "table3.yaml")["methods"]:
        if isinstance(part, dict) and part.get("params"):
            yield part["id"], part["params"]


@pytest.mark.parametrize("preset", ["paper", "official_code"])
@pytest.mark.parametrize(("name", "changed"), list(table_rows()))
def test_rows_of_table_3_train_all_that_fine_tuning_reads_out(name: str, changed: dict[str, Any], preset: str) -> None:
    method = plugins.load("method", name)
    params = method.Params(**{**method.small, **changed})
    if method.pretrains(params):
        check_readout(name, params, preset)


def test_mixed_examples_are_found_out() -> None:
    """Those that contrast a batch are told apart from those that do not, so the test above can fail."""
    mixing = {name for name in PRETRAINED if mixes_examples(without_dropout(case(name)))}
    assert {"refers", "c2l"} <= mixing == {name for name in PRETRAINED if case(name).method.parts == "features"}
