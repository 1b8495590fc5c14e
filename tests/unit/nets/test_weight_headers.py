"""Is it known, before its tensors are read, in which network the weights of a file were trained?"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from refers_bench.nets.weight_headers import Origin, origin

OWN = "blocks.0.attention.qkv.weight"
SHEET = json.dumps({"network": {"activation": "relu"}})


def header_of(content: Mapping[str, Any] | list[Any]) -> bytes:
    """A file of these names, each of an empty tensor."""
    if isinstance(content, Mapping):
        empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
        content = {name: value or empty for name, value in content.items()}
    text = json.dumps(content).encode()
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (header_of({"blocks.0.attn.qkv.weight": {}}), ("gelu", "added")),
        (header_of({"blocks.0.attn.qkv.weight": {}, "__metadata__": {"data_sheet": SHEET}}), ("relu", "added")),
        (header_of({OWN: {}}), ("", "added")),
        (header_of({OWN: {}, "position_projection.weight": {}}), ("", "concatenated")),
        (header_of({OWN: {}, "__metadata__": {"data_sheet": SHEET}}), ("relu", "added")),
        (header_of({OWN: {}, "__metadata__": {"data_sheet": "{"}}), ("", "added")),
        (header_of({OWN: {}, "__metadata__": {"data_sheet": '{"network": {"activation": [1]}}'}}), ("", "added")),
        (header_of([1]), ("gelu", "added")),
        (struct.pack("<Q", 2**31) + b"{", ("gelu", "added")),
        (b"", ("gelu", "added")),
        (struct.pack("<Q", 200_000) + b"[" * 200_000, ("gelu", "added")),
    ],
)
def test_origin_of_a_safetensors_file(tmp_path: Path, content: bytes, expected: tuple[str, str]) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    assert origin(path) == Origin(activation=expected[0], position=expected[1])


def test_names_of_other_files_are_given(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(b"x")
    assert origin(path) == Origin(activation="gelu", position="added")
    assert origin(path, names=[OWN, "position_projection.weight"]) == Origin(activation="", position="concatenated")


def test_only_another_activation_is_worth_a_remark() -> None:
    one = Origin(activation="gelu", position="added")
    assert one.remark("relu") == "weights trained with GELU run here with ReLU"
    assert one.remark("gelu") == ""
    assert Origin(activation="", position="added").remark("relu") == ""
