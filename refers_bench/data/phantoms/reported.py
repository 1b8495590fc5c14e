"""Draws procedural radiographs of what the MeSH terms of a real report state.

The first radiograph of a study is frontal, the second lateral, any further one frontal, as most studies of Open-I are.
Where a term names no side or zone, both are drawn at random. Results on such images are always labelled synthetic:
real reports, procedural radiographs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from refers_bench import identity
from refers_bench.data.phantoms.mesh import Stated, stated
from refers_bench.data.phantoms.radiographs import LUNG_X, Lesion, PhantomParams, PhantomView, drawn

#: Raised whenever the drawn pixels change.
IMPL = 1
#: Severity -> factor on size and contrast.
FACTORS = {"": 1.0, "borderline": 0.5, "mild": 0.7, "moderate": 1.2, "severe": 1.5}
#: By how much the heart of a radiograph is wider than usual, before the factor; and the spread over healthy people.
CARDIOMEGALY, SPREAD = 0.4, 0.06
#: Zone -> height of its middle, in [0, 1] from the top.
HEIGHTS = {
    "apex": 0.2,
    "upper": 0.3,
    "paratracheal": 0.27,
    "mediastinum": 0.4,
    "hilum": 0.45,
    "middle": 0.52,
    "lower": 0.61,
    "retrocardiac": 0.62,
    "heart": 0.62,
    "base": 0.68,
}
#: Zone -> distance from the midline; elsewhere that of the middle of a lung.
DISTANCES = {"paratracheal": 0.07, "mediastinum": 0.03, "hilum": 0.1, "retrocardiac": 0.09, "heart": 0.06}
#: Radii of round findings, from and to.
RADII = {"Consolidation": (0.08, 0.13), "Band": (0.09, 0.13), "Nodule": (0.035, 0.055), "Granuloma": (0.018, 0.028)}
#: Findings of whole lungs: name and sign of what is drawn.
DIFFUSE = {"Interstitial": ("Interstitial", 1), "Overaeration": ("Aeration", 1), "Underaeration": ("Aeration", -1)}


def views(params: PhantomParams, uid: str, terms: Sequence[str]) -> Iterator[PhantomView]:
    """Radiographs of a report, without end: a function of seed, report and terms alone.

    Args:
        params: of the collection.
        uid: of the report.
        terms: its MeSH terms.
    """
    rng = np.random.default_rng(identity.seed("reported phantom", IMPL, params.seed, uid))
    findings = strongest(one for term in dict.fromkeys(terms) for one in stated(term))
    heart = rng.normal(1, SPREAD) + max((_width(one) for one in findings), default=0.0)
    lesions = [*_diaphragms(rng, findings), *(lesion for one in findings for lesion in _lesions(rng, one))]
    number = 0
    while True:
        view = "L" if number == 1 else "PA"
        yield drawn(params, lesions, rng, view=view, heart=heart)
        number += 1


def strongest(findings: Iterator[Stated]) -> list[Stated]:
    """Of several terms that state one finding at one place, the strongest, in their order."""
    found: dict[tuple[str, ...], Stated] = {}
    for one in findings:
        place = (one.kind,) if one.kind == "Cardiomegaly" else (one.kind, one.side, one.zone)
        if place not in found or FACTORS[one.severity] > FACTORS[found[place].severity]:
            found[place] = one
    return list(found.values())


def _width(finding: Stated) -> float:
    return CARDIOMEGALY * FACTORS[finding.severity] if finding.kind == "Cardiomegaly" else 0.0


def _diaphragms(rng: np.random.Generator, findings: Sequence[Stated]) -> Iterator[Lesion]:
    """Both halves of the diaphragm, which differ between people, too: what is bright there is not always fluid."""
    for side, x in LUNG_X.items():
        raised = [FACTORS[one.severity] for one in findings if one.kind == "Diaphragm" and one.side in (side, "both")]
        top = rng.normal(0.79, 0.03) - 0.08 * max(raised, default=0.0)
        yield _lesion("Diaphragm", side, x, top + 0.12, 0.36, 0.24, strength=rng.uniform(0.1, 0.7))


def _lesions(rng: np.random.Generator, finding: Stated) -> Iterator[Lesion]:
    """What is drawn of a finding: on each of its sides, and several where it says so."""
    factor, kind = FACTORS[finding.severity], finding.kind
    if kind in DIFFUSE:
        name, sign = DIFFUSE[kind]
        yield _lesion(name, finding.side or "both", 0.5, 0.45, 0.74, 0.66, strength=sign * factor)
    elif kind not in ("Cardiomegaly", "Diaphragm"):
        sides = ("left", "right") if finding.side == "both" else (finding.side or str(rng.choice(["left", "right"])),)
        for side in sides:
            for _ in range(int(rng.integers(2, 5)) if finding.several and kind in RADII else 1):
                yield _local(rng, finding, side=side, factor=factor)


def _local(rng: np.random.Generator, finding: Stated, *, side: str, factor: float) -> Lesion:
    """A finding at its zone on one side."""
    kind, zone, outwards = finding.kind, finding.zone, 1 if side == "left" else -1
    if kind == "Effusion":
        # It begins at the outer edge of the lung, and a small one does not reach far.
        width, top = 0.08 + 0.2 * factor, 0.79 - 0.12 * factor + rng.uniform(-0.04, 0.04)
        x = LUNG_X[side] + outwards * (0.19 - width / 2)
        return _lesion(kind, side, x, top + 0.12, width, 0.24, strength=0.5 * factor)
    if kind == "Pneumothorax":
        height = 0.22 * factor * rng.uniform(0.9, 1.1)
        return _lesion(kind, side, LUNG_X[side], 0.12 + height / 2, 0.28, height, strength=0.7)
    if kind == "Line":
        x = 0.5 + outwards * (0.05 if finding.side else 0.0)
        return _lesion("Device", side, x, 0.28 + rng.uniform(-0.03, 0.03), 0.025, 0.4)
    if kind == "Device" and not zone:  # a generator lies below the left collarbone unless said otherwise
        x = LUNG_X[finding.side if finding.side in LUNG_X else "left"]
        return _lesion(kind, side, x, 0.2 + rng.uniform(-0.03, 0.03), 0.1, 0.08)
    y = HEIGHTS[zone] + rng.uniform(-0.03, 0.03) if zone else rng.uniform(0.25, 0.68)
    x = 0.5 + outwards * (DISTANCES.get(zone, 0.2) + rng.uniform(-0.04, 0.04))
    width = 2 * rng.uniform(*RADII[kind]) * factor**0.5 if kind in RADII else 0.08
    height = width * (0.3 if kind == "Band" else 1.0)
    return _lesion(kind, side, x, y, width, height, strength=1.5 if kind == "Granuloma" else factor**0.5)


def _lesion(finding: str, side: str, x: float, y: float, width: float, height: float, strength: float = 1.0) -> Lesion:
    """A lesion by its centre."""
    left, top, width, height = (round(float(value), 4) for value in (x - width / 2, y - height / 2, width, height))
    return Lesion(finding=finding, side=side, box=(left, top, width, height), strength=float(strength))
