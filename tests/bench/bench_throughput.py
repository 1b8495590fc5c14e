"""How near is training to what the device gives? Images a second, share of the roof, and where the rest goes.

For fine-tuning and for each method's pre-training the job's own recipe runs on prepared images of random pixels. Updates
on drawn batches and on one constant batch take turns, so that what a figure is divided by was measured beside it:

- images/s: of updates on drawn batches;
- over constant: an update on a drawn batch over one on a constant batch, the median of pairs: what input costs;
- of the roof: operations of all matrix products a second over those of one large product in the same precision;
- validation: seconds of a validated example over those of a trained one.

The last line is a bare timm ViT-B/16 on one batch of random numbers, in the same run. On a CPU the networks are of full
shape but 384 wide and 6 deep, except in the first two lines; on a GPU (`nox -s gpu`) all have the paper's size.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

sys.path.append(str(Path(__file__).parents[1] / "support"))

from bench_methods import params_of
from bench_step import has_bf16
from bench_step import step as bare_step

import step_operations
import tiny_jobs
from refers_bench import plugins
from refers_bench.jobs import setup
from refers_bench.manifest.protocols import resolve_sections
from refers_bench.plan.forecast.cost_model import radiographs, update_flops
from refers_bench.training.loop import Training

SMALL = {"width": 384, "depth": 6, "heads": 6, "mlp_width": 1536}
CLASSES = [f"class {k}" for k in range(14)]
MOST_OVER_CONSTANT = 1.05


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Seconds of updates on drawn and on constant batches and of a large product, in turn, and of the validations."""

    drawn: list[float]
    constant: list[float]
    product: list[float]
    validations: list[float]


class Timed(Exception):
    """Ends a recipe once it was measured; holds the times."""


class Pairs(Training):
    """A training that measures updates on drawn batches and on a constant one in turn, then validations."""

    rounds = 5
    product: Callable[[], object]

    def run(self) -> Any:
        self.settings = type(self.settings)(**{**vars(self.settings), "steps": 10**9})
        draw, batch = self.draw, self.draw(0)
        times: dict[bool, list[float]] = {True: [], False: []}
        products = []
        for _ in range(self.rounds + 1):
            products.append(min(self.seconds(self.product) for _ in range(5)))
            for constant in (False, True):
                self.draw = (lambda step: batch) if constant else draw
                times[constant].append(self.seconds(self.update))
        validations = [self.seconds(self.judge) for _ in range(2)] if self.validate else []
        raise Timed(
            Measured(
                drawn=times[False][1:], constant=times[True][1:], product=products[1:], validations=validations[1:]
            )
        )

    def seconds(self, run: Callable[[], object]) -> float:
        """Wall time of a call, until the device has done what it asked for."""
        start = time.perf_counter()
        run()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start


def job_of(
    name: str, kind: str, sections: Mapping[str, Any], options: argparse.Namespace, *, full: bool
) -> dict[str, Any]:
    """A job of the paper's protocol, of full or small width."""
    method = plugins.load("method", name)
    params = params_of(method)
    one = {"key": "0" * 16, "spec": {"dataset": "phantom"}}
    job = tiny_jobs.pretrain_job(name, one) if kind == "pretrain" else tiny_jobs.finetune_job(name, one, None)
    network = {**sections["network"], "init": "random", "init_path_name": ""}
    section = {
        **sections[kind],
        "batch_size": options.batch,
        "accumulate": 1,
        "precision": options.precision,
        "steps": 10_000,
    }
    if kind == "pretrain":
        section |= {"text_encoder": {**section["text_encoder"], "path_name": ""}, "vocabulary": 2000}
        if not full:
            section |= {part: {**section[part], **SMALL} for part in ("text_encoder", "decoder")}
    job["spec"] |= {
        "params": params.model_dump(), "image": sections["image"], kind: section,
        "network": network if full else {**network, **SMALL},
    }  # fmt: skip
    if kind == "finetune":
        job["spec"] |= {"classes": CLASSES, "label_ratio": 1.0}
    elif method.discovery is not None:
        job["spec"]["discover"] = "1" * 16
    return job


def measured(job: Mapping[str, Any], options: argparse.Namespace) -> Measured:
    """Run a job's recipe until it is measured."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(setup, "Training", Pairs)
        patch.setattr(Pairs, "rounds", options.rounds)
        patch.setattr(Pairs, "product", staticmethod(product(options)), raising=False)
        how = {"device": options.device, "compile": options.compile, "threads": torch.get_num_threads()}
        context = step_operations.prepared(job, Path(folder), **how)
        try:
            step_operations.entry.recipe_of(job["kind"])(job, context)
        except Timed as timed:
            found: Measured = timed.args[0]
            return found
    raise AssertionError("the recipe trained nothing")


def side(options: argparse.Namespace) -> int:
    """Of the square matrices whose product is the roof."""
    return 8192 if options.device == "cuda" else 1024


def product(options: argparse.Namespace) -> Callable[[], object]:
    """A large matrix product in the precision of the training."""
    kind = {"fp32": torch.float32, "bf16": torch.bfloat16}[options.precision]
    a, b = (torch.randn(side(options), side(options), device=options.device, dtype=kind) for _ in range(2))
    return lambda: a @ b


def line(name: str, job: Mapping[str, Any], found: Measured, options: argparse.Namespace) -> str:
    """One row of the table."""
    spec = job["spec"]
    images, batch = radiographs(spec), spec[spec["kind"]]["batch_size"]
    drawn = statistics.median(found.drawn)
    over = statistics.median(a / b for a, b in zip(found.drawn, found.constant, strict=True))
    ratio = update_flops(spec) * batch / (2 * side(options) ** 3)
    share = statistics.median(ratio * a / b for a, b in zip(found.product, found.drawn, strict=True))
    validated = ""
    if found.validations:
        validated = f"{statistics.median(found.validations) / step_operations.SAMPLE['val'] / (drawn / batch):10.2f}"
    verdict = "" if over <= MOST_OVER_CONSTANT else f"   OVER {MOST_OVER_CONSTANT:g}"
    return f"{name:<34} {images / drawn:9.1f} {over:14.3f} {100 * share:10.0f} % {validated:>10}{verdict}"


def bare(options: argparse.Namespace) -> float:
    """Images a second of a timm ViT-B/16 on one batch of random numbers."""
    model = timm.create_model("vit_base_patch16_224", num_classes=len(CLASSES)).to(options.device).train()
    if options.compile:
        model.compile()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    x_BCHW = torch.randn(options.batch, 3, 224, 224, device=options.device)
    times = []
    for _ in range(options.rounds + 1):
        start = time.perf_counter()
        bare_step(model, optimizer, x_BCHW, options.precision)
        if options.device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return options.batch / statistics.median(times[1:])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, help="128 on a GPU, 4 on a CPU")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precision", help="bf16 where the device has it")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--only", nargs="*", help="methods")
    options = parser.parse_args()
    on_gpu = options.device == "cuda"
    if on_gpu and not torch.cuda.is_available():
        print("no GPU here: nothing measured")
        return
    options.batch = options.batch or (128 if on_gpu else 4)
    options.precision = options.precision or ("bf16" if on_gpu and has_bf16("cuda") else "fp32")
    if not on_gpu:
        torch.set_num_threads(1)
    sections = resolve_sections("paper")
    card = torch.cuda.get_device_name() if on_gpu else "CPU, 1 thread"
    print(f"{card}, {options.precision}, batch {options.batch}, median of {options.rounds} pairs"
          f"{', compiled' if options.compile else ''}")  # fmt: skip
    print(f"{'':<34} {'images/s':>9} {'over constant':>14} {'of the roof':>12} {'validation':>10}")
    names = options.only or sorted(plugins.names("method"))
    for kind in ("finetune", "pretrain"):
        for name in names:
            method = plugins.load("method", name)
            if kind == "finetune" and name not in ("scratch", "lsp_convnet"):
                continue  # all others fine-tune the network of the first
            if kind == "pretrain" and not method.pretrains(params_of(method)):
                continue
            job = job_of(name, kind, sections, options, full=on_gpu or kind == "finetune")
            print(line(f"{kind} {name}", job, measured(job, options), options), flush=True)
    print(f"{'bare timm ViT-B/16, random numbers':<34} {bare(options):9.1f}")


if __name__ == "__main__":
    main()
