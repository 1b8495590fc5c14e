from __future__ import annotations

import base64
import io
import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from PIL import Image

from refers_bench.render.figure import Figure, Panel, draw
from refers_bench.render.picture import Picture, encoded


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
