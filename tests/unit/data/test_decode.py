"""Images of every mode become the right grey values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from refers_bench.data.decode import decode
from refers_bench.errors import DataError

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P"])
def test_eight_bit_modes_keep_their_grey(mode: str, tmp_path: Path) -> None:
    image = Image.fromarray(RAMP)
    image = image.convert("RGB").quantize(256, method=Image.Quantize.FASTOCTREE) if mode == "P" else image.convert(mode)
    image.save(tmp_path / "a.png")
    found = decode(tmp_path / "a.png")
    expected = np.asarray(image.convert("RGB").convert("L")) if mode == "P" else RAMP
    assert found.dtype == np.uint8
    assert np.array_equal(found, expected)


def test_transparent_pixels_keep_their_grey(tmp_path: Path) -> None:
    alpha = np.zeros_like(RAMP)
    Image.fromarray(np.dstack([RAMP, RAMP, RAMP, alpha])).save(tmp_path / "a.png")
    assert np.array_equal(decode(tmp_path / "a.png"), RAMP)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 256, dtype=np.uint16).reshape(16, 16)
    Image.fromarray(values).save(tmp_path / "a.png")
    expected = np.array([round(int(v) / 257) for v in values.ravel()], np.uint8).reshape(16, 16)
    found = decode(tmp_path / "a.png")
    assert np.array_equal(found, expected)
    assert len(np.unique(found)) == 256  # Pillow's own conversion leaves two values


def test_one_bit(tmp_path: Path) -> None:
    Image.fromarray(RAMP > 100).save(tmp_path / "a.png")
    assert np.array_equal(decode(tmp_path / "a.png"), np.where(RAMP > 100, 255, 0))


def test_jpeg_and_cmyk(tmp_path: Path) -> None:
    Image.fromarray(RAMP).save(tmp_path / "a.jpg", quality=100)
    assert np.abs(decode(tmp_path / "a.jpg").astype(int) - RAMP).max() <= 3
    Image.fromarray(RAMP).convert("CMYK").save(tmp_path / "c.jpg", quality=100)
    assert np.abs(decode(tmp_path / "c.jpg").astype(int) - RAMP).max() <= 6


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.png: missing image"):
        decode(tmp_path / "gone.png")


def test_real_rgba_files_decode(real_data: Path) -> None:
    files = sorted((real_data / "quirks").glob("nih_rgba_*.png"))
    assert len(files) == 3
    for path in files:
        found = decode(path)
        assert found.shape == (1024, 1024)
        with Image.open(path) as image:
            assert image.mode == "RGBA"
            red = np.asarray(image.getchannel(0)).astype(int)
        assert np.abs(found.astype(int) - red).max() <= 1


def test_every_real_covid_image_decodes_without_saturating(real_data: Path) -> None:
    files = sorted((real_data / "covid-chestxray-dataset" / "images").iterdir())
    assert len(files) == 699
    shares = [float((decode(path) == 255).mean()) for path in files[::10]]
    assert max(shares) < 0.9
