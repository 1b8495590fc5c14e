"""Makes files that are damaged, or claim to be what they are not, for tests that none of them harms a command."""

from __future__ import annotations

import gzip
import io
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    RLELossless,
)
from safetensors.torch import save_file

Maker = Callable[[Path], None]
RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)
#: A tensor of a known layout.
KNOWN = "layer1.0.conv1.weight"


def dicom(**fields: Any) -> Any:
    """A whole 12-bit image; None removes a field."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID("1.2.840.10008.5.1.4.1.1.1.1"), UID("2.25.1")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made: Any = FileDataset("x", {}, file_meta=meta, preamble=bytes(128))
    made.SOPClassUID, made.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    made.Rows = made.Columns = 64
    made.PhotometricInterpretation, made.SamplesPerPixel, made.PixelRepresentation = "MONOCHROME2", 1, 0
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelData = 16, 12, 11, RAMP.tobytes()
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def with_fields(**fields: Any) -> Maker:
    return lambda path: dicom(**fields).save_as(path, enforce_file_format=True)


def compressed(syntax: UID, frame: bytes) -> Maker:
    """The image with these bytes for its compressed pixels."""

    def make(path: Path) -> None:
        made = dicom()
        made.file_meta.TransferSyntaxUID, made.PixelData = syntax, encapsulate([frame])
        made["PixelData"].VR, made["PixelData"].is_undefined_length = "OB", True
        made.save_as(path, enforce_file_format=True)

    return make


def _jpeg2000() -> bytes:
    made = dicom()
    made.compress(JPEG2000Lossless)
    return bytes(next(generate_frames(made.PixelData, number_of_frames=1)))


def cut_jpeg2000(path: Path) -> None:
    compressed(JPEG2000Lossless, (whole := _jpeg2000())[: len(whole) // 2])(path)


def vast_jpeg2000(path: Path) -> None:
    """Its own header says 60,000 x 60,000, which a decoder would make room for."""
    frame = bytearray(_jpeg2000())
    size = frame.index(b"\xff\x4f\xff\x51")
    for place in (size + 8, size + 24):
        frame[place : place + 8] = struct.pack(">LL", 60_000, 60_000)
    compressed(JPEG2000Lossless, bytes(frame))(path)


def table_of_values(kind: str, declared: int, held: int) -> Maker:
    """A look-up table with fewer entries than it declares."""
    item: Any = Dataset()
    item.LUTDescriptor, item.LUTData = [declared, 0, 16], np.arange(held, dtype=np.uint16).tobytes()
    item["LUTDescriptor"].VR, item["LUTData"].VR, item.ModalityLUTType = "US", "OW", "US"
    return with_fields(**{kind: Sequence([item])})


def _saved(made: Any) -> bytes:
    made.save_as(buffer := io.BytesIO(), enforce_file_format=True)
    return buffer.getvalue()


def nested(path: Path) -> None:
    """Sequences in sequences, 100,000 deep."""
    whole = _saved(dicom())
    before = whole[: whole.index(struct.pack("<HH2s", 0x28, 2, b"US"))]
    one = struct.pack("<HH2sHL", 8, 0x1110, b"SQ", 0, 0xFFFFFFFF) + struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
    path.write_bytes(before + one * 100_000)


def endless_element(path: Path) -> None:
    """An element that claims four gigabytes."""
    whole = _saved(dicom())
    before = whole[: whole.index(struct.pack("<HH2s", 0x28, 2, b"US"))]
    path.write_bytes(before + struct.pack("<HH2sHL", 0x10, 0x4000, b"UT", 0, 0xFFFFFFF0) + b"abc")


def deflated_dicom(path: Path) -> None:
    """Two megabytes that unpack to two gigabytes."""
    made = dicom()
    made.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    whole, packer = _saved(made), zlib.compressobj(1, zlib.DEFLATED, -15)
    meta, zeros = 144 + struct.unpack("<L", whole[140:144])[0], bytes(1 << 20)
    body = zlib.decompress(whole[meta:], -15)
    parts = [packer.compress(body), *(packer.compress(zeros) for _ in range(2048)), packer.flush()]
    path.write_bytes(whole[:meta] + b"".join(parts))


def png(width: int, height: int, *, extra: bytes = b"", kind: bytes = b"zTXt") -> Maker:
    """A PNG that claims this size, with a further chunk."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">L", len(content)) + name + content + struct.pack(">L", zlib.crc32(name + content))

    head = chunk(b"IHDR", struct.pack(">LLBBBBB", width, height, 8, 0, 0, 0, 0))
    body = (chunk(kind, extra) if extra else b"") + chunk(b"IDAT", zlib.compress(bytes(65 * 64)))
    return lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + body + chunk(b"IEND", b"")) and None


def packed_zeros(megabytes: int) -> bytes:
    packer, zeros = zlib.compressobj(1), bytes(1 << 20)
    return b"".join([*(packer.compress(zeros) for _ in range(megabytes)), packer.flush()])


def scans(path: Path) -> None:
    """A progressive JPEG of 5,000 scans, each of which goes over all its pixels."""
    from PIL import Image

    Image.fromarray(np.zeros((512, 512), np.uint8)).save(buffer := io.BytesIO(), "JPEG", progressive=True)
    whole = buffer.getvalue()
    last = whole.rindex(b"\xff\xda")
    path.write_bytes(whole[:last] + whole[last:-2] * 5000 + whole[-2:])


#: Name of an image -> what makes it.
IMAGES: dict[str, Maker] = {
    "rle.dcm": compressed(RLELossless, b"\xff" * 200),
    "rle-offsets.dcm": compressed(RLELossless, struct.pack("<16L", 2, 64, 0xFFFFFFF0, *[0] * 13) + b"\x81\x00" * 50),
    "jpeg-lossless.dcm": compressed(JPEGLosslessSV1, b"\xff\xd8\xff\xc3\x00\x0b\x10\xff\xff\xff\xff\x01\x01\x11\x00"),
    "jpeg2000-nothing.dcm": compressed(JPEG2000Lossless, bytes(100)),
    "jpeg2000-cut.dcm": cut_jpeg2000,
    "jpeg2000-vast.dcm": vast_jpeg2000,
    "modality-table.dcm": table_of_values("ModalityLUTSequence", 4096, 10),
    "voi-table.dcm": table_of_values("VOILUTSequence", 4096, 10),
    "no-table.dcm": table_of_values("ModalityLUTSequence", 4096, 0),
    "nested.dcm": nested,
    "endless-element.dcm": endless_element,
    "rows.dcm": with_fields(Rows=32),
    "columns.dcm": with_fields(Columns=50),
    "no-rows.dcm": with_fields(Rows=0),
    "bits.dcm": with_fields(BitsAllocated=13),
    "representation.dcm": with_fields(PixelRepresentation=7),
    "frames.dcm": with_fields(NumberOfFrames=10**6),
    "vast.png": png(50_000, 50_000),
    "text.png": png(64, 64, extra=b"Comment\0\0" + packed_zeros(100)),
    "profile.png": png(64, 64, extra=b"x\0\0" + packed_zeros(100), kind=b"iCCP"),
    "scans.jpg": scans,
    "pipe.png": os.mkfifo,
    "pipe.dcm": os.mkfifo,
    "device.png": lambda path: path.symlink_to("/dev/zero"),
}  # fmt: skip


def _call(function: Any, *arguments: Any) -> Any:
    """What a pickle would have its reader call."""
    return type("Call", (), {"__reduce__": lambda self: (function, arguments)})()


def torch_file(make: Callable[[], Any]) -> Maker:
    return lambda path: torch.save({KNOWN: make()}, path)


def zip_of_zeros(path: Path) -> None:
    """A torch file whose tensor is compressed: 400 MB of zeros in 400 kB."""
    torch.save({KNOWN: torch.zeros(64, 64, 3, 3)}, whole := io.BytesIO())
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for member in source.infolist():
            content = bytes(400 << 20) if member.filename.endswith("data/0") else source.read(member)
            target.writestr(member.filename, content)


def safetensors(header: bytes, *, said: int | None = None) -> Maker:
    size = struct.pack("<Q", len(header) if said is None else said)
    return lambda path: path.write_bytes(size + header + bytes(16)) and None


def claimed_array(path: Path) -> None:
    """A .npz whose array claims 40 gigabytes."""
    np.lib.format.write_array_header_1_0(
        head := io.BytesIO(), {"descr": "<f4", "fortran_order": False, "shape": (100_000, 100_000)}
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("cls.npy", head.getvalue() + bytes(16))


_AT = '{"dtype":"%s","shape":[%d],"data_offsets":[0,%d]}'
#: Name of a weight file -> what makes it, and what the error says (a regular expression).
WEIGHTS: dict[str, tuple[Maker, str]] = {
    "expanded.pt": (torch_file(lambda: torch.zeros(1).expand(40_000, 20_000)), r"3200000000 bytes, made of 4 bytes"),
    "overlapping.pt": (torch_file(lambda: torch.zeros(999).as_strided((900, 99), (1, 1))), r"made of 3996 bytes"),
    "tied.pt": (lambda path: torch.save(dict.fromkeys(map(str, range(999)), torch.zeros(9999)), path), "tensors of"),
    "sparse.pt": (torch_file(lambda: torch.zeros(4, 4).to_sparse()), "sparse"),
    "meta.pt": (torch_file(lambda: torch.zeros(40_000, 40_000, device="meta")), "meta"),
    "nested.pt": (torch_file(lambda: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)])), "nested|not weights"),
    "quantised.pt": (torch_file(lambda: torch.quantize_per_tensor(torch.zeros(4), 0.1, 0, torch.qint8)), "quantised"),
    "complex.pt": (torch_file(lambda: torch.zeros(4, dtype=torch.complex64)), "complex"),
    "nan.pt": (torch_file(lambda: torch.full((64, 64, 3, 3), float("nan"))), "NaN"),
    "bytes.pt": (torch_file(lambda: _call(bytearray, 3_000_000_000)), r"calls .*bytearray"),
    "made.pt": (torch_file(lambda: _call(torch.Tensor, 40_000, 20_000)), r"calls torch\.Tensor"),
    "zeros.pt": (zip_of_zeros, "that unpack to"),
    "header.safetensors": (safetensors(b"{}", said=1 << 62), "a header of"),
    "large-header.safetensors": (safetensors(b" " * (20 << 20)), "a header of"),
    "overlap.safetensors": (safetensors(f'{{"{KNOWN}":{_AT % ("F32", 4, 16)},"b":{_AT % ("F32", 4, 16)}}}'.encode()), "not a readable"),
    "offsets.safetensors": (safetensors(f'{{"{KNOWN}":{_AT % ("F32", 1 << 40, 1 << 42)}}}'.encode()), "not a readable"),
    "complex.safetensors": (safetensors(f'{{"{KNOWN}":{_AT % ("C64", 2, 16)}}}'.encode()), "complex|not a readable"),
    "zeros.npz": (lambda path: np.savez_compressed(path, cls=np.zeros(20_000_000, np.float32)), "that unpack to"),
    "claimed.npz": (claimed_array, "npz|larger than the memory"),
    "object.npz": (lambda path: np.savez(path, cls=np.array([{}], dtype=object)), "npz"),
    "pipe.pt": (os.mkfifo, "a named pipe"),
    "pipe.safetensors": (os.mkfifo, "a named pipe"),
    "device.pt": (lambda path: path.symlink_to("/dev/zero"), "a device"),
}  # fmt: skip


def good_weights(path: Path) -> None:
    save_file({KNOWN: torch.zeros(64, 64, 3, 3)}, path)


def gzipped(megabytes: int) -> Maker:
    """A .csv.gz of so many megabytes of one sign."""

    def make(path: Path) -> None:
        with gzip.open(path, "wb", compresslevel=1) as file:
            file.write(b"a,b\n")
            for _ in range(megabytes):
                file.write(b"1" * (1 << 20))

    return make


def sparse_member(path: Path) -> None:
    """A tar of a kilobyte whose one file claims a terabyte of zeros, as GNU tar writes sparse files."""
    info = tarfile.TarInfo("r.xml")
    info.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.name": "r.xml",
                        "GNU.sparse.size": str(1 << 40), "GNU.sparse.map": "0,0"}  # fmt: skip
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info, io.BytesIO())


def vast_member(path: Path) -> None:
    """An archive of a megabyte with a report of a gigabyte."""
    info = tarfile.TarInfo("r.xml")
    info.size = 1 << 30
    packer, zeros = zlib.compressobj(1, zlib.DEFLATED, 31), bytes(1 << 20)
    parts = [packer.compress(info.tobuf()), *(packer.compress(zeros) for _ in range(1024)), packer.flush()]
    path.write_bytes(b"".join(parts))
