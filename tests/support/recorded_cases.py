"""Cases recorded from other people's functions: tensors and sizes of a file, and comparison with them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and ``hparams`` of a case."""
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["hparams"])  # noqa: SIM118


def inside(data: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Tensors below a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in data.items() if name.startswith(prefix)}


def groups(data: Mapping[str, Tensor], *, ending: str) -> list[str]:
    """First components of the names that end so: the independent examples, or the steps in order."""
    found = {name.partition("/")[0] for name in data if name.endswith(ending)}
    return sorted(found, key=lambda name: (len(name), name))


def close(found: Tensor, expected: Tensor, what: str, *, relative: float) -> None:
    """Within `relative` of the largest entry."""
    assert found.shape == expected.shape, what
    worst, allowed = (found.double() - expected.double()).abs().max(), relative * expected.double().abs().max()
    assert worst <= allowed, f"{what}: differs by {worst:.3g}, allowed {allowed:.3g}"
