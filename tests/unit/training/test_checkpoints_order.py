"""Weights are forced to disk before they have their name, and a process that is killed leaves the old ones or the new."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from refers_bench.training.checkpoints import publish_tensors, read_tensors


def test_weights_are_forced_to_disk_before_their_name(system_calls: Any, tmp_path: Path) -> None:
    """The library writes the file itself, where no event of Python's tells of it; its size at the fsync does."""
    path = tmp_path / "w.safetensors"
    publish_tensors(path, {"a": torch.zeros(3)}, metadata={"step": "0"})
    size = path.stat().st_size
    calls = system_calls.of(lambda: publish_tensors(path, {"a": torch.ones(3)}, metadata={"step": "1"}))
    assert calls == [
        "write .w.safetensors.*.part",
        f"fsync .w.safetensors.*.part {size}",
        "rename .w.safetensors.*.part w.safetensors",
        "fsync .",
    ]
    tensors, metadata = read_tensors(path)
    assert (tensors["a"].tolist(), metadata) == ([1.0, 1.0, 1.0], {"step": "1"})
    for number in range(3):
        system_calls.of(lambda: publish_tensors(path, {"a": torch.zeros(3)}), killed_before=number)
        assert read_tensors(path)[1] == {"step": "1"}
