"""What does a step of the full-size radiograph transformer cost, beside a bare timm ViT-B/16? Ratios in one run.

Prints four ratios: our fine-tuning step over timm's (same precision, batch and optimiser), fp32 over bf16, deterministic
kernels, which trainings use, over any kernels, and one forward pass over three views over three separate passes. Each is
the median of paired, alternating runs.
"""

from __future__ import annotations

import argparse
import pathlib
import statistics
import time
from collections.abc import Callable

import timm
import torch
from torch import nn

from refers_bench import plugins
from refers_bench.manifest.protocols import resolve_sections
from refers_bench.nets.classifier import Classifier
from refers_bench.training.precision import be_deterministic

CLASSES = 14


def has_bf16(device: str) -> bool:
    """Whether the processor computes in bfloat16 itself; emulated, a step takes minutes."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    flags = cpuinfo.read_text().split() if cpuinfo.is_file() else []
    return "avx512_bf16" in flags or "amx_bf16" in flags


def step(model: nn.Module, optimizer: torch.optim.Optimizer, x_BCHW: torch.Tensor, precision: str) -> None:
    """One fine-tuning step: forward, BCE, backward, SGD."""
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast(x_BCHW.device.type, torch.bfloat16, enabled=precision == "bf16"):
        logits_BK = model(x_BCHW)
    target_BK = torch.zeros(len(x_BCHW), CLASSES, device=x_BCHW.device)
    nn.functional.binary_cross_entropy_with_logits(logits_BK.float(), target_BK).backward()
    optimizer.step()


def paired(a: Callable[[], None], b: Callable[[], None], *, rounds: int, device: str) -> tuple[float, float, float]:
    """Median seconds of a and of b, and the median of the ratios a/b, run in turn after one warm-up."""
    times: list[tuple[float, float]] = []
    for _ in range(rounds + 1):
        pair = []
        for run in (a, b):
            start = time.perf_counter()
            run()
            if device == "cuda":
                torch.cuda.synchronize()
            pair.append(time.perf_counter() - start)
        times.append((pair[0], pair[1]))
    kept = times[1:]
    return (
        statistics.median(first for first, _ in kept),
        statistics.median(second for _, second in kept),
        statistics.median(first / second for first, second in kept),
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    torch.manual_seed(0)
    sections = resolve_sections("official_code")
    method = plugins.load("method", "scratch")
    encoder = method.build_encoder(method.Params(), sections["network"], sections["image"])
    ours = Classifier(encoder, CLASSES).to(options.device).train()
    bare = timm.create_model("vit_base_patch16_224", num_classes=CLASSES).to(options.device).train()
    x_BCHW = torch.randn(options.batch, 3, 224, 224, device=options.device)
    optimizers = {model: torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9) for model in (ours, bare)}

    def run(model: nn.Module, precision: str) -> Callable[[], None]:
        return lambda: step(model, optimizers[model], x_BCHW, precision)

    print(
        f"{options.device}, batch {options.batch}, {torch.get_num_threads()} threads, median of {options.rounds} pairs"
    )
    bf16 = has_bf16(options.device)
    for precision in ("fp32", "bf16") if bf16 else ("fp32",):
        a, b, ratio = paired(run(ours, precision), run(bare, precision), rounds=options.rounds, device=options.device)
        print(f"fine-tuning step {precision}: ours {a:.3f} s, timm ViT-B/16 {b:.3f} s, ratio {ratio:.3f}")
    if bf16:
        a, b, ratio = paired(run(ours, "fp32"), run(ours, "bf16"), rounds=options.rounds, device=options.device)
        print(f"fp32 over bf16: {a:.3f} s / {b:.3f} s = {ratio:.2f}")
    else:
        print(f"bf16 not measured: this {options.device} has no bfloat16 instructions")

    precision = "bf16" if bf16 else "fp32"

    def free() -> None:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.benchmark = True
        run(ours, precision)()

    def deterministic() -> None:
        be_deterministic()
        run(ours, precision)()

    a, b, ratio = paired(deterministic, free, rounds=options.rounds, device=options.device)
    print(f"deterministic kernels over any ({precision}): {a:.3f} s / {b:.3f} s = {ratio:.3f}")

    views_BVCHW = torch.randn(options.batch, 3, 3, 224, 224, device=options.device)
    ours.eval()

    def together() -> None:
        with torch.no_grad():
            encoder(views_BVCHW.flatten(0, 1))

    def apart() -> None:
        with torch.no_grad():
            for view in range(3):
                encoder(views_BVCHW[:, view])

    a, b, ratio = paired(together, apart, rounds=options.rounds, device=options.device)
    print(f"three views in one forward pass: {a:.3f} s, in three passes {b:.3f} s, ratio {ratio:.3f}")


if __name__ == "__main__":
    main()
