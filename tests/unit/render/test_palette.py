"""Colours of methods are dark enough on white, and far apart for readers with any colour vision."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from refers_bench.render.palette import COLOURS, GREYS, look

#: Full colour vision, and its three complete deficiencies, on linear RGB.
#: Source: Machado, Oliveira and Fernandes, IEEE TVCG 2009, table 1, severity 1.0.
VISION = {
    "full": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
#: Source: IEC 61966-2-1, linear RGB to XYZ, white of D65.
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour: str) -> np.ndarray:
    signs = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(signs <= 0.04045, signs / 12.92, ((signs + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b*."""
    share = XYZ @ np.clip(rgb, 0, 1) / (XYZ @ np.ones(3))
    x, y, z = np.where(share > (6 / 29) ** 3, np.cbrt(share), share / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(colour: str) -> float:
    """On white, as WCAG 2 defines it."""
    return 1.05 / (float(XYZ[1] @ linear(colour)) + 0.05)


def nearest(colours: tuple[str, ...], vision: str) -> float:
    seen = [lab(np.array(VISION[vision]) @ linear(colour)) for colour in colours]
    return min(float(np.linalg.norm(one - other)) for one, other in combinations(seen, 2))


@pytest.mark.parametrize("colour", [*COLOURS, *GREYS])
def test_every_colour_is_seen_on_white(colour: str) -> None:
    """WCAG 2.2 asks 3:1 of graphical objects; Okabe and Ito's yellow, for one, has less."""
    assert contrast(colour) >= 3 > contrast("#F0E442")
    assert contrast("#000000") == pytest.approx(21) and contrast("#767676") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("vision", VISION)
def test_colours_are_further_apart_than_those_of_okabe_and_ito(vision: str) -> None:
    known = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")
    assert len(COLOURS) == len(known)
    assert nearest(COLOURS, vision) > max(25, nearest(known, vision))


def test_methods_beyond_the_colours_differ_in_marker_and_line() -> None:
    looks = [look(number) for number in range(72)]
    assert len({(colour, marker) for colour, marker, _ in looks}) == 72
    assert len({(colour, line) for colour, _, line in looks[:32]}) == 32
    assert look(0)[0] == look(8)[0] == COLOURS[0] and look(3, grey=True)[0] in GREYS
