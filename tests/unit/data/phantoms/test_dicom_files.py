"""Procedural DICOM files decode to what was drawn, whichever way they are stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from refers_bench.data.decode import decode
from refers_bench.data.phantoms.dicom_files import save_dicom

PIXELS_HW = np.add.outer(np.arange(48), 4 * np.arange(40)).astype(np.uint8)


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("stored", ["raw_12_bit", "jpeg_8_bit"])
def test_files_decode_to_what_was_drawn(stored: Any, inverted: bool, tmp_path: Path) -> None:
    save_dicom(path := tmp_path / "a.dcm", PIXELS_HW, uid="2.25.7", stored=stored, inverted=inverted)
    grey_HW = decode(path).astype(float)
    assert grey_HW.shape == (48, 40)
    stretched_HW = (PIXELS_HW - PIXELS_HW.min()) * (255 / (int(PIXELS_HW.max()) - int(PIXELS_HW.min())))
    assert np.abs(grey_HW - stretched_HW).max() <= (1 if stored == "raw_12_bit" else 8)


def test_the_header_says_how_it_is_stored_and_what_is_known(tmp_path: Path) -> None:
    save_dicom(path := tmp_path / "a.dcm", PIXELS_HW, uid="2.25.7", stored="jpeg_8_bit", facts={"PatientSex": "F"})
    header = pydicom.dcmread(path)
    assert header.file_meta.TransferSyntaxUID.name == "JPEG Baseline (Process 1)"
    assert (header.BitsStored, header.PatientSex, header.LossyImageCompression) == (8, "F", "01")
