"""Reads PNG, JPEG and DICOM files of any mode as grey values, without saturation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
from PIL import Image, UnidentifiedImageError

from refers_bench.data import dicom_process
from refers_bench.data.dicom import Reading, is_dicom
from refers_bench.errors import DataError
from refers_bench.files import plain_file

#: No radiograph is larger; a larger file is refused as a decompression bomb.
MAX_PIXELS = 120_000_000
#: What can be read: by Pillow, and in all.
PICTURES = ("PNG", "JPEG")
FORMATS = (*PICTURES, "DICOM")
#: First bytes of a file, and what it is called in the message that refuses it: no foreign parser sees it.
_BEGINNINGS = (
    (b"\x89PNG\r\n\x1a\n", "a PNG file"),
    (b"\xff\xd8\xff", "a JPEG file"),
    (b"BM", "a BMP file"),
    (b"GIF8", "a GIF file"),
    (b"8BPS", "a PSD file"),
    (b"II*\0", "a TIFF file"),
    (b"MM\0*", "a TIFF file"),
    (b"%!PS", "an EPS file"),
    (b"%PDF", "a PDF file"),
    (b"RIFF", "a WebP file"),
    (b"SIMPLE", "a FITS file"),
)
#: Scans of a progressive JPEG, each of which goes over all pixels; encoders write about ten.
MAX_SCANS = 100
#: Pixels that are converted at a time, so that a large image needs little more memory than its own.
_BLOCK = 1 << 24


def decode(path: Path, *, dicom: Reading = "standard", formats: Sequence[str] = ()) -> np.ndarray:
    """Read a PNG, JPEG or DICOM as grey values.

    Whatever a file is called, it is given to the parsers of these formats alone.

    16-bit images are scaled to 8 bits (v / 257, rounded), never clipped: Pillow's own ``convert("L")`` saturates
    them. Alpha is ignored: the RGBA files of NIH ChestX-ray14 equal their grey counterparts that way.

    Args:
        path: the file.
        dicom: how a DICOM file is read (`refers_bench.data.dicom`).
        formats: of `FORMATS`, those that the file may have; () for any of them.

    Returns:
        uint8 (H, W).

    Raises:
        DataError: missing, empty, truncated, too large, or no grey image of these formats.
        UserError: a DICOM file whose decoder is not installed.
    """
    allowed = tuple(formats) or FORMATS
    pictures = [name for name in allowed if name in PICTURES]
    try:
        if is_dicom(path):
            if "DICOM" not in allowed:
                raise DataError("a DICOM file", allowed=", ".join(allowed), path=path)
            return dicom_process.decoded(path, reading=dicom, max_pixels=MAX_PIXELS)
        with Image.open(plain_file(path), formats=pictures) as image:
            if image.format not in pictures:  # a JPEG of several pictures
                raise DataError(f"a {image.format} file", allowed=", ".join(allowed), path=path)
            if image.width * image.height > MAX_PIXELS:
                found = f"{image.width} x {image.height} pixels"
                raise DataError(found, allowed=f"at most {MAX_PIXELS} pixels", path=path)
            _check_scans(image, path)
            image.load()
            return _grey(image, path)
    except UnidentifiedImageError as error:
        raise DataError(_kind(path), allowed=", ".join(allowed), path=path) from error
    except FileNotFoundError as error:
        raise DataError("missing image", path=path) from error
    except PermissionError as error:
        raise DataError("no permission to read this image", path=path) from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"a damaged image ({error})", allowed="a whole PNG or JPEG", path=path) from error


def _kind(path: Path) -> str:
    """What a file is that no allowed parser knows, by its first bytes."""
    with path.open("rb") as file:
        head = file.read(16)
    if not head:
        return "an empty file"
    return next((said for start, said in _BEGINNINGS if head.startswith(start)), "not an image")


def _check_scans(image: Image.Image, path: Path) -> None:
    """Refuse a JPEG whose scans would take hours."""
    if image.info.get("progressive") and (scans := path.read_bytes().count(b"\xff\xda")) > MAX_SCANS:
        raise DataError(f"a progressive JPEG of {scans} scans", allowed=f"at most {MAX_SCANS}", path=path)


def _grey(image: Image.Image, path: Path) -> np.ndarray:
    """The grey values of a loaded image, rows by rows."""
    if image.mode == "F":
        raise DataError("floating-point pixels", allowed="8- or 16-bit integers", path=path)
    low, high = cast("tuple[int, int]", image.getextrema()) if image.mode == "I" else (0, 0)
    if low < 0 or high > 65535:
        raise DataError(f"values from {low} to {high}", allowed="16-bit grey values, 0 to 65535", path=path)
    grey_HW, rows = np.empty((image.height, image.width), np.uint8), max(1, _BLOCK // image.width)
    for top in range(0, image.height, rows):
        below = min(image.height, top + rows)
        grey_HW[top:below] = _grey_rows(image.crop((0, top, image.width, below)))
    return grey_HW


def _grey_rows(image: Image.Image) -> np.ndarray:
    mode = image.mode
    if mode.startswith("I;16") or mode == "I":
        values = np.asarray(image.convert("I") if mode.startswith("I;16") else image).astype(np.int64)
        return ((values + 128) // 257).astype(np.uint8)
    if mode in ("LA", "La"):
        return np.asarray(image.getchannel(0))
    if mode in ("RGBA", "RGBa", "PA"):
        image = image.convert("RGBA").convert("RGB")
    return np.asarray(image.convert("L"))
