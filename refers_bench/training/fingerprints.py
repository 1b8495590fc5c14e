"""Reference features of an encoder on procedural images: whether a file is read as it was elsewhere.

The images are whole-number formulae, so they are equal on every machine; features differ there by rounding alone.
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from refers_bench.data.augment import Augment
from refers_bench.data.prepare import resized
from refers_bench.errors import UserError

#: Version of images and digest: digests of other versions say nothing.
VERSION = "f1"
#: A digest holds, for each image, the logarithm of the features' length and sums of them with these signs: the parity
#: of some bits of a feature's place, as in the rows of a Hadamard matrix.
MASKS = (0b1011_0110_1101, 0b0110_1011_0011)
#: What one unit of a digest stands for: sums of features of length 1, and natural logarithms.
UNIT = 0.0001
#: Units by which a digest may differ; rounding on another machine gives none or one.
TOLERANCE = 5
#: Values that are shown of a readout.
SHOWN = 8


def images() -> list[NDArray[np.uint8]]:
    """A tilted ramp, folded waves and small ellipses with sharp edges: three shapes, by whole numbers alone."""

    def plane(height: int, width: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        y, x = np.indices((height, width), dtype=np.int64)
        return y, x

    y, x = plane(300, 400)
    ramp = (2 * x + 3 * y) * 255 // (2 * 399 + 3 * 299)
    y, x = plane(640, 512)
    waves = np.abs((3 * x + 5 * y + (x * y) // 97) % 510 - 255)
    y, x = plane(448, 448)
    spots = np.where(3 * (x % 14 - 7) ** 2 + 2 * (y % 18 - 9) ** 2 < 100, 255 - (x + y) // 8, (x * y) // 1600)
    return [one.astype(np.uint8) for one in (ramp, waves, spots)]


@torch.no_grad()
def features(encoder: Any, image: Mapping[str, Any]) -> dict[str, Tensor]:
    """Readout -> features (3, D) of the three images, prepared and shown as a protocol's `image` section says.

    Args:
        encoder: with its weights, on the CPU.
        image: size, mean, interpolation and so on.
    """
    how = {name: image[name] for name in ("interpolation", "fit") if name in image}
    prepared = np.stack([resized(one, image["prepared_size"], **how) for one in images()])
    x_BCHW = Augment.of(image, "finetune_augment").evaluation(torch.from_numpy(prepared))
    encoder.eval()
    return {name: encoder.features(x_BCHW, name) for name in encoder.readouts if name != "tokens"}


def digest(features_BD: Tensor) -> str:
    """Short text of features, by which those of another machine can be compared with a tolerance."""
    values = features_BD.double()
    lengths = values.norm(dim=1).clamp(min=1e-12)
    units = values / lengths[:, None]
    numbers = [round(float(length) / UNIT) for length in lengths.log()]
    for mask in MASKS:
        signs = [1.0 - 2.0 * (bin(place & mask).count("1") % 2) for place in range(values.shape[1])]
        numbers += [round(float(total) / UNIT) for total in units @ torch.tensor(signs, dtype=torch.float64)]
    packed = struct.pack(f">{len(numbers)}i", *numbers)
    return f"{VERSION}-{base64.urlsafe_b64encode(packed).decode()}"


def difference(found: str, expected: str) -> float:
    """How far two digests are apart, in units of `TOLERANCE`: at most 1 for features that are equal up to rounding.

    Raises:
        UserError: the expected one is no digest of this version.
    """
    one, other = (_numbers(text) for text in (found, expected))
    return max(abs(a - b) for a, b in zip(one, other, strict=True)) / TOLERANCE


def _numbers(text: str) -> tuple[int, ...]:
    version, _, rest = text.partition("-")
    count = len(images()) * (1 + len(MASKS))
    try:
        if version != VERSION:
            raise ValueError(f"version '{version}'")
        return struct.unpack(f">{count}i", base64.b64decode(rest, altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, struct.error) as error:
        raise UserError(f"'{text}' is no fingerprint ({error})", allowed=f"what is printed, {VERSION}-...") from error


def shown(features_BD: Tensor) -> list[dict[str, Any]]:
    """Of each image the first values of its features and their length."""
    return [
        {"first": [round(float(value), 5) for value in one[:SHOWN]], "norm": round(float(one.norm()), 5)}
        for one in features_BD
    ]
