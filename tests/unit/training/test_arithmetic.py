"""Portable arithmetic reaches the libraries in time, says so where it does not, and leaves GPUs alone."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from refers_bench.training import arithmetic, optimizers, precision

#: A process of its own: libraries look at the environment once.
PROCESS = """
import torch
from refers_bench.errors import UserError
from refers_bench.training import arithmetic, precision
{before}
arithmetic.choose("portable", "cpu")
try:
    precision.check_arithmetic("cpu")
except UserError as error:
    print(error)
else:
    print(torch.backends.cpu.get_cpu_capability())
"""


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in arithmetic.VARIABLES:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize(("asked", "device"), [("native", "cpu"), ("native", "cuda"), ("portable", "cuda")])
def test_nothing_is_set_otherwise(asked: str, device: str) -> None:
    arithmetic.choose(asked, device)
    assert not set(arithmetic.VARIABLES) & set(os.environ)
    assert arithmetic.chosen("cpu") == "native"
    precision.check_arithmetic("cpu")


@pytest.mark.usefixtures("clean")
def test_portable_on_the_cpu_alone() -> None:
    arithmetic.choose("portable", "cpu")
    assert {name: os.environ[name] for name in arithmetic.VARIABLES} == arithmetic.VARIABLES
    assert (arithmetic.chosen("cpu"), arithmetic.chosen("cuda"), arithmetic.chosen("cuda:1")) == (
        "portable", "native", "native",
    )  # fmt: skip


@pytest.mark.usefixtures("clean")
def test_what_is_loaded_before_does_not_come_in_between() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROCESS.format(before="import transformers, timm")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "AVX2"


@pytest.mark.usefixtures("clean")
def test_too_late_or_too_old_is_an_error() -> None:
    """As on a processor without AVX2: torch keeps to its least instructions."""
    before = 'import os; os.environ["ATEN_CPU_CAPABILITY"] = "default"; torch.rand(9).exp()'
    command = [sys.executable, "-c", PROCESS.format(before=before)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "portable arithmetic, but torch computes with" in done.stdout and "native" in done.stdout


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adams_root_is_correctly_rounded(name: str) -> None:
    """The second update by hand, every operation rounded once: 1 ulp in the root would show in thousands of numbers."""
    arithmetic.choose("portable", "cpu")
    generator = torch.Generator().manual_seed(0)
    parameter = nn.Parameter(torch.zeros(4000))
    rule = optimizers.build(name, [{"params": [parameter], "lr": 1.0, "base_lr": 1.0, "weight_decay": 0.0}])
    assert rule.defaults["fused"]
    gradient = torch.rand(4000, generator=generator) + 0.5
    parameter.grad = gradient.clone()
    rule.step()
    squares = rule.state[parameter]["exp_avg_sq"].numpy()
    root = np.sqrt(squares.astype(np.float64)).astype(np.float32)
    mean = rule.state[parameter]["exp_avg"].numpy()
    corrected = (root / np.float32(np.sqrt(1 - 0.999)) + np.float32(1e-8)).astype(np.float32)
    expected = -(np.float32(1 / (1 - 0.9)) * mean / corrected)
    np.testing.assert_allclose(parameter.detach().numpy(), expected, rtol=3e-7)


@pytest.mark.usefixtures("clean")
def test_native_optimizers_are_torchs_own_choice() -> None:
    for name in ("adam", "adamw"):
        rule = optimizers.build(name, [{"params": [nn.Parameter(torch.zeros(1))], "lr": 0.1, "base_lr": 0.1}])
        assert rule.defaults["fused"] is None
