"""Cells of every kind of plan stand where their jobs belong; a cell that names another's job is found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from refers_bench.analysis.results import Results
from refers_bench.jobs.imports.placing import misplaced
from refers_bench.manifest.load import load
from refers_bench.manifest.roots import Roots
from refers_bench.plan.expand import expand
from refers_bench.plan.lock import Plan

HEAD = """
version: 1
protocol: {preset: smoke}
data: {phantom: {phantom: {studies: 20, size: 40}}}
source: {dataset: phantom}
"""
ALL = "[finetune, linear_probe, knn, attentive_probe, probe_then_finetune]"
ONE = "targets: [{dataset: phantom, tasks: [findings], label_ratios: [50%, 1.0]}]\n"
PLANS = {
    "seeds": HEAD + ONE + "methods: [refers, scratch, metadata_only]\nseeds: [3, 1]\n",
    "rows with parameters": HEAD + ONE + "seeds: [0]\nmethods:\n  - refers\n"
    "  - {id: refers, name: other, params: {views: 2}}\n  - {id: refers, name: probed, evaluation: knn}\n",
    "ways": HEAD + f"methods: [scratch, pixels]\nseeds: [2, 5]\n{ONE.replace('}]', f', evaluation: {ALL}}}]')}",
    "folds": HEAD
    + f"methods: [scratch]\nseeds: [2, 5]\n{ONE.replace('}]', ', folds: 3, evaluation: [finetune, knn]}]')}",
    "crossed": HEAD
    + f"methods: [scratch]\nseeds: {{subset: 2, init: 2, order: 1}}\n{ONE.replace('}]', f', evaluation: {ALL}}}]')}",
    "candidates": HEAD + ONE + "methods: [scratch]\nseeds: [2]\ntuning: {finetune.learning_rate: [0.1, 1], "
    "network.readout: [cls, mean], image.finetune_augment.rotation_order: [before_crop, after_crop]}\n",
    "pre-training seeds": HEAD + ONE + "methods: [{id: refers, pretrain_seeds: [0, 7]}]\nseeds: [0, 1]\n",
}


def planned(folder: Path, text: str) -> Plan:
    path = folder / "m.yaml"
    path.write_text(text)
    return expand(load(path), Roots(paths={}))


def found(plan: Plan) -> list[str]:
    return list(misplaced(Results(name=plan.name, plan=plan, store=Path())))


@pytest.mark.parametrize("name", PLANS)
def test_cells_of_a_plan_stand_right_and_exchanged_ones_do_not(tmp_path: Path, name: str) -> None:
    plan = planned(tmp_path, PLANS[name])
    assert found(plan) == []
    first = plan.cells[0]
    for other in plan.cells[1:]:
        if other.key != first.key and name != "pre-training seeds":
            cells = tuple(replace(cell, key={first.key: other.key, other.key: first.key}.get(cell.key, cell.key))
                          for cell in plan.cells)  # fmt: skip
            assert found(replace(plan, cells=cells)), (first, other)


def test_of_two_rows_with_one_method_the_parameters_tell(tmp_path: Path) -> None:
    plan = planned(tmp_path, PLANS["rows with parameters"])
    cells = {(cell.method, cell.label_ratio): cell for cell in plan.cells}
    moved = replace(cells["other", 1.0], key=cells["refers", 1.0].key)
    said = found(replace(plan, cells=(moved,)))
    assert said == [f"cell {moved.name}: its job has other parameters than its row"]
