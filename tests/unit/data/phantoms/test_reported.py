"""What a report states is drawn where it states it, on the side that it names, as a function of seed and report."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import ttest_rel

from refers_bench.data.phantoms.mesh import stated
from refers_bench.data.phantoms.radiographs import PhantomParams, PhantomView
from refers_bench.data.phantoms.reported import HEIGHTS, strongest, views

PARAMS = PhantomParams(size=64, reports="openi", noise=0.02, contrast=2.0)
DRAWS = 60


def drawn(*terms: str, count: int = 1, seed: int = 0, uid: str = "CXR1") -> list[PhantomView]:
    params = PARAMS.model_copy(update={"seed": seed})
    return list(itertools.islice(views(params, uid, terms), count))


def images(*terms: str, view: int = 0) -> np.ndarray:
    """Many draws of one view, (draws, 64, 64) in [0, 1], each put back in the place of the anatomy."""
    axis = (np.arange(64) + 0.5) / 64
    found = []
    for number in range(DRAWS):
        one = drawn(*terms, count=view + 1, uid=f"CXR{number}")[view]
        columns, rows = (
            np.clip(((axis - 0.5) * one.zoom + 0.5 + moved) * 64 - 0.5, 0, 63).round().astype(int)
            for moved in (one.dx, one.dy)
        )
        found.append(one.pixels_HW[np.ix_(rows, columns)] / 255)
    return np.stack(found)


def leftness(images_NHW: np.ndarray, *, low: bool = False) -> np.ndarray:
    """By how much each image is brighter on the patient's left, the image's right: in the lungs, or below them."""
    rows = slice(42, 62) if low else slice(6, 46)
    return images_NHW[:, rows, 32:].mean((1, 2)) - images_NHW[:, rows, :32].mean((1, 2))


@pytest.fixture(scope="module")
def healthy() -> np.ndarray:
    return images("normal")


def test_the_same_report_and_seed_give_the_same_radiographs() -> None:
    term = "Opacity/lung/base/left"
    first, again = drawn(term, count=3), drawn(term, count=3)
    assert all((one.pixels_HW == other.pixels_HW).all() for one, other in zip(first, again, strict=True))
    assert [one.view for one in first] == ["PA", "L", "PA"]
    assert first[0].pixels_HW.dtype == np.uint8 and first[0].pixels_HW.shape == (64, 64)
    for other in (drawn(term, seed=1), drawn(term, uid="CXR2"), drawn("Opacity/lung/base/right")):
        assert (other[0].pixels_HW != first[0].pixels_HW).any()
    # Fewer views are the first of more, and a term that stands twice is one.
    assert (drawn(term)[0].pixels_HW == first[0].pixels_HW).all()
    assert (drawn(term, term)[0].pixels_HW == first[0].pixels_HW).all()


#: Finding -> sign of the change of brightness on its side.
SIGNS = {
    "Opacity/lung/base/{side}": 1,
    "Opacity/lung/upper lobe/{side}": 1,
    "Nodule/lung/lower lobe/{side}": 1,
    "Pulmonary Atelectasis/base/{side}": 1,
    "Calcified Granuloma/lung/{side}/multiple": 1,
    "Pleural Effusion/{side}/large": 1,
    "Catheters, Indwelling/{side}": 1,
    "Implanted Medical Device/{side}": 1,
    "Diaphragm/{side}/elevated": 1,
    "Lung/{side}/hypoinflation": 1,
    "Lung/{side}/hyperdistention": -1,
    "Pneumothorax/apex/{side}": -1,
}


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("term", SIGNS)
def test_a_finding_is_on_the_side_that_its_term_names(healthy: np.ndarray, term: str, side: str) -> None:
    """The patient's left is on the image's right."""
    low = term.startswith(("Pleural", "Diaphragm"))
    found = leftness(images(term.format(side=side)), low=low)
    sign = SIGNS[term] * (1 if side == "left" else -1)
    # Of one report, everything else is the same in both.
    assert sign * ttest_rel(found, leftness(healthy, low=low)).statistic > 4


def test_a_finding_of_no_named_side_is_on_either() -> None:
    found = leftness(images("Opacity/lung/upper lobe"))
    left = (found > np.median(leftness(images("normal")))).mean()
    assert 0.3 < left < 0.7


@pytest.mark.parametrize("zone", ["apex", "upper lobe", "middle lobe", "base"])
@pytest.mark.parametrize("view", [0, 1], ids=["frontal", "lateral"])
def test_a_finding_is_at_the_height_that_its_term_names_in_both_views(zone: str, view: int) -> None:
    change = (images(f"Opacity/lung/{zone}/right", view=view) - images("normal", view=view)).mean(axis=0)
    rows = np.clip(change, 0, None).sum(axis=1)
    height = (rows * (np.arange(64) + 0.5) / 64)[: int(0.78 * 64)].sum() / rows[: int(0.78 * 64)].sum()
    assert height == pytest.approx(HEIGHTS[zone.removesuffix(" lobe")], abs=0.06)


def test_both_sides_where_a_term_says_so(healthy: np.ndarray) -> None:
    change = (images("Opacity/lung/base/bilateral") - healthy).mean(axis=0)
    left, right = change[30:46, 36:].mean(), change[30:46, :28].mean()
    assert left == pytest.approx(right, rel=0.25) and left > 0.02


def heart_width(*terms: str) -> float:
    """Mean width of the heart, in pixels: columns around its middle that are brighter than half-way to the lungs."""
    widths = []
    for row in images(*terms)[:, 38:43].mean(axis=1):
        bright = row > (row[34:38].mean() + row[8:56].min()) / 2
        widths.append(bright[36:56].cumprod().sum() + bright[36:8:-1].cumprod().sum())
    return float(np.mean(widths))


def test_a_heart_is_the_wider_the_more_severe_its_term() -> None:
    normal, *widths = (
        heart_width(term) for term in ("normal", *(f"Cardiomegaly{how}" for how in ("/mild", "", "/severe")))
    )
    assert normal < widths[0] < widths[1] < widths[2]
    assert widths[2] > 1.2 * normal


@pytest.mark.parametrize("term", ["Opacity/lung/base/left", "Pleural Effusion/left"])
def test_a_severe_finding_changes_more_than_a_mild_one(healthy: np.ndarray, term: str) -> None:
    low = term.startswith("Pleural")
    usual = leftness(healthy, low=low).mean()
    changes = [leftness(images(f"{term}{how}"), low=low).mean() - usual for how in ("/mild", "", "/severe")]
    assert 0 < changes[0] < changes[1] < changes[2]


def test_of_terms_that_state_the_same_the_strongest_is_drawn() -> None:
    terms = ("Cardiomegaly/mild", "Pulmonary Edema", "Cardiac Shadow/enlarged/severe", "Pulmonary Congestion/mild")
    found = strongest(one for term in terms for one in stated(term))
    assert [(one.kind, one.severity) for one in found] == [("Cardiomegaly", "severe"), ("Interstitial", "")]
