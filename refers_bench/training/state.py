"""Keeps what an interrupted training needs to end bit for bit like an uninterrupted one.

One safetensors file, replaced atomically: weights, optimiser moments, Lookahead's slow weights, the best weights so
far, and in its metadata the counters and the history as JSON. No generator state: every step draws from generators
named after the job and the step (`refers_bench.identity.seed`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from refers_bench.errors import DataError
from refers_bench.training.checkpoints import publish_tensors, read_metadata, read_tensors
from refers_bench.training.optimizers import Lookahead

#: Layout of the file; from a state of another layout a training does not resume but starts over.
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
        compile_seconds: of the first update of each attempt, where networks are compiled; in neither of the two above.
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
    compile_seconds: float = 0.0
    validations: list[float] = field(default_factory=list)
    skipped: int = 0
    skipped_in_a_row: int = 0
    window_steps: int = 0
    window_skipped: int = 0
    window_seconds: float = 0.0
    window_images: int = 0
    history: list[tuple[int, str, float]] = field(default_factory=list)

    @property
    def images_per_s(self) -> float:
        """Radiographs per second of training time."""
        return self.images / self.seconds if self.seconds else 0.0


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
        micro_batches: in which batches are processed (`refers_bench.training.loop.Settings`); with another number of
            them a training starts over, so that a result depends on the number and not on when memory ran out.
        after: category of the failure that raised the number.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer | Lookahead
    scaler: torch.amp.GradScaler
    counters: Counters = field(default_factory=Counters)
    best: dict[str, Tensor] = field(default_factory=dict)
    window: dict[str, Tensor] = field(default_factory=dict)
    micro_batches: int = 1
    after: str = ""

    @property
    def _inner(self) -> torch.optim.Optimizer:
        return self.optimizer.inner if isinstance(self.optimizer, Lookahead) else self.optimizer

    def save(self, path: Path) -> None:
        """Publish the state as one file."""
        groups = {"model": self.model.state_dict(), "best": self.best, "window": self.window}
        groups |= {f"optimizer/{index}": moments for index, moments in self._inner.state_dict()["state"].items()}
        about: dict[str, Any] = {
            "version": VERSION,
            "counters": asdict(self.counters),
            "scaler": self.scaler.state_dict(),
            "parts": self.micro_batches,
            "after": self.after,
        }
        if isinstance(self.optimizer, Lookahead):
            about["lookahead_updates"] = self.optimizer.updates
            groups["slow"] = {str(index): slow for index, slow in enumerate(self.optimizer.slow)}
        tensors = {
            f"{group}/{name}": value
            for group, values in groups.items()
            for name, value in values.items()
            if isinstance(value, Tensor)
        }
        publish_tensors(path, tensors, metadata={"state": json.dumps(about)})

    def restore(self, path: Path, *, device: torch.device) -> None:
        """Resume from `path` where it holds a state that fits; nothing is changed otherwise.

        A state that does not fit (another version of the network, a damaged file) loses no result: the training then
        starts over and ends the same.
        """
        try:
            tensors, metadata = read_tensors(path)
        except (DataError, FileNotFoundError):
            return
        about = json.loads(metadata.get("state", "{}"))
        groups = _nested(tensors)
        if not self._fits(about, groups):
            return
        self.model.load_state_dict(groups["model"])
        moments = {int(index): named for index, named in _nested(groups.get("optimizer", {})).items()}
        self._inner.load_state_dict({"state": moments, "param_groups": self._inner.state_dict()["param_groups"]})
        if isinstance(self.optimizer, Lookahead):
            self.optimizer.updates = about["lookahead_updates"]
            for position, slow in enumerate(self.optimizer.slow):
                slow.copy_(groups["slow"][str(position)])
        if about["scaler"]:
            self.scaler.load_state_dict(about["scaler"])
        counters = about["counters"]
        self.counters = Counters(**{**counters, "history": [tuple(row) for row in counters["history"]]})
        self.best = groups.get("best", {})
        self.window = {name: tensor.to(device) for name, tensor in groups.get("window", {}).items()}

    def _fits(self, about: dict[str, Any], groups: dict[str, dict[str, Tensor]]) -> bool:
        own = {name: tensor.shape for name, tensor in self.model.state_dict().items()}
        stored = {name: tensor.shape for name, tensor in groups.get("model", {}).items()}
        fits = about.get("version") == VERSION and about.get("parts", 1) == self.micro_batches and own == stored
        return fits and isinstance(self.optimizer, Lookahead) == ("lookahead_updates" in about)


def _nested(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """First component of the names -> rest of the name -> tensor."""
    groups: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        group, _, rest = name.partition("/")
        groups.setdefault(group, {})[rest] = tensor
    return groups


def saved_micro_batches(path: Path) -> tuple[int, str]:
    """The number of micro-batches of a saved state, and the failure that raised it; 1 and '' without a state."""
    try:
        about = json.loads(read_metadata(path).get("state", "{}"))
    except (DataError, FileNotFoundError):
        return 1, ""
    return int(about.get("parts", 1)), str(about.get("after", ""))
