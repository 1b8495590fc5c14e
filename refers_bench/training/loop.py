"""Trains anything: one loop over named losses, for pre-training and fine-tuning alike."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from refers_bench import identity
from refers_bench.errors import Interrupted, NotFiniteLoss
from refers_bench.nets import distributed
from refers_bench.nets.parts import Counts, batch_norms, no_counts, split, weighted
from refers_bench.training.optimizers import Lookahead, clip_gradients, set_rates
from refers_bench.training.precision import autocast, gradient_scaler, seed_global_generators
from refers_bench.training.state import Counters, State

_LOG = logging.getLogger(__name__)

#: Rows of the loss curve over a whole training, at most; each is the mean over its window of updates.
HISTORY_ROWS = 500

#: Saving may take at most this share of the time, whatever `Settings.save_every_s` asks for.
SAVE_SHARE = 0.05

#: Updates between which several processes agree whether any of them was preempted.
AGREE_EVERY = 10

#: Updates that fp16 may skip one after the other before a training is given up. The loss scale starts at 2 ** 16 and
#: halves each time: where it is far below 1, its size is not the reason.
SKIPPED_IN_A_ROW = 40


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Training settings: how long, how precisely, and which weights to keep.

    Attributes:
        steps: updates.
        validate_every: updates between validations; 0 validates only after the last one.
        grad_accum_steps: smaller batches whose gradients one update adds up: a training constant, whatever the losses.
        micro_batches: equal parts in which each of those is processed to save memory; the result is the same.
        in_objective: whether the objective computes its features in micro-batches; else the loop splits the batch.
        after: category of the failure that raised the number of micro-batches, kept with the state; '' where the
            user asked for it.
        clip_norm: gradients' largest joint L2 norm; 0 for no clipping.
        precision: "fp32", "bf16" or "fp16".
        metric: validation metric that chooses the weights to keep; '' keeps the last ones.
        higher_is_better: whether a higher metric is a better one.
        patience: validations without a better metric after which training stops; 0 for never.
        save_every_s: seconds between saves of the resumable state, more where saving is slow; 0 for every update.
    """

    steps: int
    validate_every: int = 0
    grad_accum_steps: int = 1
    micro_batches: int = 1
    in_objective: bool = False
    after: str = ""
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
        counters: where it ended: updates, best validation, history, time spent.
        resumed_from: update from which this attempt resumed; 0 when it started from the beginning.
        settings: of the training.
        batch_statistics: whether the model normalises by statistics of the batch, which are those of a micro-batch.
    """

    counters: Counters
    resumed_from: int
    settings: Settings
    batch_statistics: bool


@dataclass(kw_only=True)
class Training:
    """A training; `run` continues it from the state at `state_path` where there is one.

    Attributes:
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
        counts: batch -> items that losses are means over, where these are not its examples.
        interrupted: asked after every update (of several processes every `AGREE_EVERY`) whether the job is preempted.
        compiles: whether networks are compiled in the first update, whose time is then noted apart.
        state: everything that the training changes.
        shown: losses and throughput of the last window, for the progress view.
    """

    model: nn.Module = field(kw_only=False)
    key: str
    settings: Settings
    optimizer: torch.optim.Optimizer | Lookahead
    factor: Callable[[int], float]
    draw: Callable[[int], Any]
    losses: Callable[[Any], Mapping[str, Tensor]]
    validate: Callable[[], Mapping[str, float]] | None
    state_path: Path
    device: torch.device
    progress: Callable[[Mapping[str, Any]], None] = lambda _: None
    counts: Counts = no_counts
    interrupted: Callable[[], bool] = lambda: False
    compiles: bool = False
    state: State = field(init=False)
    shown: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        """Start from the beginning; `run` restores an earlier state."""
        self.shown = {"losses": {}, "images_per_s": 0.0}
        self.state = State(
            model=self.model,
            optimizer=self.optimizer,
            scaler=gradient_scaler(self.settings.precision, self.device),
            micro_batches=self.settings.micro_batches,
            after=self.settings.after,
        )

    def run(self) -> Outcome:
        """Train until the last step or until patience runs out.

        Raises:
            Interrupted: preempted; the state is saved.
            NotFiniteLoss: a training loss is NaN or infinite; in fp16, which skips such updates, many times in a row.
            StorageError: the state cannot be written.
        """
        settings, state = self.settings, self.state
        state.restore(self.state_path, device=self.device)
        counters, resumed_from = state.counters, state.counters.step
        saved, save_every = time.monotonic(), settings.save_every_s
        window = max(1, math.ceil(settings.steps / HISTORY_ROWS))
        while counters.step < settings.steps and not counters.stopped:
            self.update()
            last = counters.step == settings.steps
            if last or counters.window_steps >= window:
                self.close_window()
            if last or (settings.validate_every and counters.step % settings.validate_every == 0):
                self.judge()
            self.progress({"step": counters.step, "steps": settings.steps, **self.shown})
            preempted = self.preempted()
            if preempted or time.monotonic() - saved >= save_every:
                started = time.monotonic()
                self.check_finite()
                if distributed.rank() == 0:
                    state.save(self.state_path)
                saved = time.monotonic()
                if preempted:
                    raise Interrupted(f"preempted after update {counters.step} of {settings.steps}; state saved")
                if settings.save_every_s:
                    save_every = max(settings.save_every_s, (saved - started) / SAVE_SHARE)
        self.close_window()
        if state.best:
            self.model.load_state_dict(state.best)
        statistics = bool(batch_norms(self.model))
        return Outcome(counters=counters, resumed_from=resumed_from, settings=settings, batch_statistics=statistics)

    def preempted(self) -> bool:
        """Whether to save the state and stop now; the same in all processes."""
        step = self.state.counters.step
        if distributed.world() > 1 and step % AGREE_EVERY and step < self.settings.steps:
            return False
        return distributed.any_of(self.interrupted(), self.device)

    def update(self) -> None:
        """One optimiser step: draw, forward, backward, clip, move."""
        started = time.perf_counter()
        state, counters = self.state, self.state.counters
        rank = distributed.rank()
        seed_global_generators(identity.seed(self.key, "dropout", counters.step, *([rank] if rank else [])))
        state.model.train()
        set_rates(state.optimizer, self.factor(counters.step))
        batch = self.draw(counters.step)
        buffers = {name: one.clone() for name, one in state.model.named_buffers()} if state.scaler.is_enabled() else {}
        window = self.gradients(batch)
        inner: Any = state.optimizer
        state.scaler.unscale_(inner)
        if self.settings.clip_norm:
            clip_gradients(state.optimizer, self.settings.clip_norm)
        state.scaler.step(inner)
        scale = state.scaler.get_scale()
        state.scaler.update()
        state.optimizer.zero_grad(set_to_none=True)
        if hasattr(state.model, "after_update"):
            state.model.after_update()  # type: ignore[operator]
        counters.step += 1
        counters.window_steps += 1
        if state.scaler.is_enabled():
            self.note_scaled(window, buffers, skipped=state.scaler.get_scale() < scale)
        else:
            state.window = window
        if self.device.type == "cpu":
            self.check_finite()
        if self.compiles:
            self.compiles = False
            counters.compile_seconds += time.perf_counter() - started
            return
        counters.window_images += _radiographs(batch) * distributed.world()
        counters.window_seconds += time.perf_counter() - started

    def gradients(self, batch: Any) -> dict[str, Tensor]:
        """Gradients of a batch, scaled, on the parameters; returns the open window with its losses added."""
        settings, state, window = self.settings, self.state, dict(self.state.window)
        micro_batches = 1 if settings.in_objective else settings.micro_batches
        for accumulated, share in split(batch, settings.grad_accum_steps):
            for micro_batch, weights, others in weighted(accumulated, micro_batches, counts=self.counts):
                with autocast(settings.precision, self.device):
                    named = dict(self.losses(micro_batch))
                if micro_batches > 1:
                    named = {name: loss * weights.get(name, others) for name, loss in named.items()}
                total = torch.stack([loss.float() for loss in named.values()]).sum()
                minimised = total * share
                if state.scaler.is_enabled():
                    # The scaler looks at gradients; those of a loss that is not finite can be finite.
                    minimised = minimised * torch.where(total.detach().isfinite(), 1.0, torch.nan)
                state.scaler.scale(minimised).backward()  # type: ignore[no-untyped-call]
                for name, loss in {**named, "total": total}.items():
                    value = loss.detach().float() * share
                    window[name] = window[name] + value if name in window else value
        return window

    def note_scaled(self, window: dict[str, Tensor], buffers: Mapping[str, Tensor], *, skipped: bool) -> None:
        """Keep the losses of an update in fp16; of one with a loss that is not finite no trace but its number.

        Args:
            window: with the losses of the update.
            buffers: of the model, before it.
            skipped: whether the scaler took no step, which all processes agree on.

        Raises:
            NotFiniteLoss: too many were skipped one after the other.
        """
        state, counters = self.state, self.state.counters
        # What was in the window is finite: only this update can have changed that.
        if distributed.any_of(not math.isfinite(window["total"].item()), self.device):
            with torch.no_grad():  # a queue of keys, or batch statistics
                for name, one in state.model.named_buffers():
                    one.copy_(buffers[name])
            counters.window_skipped += 1
            scale = state.scaler.get_scale()
            _LOG.warning("update %d skipped: its loss is not finite in fp16; loss scale now %g", counters.step, scale)
        else:
            state.window = window
        counters.skipped += skipped
        counters.skipped_in_a_row = counters.skipped_in_a_row + 1 if skipped else 0
        if counters.skipped_in_a_row >= SKIPPED_IN_A_ROW:
            raise NotFiniteLoss(
                f"losses or gradients are not finite in fp16: {SKIPPED_IN_A_ROW} updates in a row skipped, the last of "
                f"them update {counters.step}, at a loss scale of {state.scaler.get_scale():g}"
            )

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
            name: distributed.averaged(value).item() / (counters.window_steps - counters.window_skipped)
            for name, value in self.state.window.items()
        }
        # The GPU's queue is empty only now: the wait belongs to the updates.
        counters.window_seconds += time.perf_counter() - started
        counters.seconds += counters.window_seconds
        counters.images += counters.window_images
        rate = counters.window_images / counters.window_seconds if counters.window_seconds else 0.0
        groups = self.state.optimizer.param_groups
        self.shown = {"losses": means, "images_per_s": rate}
        counters.history += [(counters.step, f"loss/{name}", value) for name, value in means.items()]
        counters.history += [(counters.step, "lr", groups[0]["lr"]), (counters.step, "images_per_s", rate)]
        counters.window_steps = counters.window_skipped = counters.window_images = 0
        counters.window_seconds = 0.0
        self.state.window = {}

    def judge(self) -> None:
        """Validate; keep the weights if they are the best so far; stop when patience has run out."""
        if self.validate is None:
            return
        started = time.perf_counter()
        state, counters, settings = self.state, self.state.counters, self.settings
        state.model.eval()
        # As precise as training: the weights are only compared with each other. Results are scored in float32.
        with torch.no_grad(), autocast(settings.precision, self.device):
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


def _radiographs(batch: Any) -> int:
    """Radiographs in a batch of images (B, C, H, W) or studies (B, V, C, H, W)."""
    images = getattr(batch, "images_BVCHW", getattr(batch, "images_BCHW", None))
    return 0 if images is None else math.prod(images.shape[:-3])
