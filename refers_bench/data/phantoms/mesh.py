"""Reads MeSH terms of radiology reports as findings that can be drawn: kind, side, zone, severity.

Of the 3,826 Open-I reports with a text and an image, 1,354 are indexed as normal and 98 are not indexed; 1,870 (49 %)
have a finding that is drawn, 79 % of the others. Not drawn, by the reports that have such a term: thoracic vertebrae
(256), spine (174), aorta (156, and 89 thoracic), calcified vessels and the like (127), atherosclerosis (125), deformity
(113), surgical instruments (99), scoliosis (95), fractures (83), osteophytes (69), spondylosis (63).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: Kind of finding -> MeSH headings that state it, each with qualifiers of which one must follow (none: any will do).
DRAWN: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "Cardiomegaly": {"Cardiomegaly": (), "Cardiac Shadow": ("enlarged", "borderline", "prominent")},
    "Effusion": {
        "Pleural Effusion": (),
        "Hydropneumothorax": (),
        "Hemothorax": (),
        "Hemopneumothorax": (),
        "Costophrenic Angle": ("blunted", "obscured"),
    },
    "Pneumothorax": {"Pneumothorax": (), "Hydropneumothorax": (), "Hemopneumothorax": ()},
    "Consolidation": {
        "Opacity": (),
        "Airspace Disease": (),
        "Infiltrate": (),
        "Consolidation": (),
        "Pneumonia": (),
        "Density": ("lung", "retrocardiac"),
    },
    "Band": {"Pulmonary Atelectasis": (), "Cicatrix": ("lung",), "Volume Loss": ("lung",)},
    "Nodule": {"Nodule": (), "Mass": (), "Cavitation": ()},
    "Granuloma": {
        "Calcified Granuloma": (),
        "Granuloma": (),
        "Granulomatous Disease": (),
        "Calcinosis": ("lung", "mediastinum", "lymph nodes"),
    },
    "Interstitial": {
        "Pulmonary Edema": (),
        "Pulmonary Congestion": (),
        "Lung Diseases, Interstitial": (),
        "Pulmonary Fibrosis": (),
        "Markings": (),
        "Lung": ("interstitial",),
    },
    "Overaeration": {
        "Lung": ("hyperdistention",),
        "Lung, Hyperlucent": (),
        "Emphysema": (),
        "Pulmonary Emphysema": (),
        "Bullous Emphysema": (),
        "Pulmonary Disease, Chronic Obstructive": (),
        "Diaphragm": ("flattened",),
    },
    "Underaeration": {"Lung": ("hypoinflation",)},
    "Diaphragm": {"Diaphragm": ("elevated",), "Diaphragmatic Eventration": ()},
    "Line": {"Catheters, Indwelling": (), "Tube, Inserted": ()},
    "Device": {"Implanted Medical Device": (), "Medical Device": (), "Stents": ()},
}
#: Places that are not drawn; neither is what is there.
_BONES = ("cervical vertebrae", "clavicle", "humerus", "lumbar vertebrae", "ribs", "spine", "thoracic vertebrae")
ELSEWHERE = frozenset((*_BONES, "abdomen", "breast", "esophagus", "neck", "shoulder", "sternum"))
#: Qualifier -> zone of the chest; of several in a term the first of these counts.
ZONES: Mapping[str, str] = {
    "apex": "apex",
    "paratracheal": "paratracheal",
    "retrocardiac": "retrocardiac",
    "hilum": "hilum",
    "costophrenic angle": "base",
    "cardiophrenic angle": "base",
    "base": "base",
    "upper lobe": "upper",
    "middle lobe": "middle",
    "lingula": "middle",
    "lower lobe": "lower",
    "mediastinum": "mediastinum",
    "trachea, carina": "mediastinum",
    **dict.fromkeys(
        ("aortic valve", "mitral valve", "heart", "heart atria", "coronary vessels", "pulmonary artery"), "heart"
    ),
}
#: Where a term names no side: the side of what lies on one only.
ONE_SIDED: Mapping[str, str] = {"lingula": "left", "middle lobe": "right", "retrocardiac": "left"}
SEVERITIES: Mapping[str, str] = {
    "borderline": "borderline",
    "mild": "mild",
    "small": "mild",
    "moderate": "moderate",
    "severe": "severe",
    "large": "severe",
}
#: Qualifiers of several findings in place of one.
SEVERAL = ("multiple", "scattered")


@dataclass(frozen=True, kw_only=True)
class Stated:
    """What a term states.

    Attributes:
        kind: of `DRAWN`.
        side: "left", "right", "both", or '' where it is not said; the patient's.
        zone: of `ZONES`, or ''.
        severity: "borderline", "mild", "moderate", "severe", or ''.
        several: whether there are several of it.
    """

    kind: str
    side: str = ""
    zone: str = ""
    severity: str = ""
    several: bool = False


def stated(term: str) -> tuple[Stated, ...]:
    """The findings of one term that can be drawn; a few terms state two.

    Example:
        >>> stated("Pleural Effusion/left/small")
        (Stated(kind='Effusion', side='left', zone='', severity='mild', several=False),)
        >>> stated("Scoliosis/thoracic vertebrae/right")
        ()
    """
    heading, *qualifiers = (part.strip() for part in term.split("/"))
    if ELSEWHERE.intersection(qualifiers):
        return ()
    kinds = [kind for kind, headings in DRAWN.items() if _states(headings, heading, qualifiers)]
    if "interstitial" in qualifiers:
        kinds = ["Interstitial" if kind == "Consolidation" else kind for kind in kinds]
    side = "both" if "bilateral" in qualifiers or {"left", "right"} <= set(qualifiers) else ""
    side = side or next((name for name in ("left", "right") if name in qualifiers), "")
    side = side or next((ONE_SIDED[name] for name in qualifiers if name in ONE_SIDED), "")
    zone = next((ZONES[name] for name in ZONES if name in qualifiers), "")
    severity = next((SEVERITIES[name] for name in qualifiers if name in SEVERITIES), "")
    several = any(name in qualifiers for name in SEVERAL)
    return tuple(Stated(kind=kind, side=side, zone=zone, severity=severity, several=several) for kind in kinds)


def _states(headings: Mapping[str, tuple[str, ...]], heading: str, qualifiers: Sequence[str]) -> bool:
    return heading in headings and (not headings[heading] or bool(set(headings[heading]) & set(qualifiers)))
