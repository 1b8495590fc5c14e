"""Reads DICOM files as the grey values that a radiologist, or the released code, would see.

``standard``: stored values, modality LUT, VOI LUT or the first window, stretched to 0..255 over the range that is
left (padding excepted), MONOCHROME1 inverted. ``official_code``: value / maximum x 255 after the rescale of the header,
neither window nor inversion (official-code.md 4.2).
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import struct
import warnings
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from refers_bench.errors import DataError, UserError
from refers_bench.files import plain_file

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Reading = Literal["standard", "official_code"]
READINGS = ("standard", "official_code")
GREY = ("MONOCHROME1", "MONOCHROME2")
#: Bits of a pixel, and pixels whose values are computed at a time: that of a large image needs eight bytes for each.
BITS, _BLOCK = (1, 8, 16, 32), 1 << 24
#: What readers and decoders raise on damaged files: whatever their code happens to stumble on (nested too deep is a
#: RuntimeError).
_DAMAGED = (
    EOFError, OSError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RuntimeError, struct.error,
    zlib.error, AssertionError,
)  # fmt: skip
#: Transfer syntax of files that are deflated as a whole.
DEFLATED = "1.2.840.10008.1.2.1.99"
#: Bytes before the mark of a DICOM file, and the mark.
_PREAMBLE, _MARK = 128, b"DICM"


def is_dicom(path: Path) -> bool:
    """Whether a file is called, or begins like, a DICOM file.

    Raises:
        OSError: it cannot be opened.
    """
    if path.suffix.lower() in (".dcm", ".dicom"):
        return True
    with plain_file(path).open("rb") as file:
        file.seek(_PREAMBLE)
        return file.read(len(_MARK)) == _MARK


def decode_dicom(path: Path, *, reading: Reading = "standard", max_pixels: int = 120_000_000) -> np.ndarray:
    """Read a single-frame grey DICOM.

    Args:
        path: the file.
        reading: see the module.
        max_pixels: larger images are refused before their pixels are read.

    Returns:
        uint8 (H, W).

    Raises:
        DataError: not DICOM, no pixels, several frames, too large, damaged, or a photometric interpretation that is
            not grey.
        UserError: the transfer syntax needs a decoder that is not installed.
    """
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of values that break the standard's format, not its meaning
            header = pydicom.dcmread(plain_file(path))
            _check(header, path, max_pixels)
            stored_HW = _pixels(header, path)
            grey_HW = _official(header, stored_HW) if reading == "official_code" else _standard(header, stored_HW)
    except InvalidDicomError as error:
        found = "an empty file" if path.stat().st_size == 0 else "not a DICOM file"
        raise DataError(found, allowed="DICOM", path=path) from error
    except (FileNotFoundError, PermissionError):
        raise
    except _DAMAGED as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"a damaged DICOM file ({reason})", allowed="a whole one", path=path) from error
    return grey_HW


def _check(header: Dataset, path: Path, max_pixels: int) -> None:
    if "PixelData" not in header or not header.PixelData:
        raise DataError("no pixels", allowed="a DICOM image", path=path)
    photometric = str(header.get("PhotometricInterpretation", "none"))
    if photometric not in GREY or int(header.get("SamplesPerPixel", 1)) != 1:
        found = f"photometric interpretation {photometric}"
        raise DataError(found, allowed=", ".join(GREY), path=path)
    frames = int(header.get("NumberOfFrames", 1) or 1)
    if frames != 1:
        raise DataError(f"{frames} frames", allowed="one", path=path)
    if int(header.Rows) * int(header.Columns) > max_pixels:
        found = f"{header.Columns} x {header.Rows} pixels"
        raise DataError(found, allowed=f"at most {max_pixels} pixels", path=path)
    if (bits := int(header.BitsAllocated)) not in BITS:
        raise DataError(f"{bits} bits allocated", allowed=", ".join(map(str, BITS)), path=path)
    row, held = int(header.Columns) * bits // 8, len(header.PixelData)
    if not header.file_meta.TransferSyntaxUID.is_encapsulated and held >= (int(header.Rows) + 1) * max(2, row):
        found = f"{held} bytes of pixels in an image of {header.Columns} x {header.Rows}, {bits} bits each"
        raise DataError(found, allowed=f"about {int(header.Rows) * row}", path=path)


def _pixels(header: Any, path: Path) -> np.ndarray:
    """Stored values (H, W)."""
    from pydicom.pixels.decoders.base import get_decoder

    syntax = header.file_meta.TransferSyntaxUID
    if syntax.is_compressed and syntax.is_encapsulated and not get_decoder(syntax).is_available:
        missing = [name for name in ("openjpeg", "gdcm") if importlib.util.find_spec(name) is None]
        found = f"transfer syntax {syntax.name}, for which no decoder is installed"
        found += f" (missing: {', '.join(missing)})" if missing else ""
        raise UserError(found, allowed="pip install 'refers-bench[dicom]'", path=path)
    return np.asarray(header.pixel_array)


def _padding(header: Any, stored_HW: np.ndarray) -> np.ndarray | None:
    """Pixels that are no part of the image (True), or None where the header names none."""
    value = header.get("PixelPaddingValue")
    if value is None:
        return None
    low, high = sorted((int(value), int(header.get("PixelPaddingRangeLimit", value))))
    padding_HW = (stored_HW >= low) & (stored_HW <= high)
    return padding_HW if padding_HW.any() and not padding_HW.all() else None


def _bytes(values_HW: np.ndarray) -> np.ndarray:
    """Rounded to uint8; values outside are clipped."""
    return np.asarray(np.clip(np.rint(values_HW), 0, 255).astype(np.uint8))


class _Blocks:
    """Values of one block of rows after another, each of which depends on its own pixel alone.

    Args:
        stored_HW: stored values.
        values: stored values of some rows to the values of these.
    """

    def __init__(self, stored_HW: np.ndarray, values: Callable[[np.ndarray], np.ndarray]) -> None:
        rows = max(1, _BLOCK // stored_HW.shape[1])
        self.slices = [slice(top, top + rows) for top in range(0, len(stored_HW), rows)]
        # Most images are one block, whose values are computed once.
        self.of = functools.lru_cache(maxsize=1)(lambda part: values(stored_HW[self.slices[part]]).astype(np.float64))

    def range(self, without_HW: np.ndarray | None = None) -> tuple[float, float]:
        """Least and largest value of the pixels that `without_HW` does not name.

        Raises:
            ValueError: they are not finite.
        """
        low, high = np.inf, -np.inf
        for part, rows in enumerate(self.slices):
            inside = self.of(part) if without_HW is None else self.of(part)[~without_HW[rows]]
            if inside.size:
                low, high = np.minimum(low, inside.min()), np.maximum(high, inside.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise ValueError("values that are not finite")
        return float(low), float(high)

    def grey(self, formula: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """uint8 of ``formula(values)``, of all blocks."""
        return np.concatenate([_bytes(formula(self.of(part))) for part in range(len(self.slices))])


def _standard(header: Any, stored_HW: np.ndarray) -> np.ndarray:
    from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

    padding_HW = _padding(header, stored_HW)
    blocks = _Blocks(stored_HW, lambda HW: apply_voi_lut(apply_modality_lut(HW, header), header, index=0))
    low, high = blocks.range(padding_HW)
    if high <= low:
        return np.zeros(stored_HW.shape, np.uint8)
    grey_HW = blocks.grey(lambda values_HW: (values_HW - low) * (255 / (high - low)))
    if header.PhotometricInterpretation == "MONOCHROME1":
        grey_HW = np.uint8(255) - grey_HW
    if padding_HW is not None:
        grey_HW[padding_HW] = 0
    return grey_HW


def _official(header: Any, stored_HW: np.ndarray) -> np.ndarray:
    from pydicom.pixels.processing import apply_rescale

    blocks = _Blocks(stored_HW, lambda HW: apply_rescale(HW, header))
    _, highest = blocks.range()
    return blocks.grey(lambda HW: HW * (255 / highest)) if highest > 0 else np.zeros(stored_HW.shape, np.uint8)


def size_of(path: Path) -> tuple[int, int]:
    """(width, height) of a DICOM image, from its header alone.

    Raises:
        DataError: not a DICOM image.
    """
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        if pydicom.filereader.read_file_meta_info(plain_file(path)).get("TransferSyntaxUID") == DEFLATED:
            raise DataError("a deflated file, which must be unpacked whole", allowed="another syntax", path=path)
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["Rows", "Columns"])
        return int(header.Columns), int(header.Rows)
    except (InvalidDicomError, *_DAMAGED) as error:
        raise DataError("not a DICOM image", allowed="DICOM", path=path) from error


def header_texts(paths: Sequence[str], base: str, keywords: Sequence[str]) -> list[tuple[str, ...]]:
    """What the headers of DICOM files say, without their pixels.

    Args:
        paths: relative to `base`.
        base: folder.
        keywords: of the elements, such as "PatientAge".

    Returns:
        For each file a text per keyword; '' for an element that is not there, and for all of a file that is not DICOM,
        which decoding reports.
    """
    import pydicom

    found = []
    for path in paths:
        texts = ("",) * len(keywords)
        with warnings.catch_warnings(), contextlib.suppress(DataError, pydicom.errors.InvalidDicomError, *_DAMAGED):
            warnings.simplefilter("ignore")
            file = plain_file(Path(base) / path)
            # What is deflated as a whole would have to be unpacked whole.
            if pydicom.filereader.read_file_meta_info(file).get("TransferSyntaxUID") != DEFLATED:
                header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(keywords))
                texts = tuple(str(header.get(keyword) or "").strip() for keyword in keywords)
        found.append(texts)
    return found
