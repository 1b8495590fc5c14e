"""DICOM files of every kind become the grey values that their headers ask for, or an error that names the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from refers_bench.data import dicom
from refers_bench.data.decode import decode
from refers_bench.errors import DataError, UserError

RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)


def header(pixels: np.ndarray = RAMP, **fields: Any) -> Any:
    """A 12-bit MONOCHROME2 image; None removes a field."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.1.1")
    meta.MediaStorageSOPInstanceUID = UID("2.25.1")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made: Any = FileDataset("x", {}, file_meta=meta, preamble=bytes(128))
    made.SOPClassUID, made.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    made.Rows, made.Columns = pixels.shape[:2]
    made.PhotometricInterpretation, made.SamplesPerPixel, made.PixelRepresentation = "MONOCHROME2", 1, 0
    bits = pixels.dtype.itemsize * 8
    made.BitsAllocated, made.BitsStored, made.HighBit = bits, min(bits, 12), min(bits, 12) - 1
    made.PixelData = pixels.tobytes()
    for name, value in fields.items():
        if value is None:
            delattr(made, name)
        else:
            setattr(made, name, value)
    return made


def saved(path: Path, pixels: np.ndarray = RAMP, **fields: Any) -> Path:
    header(pixels, **fields).save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "a.dicom"


def stretched(values: np.ndarray) -> np.ndarray:
    low, high = values.min(), values.max()
    return np.rint((values - low) * 255.0 / (high - low)).astype(np.uint8)


def test_every_level_of_twelve_bits_counts(file: Path) -> None:
    assert np.array_equal(decode(saved(file)), stretched(RAMP.astype(float)))


def test_sixteen_bits_and_signed_values(file: Path) -> None:
    wide = (RAMP * 16).astype(np.uint16)
    assert np.array_equal(decode(saved(file, wide, BitsStored=16, HighBit=15)), stretched(RAMP.astype(float)))
    signed = RAMP.astype(np.int16) - 2048
    found = decode(saved(file, signed, BitsStored=16, HighBit=15, PixelRepresentation=1))
    assert np.array_equal(found, stretched(RAMP.astype(float)))


def test_a_name_without_ending_is_known_by_its_mark(tmp_path: Path) -> None:
    path = saved(tmp_path / "0001")
    assert np.array_equal(decode(path), stretched(RAMP.astype(float)))


def test_the_window_cuts(file: Path) -> None:
    """A linear window (DICOM PS3.3 C.11.2.1.2): below centre - width / 2 black, above it white."""
    found = decode(saved(file, WindowCenter=2048, WindowWidth=1024)).astype(int).ravel()
    assert found[: 2048 - 513].max() == 0 and found[2048 + 513 :].min() == 255
    inside = found[2048 - 500 : 2048 + 500]
    expected = ((np.arange(2048 - 500, 2048 + 500) - 2047.5) / 1023 + 0.5) * 255
    assert np.abs(inside - expected).max() <= 1


def test_the_first_of_several_windows_counts(file: Path) -> None:
    one = decode(saved(file, WindowCenter=1000, WindowWidth=500))
    assert np.array_equal(decode(saved(file, WindowCenter=[1000, 3000], WindowWidth=[500, 100])), one)


def test_the_rescale_comes_before_the_window(file: Path) -> None:
    plain = decode(saved(file, WindowCenter=1000, WindowWidth=500))
    moved = decode(saved(file, WindowCenter=1900, WindowWidth=1000, RescaleSlope=2, RescaleIntercept=-100))
    assert np.abs(moved.astype(int) - plain).max() <= 1


def test_a_table_of_interest_is_applied(file: Path) -> None:
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    item: Any = Dataset()
    table = (np.sqrt(np.arange(4096) / 4095) * 65535).astype(np.uint16)
    item.LUTDescriptor, item.LUTData = [4096, 0, 16], table.tobytes()
    item["LUTDescriptor"].VR, item["LUTData"].VR = "US", "OW"
    found = decode(saved(file, VOILUTSequence=Sequence([item])))
    assert np.abs(found.ravel().astype(int) - np.sqrt(np.arange(4096) / 4095) * 255).max() <= 1


def test_padding_neither_stretches_nor_shines(file: Path) -> None:
    pixels = RAMP.copy()
    pixels[:, :8] = 65535
    found = decode(
        saved(file, pixels, BitsStored=16, HighBit=15, PixelPaddingValue=65535, PhotometricInterpretation="MONOCHROME1")
    )
    inside = RAMP[:, 8:].astype(float)
    assert (found[:, :8] == 0).all()
    assert np.array_equal(found[:, 8:], 255 - stretched(inside))


@pytest.mark.parametrize("ends", [(100, 300), (300, 100)])
def test_a_range_of_padding_is_padding_in_either_order(file: Path, ends: tuple[int, int]) -> None:
    found = decode(
        saved(file, PixelPaddingValue=ends[0], PixelPaddingRangeLimit=ends[1], PhotometricInterpretation="MONOCHROME1")
    )
    padding = (RAMP >= 100) & (RAMP <= 300)
    assert (found[padding] == 0).all()
    assert np.array_equal(found[~padding], 255 - stretched(RAMP[~padding].astype(float)))


def test_padding_alone_is_an_image(file: Path) -> None:
    """A value that no pixel has, and one that all of them have, take nothing away."""
    assert np.array_equal(decode(saved(file, PixelPaddingValue=5000)), stretched(RAMP.astype(float)))
    whole = saved(file, PixelPaddingValue=0, PixelPaddingRangeLimit=4095)
    assert np.array_equal(decode(whole), stretched(RAMP.astype(float)))


def test_the_largest_image_is_read_and_one_pixel_more_is_not(file: Path) -> None:
    saved(file)
    assert dicom.decode_dicom(file, max_pixels=4096).shape == (64, 64)
    with pytest.raises(DataError, match="64 x 64 pixels; allowed: at most 4095 pixels"):
        dicom.decode_dicom(file, max_pixels=4095)
    assert np.array_equal(decode(saved(file, NumberOfFrames=1)), stretched(RAMP.astype(float)))


def test_monochrome1_is_inverted_but_not_by_the_released_code(file: Path) -> None:
    twin = decode(saved(file))
    negative = saved(file, PhotometricInterpretation="MONOCHROME1", WindowCenter=2048, WindowWidth=9000)
    assert np.abs(decode(negative).astype(int) - (255 - twin)).max() <= 1
    official = decode(negative, dicom="official_code")
    assert np.array_equal(official, np.rint(RAMP * 255.0 / 4095).astype(np.uint8)), "neither inverted nor windowed"


def test_the_released_code_divides_by_the_maximum_alone(file: Path) -> None:
    found = decode(saved(file, RAMP // 2 + 1000), dicom="official_code")
    values = (RAMP // 2 + 1000).astype(float)
    assert np.array_equal(found, np.rint(values * 255 / values.max()).astype(np.uint8))
    assert found.min() == round(1000 * 255 / 3047)


def test_a_flat_image_is_black(file: Path) -> None:
    flat = np.zeros((16, 16), np.uint16)
    assert decode(saved(file, flat)).max() == 0
    assert decode(file, dicom="official_code").max() == 0
    bright = saved(file, flat + 7)
    assert decode(bright).max() == 0
    assert decode(bright, dicom="official_code").min() == 255, "every value is the largest"


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_compressed_files_give_the_same(syntax: UID, file: Path) -> None:
    if syntax is JPEG2000Lossless:
        pytest.importorskip("openjpeg", reason="needs pylibjpeg-openjpeg (extra dicom)")
    made = header()
    made.compress(syntax)
    made.save_as(file, enforce_file_format=True)
    assert np.array_equal(decode(file), stretched(RAMP.astype(float)))


def test_a_missing_decoder_says_what_to_install(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = header()
    made.compress(RLELossless)
    made.save_as(file, enforce_file_format=True)
    from pydicom.pixels.decoders import base

    monkeypatch.setattr(base.Decoder, "is_available", property(lambda self: False))
    with pytest.raises(UserError, match=r"RLE Lossless.*refers-bench\[dicom\]") as refused:
        dicom.decode_dicom(file)
    assert not isinstance(refused.value, DataError), "no matter of this file alone"


COLOUR = np.zeros((8, 8, 3), np.uint8)
BROKEN: dict[str, tuple[dict[str, Any], np.ndarray, str]] = {
    "colour": ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3, "PlanarConfiguration": 0}, COLOUR, "RGB"),
    "palette": ({"PhotometricInterpretation": "PALETTE COLOR"}, RAMP, "PALETTE COLOR; allowed: MONOCHROME1"),
    "ybr": ({"PhotometricInterpretation": "YBR_FULL", "SamplesPerPixel": 3, "PlanarConfiguration": 0}, COLOUR, "YBR"),
    "no photometric": ({"PhotometricInterpretation": None}, RAMP, "interpretation none"),
    "frames": ({"NumberOfFrames": 2}, np.concatenate([RAMP, RAMP]), "2 frames"),
    "no pixels": ({"PixelData": None}, RAMP, "no pixels"),
    "too few pixels": ({"Rows": 100}, RAMP, "damaged"),
    "no rows": ({"Rows": None}, RAMP, "damaged"),
    "too large": ({"Rows": 60_000, "Columns": 60_000}, RAMP, "60000 x 60000 pixels"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_grey_image_is_refused_by_name(name: str, file: Path) -> None:
    fields, pixels, message = BROKEN[name]
    saved(file, pixels, **fields)
    with pytest.raises(DataError, match=message) as refused:
        decode(file)
    assert str(file) in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"not DICOM at all", b"\0" * 128 + b"DICM"])
def test_what_is_no_dicom_file_is_refused(content: bytes, file: Path) -> None:
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"empty file|not a DICOM file|no pixels|damaged") as refused:
        decode(file)
    assert str(file) in str(refused.value)


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_truncated_files_are_refused(share: float, file: Path) -> None:
    content = saved(file).read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError):
        decode(file)


def test_a_missing_file_is_missing(file: Path) -> None:
    with pytest.raises(DataError, match="missing image"):
        decode(file)


def test_size_is_read_from_the_header(file: Path) -> None:
    assert dicom.size_of(saved(file, RAMP[:, :20].copy())) == (20, 64)
    file.write_bytes(b"no")
    with pytest.raises(DataError, match="not a DICOM image"):
        dicom.size_of(file)


def test_real_monochrome1_is_the_inverse_of_its_twin(real_data: Path) -> None:
    pytest.importorskip("gdcm", reason="needs python-gdcm (extra dicom)")
    two, one = sorted((real_data / "quirks").glob("*.dcm"))
    assert np.array_equal(decode(one), 255 - decode(two))
    assert np.array_equal(decode(one, dicom="official_code"), decode(two, dicom="official_code"))


def test_real_rgba_is_grey(real_data: Path) -> None:
    from PIL import Image

    files = sorted((real_data / "quirks").glob("nih_rgba_*.png"))
    assert len(files) == 3
    for path in files:
        with Image.open(path) as image:
            assert image.mode == "RGBA"
            red, green, blue, _ = (np.asarray(channel) for channel in image.split())
        assert np.array_equal(red, green) and np.array_equal(red, blue)
        assert np.array_equal(decode(path), red)
