"""Tells from the names of a list's images which collection they are of, and which images and patients they name.

One image has several names: RSNA's challenge renamed NIH images, COVIDx holds RSNA images under their RSNA ids. A list
is therefore seen in several *views*, each a naming of images or of patients, and lists are compared view by view.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

#: Endings of image files; without them and the folder, a name is the image's id.
ENDINGS = (".png", ".jpg", ".jpeg", ".dcm", ".dicom", ".gz", ".nii", ".npy", ".tif", ".tiff", ".bmp")
NIH, NIH_PATIENTS, RSNA, FILES = "NIH images", "NIH patients", "RSNA images", "file names"
CHEXPERT, CHEXPERT_PATIENTS = "CheXpert images", "CheXpert patients"
SHORT = "COVIDx names to the first dot"
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def plain(name: str) -> str:
    """An image's id without folder and file ending.

    Example:
        >>> plain("images_012/00028178_000.png"), plain("b3f1.DICOM"), plain("s50414267")
        ('00028178_000', 'b3f1', 's50414267')
    """
    name = PurePosixPath(name.strip().replace("\\", "/")).name
    while name.lower().endswith(ENDINGS):
        name = name[: name.rindex(".")]
    return name


def file_name(name: str) -> str:
    """The name of an image's file, with its ending, without folders."""
    return PurePosixPath(name.strip().replace("\\", "/")).name


def short(name: str) -> str:
    """The name of an image's file up to its first dot."""
    return file_name(name).partition(".")[0]


def chexpert(name: str) -> str:
    """Patient, study and view of a CheXpert image, whatever folder it lies in.

    Example:
        >>> chexpert("CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg")
        'patient00001/study1/view1_frontal'
    """
    return "/".join((*PurePosixPath(name.strip()).parts[-3:-1], plain(name)))


@dataclass(frozen=True, kw_only=True)
class Naming:
    """How a collection names its images.

    Attributes:
        view: name of the view of its images.
        image: a name in a list -> the image's id.
        pattern: that the ids of all images match; '' for names of any kind.
        patients: name of the view of its patients; '' where names do not tell patients.
        patient: an image's id -> patient.
    """

    view: str
    image: Callable[[str], str] = plain
    pattern: str = ""
    patients: str = ""
    patient: Callable[[str], str] = str


#: Naming by its name, as `refers_bench.manifest.packs` knows it; the first one whose pattern all names match is taken.
NAMINGS: Mapping[str, Naming] = {
    "nih": Naming(view=NIH, pattern=r"\d{8}_\d{3}", patients=NIH_PATIENTS, patient=lambda image: image[:8]),
    "rsna": Naming(view=RSNA, pattern=_UUID),
    "vindr": Naming(view="VinDr images", pattern=r"[0-9a-f]{32}"),
    "chexpert": Naming(
        view=CHEXPERT,
        image=chexpert,
        pattern=r"patient\d+/study\d+/view\d+\w*",
        patients=CHEXPERT_PATIENTS,
        patient=lambda image: image.partition("/")[0],
    ),
    "siim_uid": Naming(view="SIIM images (UID)", pattern=r"1\.2\.276\.[\d.]+"),
    "siim_png": Naming(view="SIIM images (PNG names)", pattern=r"\d+_(?:train|test)_[01]_"),
    "shenzhen": Naming(view="Shenzhen images", pattern=r"CHNCXR_\d{4}_[01]"),
    "montgomery": Naming(view="Montgomery images", pattern=r"MCUCXR_\d{4}_[01]"),
    "tbx11k": Naming(view="TBX11K images", pattern=r"(?:h|s|tb)\d{4}"),
    "mimic": Naming(view="MIMIC-CXR images", pattern=r"[0-9a-f]{8}(?:-[0-9a-f]{8}){4}"),
    # A collection may hold a radiograph's JPEG beside another one's PNG of the same stem: endings count.
    "covidx": Naming(view=FILES, image=file_name),
    "files": Naming(view=FILES, image=file_name),
}


def naming_of(names: Iterable[str]) -> str:
    """Which naming a list follows: a key of `NAMINGS`; "files" for names that follow none of the known patterns."""
    some = tuple(names)
    for name, one in NAMINGS.items():
        if one.pattern and some and all(re.fullmatch(one.pattern, one.image(text)) for text in some):
            return name
    return "files"


def view_names(names: Iterable[str]) -> list[str]:
    """Names of the views in which these images can be compared without a further table; sorted."""
    given = tuple(names)
    one = NAMINGS[naming_of(given)]
    found = {one.view, *([one.patients] if one.patients else [])}
    if one.view == FILES and any(re.fullmatch(_UUID, short(name)) for name in given):
        found.add(RSNA)
    return sorted(found)


def views_of(
    names: Iterable[str], *, naming: str = "", rsna_to_nih: Mapping[str, str] | None = None
) -> dict[str, dict[str, frozenset[str]]]:
    """View -> member, an image or a patient -> the names in the list that stand for it.

    Args:
        names: of a list's images, as they stand there.
        naming: key of `NAMINGS`; '' to find it out.
        rsna_to_nih: RSNA id -> NIH image id; without it, RSNA images are not seen as NIH images.
    """
    given = tuple(dict.fromkeys(names))
    naming = naming or naming_of(given)
    one = NAMINGS[naming]
    pairs: dict[str, list[tuple[str, str]]] = {one.view: [(one.image(name), name) for name in given]}
    if one.patients:
        pairs[one.patients] = [(one.patient(image), name) for image, name in pairs[one.view]]
    if naming == "covidx":
        pairs[SHORT] = [(short(name), name) for name in given]
    if one.view == FILES:
        inside = [(short(name), name) for name in given if re.fullmatch(_UUID, short(name))]
        pairs |= {RSNA: inside} if inside else {}
    if naming == "rsna":
        pairs[SHORT] = list(pairs[RSNA])
    if rsna_to_nih and RSNA in pairs:
        pairs[NIH] = [(rsna_to_nih[image], name) for image, name in pairs[RSNA] if image in rsna_to_nih]
        pairs[NIH_PATIENTS] = [(NAMINGS["nih"].patient(image), name) for image, name in pairs[NIH]]
    return {view: _grouped(found) for view, found in pairs.items()}


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, frozenset[str]]:
    found: dict[str, list[str]] = {}
    for member, name in pairs:
        found.setdefault(member, []).append(name)
    return {member: frozenset(names) for member, names in found.items()}
