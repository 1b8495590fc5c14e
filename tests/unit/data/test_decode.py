"""Images of every mode become the right grey values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from refers_bench.data.decode import FORMATS, decode
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


#: What calls itself a PNG, by its first bytes, and what the message says.
DECOYS = {
    "tiff": (b"II*\0" + bytes(60), "a TIFF file"),
    "eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "an EPS file"),
    "psd": (b"8BPS\0\1" + bytes(60), "a PSD file"),
    "gif": (b"GIF89a" + bytes(60), "a GIF file"),
    "bmp": (b"BM" + bytes(60), "a BMP file"),
    "webp": (b"RIFF\0\0\0\0WEBPVP8 " + bytes(60), "a WebP file"),
    "fits": (b"SIMPLE  =                    T" + bytes(60), "a FITS file"),
    "pdf": (b"%PDF-1.7\n", "a PDF file"),
    "text": (b"hello, I am no image", "not an image"),
    "nothing": (b"", "an empty file"),
}


@pytest.mark.parametrize("decoy", DECOYS)
def test_what_only_calls_itself_a_png_is_named(decoy: str, tmp_path: Path) -> None:
    content, said = DECOYS[decoy]
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.png: {said}; allowed: PNG, JPEG, DICOM$"):
        decode(tmp_path / "a.png")


def test_no_parser_of_another_format_sees_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A parser that would accept every file, registered before all others, is not asked."""
    asked: list[str] = []

    class Foreign(ImageFile.ImageFile):
        format = "FOREIGN"

        def _open(self) -> None:
            asked.append(self.format)
            raise SyntaxError

    monkeypatch.setattr(Image, "ID", ["FOREIGN", *Image.ID])
    monkeypatch.setitem(Image.OPEN, "FOREIGN", (Foreign, None))
    Image.fromarray(RAMP).save(tmp_path / "a.png")
    assert np.array_equal(decode(tmp_path / "a.png"), RAMP)
    (tmp_path / "b.png").write_bytes(b"8BPS" + bytes(60))
    with pytest.raises(DataError, match="a PSD file"):
        decode(tmp_path / "b.png")
    assert asked == []


@pytest.mark.parametrize("formats", [("PNG",), ("JPEG",), ("DICOM",), ("PNG", "JPEG")])
@pytest.mark.parametrize("kind", FORMATS)
def test_only_declared_formats_are_read_whatever_the_name(kind: str, formats: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    if kind == "DICOM":
        path.write_bytes(bytes(128) + b"DICM")
    else:
        Image.fromarray(RAMP).save(path, format=kind)
    if kind in formats and kind != "DICOM":
        assert decode(path, formats=formats).shape == RAMP.shape
        return
    # One that has nothing but the mark of DICOM is damaged where that is allowed.
    said = rf"a {kind} file; allowed: {', '.join(formats)}$" if kind not in formats else "DICOM"
    with pytest.raises(DataError, match=said):
        decode(path, formats=formats)


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
