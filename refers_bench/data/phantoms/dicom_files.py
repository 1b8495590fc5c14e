"""Writes DICOM files of procedural radiographs, stored as the collections' own are."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

#: Transfer syntaxes: raw pixels, and one JPEG picture of 8 bits.
_RAW, _JPEG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.50"


def save_dicom(
    path: Path,
    pixels_HW: np.ndarray,
    *,
    uid: str,
    stored: Literal["raw_12_bit", "jpeg_8_bit"],
    inverted: bool = False,
    facts: dict[str, str] | None = None,
) -> None:
    """Write one radiograph; it has no window.

    Args:
        path: the file.
        pixels_HW: uint8 grey values, bright is dense.
        uid: of the image.
        stored: pixels as they are, in 16 bits of which 12 are used; or as a JPEG picture.
        inverted: stored as MONOCHROME1.
        facts: further elements of the header by keyword, such as PatientAge.
    """
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID

    raw = stored == "raw_12_bit"
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.1.1")
    meta.MediaStorageSOPInstanceUID = UID(uid)
    meta.TransferSyntaxUID = UID(_RAW if raw else _JPEG)
    header: Any = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    header.SOPClassUID, header.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    header.Rows, header.Columns = pixels_HW.shape
    header.PhotometricInterpretation = "MONOCHROME1" if inverted else "MONOCHROME2"
    header.SamplesPerPixel, header.PixelRepresentation = 1, 0
    header.BitsAllocated, header.BitsStored, header.HighBit = (16, 12, 11) if raw else (8, 8, 7)
    for keyword, value in (facts or {}).items():
        setattr(header, keyword, value)
    if raw:
        values_HW = pixels_HW.astype(np.uint16) * 16
        header.PixelData = (4095 - values_HW if inverted else values_HW).tobytes()
    else:
        Image.fromarray(255 - pixels_HW if inverted else pixels_HW).save(picture := io.BytesIO(), "JPEG", quality=95)
        header.LossyImageCompression = "01"
        header.PixelData = encapsulate([picture.getvalue()])
    header.save_as(path, enforce_file_format=True)
