"""Are weights stored whole or not at all, and is it seen when a checkpoint does not fit?"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import nn

from refers_bench.errors import DataError, StorageError
from refers_bench.training import checkpoints


def test_round_trip_with_tied_and_transposed_tensors(tmp_path: Path) -> None:
    one = torch.arange(6.0).reshape(2, 3)
    path = tmp_path / "deep" / "w.safetensors"
    checkpoints.publish_tensors(path, {"a": one, "b": one, "c": one.T}, metadata={"made": "here"})
    tensors, metadata = checkpoints.read_tensors(path)
    assert all(torch.equal(tensors[name], value) for name, value in {"a": one, "b": one, "c": one.T}.items())
    assert metadata == {"made": "here"}
    assert [p.name for p in path.parent.iterdir()] == ["w.safetensors"]


def test_same_tensors_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        checkpoints.publish_tensors(tmp_path / name, {"x": torch.ones(3), "y": torch.zeros(2)})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_coverage(tmp_path: Path) -> None:
    net, other = nn.Linear(2, 2), nn.Linear(2, 2)
    weights = {**other.state_dict(), "head.weight": torch.zeros(1)}
    coverage = checkpoints.load_weights(net, weights, path=tmp_path)
    assert (coverage.share, coverage.changed, coverage.unexpected) == (1.0, 2, ("head.weight",))
    assert torch.equal(net.weight, other.weight)
    assert checkpoints.load_weights(net, weights, path=tmp_path).changed == 0


def test_weights_of_another_precision_are_compared_by_value(tmp_path: Path) -> None:
    net = nn.Linear(2, 2)
    nn.init.constant_(net.weight, 0.1)
    nn.init.constant_(net.bias, 0.3)
    doubles = {"weight": torch.full((2, 2), 0.1, dtype=torch.double), "bias": torch.full((2,), 0.3, dtype=torch.double)}
    assert checkpoints.load_weights(net, doubles, path=tmp_path).changed == 0
    coverage = checkpoints.load_weights(net, {**doubles, "bias": torch.ones(2, dtype=torch.bfloat16)}, path=tmp_path)
    assert coverage.changed == 1 and net.bias.tolist() == [1, 1] and net.bias.dtype == torch.float32


def test_too_little_coverage_is_refused_and_loads_nothing(tmp_path: Path) -> None:
    net = nn.Linear(2, 2)
    before = net.weight.detach().clone()
    with pytest.raises(DataError, match=r"1 of 2 tensors, missing e\.g\. 'bias'"):
        checkpoints.load_weights(net, {"weight": torch.zeros(2, 2)}, path=tmp_path)
    assert torch.equal(net.weight, before)
    assert checkpoints.load_weights(net, {"weight": torch.zeros(2, 2)}, minimum=0.5, path=tmp_path).missing == ("bias",)


def test_another_shape_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"shape \(3, 2\).*shape \(2, 2\)"):
        checkpoints.load_weights(nn.Linear(2, 2), {"weight": torch.zeros(3, 2), "bias": torch.zeros(2)}, path=tmp_path)


def test_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    checkpoints.publish_tensors(path, {"a": torch.ones(100)})
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(DataError, match="not a readable safetensors file"):
        checkpoints.read_tensors(path)


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(*_: object, **__: object) -> None:
        raise checkpoints.SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoints, "save_file", no_space)
    with pytest.raises(StorageError, match="no space left"):
        checkpoints.publish_tensors(tmp_path / "w.safetensors", {"a": torch.ones(2)})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("withheld", [0o022, 0o027])
def test_published_tensors_have_the_users_usual_rights(tmp_path: Path, withheld: int) -> None:
    before = os.umask(withheld)
    try:
        checkpoints.publish_tensors(tmp_path / "a.safetensors", {"a": torch.zeros(2)})
        assert os.umask(withheld) == withheld
    finally:
        os.umask(before)
    assert (tmp_path / "a.safetensors").stat().st_mode & 0o777 == 0o666 & ~withheld
