"""What does a pre-training step cost beyond its networks, and what do the distortions cost? Ratios in one run.

1. For each method: a step (losses and gradients) over the sum of its networks' own forward and backward passes. The
   networks are replayed one by one on the inputs they had in the step, so the rest is distortion, mixing, queue, loss.
2. For each transform: a batch of 32 at 224 pixels over a step of the full-size radiograph transformer on as many
   images (measured on 4, times 8).
"""

from __future__ import annotations

import argparse
import functools
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from refers_bench import plugins
from refers_bench.data.augment import Augment
from refers_bench.data.batches import StudyBatch
from refers_bench.manifest.protocols import resolve_sections
from refers_bench.nets.classifier import Classifier
from refers_bench.nets.facts import SourceFacts

SIZE, CLASSES, VOCABULARY, TOKENS = 224, 14, 2000, 60
#: Parameters that make a method measurable here, by name; those that a method lacks are left out.
SMALLER: Mapping[str, Any] = {"queue": 1024, "words": 32, "stand_in": True, "depth": 18}
#: What a step may cost beside its networks, and a transform beside a full-size step.
MOST_RATIO, MOST_SHARE = 1.10, 0.10


def seconds(run: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


class Replay:
    """Records every outermost network call of a step, and runs those calls alone."""

    def __init__(self, objective: nn.Module) -> None:
        self.calls: list[tuple[nn.Module, tuple[Any, ...], dict[str, Any], bool]] = []
        self.depth = 0
        self.hooks = []
        for module in objective.modules():
            if module is not objective:
                self.hooks.append(module.register_forward_pre_hook(self.before, with_kwargs=True))
                self.hooks.append(module.register_forward_hook(self.after, always_call=True))

    def before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Note the call unless another network is running."""
        if not self.depth:
            self.calls.append((module, detached(args), detached(kwargs), torch.is_grad_enabled()))
        self.depth += 1

    def after(self, module: nn.Module, args: Any, output: Any) -> None:
        """The call is over."""
        self.depth -= 1

    def stop(self) -> None:
        """Take the hooks away."""
        for hook in self.hooks:
            hook.remove()

    def run(self) -> None:
        """Every call once, with its gradients where the step had them."""
        for module, args, kwargs, gradient in self.calls:
            with torch.set_grad_enabled(gradient):
                output = module(*args, **kwargs)
            wanted = [value for value in tensors(output) if value.requires_grad] if gradient else []
            if wanted:
                torch.autograd.backward(wanted, [torch.ones_like(value) for value in wanted])


def tensors(value: Any) -> list[Tensor]:
    """All tensors in a nest of tuples, lists and mappings."""
    if isinstance(value, Tensor):
        return [value]
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return [found for one in inner for found in tensors(one)]


def detached(value: Any) -> Any:
    """The same nest with tensors that lead nowhere; those that had a gradient get one of their own."""
    if isinstance(value, Tensor):
        return value.detach().clone().requires_grad_(value.requires_grad)
    if isinstance(value, tuple | list):
        return type(value)(detached(one) for one in value)
    return {key: detached(one) for key, one in value.items()} if isinstance(value, dict) else value


def params_of(method: Any) -> Any:
    """A method's parameters, small."""
    return method.Params(**{key: value for key, value in SMALLER.items() if key in method.Params.model_fields})


def verdict(found: float, most: float) -> str:
    """Whether a ratio lies within its bound."""
    return f"within {most:g}" if found <= most else f"OVER {most:g}"


def objective_of(name: str, sections: Mapping[str, Any], batch: int) -> tuple[nn.Module, StudyBatch]:
    """A method's objective with a network of full shape but 384 wide and 6 deep, and a batch for it."""
    method = plugins.load("method", name)
    params = params_of(method)
    network = {**sections["network"], "width": 384, "depth": 6, "heads": 6, "mlp_width": 1536}
    facts = SourceFacts(
        classes=tuple(f"class {k}" for k in range(CLASSES)), vocabulary=VOCABULARY, max_tokens=TOKENS,
        text_vocabulary=VOCABULARY,
    )  # fmt: skip
    torch.manual_seed(0)
    image = {**sections["image"], "size": SIZE}
    encoder = method.build_encoder(params, network, image)
    objective = method.build_objective(params, facts, network, image, sections["pretrain"], encoder).train()
    generator = torch.Generator().manual_seed(1)
    views = getattr(params, "crops", 0) or getattr(params, "views", 1)
    tokens = torch.randint(3, VOCABULARY, (batch, TOKENS), generator=generator)
    words = torch.randint(0, SMALLER["words"], (batch, 1), generator=generator).float()
    labels = torch.randint(0, 2, (batch, CLASSES), generator=generator).float()
    side = SIZE * method.magnification(params)
    images = torch.randn(batch, views, image["channels"], side, side, generator=generator)
    return objective, StudyBatch(
        images_BVCHW=images, tokens_BT=tokens, lengths_B=torch.full((batch,), TOKENS), text_ids_BT=tokens,
        text_mask_BT=torch.ones_like(tokens), labels_BK=labels if method.discovery is None else words,
    )  # fmt: skip


def step(objective: nn.Module, batch: StudyBatch) -> None:
    """Losses and gradients."""
    torch.stack(list(objective(batch).values())).sum().backward()
    if hasattr(objective, "after_update"):
        objective.after_update()


def methods(options: argparse.Namespace, sections: Mapping[str, Any]) -> None:
    """Print the first ratios."""
    print(f"step over its networks alone, batch {options.batch}, {SIZE} px, 384 wide, 6 deep")
    for name in sorted(plugins.names("method")):
        method = plugins.load("method", name)
        if not method.pretrains(params_of(method)):
            continue
        objective, batch = objective_of(name, sections, options.batch)
        replay = Replay(objective)
        step(objective, batch)
        replay.stop()
        times = [
            (seconds(functools.partial(step, objective, batch)), seconds(replay.run)) for _ in range(options.rounds + 1)
        ]
        ratio = statistics.median(whole / parts for whole, parts in times[1:])
        cost = statistics.median(whole for whole, _ in times[1:])
        print(f"  {name:<22} {cost:6.2f} s   ratio {ratio:.3f}   {verdict(ratio, MOST_RATIO)}")


def transforms(options: argparse.Namespace, sections: Mapping[str, Any]) -> None:
    """Print the second ratios."""
    generator = torch.Generator().manual_seed(0)
    grey_NHW = torch.rand(32, SIZE, SIZE, generator=generator)
    colour_NCHW = torch.rand(32, 3, SIZE, SIZE, generator=generator)
    stored_NHW = torch.randint(0, 256, (32, 256, 256), dtype=torch.uint8, generator=generator)
    augment = Augment.of({**sections["image"], "size": SIZE}, "pretrain_augment")
    drawn = torch.Generator().manual_seed(2)

    def distortion(name: str) -> Callable[[], object]:
        objective, _ = objective_of(name, sections, 1)
        return lambda: objective.distort(grey_NHW, generator)

    contrast, _ = objective_of("c2l", sections, 1)
    cases: dict[str, Callable[[], object]] = {
        "Model Genesis": distortion("model_genesis"),
        "Context Restoration": distortion("context_restoration"),
        "TransVW": distortion("transvw"),
        "C2L, perturbation": lambda: contrast.perturb(colour_NCHW, generator),
        "augmentation": lambda: augment.training(stored_NHW, drawn),
    }
    method = plugins.load("method", "scratch")
    encoder = method.build_encoder(method.Params(), sections["network"], {**sections["image"], "size": SIZE})
    model = Classifier(encoder, CLASSES).train()
    x_BCHW = torch.randn(4, sections["image"]["channels"], SIZE, SIZE, generator=generator)

    def full() -> None:
        model(x_BCHW).square().mean().backward()

    print(f"transforms of 32 images at {SIZE} px over a full-size step on as many")
    for name, run in cases.items():
        times = [(seconds(run), 8 * seconds(full)) for _ in range(options.rounds + 1)][1:]
        share = statistics.median(cost / whole for cost, whole in times)
        cost = statistics.median(cost for cost, _ in times)
        print(f"  {name:<22} {cost:6.2f} s   share {share:.3f}   {verdict(share, MOST_SHARE)}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    sections = resolve_sections("paper")
    methods(options, sections)
    transforms(options, sections)


if __name__ == "__main__":
    main()
