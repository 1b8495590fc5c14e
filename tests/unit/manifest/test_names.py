"""A plan has a folder of its own below the results, whoever names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from command_line import command_in
from refers_bench.manifest.names import RESERVED, usable

#: Folders of the product, and names that are none.
REFUSED = (*RESERVED, "Store", "STATISTICS", ".git", "..", "a/b", "a b", "-x", "", "a\n", "x" * 81)


@pytest.mark.parametrize("name", REFUSED)
def test_every_way_to_name_a_plan_refuses_the_same_names(tmp_path: Path, name: str) -> None:
    assert not usable(name)
    table = tmp_path / "mine.csv"
    table.write_text(
        "method,dataset,task,label_ratio,class,image_id,label,score\nm,d,t,1,a,i,1,0.5\nm,d,t,1,a,j,0,0.2\n"
    )
    manifest = tmp_path / "mine.yaml"
    manifest.write_text(f"version: 1\nname: {name!r}\nmethods: [scratch]\ntargets: []\n")
    for words in (
        ("results", "import", "csv", str(table), "--selected-on", "none", f"--name={name}"),
        ("results", "import", "bundle", str(table), f"--name={name}"),
        ("plan", str(manifest)),
    ):
        if name or "bundle" in words:  # elsewhere an empty one stands for the file's
            done = command_in(tmp_path / "r", *words)
            assert done.code == 2 and "name" in done.err, done.err
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("name", ["table1", "Mine-2", "0_a", "stores", "x" * 80])
def test_other_names_are_taken(name: str) -> None:
    assert usable(name)
