"""Draws procedural radiographs with findings, and writes their reports.

Lungs, heart, ribs and findings are drawn from formulas, not from any person's image, so that every reader and every
method can be run anywhere. Results on phantoms are always labelled synthetic.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from refers_bench import identity
from refers_bench.files import making, staged_folder

#: Raised whenever the drawn pixels or texts change.
IMPL = 1
LUNG_X = {"left": 0.70, "right": 0.30}  # the patient's left lung is on the image's right


class PhantomParams(BaseModel):
    """How many studies, how large, how difficult."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(default=0, ge=0, description="of the whole collection")
    studies: int = Field(default=300, ge=10, le=500_000, description="of real reports all that can be used by default")
    size: int = Field(default=96, ge=32, le=1024, description="side of the images, in pixels")
    views: int = Field(default=3, ge=1, le=4, description="radiographs per study at most")
    prevalence: float = Field(default=0.22, gt=0, lt=1, description="of each finding")
    contrast: float = Field(default=1.0, gt=0, le=3, description="factor on every finding's contrast")
    noise: float = Field(default=0.04, ge=0, le=0.5, description="standard deviation of the noise")
    # It came later: where reports are written for the radiographs it is in no key.
    reports: Literal["", "openi"] = Field(
        default="",
        description="dataset whose real reports, word for word, the radiographs are drawn for",
        exclude_if=lambda value: value == "",
    )

    @model_validator(mode="after")
    def _states_what_is_drawn(self) -> PhantomParams:
        if self.reports and self.prevalence != type(self).model_fields["prevalence"].default:
            raise ValueError("no prevalence where real reports state the findings")
        return self


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """One finding in a study: its name, side ("left", "right", "both", ''), box (x, y, w, h) in [0, 1], and strength.

    The strength is a factor on its contrast.
    """

    finding: str
    side: str
    box: tuple[float, float, float, float]
    strength: float = 1.0


@dataclass(frozen=True, kw_only=True)
class PhantomView:
    """One radiograph: uint8 pixels, its projection, and how it is zoomed and moved against the anatomy."""

    pixels_HW: np.ndarray
    view: str
    zoom: float = 1.0
    dx: float = 0.0
    dy: float = 0.0

    def box(self, lesion: Lesion) -> tuple[float, float, float, float]:
        """Box (left, top, width, height) of a lesion in this radiograph, cut at its borders, in [0, 1]."""
        x, y, width, height = lesion.box
        left, top = (x - 0.5) * self.zoom + 0.5 + self.dx, (y - 0.5) * self.zoom + 0.5 + self.dy
        edges = np.clip([left, top, left + width * self.zoom, top + height * self.zoom], 0, 1).round(4).tolist()
        return edges[0], edges[1], edges[2] - edges[0], edges[3] - edges[1]


@dataclass(frozen=True, kw_only=True)
class PhantomStudy:
    """A study: its patient, views, lesions, report and split."""

    number: int
    patient: int
    split: str
    views: tuple[PhantomView, ...]
    lesions: tuple[Lesion, ...]
    report: str

    @property
    def findings(self) -> frozenset[str]:
        """Names of what is there."""
        return frozenset(lesion.finding for lesion in self.lesions)


_SENTENCES = tomllib.loads(Path(__file__).with_name("sentences.toml").read_text(encoding="utf-8"))
#: Finding -> sentences of a report that states it, and of one that denies it; and sentences of neither kind.
WORDS: Mapping[str, Sequence[str]] = _SENTENCES["present"]
NORMAL: Mapping[str, Sequence[str]] = _SENTENCES["absent"]
DISTRACTORS: Sequence[str] = _SENTENCES["other"]["sentences"]
FINDINGS = tuple(WORDS)


def _blob(x: np.ndarray, y: np.ndarray, cx: float, cy: float, rx: float, ry: float) -> np.ndarray:
    """A smooth disc of height 1."""
    distance = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2
    return np.asarray(np.exp(-(distance**2)))


def _anatomy(x: np.ndarray, y: np.ndarray, rng: np.random.Generator, *, heart: float, lateral: bool) -> np.ndarray:
    image = np.full((len(y), x.shape[1]), 0.42, np.float32) + 0.1 * y
    for cx in (0.47, 0.53) if lateral else LUNG_X.values():
        image -= 0.26 * _blob(x, y, cx, 0.45, 0.21 if lateral else 0.17, 0.33)
    image += 0.30 * _blob(x, y, 0.42 if lateral else 0.56, 0.63, 0.12 * heart, 0.14)
    image += 0.18 * _blob(x, y, 0.8 if lateral else 0.5, 0.5, 0.06, 0.7)
    phase, curve = rng.uniform(0, 0.09), rng.uniform(0.2, 0.5)
    ribs = np.sin((y - phase + curve * (x - 0.5) ** 2) * 2 * np.pi / 0.09) ** 8
    return np.asarray(image + 0.05 * ribs * (np.abs(x - 0.5) < 0.42))


def _draw(lesion: Lesion, x: np.ndarray, y: np.ndarray, *, lateral: bool, contrast: float) -> np.ndarray:
    bx, by, bw, bh = lesion.box
    contrast = contrast * lesion.strength
    cx, cy = 0.5 + (bx + bw / 2 - 0.5) * (0.3 if lateral else 1), by + bh / 2
    if lesion.finding in ("Effusion", "Diaphragm"):
        return np.asarray(contrast * (np.abs(x - cx) < bw / 2) / (1 + np.exp(-(y - by) * 40)))
    if lesion.finding == "Pneumothorax":
        return -0.8 * contrast * _blob(x, y, cx, cy, bw / 2, bh / 2)
    if lesion.finding in ("Interstitial", "Aeration"):
        lungs = sum(_blob(x, y, cx, 0.45, 0.17, 0.33) for side, cx in LUNG_X.items() if lesion.side in (side, "both"))
        pattern = np.sin(x * 70) * np.sin(y * 70) if lesion.finding == "Interstitial" else -0.5
        return np.asarray(0.5 * contrast * pattern * lungs)
    if lesion.finding == "Device":
        return np.asarray(2 * contrast * np.exp(-(((x - cx) / (bw / 2)) ** 4)) * (np.abs(y - cy) < bh / 2))
    return contrast * _blob(x, y, cx, cy, bw / 2, bh / 2)


def _lesions(rng: np.random.Generator, names: frozenset[str]) -> tuple[Lesion, ...]:
    found = []
    for name in FINDINGS:
        if name not in names:
            continue
        side = str(rng.choice(["left", "right"]))
        cx = LUNG_X[side] + rng.uniform(-0.06, 0.06)
        if name == "Cardiomegaly":
            side, box = "", (0.38, 0.5, 0.36, 0.28)
        elif name == "Effusion":
            box = (LUNG_X[side] - 0.16, rng.uniform(0.62, 0.72), 0.32, 0.24)
        elif name == "Pneumothorax":
            box = (LUNG_X[side] - 0.14, 0.12, 0.28, rng.uniform(0.18, 0.28))
        elif name == "Interstitial":
            side, box = "both", (0.13, 0.12, 0.74, 0.66)
        else:
            r = rng.uniform(0.035, 0.06) if name == "Nodule" else rng.uniform(0.09, 0.15)
            box = (cx - r, rng.uniform(0.25, 0.65) - r, 2 * r, 2 * r)
        left, top, width, height = (float(round(value, 4)) for value in box)
        found.append(Lesion(finding=name, side=side, box=(left, top, width, height)))
    return tuple(found)


def _report(rng: np.random.Generator, lesions: tuple[Lesion, ...]) -> str:
    """Findings and impression, in random order and wording, with negations and sentences without a finding."""
    sentences = [str(rng.choice(WORDS[item.finding])).format(side=item.side) for item in lesions]
    impression = " ".join(sentences) or "No acute cardiopulmonary abnormality."
    absent = [name for name in FINDINGS if name not in {item.finding for item in lesions}]
    mentioned = [str(name) for name in rng.permutation(absent)[: rng.integers(1, 4)]] if absent else []
    sentences += [str(rng.choice(NORMAL[name])) for name in mentioned]
    sentences += [str(sentence) for sentence in rng.choice(DISTRACTORS, rng.integers(1, 3), replace=False)]
    findings = " ".join(str(sentence) for sentence in rng.permutation(sentences))
    return f"{findings} Impression: {impression}"


def drawn(
    params: PhantomParams, lesions: Sequence[Lesion], rng: np.random.Generator, *, view: str, heart: float
) -> PhantomView:
    """One radiograph of a study.

    Args:
        params: of the collection.
        lesions: what it shows besides the heart's width.
        rng: of the study.
        view: "L" for a lateral one, in which a finding lies at the height it has in the others.
        heart: width of the heart, 1 for the usual one.
    """
    axis = (np.arange(params.size, dtype=np.float32) + 0.5) / params.size
    x, y = axis[None, :], axis[:, None]
    zoom, dx, dy = rng.normal(1, 0.05), *rng.normal(0, 0.02, 2)
    u, v = (x - 0.5 - dx) / zoom + 0.5, (y - 0.5 - dy) / zoom + 0.5
    image = _anatomy(u, v, rng, heart=heart * rng.normal(1, 0.06), lateral=view == "L")
    for lesion in lesions:
        if lesion.finding != "Cardiomegaly":
            strength = params.contrast * rng.uniform(0.15, 0.3)
            image = image + _draw(lesion, u, v, lateral=view == "L", contrast=strength)
    image = image * rng.uniform(0.9, 1.1) + rng.normal(0, params.noise, image.shape).astype(np.float32)
    pixels_HW = (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
    return PhantomView(pixels_HW=pixels_HW, view=view, zoom=float(zoom), dx=float(dx), dy=float(dy))


def study(params: PhantomParams, number: int, *, findings: frozenset[str] | None = None) -> PhantomStudy:
    """Study `number` of a collection: a function of the parameters and the number alone.

    Args:
        params: of the collection.
        number: from 0.
        findings: what it shows; None draws each finding independently with `params.prevalence`.
    """
    rng = np.random.default_rng(identity.seed("phantom", IMPL, params.seed, number))
    # Some patients have two studies; a patient belongs to one split.
    patient = number - number % 2 if identity.seed("pair", params.seed, number // 2) % 4 == 0 else number
    share = identity.seed("split", params.seed, patient) / 2**63
    if findings is None:
        findings = frozenset(name for name in FINDINGS if rng.random() < params.prevalence)
    lesions = _lesions(rng, findings)
    report = _report(rng, lesions)
    heart = 1.55 if "Cardiomegaly" in findings else 1.0
    views = []
    for index in range(int(rng.integers(1, params.views + 1))):
        view = "L" if index == 1 else str(rng.choice(["PA", "AP"]))
        views.append(drawn(params, lesions, rng, view=view, heart=heart))
    split = "train" if share < 0.7 else "val" if share < 0.8 else "test"
    return PhantomStudy(number=number, patient=patient, split=split, views=tuple(views), lesions=lesions, report=report)


def studies(params: PhantomParams) -> Iterator[PhantomStudy]:
    """All studies of a collection."""
    return (study(params, number) for number in range(params.studies))


def write(folder: Path, params: PhantomParams, layout: Callable[[Path, PhantomParams], None]) -> None:
    """Write a collection in a dataset's official layout, whole or not at all; an existing one is kept.

    Args:
        folder: where it appears.
        params: of the collection.
        layout: the dataset's ``write_layout``.

    Raises:
        StorageError: the folder cannot be written.
    """
    if folder.is_dir():
        return
    with making(folder):
        if not folder.is_dir():  # another process may have just written it
            with staged_folder(folder) as stage:
                layout(stage, params)
