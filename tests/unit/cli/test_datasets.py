"""The list of datasets: what each may be used as, its tasks with their classes, and its card where one is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from command_line import printed_by
from refers_bench import plugins

Listed = Callable[..., list[str]]
MODULE = """
from pydantic import BaseModel
from refers_bench.plugins import Dataset, Task

class Params(BaseModel):
    images: int = 12

DATASET = Dataset(
    label="{label}", source="a page", licence="free", impl=1, Params=Params, index=print, citation="us, 2025",
    {more}
)
"""
TASKS = "tasks={'a': Task(label='First', classes=('x', 'y')), 'b': Task(label='Second', classes=('z',))}"
DATASETS = {
    "zz_both": ("Both", f"{TASKS}, has_reports=True, source_task='a', quirks=('one', 'two'), expected={{'images': 5}}"),
    "zz_made": ("Made", f"{TASKS}, synthetic=True"),
    "zz_tasks": ("Labels", f"{TASKS}, source_task='a', expected=lambda params: {{'images': params.images}}"),
    "zz_texts": ("Texts", "tasks={}, has_reports=True"),
}


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listed]:
    """Prints the list where another package brings `DATASETS`: lines from its first on."""
    facts = tmp_path / "zz-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: zz\nVersion: 1.0\n")
    entries = "".join(f"{name} = {name}\n" for name in DATASETS)
    (facts / "entry_points.txt").write_text(f"[refers_bench.datasets]\n{entries}")
    for name, (label, more) in DATASETS.items():
        (tmp_path / f"{name}.py").write_text(MODULE.format(label=label, more=more))
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins.names.cache_clear()

    yield lambda *options: printed_by("datasets", "list", *options).out.splitlines()
    plugins.names.cache_clear()


def test_a_dataset_with_reports_or_with_labels_to_train_on_may_be_a_source(listed: Listed) -> None:
    lines = listed()
    own = lines.index("zz_both           Both  (target, source)")
    tasks = [f"{'':<18}task a: First (2 classes: x, y)", f"{'':<18}task b: Second (1 classes: z)"]
    assert lines[own:] == [
        "zz_both           Both  (target, source)",
        *tasks,
        "zz_made           Made  [synthetic]  (target)",
        *tasks,
        "zz_tasks          Labels  (target, source)",
        *tasks,
        "zz_texts          Texts  (source)",
    ]
    assert "shenzhen_tb       Shenzhen tuberculosis  (target, source)" in lines[:own]


def test_a_card_has_licence_citation_counts_and_quirks(listed: Listed) -> None:
    lines = listed("--cards")
    card = ["source: a page", "licence: free", "cite: us, 2025"]
    tasks = ["task a: First (2 classes: x, y)", "task b: Second (1 classes: z)"]
    wanted = {
        "zz_both           Both  (target, source)": [*tasks, *card, "expected images: 5", "note: one", "note: two"],
        "zz_made           Made  [synthetic]  (target)": [*tasks, *card],
        "zz_tasks          Labels  (target, source)": [*tasks, *card, "expected images: 12"],
        "zz_texts          Texts  (source)": card,
    }
    assert lines[lines.index(next(iter(wanted))) :] == [
        line for title, below in wanted.items() for line in (title, *(f"{'':<18}{text}" for text in below))
    ]


def test_readers_of_own_images_say_how_a_manifest_declares_them() -> None:
    lines = [line.strip() for line in printed_by("datasets", "list", "--cards").out.splitlines()]
    own = "no dataset: read under a name of yours, 'data: {NAME: {table: ...}}' in a manifest"
    assert f"table             Own images, described by a table  ({own})" in lines
    assert lines.count("task labels: Labels (classes of your own)") == 2
    assert "note: a manifest gives them a name: 'data: {NAME: {folder: {root: DIR}}}'" in lines
    assert "key file: the table, relative to the manifest: .csv, .tsv or .parquet" in lines
