"""Describes a device to a forecast: its name, its memory, and how fast it is where nothing has been measured."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Part of a GPU's name -> dense 10^12 operations a second at its best: with 16-bit matrix units, and in float32 without
#: matrix units (no TF32 here). The first part that fits counts. Source: the makers' data sheets.
PEAKS: Mapping[str, tuple[float, float]] = {
    "B200": (2250.0, 75.0),
    "H200": (989.0, 67.0),
    "H100 PCIe": (756.0, 51.0),
    "H100": (989.0, 67.0),
    "A100": (312.0, 19.5),
    "L40S": (362.0, 91.6),
    "L40": (181.0, 90.5),
    "L4": (121.0, 30.3),
    "A40": (150.0, 37.4),
    "RTX A6000": (155.0, 38.7),
    "A10": (125.0, 31.2),
    "V100": (125.0, 15.7),
    "T4": (65.0, 8.1),
    "RTX 4090": (165.0, 82.6),
    "RTX 3090": (71.0, 35.6),
}
#: Of a GPU that is not listed.
UNKNOWN_PEAKS = (100.0, 15.0)
#: Share of the best that a training reaches: our assumption, for 16-bit and for float32.
REACHED = (0.35, 0.6)
#: Operations a second of one CPU thread in a training: our assumption, of a core with AVX2.
CPU_THREAD = 40e9


@dataclass(frozen=True, kw_only=True)
class Device:
    """What one worker computes on.

    Attributes:
        kind: "cuda" or "cpu".
        name: of the GPU or of the processor.
        memory_bytes: of the GPU, or of the machine; 0 when that is unknown.
        threads: of a worker.
        gpus: GPUs of a worker; several workers a GPU make it a fraction.
        cores: of the machine; 0 when that is unknown.
    """

    kind: str
    name: str
    memory_bytes: int = 0
    threads: int = 1
    gpus: float = 1.0
    cores: int = 0

    @property
    def label(self) -> str:
        """Device kind under which measurements are kept: equal for equal devices, on any machine."""
        return _label(self.kind, self.name, self.threads)

    @property
    def units(self) -> float:
        """GPUs, or processor threads, that a worker occupies."""
        return self.gpus if self.kind == "cuda" else float(self.threads)

    @property
    def unit(self) -> str:
        """What hours are counted of."""
        return "GPU" if self.kind == "cuda" else "CPU"

    def crowding(self, slots: int) -> float:
        """Threads of so many workers for each core there is: what they take from each other; 1 at least."""
        crowded = self.kind == "cpu" and self.cores
        return max(1.0, slots * self.threads / self.cores) if crowded else 1.0

    def flops(self, precision: str) -> float:
        """Operations a second that the model assumes.

        Args:
            precision: "fp32", "bf16" or "fp16".
        """
        if self.kind != "cuda":
            return CPU_THREAD * self.threads
        which = 1 if precision == "fp32" else 0
        return 1e12 * (self._peaks() or UNKNOWN_PEAKS)[which] * REACHED[which]

    def _peaks(self) -> tuple[float, float] | None:
        return next((peaks for part, peaks in PEAKS.items() if part.lower() in self.name.lower()), None)

    def stated(self) -> str:
        """What the model assumes, in words."""
        if self.kind != "cuda":
            return f"{CPU_THREAD / 1e9:g} GFLOP/s a thread"
        half, single = self.flops("bf16") / 1e12, self.flops("fp32") / 1e12
        unlisted = "" if self._peaks() else " (a GPU that is not listed)"
        return f"{half:.0f} TFLOP/s in 16 bit, {single:.0f} in float32{unlisted}"


def recorded_on(provenance: Mapping[str, Any]) -> str:
    """Label of the device that a record was written on; '' when it names none."""
    gpu = provenance.get("gpu")
    if gpu:
        return _label("cuda", gpu["name"], 1)
    name = provenance.get("hardware", {}).get("cpu", "")
    return _label("cpu", name, int(provenance.get("threads", 1))) if name else ""


def _label(kind: str, name: str, threads: int) -> str:
    return name if kind == "cuda" else f"{name}, {threads} thread" + ("s" if threads > 1 else "")
