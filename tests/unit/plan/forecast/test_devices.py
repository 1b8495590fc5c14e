"""What a device is to a forecast: its label, its units, its speed, and what several workers take from each other."""

from __future__ import annotations

import pytest

from refers_bench.plan.forecast.devices import PEAKS, Device, recorded_on


@pytest.mark.parametrize(
    ("name", "half", "single"),
    [
        ("NVIDIA H100 80GB HBM3", 989, 67),
        ("NVIDIA H100 PCIe", 756, 51),
        ("NVIDIA H200", 989, 67),
        ("NVIDIA B200", 2250, 75),
        ("NVIDIA A100-SXM4-80GB", 312, 19.5),
        ("nvidia a100", 312, 19.5),
        ("NVIDIA L40S", 362, 91.6),
        ("NVIDIA L40", 181, 90.5),
        ("NVIDIA L4", 121, 30.3),
        ("NVIDIA A40", 150, 37.4),
        ("NVIDIA RTX A6000", 155, 38.7),
        ("NVIDIA A10", 125, 31.2),
        ("Tesla V100-SXM2-16GB", 125, 15.7),
        ("Tesla T4", 65, 8.1),
        ("NVIDIA GeForce RTX 4090", 165, 82.6),
        ("NVIDIA GeForce RTX 3090", 71, 35.6),
        ("Another GPU", 100, 15),
    ],
)
def test_a_gpu_reaches_a_share_of_what_its_data_sheet_says(name: str, half: float, single: float) -> None:
    device = Device(kind="cuda", name=name)
    for precision in ("bf16", "fp16"):
        assert device.flops(precision) == pytest.approx(half * 1e12 * 0.35)
    assert device.flops("fp32") == pytest.approx(single * 1e12 * 0.6)
    listed = "" if name != "Another GPU" else " (a GPU that is not listed)"
    assert device.stated() == f"{half * 0.35:.0f} TFLOP/s in 16 bit, {single * 0.6:.0f} in float32{listed}"
    assert (len(PEAKS), device.label, device.units, device.unit) == (15, name, 1.0, "GPU")


def test_a_processor_is_as_fast_as_its_threads() -> None:
    one, four = Device(kind="cpu", name="X"), Device(kind="cpu", name="X", threads=4, cores=8, gpus=3.0)
    assert (one.flops("bf16"), one.flops("fp32"), four.flops("fp32")) == (40e9, 40e9, 160e9)
    assert (one.label, four.label, four.units, four.unit) == ("X, 1 thread", "X, 4 threads", 4.0, "CPU")
    assert four.stated() == "40 GFLOP/s a thread"
    assert Device(kind="cuda", name="X", gpus=0.5).units == 0.5


@pytest.mark.parametrize(("slots", "crowding"), [(1, 1.0), (2, 1.0), (3, 1.5), (4, 2.0)])
def test_workers_take_cores_from_each_other(slots: int, crowding: float) -> None:
    device = Device(kind="cpu", name="X", threads=4, cores=8)
    assert device.crowding(slots) == crowding
    assert Device(kind="cpu", name="X", threads=4).crowding(slots) == 1.0, "nobody knows how many there are"
    assert Device(kind="cuda", name="X", threads=4, cores=8).crowding(slots) == 1.0


def test_a_record_names_its_device() -> None:
    processor = {"hardware": {"cpu": "X"}, "threads": 2}
    assert recorded_on(processor) == "X, 2 threads"
    assert recorded_on({"hardware": {"cpu": "X"}}) == "X, 1 thread"
    assert recorded_on({**processor, "gpu": {"name": "Y"}}) == "Y"
    assert recorded_on({**processor, "gpu": None}) == "X, 2 threads"
    assert recorded_on({}) == recorded_on({"hardware": {}}) == ""
