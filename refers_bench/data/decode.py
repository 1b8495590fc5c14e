"""Reads PNG, JPEG and DICOM files of any mode as grey values, without saturation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from refers_bench.data.dicom import Reading, decode_dicom, is_dicom
from refers_bench.errors import DataError

#: No radiograph is larger; a larger file is refused as a decompression bomb.
MAX_PIXELS = 120_000_000
FORMATS = ("PNG", "JPEG")


def decode(path: Path, *, dicom: Reading = "standard") -> np.ndarray:
    """Read a PNG, JPEG or DICOM as grey values.

    16-bit images are scaled to 8 bits (v / 257, rounded), never clipped: Pillow's own ``convert("L")`` saturates
    them. Alpha is ignored: the RGBA files of NIH ChestX-ray14 equal their grey counterparts that way.

    Args:
        path: the file.
        dicom: how a DICOM file is read (`refers_bench.data.dicom`).

    Returns:
        uint8 (H, W).

    Raises:
        DataError: missing, empty, truncated, too large, or not a PNG, JPEG or grey DICOM.
        UserError: a DICOM file whose decoder is not installed.
    """
    try:
        if is_dicom(path):
            return decode_dicom(path, reading=dicom, max_pixels=MAX_PIXELS)
        with Image.open(path) as image:
            if image.format not in FORMATS:
                raise DataError(f"a {image.format} file", allowed=", ".join(FORMATS), path=path)
            if image.width * image.height > MAX_PIXELS:
                found = f"{image.width} x {image.height} pixels"
                raise DataError(found, allowed=f"at most {MAX_PIXELS} pixels", path=path)
            image.load()
            return _grey(image, path)
    except UnidentifiedImageError as error:
        found = "an empty file" if path.stat().st_size == 0 else "not an image"
        raise DataError(found, allowed=", ".join(FORMATS), path=path) from error
    except FileNotFoundError as error:
        raise DataError("missing image", path=path) from error
    except PermissionError as error:
        raise DataError("no permission to read this image", path=path) from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"a damaged image ({error})", allowed="a whole PNG or JPEG", path=path) from error


def _grey(image: Image.Image, path: Path) -> np.ndarray:
    mode = image.mode
    if mode.startswith("I;16") or mode == "I":
        values = np.asarray(image.convert("I") if mode.startswith("I;16") else image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            found = f"values from {values.min()} to {values.max()}"
            raise DataError(found, allowed="16-bit grey values, 0 to 65535", path=path)
        return ((values + 128) // 257).astype(np.uint8)
    if mode == "F":
        raise DataError("floating-point pixels", allowed="8- or 16-bit integers", path=path)
    if mode in ("LA", "La"):
        return np.asarray(image.getchannel(0))
    if mode in ("RGBA", "RGBa", "PA"):
        image = image.convert("RGBA").convert("RGB")
    return np.asarray(image.convert("L"))
