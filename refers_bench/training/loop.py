"""How is anything trained here: one loop over named losses, for pre-training and fine-tuning alike."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from refers_bench import identity
from refers_bench.errors import NotFiniteLoss
from refers_bench.nets import distributed
from refers_bench.training.optimizers import Lookahead, clip_gradients, set_rates
from refers_bench.training.precision import autocast, gradient_scaler
from refers_bench.training.state import State

#: Rows of the loss curve over a whole training, at most; each is the mean over its window of updates.
HISTORY_ROWS = 500

#: Saving may take at most this share of the time, whatever `Settings.save_every_s` asks for.
SAVE_SHARE = 0.05


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How long, how precisely, and which weights to keep.

    Attributes:
        steps: updates.
        validate_every: updates between validations; 0 validates only after the last one.
        accumulate: micro-batches an update's batch is cut into, to save memory.
        clip_norm: gradients' largest joint L2 norm; 0 for no clipping.
        precision: "fp32", "bf16" or "fp16".
        metric: validation metric that chooses the weights to keep; '' keeps the last ones.
        higher_is_better: whether a higher metric is a better one.
        patience: validations without a better metric after which training stops; 0 for never.
        save_every_s: seconds between saves of the resumable state, more where saving is slow; 0 for every update.
    """

    steps: int
    validate_every: int = 0
    accumulate: int = 1
    clip_norm: float = 0.0
    precision: str = "fp32"
    metric: str = ""
    higher_is_better: bool = False
    patience: int = 0
    save_every_s: float = 30.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a training; the model holds the chosen weights.

    Attributes:
        steps: updates done (fewer than asked for after early stopping).
        resumed_from: update this attempt continued from; 0 when it began anew.
        stopped_early: whether patience ran out.
        best_step: update of the chosen weights; None when the last ones were kept.
        best_value: their selection metric.
        images_per_s: radiographs per second of training time.
        train_s: seconds spent in updates, over all attempts.
        validations: seconds that each validation took, over all attempts.
        history: (step, name, value) rows.
    """

    steps: int
    resumed_from: int
    stopped_early: bool
    best_step: int | None
    best_value: float | None
    images_per_s: float
    train_s: float
    validations: tuple[float, ...]
    history: tuple[tuple[int, str, float], ...]


def split(batch: Any, parts: int) -> Iterator[tuple[Any, float]]:
    """Cut a batch (a dataclass of tensors with a common first dimension) into micro-batches and their shares.

    Losses that are means over examples then add up to the loss of the whole batch. A contrastive loss does not:
    its negatives come from the micro-batch.
    """
    tensors = {f.name: value for f in dataclasses.fields(batch) if isinstance(value := getattr(batch, f.name), Tensor)}
    count = min(len(tensor) for tensor in tensors.values())
    if parts <= 1 or count <= 1:
        yield batch, 1.0
        return
    size = math.ceil(count / parts)
    for start in range(0, count, size):
        rows = slice(start, start + size)
        yield (
            dataclasses.replace(batch, **{name: tensor[rows] for name, tensor in tensors.items()}),
            (min(count, start + size) - start) / count,
        )


def train(
    model: nn.Module,
    *,
    key: str,
    settings: Settings,
    optimizer: torch.optim.Optimizer | Lookahead,
    factor: Callable[[int], float],
    draw: Callable[[int], Any],
    losses: Callable[[Any], Mapping[str, Tensor]],
    validate: Callable[[], Mapping[str, float]] | None,
    state_path: Path,
    device: torch.device,
    progress: Callable[[Mapping[str, Any]], None] = lambda _: None,
) -> Outcome:
    """Train until the last step or until patience runs out, continuing from `state_path` where there is a state.

    Args:
        model: trained in place; ends with the chosen weights. Its `after_update`, where it has one, is called after
            each optimiser step (momentum encoders).
        key: of the job; names all random streams, so step t draws the same whether resumed or not.
        settings: see `Settings`.
        optimizer: over groups with ``base_lr``.
        factor: update number -> factor on the base learning rates.
        draw: update number -> batch, a dataclass of tensors that depends on nothing but the number.
        losses: batch -> named losses (float32 scalars); their sum is minimised.
        validate: named metrics of the current weights, called in eval mode without gradients; None for none.
        state_path: file of the resumable state.
        device: of the model.
        progress: called after every update with what a progress view shows.

    Raises:
        NotFiniteLoss: a training loss is NaN or infinite.
        StorageError: the state cannot be written.
    """
    run = _Run(
        settings=settings, key=key, factor=factor, draw=draw, losses=losses, validate=validate, device=device,
        state=State(model=model, optimizer=optimizer, scaler=gradient_scaler(settings.precision, device)),
    )  # fmt: skip
    run.state.restore(state_path, device=device)
    counters = run.state.counters
    resumed_from = counters.step
    saved, save_every = time.monotonic(), settings.save_every_s
    while counters.step < settings.steps and not counters.stopped:
        run.update()
        if counters.window_steps >= run.window or counters.step == settings.steps:
            run.close_window()
        if counters.step == settings.steps or (
            settings.validate_every and counters.step % settings.validate_every == 0
        ):
            run.judge()
        progress(run.view())
        if time.monotonic() - saved >= save_every:
            started = time.monotonic()
            run.check_finite()
            if distributed.rank() == 0:
                run.state.save(state_path)
            saved = time.monotonic()
            if settings.save_every_s:
                save_every = max(settings.save_every_s, (saved - started) / SAVE_SHARE)
    run.close_window()
    if run.state.best:
        model.load_state_dict(run.state.best)
    return Outcome(
        steps=counters.step, resumed_from=resumed_from, stopped_early=counters.stopped,
        best_step=counters.best_step, best_value=counters.best_value,
        images_per_s=counters.images / counters.seconds if counters.seconds else 0.0, train_s=counters.seconds,
        validations=tuple(counters.validations), history=tuple(counters.history),
    )  # fmt: skip


@dataclass(kw_only=True)
class _Run:
    """One training under way."""

    settings: Settings
    key: str
    factor: Callable[[int], float]
    draw: Callable[[int], Any]
    losses: Callable[[Any], Mapping[str, Tensor]]
    validate: Callable[[], Mapping[str, float]] | None
    device: torch.device
    state: State
    shown: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def window(self) -> int:
        """Updates averaged into one history row."""
        return max(1, math.ceil(self.settings.steps / HISTORY_ROWS))

    def update(self) -> None:
        """One optimiser step: draw, forward, backward, clip, move."""
        started = time.perf_counter()
        state, counters = self.state, self.state.counters
        torch.manual_seed(
            identity.seed(self.key, "dropout", counters.step, *([rank] if (rank := distributed.rank()) else []))
        )
        state.model.train()
        set_rates(state.optimizer, self.factor(counters.step))
        batch = self.draw(counters.step)
        for part, share in split(batch, self.settings.accumulate):
            with autocast(self.settings.precision, self.device):
                named = dict(self.losses(part))
            total = torch.stack([loss.float() for loss in named.values()]).sum()
            state.scaler.scale(total * share).backward()  # type: ignore[no-untyped-call]
            for name, loss in {**named, "total": total}.items():
                value = loss.detach().float() * share
                state.window[name] = state.window[name] + value if name in state.window else value
        inner: Any = state.optimizer
        state.scaler.unscale_(inner)
        if self.settings.clip_norm:
            clip_gradients(state.optimizer, self.settings.clip_norm)
        state.scaler.step(inner)
        state.scaler.update()
        state.optimizer.zero_grad(set_to_none=True)
        after: Callable[[], None] | None = getattr(state.model, "after_update", None)
        if after:
            after()
        counters.step += 1
        counters.window_steps += 1
        counters.window_images += _radiographs(batch) * distributed.world()
        if self.device.type == "cpu":
            self.check_finite()
        counters.window_seconds += time.perf_counter() - started

    def check_finite(self) -> None:
        """Refuse NaN and infinite losses; waits for the device, so not called after every update of a GPU."""
        for name, value in self.state.window.items():
            if not math.isfinite(value.item()):
                raise NotFiniteLoss(f"loss '{name}' is {value.item()} at update {self.state.counters.step}")

    def close_window(self) -> None:
        """Turn the open window of updates into history rows."""
        counters, started = self.state.counters, time.perf_counter()
        if not counters.window_steps:
            return
        self.check_finite()
        means = {
            name: distributed.averaged(value).item() / counters.window_steps
            for name, value in self.state.window.items()
        }
        # The GPU's queue is empty only now: the wait belongs to the updates.
        counters.window_seconds += time.perf_counter() - started
        counters.seconds += counters.window_seconds
        counters.images += counters.window_images
        rate = counters.window_images / counters.window_seconds if counters.window_seconds else 0.0
        groups = self.state.optimizer.param_groups
        self.shown = {**means, "images_per_s": rate}
        counters.history += [(counters.step, f"loss/{name}", value) for name, value in means.items()]
        counters.history += [(counters.step, "lr", groups[0]["lr"]), (counters.step, "images_per_s", rate)]
        counters.window_steps = counters.window_images = 0
        counters.window_seconds = 0.0
        self.state.window = {}

    def judge(self) -> None:
        """Validate; keep the weights if they are the best so far; stop when patience has run out."""
        if self.validate is None:
            return
        started = time.perf_counter()
        state, counters, settings = self.state, self.state.counters, self.settings
        state.model.eval()
        with torch.no_grad():
            metrics = dict(self.validate())
        counters.validations.append(time.perf_counter() - started)
        counters.history += [(counters.step, name, value) for name, value in metrics.items() if math.isfinite(value)]
        if not settings.metric:
            return
        value = metrics[settings.metric]
        better = math.isfinite(value) and (
            counters.best_value is None
            or (value > counters.best_value if settings.higher_is_better else value < counters.best_value)
        )
        if better:
            counters.best_step, counters.best_value, counters.stale = counters.step, value, 0
            state.best = {name: t.detach().to("cpu", copy=True) for name, t in state.model.state_dict().items()}
            return
        counters.stale += 1
        counters.stopped = bool(settings.patience) and counters.stale >= settings.patience

    def view(self) -> dict[str, Any]:
        """What a progress view shows."""
        counters = self.state.counters
        losses = {name: value for name, value in self.shown.items() if name != "images_per_s"}
        return {
            "step": counters.step, "steps": self.settings.steps, "losses": losses,
            "images_per_s": self.shown.get("images_per_s", 0.0),
        }  # fmt: skip


def _radiographs(batch: Any) -> int:
    """Radiographs in a batch of images (B, C, H, W) or studies (B, V, C, H, W)."""
    images = getattr(batch, "images_BVCHW", None)
    if images is None:
        images = getattr(batch, "images_BCHW", None)
    if images is None:
        return 0
    return int(images.shape[0] * (images.shape[1] if images.ndim == 5 else 1))
