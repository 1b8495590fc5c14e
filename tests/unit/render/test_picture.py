"""A radiograph is drawn with its map and its boxes where they belong, the same bytes every time."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure as Canvas
from PIL import Image

from refers_bench.render.figure import Figure, Panel, draw
from refers_bench.render.picture import ANNOTATED, PREDICTED, Picture, draw_picture, encoded


def figure(**changes: object) -> Figure:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32), np.uint8)
    picture = Picture(
        png=encoded(pixels), heat=((0.0, 0.5), (1.0, 0.2)), window=(0.1, 0.1, 0.8, 0.8), annotated=((0.2, 0.2, 0.3, 0.3),),
        predicted=((0.5, 0.5, 0.2, 0.2),),
    )  # fmt: skip
    panel = Panel(
        title="00000001_000: Mass <b>", x_label="", y_label="", series=(), picture=replace(picture, **changes)
    )  # type: ignore[arg-type]
    return Figure(id="f", caption="c", alt="a", panels=(panel, panel), columns=2)


@pytest.mark.parametrize("kind", ["svg", "pdf"])
def test_a_picture_gives_the_same_bytes_twice(kind: str) -> None:
    assert draw(figure(), format=kind) == draw(figure(), format=kind)


def test_what_is_drawn_shows() -> None:
    whole = draw(figure())
    for changes in ({"heat": ()}, {"annotated": ()}, {"predicted": ()}, {"window": (0.0, 0.0, 1.0, 1.0)}):
        assert draw(figure(**changes)) != whole, changes
    assert b"&lt;b&gt;" in whole and b"<b>" not in whole
    # A map that is the same everywhere is not drawn.
    assert draw(figure(heat=((0.5, 0.5), (0.5, 0.5)))) == draw(figure(heat=()))


def test_pixels_are_kept_and_the_value_is_json() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    with Image.open(io.BytesIO(base64.b64decode(encoded(pixels)))) as image:
        assert np.array_equal(np.asarray(image), pixels)
    assert json.loads(json.dumps(asdict(figure())))["panels"][0]["picture"]["predicted"]
    assert figure() == figure()


SIDE = 400


def drawn(picture: Picture) -> np.ndarray:
    """Pixels of 400 x 400 that the picture fills, RGB in [0, 1]."""
    canvas = Canvas(figsize=(4, 4), dpi=100)
    backend = FigureCanvasAgg(canvas)
    draw_picture(canvas.add_axes((0, 0, 1, 1)), picture)
    backend.draw()
    return np.asarray(backend.buffer_rgba())[..., :3] / 255


def near(pixels: np.ndarray, x: float, y: float, colour: str) -> bool:
    """Whether a line of a colour runs within 3 pixels of a place, given as shares of the sides."""
    row, column = round(y * SIDE), round(x * SIDE)
    around = pixels[max(0, row - 3) : row + 4, max(0, column - 3) : column + 4].reshape(-1, 3)
    return bool((np.abs(around - np.array(to_rgb(colour))).max(axis=1) < 0.25).any())


@pytest.mark.parametrize(("kind", "colour"), [("annotated", ANNOTATED[0]), ("predicted", PREDICTED[0])])
def test_a_box_that_is_no_square_lies_where_its_shares_say(kind: str, colour: str) -> None:
    pixels = drawn(Picture(png=encoded(np.full((8, 8), 90, np.uint8)), **{kind: ((0.1, 0.5, 0.6, 0.25),)}))
    coloured = np.argwhere(np.abs(pixels - np.array(to_rgb(colour))).max(axis=2) < 0.25) / SIDE
    top, left = coloured.min(axis=0)
    bottom, right = coloured.max(axis=0)
    assert (left, top, right, bottom) == pytest.approx((0.1, 0.5, 0.7, 0.75), abs=0.01)
    assert not near(pixels, 0.4, 0.62, colour), "boxes are not filled"


def test_the_image_stands_upright_and_keeps_its_greys() -> None:
    pixels = np.array([[0, 60], [120, 255]], np.uint8)
    found = drawn(Picture(png=encoded(pixels)))
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        shown = found[100 + 200 * row, 100 + 200 * column]
        assert shown == pytest.approx([pixels[row, column] / 255] * 3, abs=1e-9), "not one level brighter or darker"


def test_the_map_covers_its_window_alone_and_is_hot_where_it_is_high() -> None:
    """A map with its only peak at the top right, over the left quarter and the lower half of a black image."""
    black = encoded(np.zeros((4, 4), np.uint8))
    heat = ((0.0, 0.0, 1.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    found = drawn(Picture(png=black, heat=heat, window=(0.0, 0.5, 0.25, 0.5))).sum(axis=2)
    bright = np.argwhere(found > 0.02)
    top, left = bright.min(axis=0)
    bottom, right = bright.max(axis=0)
    # The peak's slope reaches to the middle of the window; the rest of it is as dark as what it covers.
    assert (top, right) == (200, 99) and 200 < bottom < 340 and 30 < left < 99
    assert found[205, 95] == pytest.approx(0.55 * (0.988 + 0.998 + 0.645), abs=0.05), "inferno's end, 55 % opaque"


def test_boxes_of_both_kinds_are_told_apart_without_colour() -> None:
    def lit(colour: str, picture: Picture) -> int:
        """How many pixels of the upper edge have the colour."""
        strip = drawn(picture)[195:206, 44:356]
        return int((np.abs(strip - np.array(to_rgb(colour))).max(axis=2) < 0.25).any(axis=0).sum())

    png, box = encoded(np.full((8, 8), 90, np.uint8)), ((0.1, 0.5, 0.8, 0.3),)
    assert lit(ANNOTATED[0], Picture(png=png, annotated=box)) > 300, "solid"
    assert 100 < lit(PREDICTED[0], Picture(png=png, predicted=box)) < 280, "dashed"
    assert drawn(Picture(png=png, annotated=box))[195:206, 200].min() < 0.15, "on a black line"
