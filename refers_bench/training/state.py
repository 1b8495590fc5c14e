"""Keeps what an interrupted training needs to end bit for bit like an uninterrupted one.

One safetensors file, replaced atomically: weights, optimiser moments, Lookahead's slow weights, the best weights so
far, and in its metadata the counters and the history as JSON. No generator state: every step draws from generators
named after the job and the step (`refers_bench.identity.seed`).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from refers_bench.errors import DataError
from refers_bench.training.checkpoints import publish_tensors, read_metadata, read_tensors
from refers_bench.training.optimizers import Lookahead

#: Layout of the file; another one is not continued but started over.
VERSION = 1


@dataclass(kw_only=True)
class Counters:
    """Where a training stands.

    Attributes:
        step: updates done.
        best_step: update after which the kept weights were best; None before there are any.
        best_value: their value of the selection metric.
        stale: validations since then.
        stopped: early stopping has ended the training.
        seconds: time spent in updates, over all attempts.
        images: radiographs seen by updates.
        validations: seconds that each validation took, over all attempts.
        skipped: updates without a step: a loss or a gradient was not finite in fp16.
        skipped_in_a_row: those of them since the last step.
        window_steps: updates whose losses wait for the next history row.
        window_skipped: those of them that have no finite loss.
        window_seconds: time spent in them.
        window_images: radiographs seen by them.
        history: (step, name, value) rows.
    """

    step: int = 0
    best_step: int | None = None
    best_value: float | None = None
    stale: int = 0
    stopped: bool = False
    seconds: float = 0.0
    images: int = 0
    validations: list[float] = field(default_factory=list)
    skipped: int = 0
    skipped_in_a_row: int = 0
    window_steps: int = 0
    window_skipped: int = 0
    window_seconds: float = 0.0
    window_images: int = 0
    history: list[tuple[int, str, float]] = field(default_factory=list)


@dataclass(kw_only=True)
class State:
    """Everything a training changes.

    Attributes:
        model: what is trained.
        optimizer: moves it.
        scaler: loss scaler of fp16.
        counters: where it stands.
        best: copy of the best weights, on the CPU; empty before there are any.
        window: loss name -> sum over the updates of the open history window.
        parts: in which batches are processed (`refers_bench.training.loop.Settings`); a state of another number of
            them is started over, so that a result depends on the number and not on when memory ran out.
        after: category of the failure that made them more.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer | Lookahead
    scaler: torch.amp.GradScaler
    counters: Counters = field(default_factory=Counters)
    best: dict[str, Tensor] = field(default_factory=dict)
    window: dict[str, Tensor] = field(default_factory=dict)
    parts: int = 1
    after: str = ""

    @property
    def _inner(self) -> torch.optim.Optimizer:
        return self.optimizer.inner if isinstance(self.optimizer, Lookahead) else self.optimizer

    def save(self, path: Path) -> None:
        """Publish the state as one file."""
        tensors = {f"model/{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= {f"best/{name}": tensor for name, tensor in self.best.items()}
        tensors |= {f"window/{name}": tensor for name, tensor in self.window.items()}
        for index, moments in self._inner.state_dict()["state"].items():
            tensors |= {
                f"optimizer/{index}/{name}": value for name, value in moments.items() if isinstance(value, Tensor)
            }
        about: dict[str, Any] = {
            "version": VERSION,
            "counters": asdict(self.counters),
            "scaler": self.scaler.state_dict(),
            "parts": self.parts,
            "after": self.after,
        }
        if isinstance(self.optimizer, Lookahead):
            about["lookahead_updates"] = self.optimizer.updates
            tensors |= {f"slow/{index}": slow for index, slow in enumerate(self.optimizer.slow)}
        publish_tensors(path, tensors, metadata={"state": json.dumps(about)})

    def restore(self, path: Path, *, device: torch.device) -> bool:
        """Continue from `path`; False, and nothing changed, when there is no state that fits.

        A state that does not fit (another version of the network, a damaged file) is no loss of results: the
        training then starts over and ends the same.
        """
        try:
            tensors, metadata = read_tensors(path)
        except (DataError, FileNotFoundError):
            return False
        about = json.loads(metadata.get("state", "{}"))
        groups: dict[str, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            group, _, rest = name.partition("/")
            groups.setdefault(group, {})[rest] = tensor
        if not self._fits(about, groups):
            return False
        self.model.load_state_dict(groups["model"])
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in groups.get("optimizer", {}).items():
            index, _, moment = name.partition("/")
            moments.setdefault(int(index), {})[moment] = tensor
        self._inner.load_state_dict({"state": moments, "param_groups": self._inner.state_dict()["param_groups"]})
        if isinstance(self.optimizer, Lookahead):
            self.optimizer.updates = about["lookahead_updates"]
            for position, slow in enumerate(self.optimizer.slow):
                slow.copy_(groups["slow"][str(position)])
        if about["scaler"]:
            self.scaler.load_state_dict(about["scaler"])
        self.counters = Counters(**about["counters"])
        self.counters.history = [(step, name, value) for step, name, value in self.counters.history]
        self.best = groups.get("best", {})
        self.window = {name: tensor.to(device) for name, tensor in groups.get("window", {}).items()}
        return True

    def _fits(self, about: dict[str, Any], groups: dict[str, dict[str, Tensor]]) -> bool:
        own = {name: tensor.shape for name, tensor in self.model.state_dict().items()}
        stored = {name: tensor.shape for name, tensor in groups.get("model", {}).items()}
        lookahead = isinstance(self.optimizer, Lookahead)
        fits = about.get("version") == VERSION and about.get("parts", 1) == self.parts
        return fits and own == stored and lookahead == ("lookahead_updates" in about)


def begun_in(path: Path) -> tuple[int, str]:
    """Parts in which the training of a state processes its batches, and after which failure; 1 and '' without one."""
    try:
        about = json.loads(read_metadata(path).get("state", "{}"))
    except (DataError, FileNotFoundError):
        return 1, ""
    return int(about.get("parts", 1)), str(about.get("after", ""))
