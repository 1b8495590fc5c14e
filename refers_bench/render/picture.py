"""Draws a radiograph with a map over it, and boxes that are told apart without colour."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Box = tuple[float, float, float, float]
#: Pixels of an enlarged map.
HEAT_SIDE = 64
#: Most opaque that a map gets.
OPACITY = 0.55
#: Colour and line of annotated and of predicted boxes.
ANNOTATED, PREDICTED = ("#56B4E9", "-"), ("#F0E442", (0, (3, 1.5)))


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A grey image, a map over it, boxes.

    Attributes:
        png: the image as base64 of a PNG file: text, so that a figure still is a value.
        heat: rows of the map, any unit; () for none.
        window: left, top, width, height of what the map covers, as shares of the image's sides.
        annotated: boxes drawn solid, as shares.
        predicted: boxes drawn dashed.
    """

    png: str
    heat: tuple[tuple[float, ...], ...] = ()
    window: Box = (0.0, 0.0, 1.0, 1.0)
    annotated: tuple[Box, ...] = ()
    predicted: tuple[Box, ...] = ()


def encoded(pixels_HW: npt.NDArray[np.uint8]) -> str:
    """Grey pixels as `Picture.png`."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels_HW).save(stream, format="PNG", optimize=False)
    return base64.b64encode(stream.getvalue()).decode("ascii")


def draw_picture(axes: Axes, picture: Picture) -> None:
    """Draw it; axes run from 0 to 1, from the top left."""
    import matplotlib as mpl
    from PIL import Image

    from refers_bench.analysis.localisation import stretched

    with Image.open(io.BytesIO(base64.b64decode(picture.png))) as image:
        pixels_HW = np.asarray(image.convert("L"))
    axes.imshow(pixels_HW, cmap="gray", vmin=0, vmax=255, interpolation="none", extent=(0, 1, 1, 0))
    fine = stretched(picture.heat, HEAT_SIDE) if picture.heat else None
    if fine is not None:
        colours = mpl.colormaps["inferno"](fine)
        colours[..., 3] = OPACITY * fine
        left, top, width, height = picture.window
        axes.imshow(colours, interpolation="none", extent=(left, left + width, top + height, top))
    _draw_boxes(axes, picture.annotated, *ANNOTATED)
    _draw_boxes(axes, picture.predicted, *PREDICTED)
    axes.set(xlim=(0, 1), ylim=(1, 0), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _draw_boxes(axes: Axes, boxes: Sequence[Box], colour: str, line: str | tuple[float, tuple[float, ...]]) -> None:
    """Coloured lines on black ones: seen on bright and on dark."""
    from matplotlib.patches import Rectangle

    for left, top, width, height in boxes:
        for shade, thick in (("#000000", 2.2), (colour, 1.1)):
            look: dict[str, Any] = {"fill": False, "edgecolor": shade, "linestyle": line, "linewidth": thick}
            axes.add_patch(Rectangle((left, top), width, height, **look))
