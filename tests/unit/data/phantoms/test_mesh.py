"""MeSH terms of real reports are read as what they state, and those that cannot be drawn are left out."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from refers_bench.data.openi_reports import ARCHIVE, illustrated, read_reports
from refers_bench.data.phantoms.mesh import stated

#: Term of a real report -> kind, side, zone and severity, read by eye.
ONE = {
    "Cardiomegaly": ("Cardiomegaly", "", "", ""),
    "Cardiomegaly/mild": ("Cardiomegaly", "", "", "mild"),
    "Cardiomegaly/borderline": ("Cardiomegaly", "", "", "borderline"),
    "Cardiac Shadow/enlarged/moderate": ("Cardiomegaly", "", "", "moderate"),
    "Pleural Effusion": ("Effusion", "", "", ""),
    "Pleural Effusion/bilateral/small": ("Effusion", "both", "", "mild"),
    "Pleural Effusion/right/large": ("Effusion", "right", "", "severe"),
    "Pleural Effusion/base/left/small": ("Effusion", "left", "base", "mild"),
    "Costophrenic Angle/left/blunted": ("Effusion", "left", "", ""),
    "Pneumothorax/apex/right/moderate": ("Pneumothorax", "right", "apex", "moderate"),
    "Pneumothorax/left": ("Pneumothorax", "left", "", ""),
    "Opacity/lung/base/left": ("Consolidation", "left", "base", ""),
    "Opacity/lung/base/bilateral/streaky/mild": ("Consolidation", "both", "base", "mild"),
    "Opacity/lung/middle lobe/right": ("Consolidation", "right", "middle", ""),
    "Opacity/lung/lingula": ("Consolidation", "left", "middle", ""),
    "Opacity/retrocardiac": ("Consolidation", "left", "retrocardiac", ""),
    "Opacity": ("Consolidation", "", "", ""),
    "Opacity/lung/bilateral/interstitial/diffuse": ("Interstitial", "both", "", ""),
    "Airspace Disease/lung/lower lobe/left": ("Consolidation", "left", "lower", ""),
    "Infiltrate/lung/lower lobe/right": ("Consolidation", "right", "lower", ""),
    "Pneumonia/upper lobe/right": ("Consolidation", "right", "upper", ""),
    "Density/lung/apex/right": ("Consolidation", "right", "apex", ""),
    "Pulmonary Atelectasis/base/right/mild": ("Band", "right", "base", "mild"),
    "Pulmonary Atelectasis/lingula": ("Band", "left", "middle", ""),
    "Cicatrix/lung/apex/bilateral": ("Band", "both", "apex", ""),
    "Nodule/lung/upper lobe/right": ("Nodule", "right", "upper", ""),
    "Nodule/lung/lingula": ("Nodule", "left", "middle", ""),
    "Mass/lung/upper lobe/right/large": ("Nodule", "right", "upper", "severe"),
    "Calcified Granuloma/lung/hilum/right": ("Granuloma", "right", "hilum", ""),
    "Granulomatous Disease": ("Granuloma", "", "", ""),
    "Calcinosis/lung/hilum/lymph nodes/left": ("Granuloma", "left", "hilum", ""),
    "Calcinosis/lymph nodes/right/paratracheal": ("Granuloma", "right", "paratracheal", ""),
    "Pulmonary Edema/interstitial/mild": ("Interstitial", "", "", "mild"),
    "Pulmonary Congestion": ("Interstitial", "", "", ""),
    "Markings/bronchovascular/severe": ("Interstitial", "", "", "severe"),
    "Lung/bilateral/interstitial/prominent": ("Interstitial", "both", "", ""),
    "Lung/hyperdistention/mild": ("Overaeration", "", "", "mild"),
    "Pulmonary Disease, Chronic Obstructive": ("Overaeration", "", "", ""),
    "Diaphragm/bilateral/flattened": ("Overaeration", "both", "", ""),
    "Lung/left/hypoinflation": ("Underaeration", "left", "", ""),
    "Diaphragm/right/elevated/mild": ("Diaphragm", "right", "", "mild"),
    "Diaphragmatic Eventration/right": ("Diaphragm", "right", "", ""),
    "Catheters, Indwelling/right": ("Line", "right", "", ""),
    "Tube, Inserted/trachea, carina": ("Line", "", "mediastinum", ""),
    "Implanted Medical Device/left": ("Device", "left", "", ""),
    "Implanted Medical Device/aortic valve": ("Device", "", "heart", ""),
}
NOTHING = (
    "normal",
    "No Indexing",
    "Technical Quality of Image Unsatisfactory ",
    "",
    "Cardiac Shadow/irregular",
    "Lung/azygos lobe",
    "Density/sternum",
    "Density/mediastinum",
    "Calcinosis/aorta",
    "Cicatrix/abdomen",
    "Aorta/tortuous",
    "Scoliosis/thoracic vertebrae/right/mild",
    "Fractures, Bone/ribs/left/healed",
    "Implanted Medical Device/humerus/right",
    "Diaphragm/left/obscured",
)


@pytest.mark.parametrize("term", ONE)
def test_a_term_states(term: str) -> None:
    (found,) = stated(term)
    assert (found.kind, found.side, found.zone, found.severity) == ONE[term]


@pytest.mark.parametrize("term", NOTHING)
def test_nothing_is_drawn_of(term: str) -> None:
    assert stated(term) == ()


def test_a_term_may_state_two_findings_or_several_of_one() -> None:
    assert {one.kind for one in stated("Hydropneumothorax/left")} == {"Effusion", "Pneumothorax"}
    (scattered,) = stated("Calcified Granuloma/scattered/multiple")
    assert scattered.several and not stated("Nodule/lung/right")[0].several


def test_the_share_of_real_reports_with_something_drawn(real_data: Path) -> None:
    """The figures that the module states."""
    archive = real_data / "labels" / ARCHIVE
    used = illustrated(read_reports(archive), studies=None, seed=0, path=archive)
    drawn = [report for report in used if any(stated(term) for term in report.mesh)]
    assert (len(used), len(drawn)) == (3_826, 1_870)
    assert sum(set(report.mesh) == {"normal"} for report in used) == 1_354
    every = {term for report in used for term in report.mesh}
    assert set(ONE) <= every, "terms that no real report has"
    missing = Counter(
        heading for one in used for heading in {term.split("/")[0] for term in one.mesh if not stated(term)}
    )
    del missing["normal"]
    assert [missing[name] for name in ("Thoracic Vertebrae", "Spine", "Aorta", "Scoliosis")] == [256, 174, 156, 95]
    assert missing.most_common(1) == [("Thoracic Vertebrae", 256)]
