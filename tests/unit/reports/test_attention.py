"""A report shows of explained cells means over seeds, intervals and a bounded number of radiographs."""

from __future__ import annotations

import base64
import io
import shutil
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from explained_cells import explain
from refers_bench.jobs.explain.localise import SHOWN_SIDE
from refers_bench.reporting import page as _page
from refers_bench.reports import attention, figure_attention


def test_seeds_are_averaged_image_by_image(folder: Any) -> None:
    first, second = (folder.cell("refers", seed=seed, dataset="nih_chestxray14", task="findings") for seed in (0, 1))
    explain(folder, first, name="refers.s0", iou={"class": [0.2, 0.4, 0.6, 0.0], "rollout": [0.0] * 4})
    explain(folder, second, name="refers.s1", iou={"class": [0.4, 0.4, 0.0, 0.2], "rollout": [0.2] * 4})
    table = attention.build(folder.load())
    assert table is not None
    rows = {row.title: [cell.figure for cell in row.cells] for row in table.rows}
    assert rows["refers: class activation: Mass"][:7] == ["2", "2", "2", "0.3", "0.300", "0.100", "+0.200"]
    assert rows["refers: class activation: all classes"][:7] == ["2", "4", "4", "0.3", "0.275", "0.100", "+0.175"]
    # Differences by image 0.2, 0.3, 0.2, 0; two patients, so one degree of freedom.
    se = np.sqrt(2 * ((0.5 - 0.35) ** 2 + (0.2 - 0.35) ** 2)) / 4
    reach = 12.706204736 * se
    assert rows["refers: class activation: all classes"][7] == f"{0.175 - reach:+.3f} to {0.175 + reach:+.3f}"
    flat = next(row for row in table.rows if row.title.startswith("refers: attention rollout: Mass"))
    assert flat.cells[7].notes[0].text == "no interval: no variance."
    assert "nih_chestxray14: annotated images by split: 4 test, 7 train; test images alone count." in table.notes


def test_nothing_is_shown_unasked_or_of_a_cell_that_left_the_plan(folder: Any) -> None:
    cell = folder.cell("refers")
    results = folder.load()
    assert attention.build(results) is None and figure_attention.build(results) == []
    (folder.results / "store" / "gone").mkdir(parents=True)
    explain(folder, "gone", name="gone", iou={"class": [0.1, 0.2]})
    assert attention.build(folder.load()) is None
    explain(folder, cell, name="refers", iou={"class": [0.1, 0.2]})
    shutil.rmtree(folder.results / "store" / f"l-{cell}")
    assert attention.build(folder.load()) is None and figure_attention.build(folder.load()) == []


def test_radiographs_are_bounded_and_a_page_stays_small(folder: Any) -> None:
    for place in range(3):
        cell = folder.cell(
            f"row{place}", dataset="nih_chestxray14", task="findings", label="<i>" if place else "REFERS"
        )
        iou = {"rollout": [0.1, 0.2], "class": [0.3, 0.1]}
        explain(folder, cell, name=f"row{place}", iou=iou, images=6, side=SHOWN_SIDE)
    figures = figure_attention.build(folder.load())
    assert [len(figure.panels) for figure in figures] == [18, 18], "12 radiographs, three panels each"
    assert len({figure.id for figure in figures}) == 2
    (page,) = _page.write(folder.save(), [folder.name])
    # Noise, which no PNG makes smaller; the tables need room, too.
    assert page.stat().st_size < 3 * 2**20
    text = page.read_text()
    assert "<i>" not in text and "Nodule <b>" not in text


@pytest.mark.parametrize("kind", ["rollout", "class"])
def test_one_kind_of_map_alone(folder: Any, kind: str) -> None:
    other = {"rollout": "class", "class": "rollout"}[kind]
    explain(folder, folder.cell("refers"), name="refers", iou={kind: [0.1, 0.2]}, asked=other)
    (figure,) = figure_attention.build(folder.load())
    assert figure.columns == 2 and len(figure.panels) == 4
    picture = figure.panels[1].picture
    assert picture is not None and len(picture.heat) == 14 and picture.predicted
    table = attention.build(folder.load())
    assert table is not None and len(table.rows) == 3


def test_panels_show_the_radiograph_its_boxes_and_its_map(folder: Any) -> None:
    cell = folder.cell("refers", dataset="nih_chestxray14", task="findings", label="REFERS")
    explain(folder, cell, name="refers", iou={"rollout": [0.1, 0.2, 0.456], "class": [0.3, 0.1, 0.2]})
    stored = load_file(folder.results / "store" / f"l-{cell}" / "shown.safetensors")
    (figure,) = figure_attention.build(folder.load())
    assert figure.caption == (
        "Where REFERS looks (nih_chestxray14: findings, 100 % of labels, seed 0): attention rollout and class activation."
    )
    assert figure.note == (
        "Solid boxes are annotated, dashed ones surround what reaches 0.3 of a stretched map. Test images, "
        "drawn class by class by a hash of their names."
    )
    assert figure.columns == 3 and [panel.title for panel in figure.panels] == [
        "i0: Mass",
        "attention rollout, IoU 0.10",
        "class activation, IoU 0.30",
        "i1: Nodule <b>",
        "attention rollout, IoU 0.20",
        "class activation, IoU 0.10",
    ]
    for place, panel in enumerate(figure.panels):
        picture, image, kind = panel.picture, place // 3, ("", "rollout", "class")[place % 3]
        assert picture is not None and picture.annotated == ((0.1, 0.5, 0.3, 0.2),)
        with Image.open(io.BytesIO(base64.b64decode(picture.png))) as png:
            assert np.array_equal(np.asarray(png), stored["pixels"][image])
        if not kind:
            assert (picture.heat, picture.predicted, picture.window) == ((), (), (0.0, 0.0, 1.0, 1.0))
            continue
        grid = stored[kind][image].astype(float)
        expected = (grid - grid.min()) / (grid.max() - grid.min())
        np.testing.assert_allclose(picture.heat, expected, atol=5.1e-5)
        assert picture.predicted == ((0.55, 0.0, 0.1, 0.7),) and picture.window == (0.1, 0.2, 0.8, 0.6)


def test_of_a_single_class_there_is_no_row_of_all(folder: Any) -> None:
    explain(folder, folder.cell("refers"), name="refers", iou={"class": [0.25]}, images=1)
    table = attention.build(folder.load())
    assert table is not None
    (row,) = table.rows
    assert row.title == "refers: class activation: Mass"
    assert [cell.figure for cell in row.cells][:7] == ["1", "1", "1", "0.3", "0.250", "0.100", "+0.150"]
    assert row.cells[7].notes[0].text == "no interval: fewer than two patients."


def test_of_two_seeds_the_first_is_drawn_and_other_rows_follow(folder: Any) -> None:
    for method, seed in (("refers", 0), ("refers", 1), ("c2l", 1)):
        cell = folder.cell(method, seed=seed, label=method.upper())
        explain(folder, cell, name=f"{method}.s{seed}", iou={"class": [0.1, 0.2]}, images=7, side=4)
    figures = figure_attention.build(folder.load())
    assert [figure.caption.partition("looks")[0] for figure in figures] == ["Where REFERS ", "Where C2L "]
    assert ["seed 0" in figure.caption for figure in figures] == [True, False]
    # Twelve radiographs are drawn in all, each with one map: seven of the first row.
    assert [len(figure.panels) for figure in figures] == [14, 10]
    assert [figure.alt for figure in figures] == [
        f"{count} radiographs with maps and boxes; the overlaps of all annotated images stand in the table."
        for count in (7, 5)
    ]
