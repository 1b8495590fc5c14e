"""Does the loop train, keep the best weights, stop early, refuse NaN, and resume to the same bits?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from refers_bench import identity
from refers_bench.errors import Interrupted, NotFiniteLoss
from refers_bench.manifest.protocols import resolve
from refers_bench.nets.parts import split
from refers_bench.training import loop, optimizers, precision, schedules
from refers_bench.training.checkpoints import read_metadata
from refers_bench.training.progress import ProgressFile
from refers_bench.training.state import saved_micro_batches

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Batch:
    images_BCHW: Tensor
    labels_B: Tensor


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.LayerNorm(8), nn.Dropout(0.5), nn.ReLU())
        self.head = nn.Linear(8, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.head(self.body(x_BCHW)).squeeze(1)


def draw(step: int) -> Batch:
    generator = torch.Generator().manual_seed(identity.seed("job", "data", step))
    x_BCHW = torch.randn(8, 1, 4, 4, generator=generator)
    return Batch(x_BCHW, (x_BCHW.mean((1, 2, 3)) > 0).float())


class KilledError(Exception):
    pass


def run(
    work: Path,
    *,
    settings: loop.Settings,
    optimizer: str = "sgd",
    lookahead: int = 0,
    kill_at: int | None = None,
    dropout: float = 0.5,
    values: list[float] | None = None,
    losses: Any = None,
    **more: Any,
) -> tuple[Net, loop.Outcome]:
    torch.manual_seed(0)
    net = Net()
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = dropout
    groups = optimizers.parameter_groups(net, learning_rate=0.1, weight_decay=0.01, decay_rule="no_norm_bias")
    rule: Any = optimizers.build(optimizer, groups, momentum=0.9)
    if lookahead:
        rule = optimizers.Lookahead(rule, steps=lookahead, alpha=0.5)
    scripted = iter(values or [])

    def named(batch: Batch) -> Mapping[str, Tensor]:
        bce = nn.functional.binary_cross_entropy_with_logits(net(batch.images_BCHW).float(), batch.labels_B)
        return {"bce": bce, "small": 0.1 * bce}

    def validate() -> Mapping[str, float]:
        assert not net.training
        if values is not None:
            return {"val/loss": next(scripted)}
        return {"val/loss": named(draw(10_000))["bce"].item()}

    def draw_or_die(step: int) -> Batch:
        if step == kill_at:
            raise KilledError
        return draw(step)

    factor = schedules.per_update(schedules.multiplier("cosine", steps=20, warmup_steps=3), order="after_step")
    outcome = loop.Training(
        net, key="job", settings=settings, optimizer=rule, factor=factor, draw=draw_or_die,
        losses=losses or named, validate=more.pop("validate", validate), state_path=work / "state.safetensors", device=CPU, **more,
    ).run()  # fmt: skip
    return net, outcome


EVERY = loop.Settings(steps=20, validate_every=4, metric="val/loss", clip_norm=1.0, save_every_s=0.0)


def stable(outcome: loop.Outcome) -> list[tuple[int, str, float]]:
    return [row for row in outcome.counters.history if row[1] != "images_per_s"]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("lookahead", [0, 3])
@pytest.mark.parametrize("number_format", ["fp32", "bf16"])
def test_resumed_equals_uninterrupted(tmp_path: Path, optimizer: str, lookahead: int, number_format: str) -> None:
    settings = replace(EVERY, precision=number_format)
    kinds = {"optimizer": optimizer, "lookahead": lookahead}
    whole, whole_outcome = run(tmp_path / "whole", settings=replace(settings, save_every_s=1e9), **kinds)
    for kill_at in (1, 7, 12, 19):
        work = tmp_path / f"{kill_at}"
        with pytest.raises(KilledError):
            run(work, settings=settings, kill_at=kill_at, **kinds)
        resumed, outcome = run(work, settings=settings, **kinds)
        assert outcome.resumed_from == kill_at
        assert stable(outcome) == stable(whole_outcome)
        assert outcome.counters.best_step == whole_outcome.counters.best_step
        for (name, a), b in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
            assert torch.equal(a, b), (kill_at, name)


def test_resume_in_the_middle_of_a_history_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "HISTORY_ROWS", 4)
    _, whole = run(tmp_path / "whole", settings=EVERY)
    with pytest.raises(KilledError):
        run(tmp_path / "killed", settings=EVERY, kill_at=8)
    _, resumed = run(tmp_path / "killed", settings=EVERY)
    assert stable(resumed) == stable(whole)
    assert [step for step, name, _ in whole.counters.history if name == "loss/total"] == [5, 10, 15, 20]


def test_a_finished_state_is_not_trained_further(tmp_path: Path) -> None:
    first, _ = run(tmp_path, settings=EVERY)
    again, outcome = run(tmp_path, settings=EVERY, kill_at=20)
    assert outcome.resumed_from == 20
    assert torch.equal(first.head.weight, again.head.weight)


@pytest.mark.parametrize("content", [b"", b"damaged", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "])
def test_a_damaged_state_starts_over(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "state.safetensors").write_bytes(content)
    _, outcome = run(tmp_path, settings=EVERY)
    assert outcome.resumed_from == 0
    assert outcome.counters.step == 20


def test_a_state_of_another_network_starts_over(tmp_path: Path) -> None:
    run(tmp_path, settings=EVERY)
    _, outcome = run(tmp_path, settings=EVERY, lookahead=2)
    assert outcome.resumed_from == 0


def test_losses_fall(tmp_path: Path) -> None:
    _, outcome = run(tmp_path, settings=EVERY, dropout=0.0)
    totals = [value for _, name, value in outcome.counters.history if name == "loss/total"]
    assert len(totals) == 20
    assert sum(totals[-5:]) < 0.8 * sum(totals[:5])


def test_total_is_the_sum_of_named_losses(tmp_path: Path) -> None:
    _, outcome = run(tmp_path, settings=EVERY)
    rows = {(step, name): value for step, name, value in outcome.counters.history}
    for step in range(1, 21):
        parts = rows[step, "loss/bce"] + rows[step, "loss/small"]
        assert rows[step, "loss/total"] == pytest.approx(parts, rel=1e-6)


def test_accumulated_equals_big_batch(tmp_path: Path) -> None:
    whole, _ = run(tmp_path / "1", settings=replace(EVERY, metric=""), dropout=0.0)
    for parts in (2, 3):
        cut, _ = run(tmp_path / f"{parts}", settings=replace(EVERY, metric="", grad_accum_steps=parts), dropout=0.0)
        for (name, a), b in zip(whole.state_dict().items(), cut.state_dict().values(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_processed_in_parts_equals_at_once(tmp_path: Path, accumulate: int) -> None:
    settings = replace(EVERY, metric="", grad_accum_steps=accumulate)
    whole, at_once = run(tmp_path / "1", settings=settings, dropout=0.0)
    for parts in (2, 3):
        cut, outcome = run(tmp_path / f"{parts}", settings=replace(settings, micro_batches=parts), dropout=0.0)
        assert outcome.settings.micro_batches == parts
        for (name, a), b in zip(whole.state_dict().items(), cut.state_dict().values(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6, msg=name)
        for (step, name, a), (_, _, b) in zip(stable(at_once), stable(outcome), strict=True):
            assert a == pytest.approx(b, rel=1e-3), (step, name)


def test_losses_in_parts_weigh_what_they_count(tmp_path: Path) -> None:
    """A mean over the positive labels only: parts of few weigh little."""

    def losses_of(net: Net, batch: Batch) -> Mapping[str, Tensor]:
        return {"positive": (net(batch.images_BCHW) * batch.labels_B).sum() / batch.labels_B.sum().clamp(min=1)}

    found = []
    for parts in (1, 4):

        def counts(batch: Batch) -> Mapping[str, Tensor]:
            return {"positive": batch.labels_B.sum()}

        torch.manual_seed(0)
        net = Net().eval()
        net.train = lambda mode=True, net=net: net  # type: ignore[method-assign,misc]
        rule = torch.optim.SGD([{"params": list(net.parameters()), "base_lr": 0.1}], lr=0.1)
        outcome = loop.Training(
            net, key="job", settings=loop.Settings(steps=3, micro_batches=parts), optimizer=rule, factor=lambda step: 1.0,
            draw=draw, losses=lambda batch, net=net: losses_of(net, batch), validate=None, counts=counts,
            state_path=tmp_path / f"{parts}", device=CPU,
        ).run()  # fmt: skip
        found.append([value for _, name, value in outcome.counters.history if name == "loss/positive"])
    assert found[1] == pytest.approx(found[0], rel=1e-4)


def test_a_state_in_other_parts_starts_over(tmp_path: Path) -> None:
    straight, _ = run(tmp_path / "straight", settings=replace(EVERY, micro_batches=2))
    with pytest.raises(KilledError):
        run(tmp_path / "cut", settings=EVERY, kill_at=9)
    assert saved_micro_batches(tmp_path / "cut" / "state.safetensors") == (1, "")
    fewer = replace(EVERY, micro_batches=2, after="cuda_oom")
    with pytest.raises(KilledError):
        run(tmp_path / "cut", settings=fewer, kill_at=5)
    assert saved_micro_batches(tmp_path / "cut" / "state.safetensors") == (2, "cuda_oom")
    cut, outcome = run(tmp_path / "cut", settings=fewer)
    assert (outcome.resumed_from, outcome.settings.micro_batches, outcome.settings.after) == (5, 2, "cuda_oom")
    for (name, a), b in zip(straight.state_dict().items(), cut.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_told_to_make_room_it_saves_after_the_update_and_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    settings = replace(EVERY, save_every_s=1e9)
    whole, straight = run(tmp_path / "whole", settings=settings)
    for last in (1, 7, 12, 20):
        work, seen = tmp_path / f"{last}", []

        def told(last: int = last, seen: list[int] = seen) -> bool:
            seen.append(1)
            return len(seen) == last

        with pytest.raises(Interrupted, match=f"after update {last} of 20"):
            run(work, settings=settings, interrupted=told)
        resumed, outcome = run(work, settings=settings)
        assert outcome.resumed_from == last
        assert stable(outcome) == stable(straight)
        for (name, a), b in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
            assert torch.equal(a, b), (last, name)


def test_told_to_make_room_with_a_loss_that_is_none_it_fails(tmp_path: Path) -> None:
    weight = torch.zeros((), requires_grad=True)
    with pytest.raises(NotFiniteLoss):
        run(tmp_path, settings=EVERY, losses=lambda batch: {"bad": weight * torch.nan}, interrupted=lambda: True)


def test_split_covers_every_row_once() -> None:
    batch = draw(0)
    parts = list(split(batch, 3))
    assert torch.equal(torch.cat([part.images_BCHW for part, _ in parts]), batch.images_BCHW)
    assert sum(share for _, share in parts) == pytest.approx(1)
    assert [len(part.labels_B) for part, _ in parts] == [3, 3, 2]


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_not_finite_loss(tmp_path: Path, wrong: float) -> None:
    weight = torch.zeros((), requires_grad=True)
    with pytest.raises(NotFiniteLoss, match=r"'bad'.*update 1"):
        run(tmp_path, settings=EVERY, losses=lambda batch: {"fine": weight + 1, "bad": weight + wrong})
    assert not (tmp_path / "state.safetensors").exists()


def test_best_validation_keeps_the_first_best(tmp_path: Path) -> None:
    _, outcome = run(tmp_path, settings=EVERY, values=[3.0, 2.0, 2.0, float("nan"), 5.0])
    assert (outcome.counters.best_step, outcome.counters.best_value) == (8, 2.0)
    assert [step for step, name, _ in outcome.counters.history if name == "val/loss"] == [4, 8, 12, 20]
    highest = replace(EVERY, higher_is_better=True)
    _, outcome = run(tmp_path / "high", settings=highest, values=[3.0, 2.0, 2.0, 1.0, 5.0])
    assert (outcome.counters.best_step, outcome.counters.best_value) == (20, 5.0)


def test_best_weights_are_those_of_their_step(tmp_path: Path) -> None:
    best, _ = run(tmp_path / "20", settings=EVERY, values=[3.0, 2.0, 4.0, 4.0, 5.0])
    short, _ = run(tmp_path / "8", settings=replace(EVERY, steps=8, metric=""))
    last, _ = run(tmp_path / "last", settings=replace(EVERY, metric=""))
    assert torch.equal(best.head.weight, short.head.weight)
    assert not torch.equal(best.head.weight, last.head.weight)


def test_patience_stops(tmp_path: Path) -> None:
    settings = replace(EVERY, validate_every=2, patience=3)
    _, outcome = run(tmp_path, settings=settings, values=[2.0, 1.0, 3.0, 3.0, 3.0, 0.0])
    assert outcome.counters.stopped
    assert (outcome.counters.step, outcome.counters.best_step) == (10, 4)
    _, again = run(tmp_path, settings=settings, values=[])
    assert (again.counters.step, again.counters.stopped) == (10, True)


@pytest.mark.parametrize(("dataset", "worse"), [("nih_chestxray14", 11), ("vinbigdata_cxr", 11), ("covid19_idc", 21)])
def test_the_released_code_stops_after_more_than_so_many_worse_epochs(tmp_path: Path, dataset: str, worse: int) -> None:
    """More than 10 (20) in a row: the 10th (20th) worse one goes on, and a better one after it counts."""
    for preset in ("official_code", "paper"):
        patience = resolve(preset, dataset=dataset)["finetune.patience"].value
        settings = replace(EVERY, steps=30, validate_every=1, patience=patience)
        _, stopped = run(tmp_path / preset, settings=settings, values=[1.0] + [2.0] * 30)
        assert (stopped.counters.step, stopped.counters.stopped) == (1 + worse, True)
        _, saved = run(tmp_path / f"{preset} late", settings=settings, values=[1.0] + [2.0] * (worse - 1) + [0.5] * 30)
        assert saved.counters.best_step == 1 + worse


def test_dropout_follows_the_step_not_the_past(tmp_path: Path) -> None:
    a, _ = run(tmp_path / "a", settings=replace(EVERY, metric=""))
    b, _ = run(tmp_path / "b", settings=replace(EVERY, metric="", validate_every=0))
    assert torch.equal(a.head.weight, b.head.weight)


def masks(work: Path, *, key: str = "job", steps: int = 6, validate_every: int = 0, before: int = 0) -> list[float]:
    """Of each update the sum of 20 powers of two that dropout keeps: another mask has another sum."""
    torch.manual_seed(before)
    dropout, weight = nn.Dropout(0.5), nn.Parameter(torch.ones(()))
    model = nn.ModuleList([dropout])
    model.register_parameter("weight", weight)
    powers = 2.0 ** -torch.arange(1, 21)
    seen: list[bool] = []

    def validate() -> Mapping[str, float]:
        seen.append(dropout(torch.ones(100)).eq(1).all().item() and not torch.is_grad_enabled())
        torch.rand(3)
        return {"val/loss": 0.0}

    outcome = loop.Training(
        model, key=key, settings=loop.Settings(steps=steps, validate_every=validate_every),
        optimizer=torch.optim.SGD([{"params": [weight], "base_lr": 0.0}], lr=0.0), factor=lambda step: 1.0, draw=draw,
        losses=lambda batch: {"kept": weight * (dropout(torch.ones(20)) * powers).sum()}, validate=validate,
        state_path=work / "state", device=CPU,
    ).run()  # fmt: skip
    assert seen and all(seen), "a validation drops nothing and keeps nothing for gradients"
    return [value for _, name, value in outcome.counters.history if name == "loss/kept"]


def test_each_update_drops_other_units_by_its_key_and_number_alone(tmp_path: Path) -> None:
    plain = masks(tmp_path / "a")
    assert len(set(plain)) == 6
    assert masks(tmp_path / "b", validate_every=1, before=9) == plain
    assert masks(tmp_path / "c", steps=9)[:6] == plain
    assert not set(masks(tmp_path / "d", key="other")) & set(plain)


def test_fp16_scaler_state_survives(tmp_path: Path) -> None:
    settings = replace(EVERY, precision="fp16")
    whole, _ = run(tmp_path / "whole", settings=settings)
    with pytest.raises(KilledError):
        run(tmp_path / "killed", settings=settings, kill_at=9)
    resumed, _ = run(tmp_path / "killed", settings=settings)
    assert torch.equal(whole.head.weight, resumed.head.weight)


class Remembering(Net):
    """Has a buffer that each forward pass in training writes to, as batch statistics and queues of keys are."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        logits = super().forward(x_BCHW)
        if self.training:
            self.mean.copy_(0.5 * self.mean + 0.5 * x_BCHW.mean())
        return logits


#: What a fp16 forward pass may give instead of a loss. The last one has finite gradients.
OVERFLOWS: Mapping[str, Any] = {
    "nan": lambda loss: loss * torch.nan, "inf": lambda loss: loss * torch.inf, "plus inf": lambda loss: loss + torch.inf,
}  # fmt: skip


def train_with_overflows(
    work: Path, *, bad: Any, number_format: str, how: str = "nan", kill_at: int | None = None, lookahead: int = 0,
    steps: int = 20,
) -> tuple[Remembering, loop.Outcome, dict[int, dict[str, Tensor]], Any]:  # fmt: skip
    """A training in which the losses of updates `bad` (from 0) overflow; weights before each update, and its state."""
    torch.manual_seed(0)
    net, before, now = Remembering(), {}, [0]
    groups = optimizers.parameter_groups(net, learning_rate=0.1, weight_decay=0.01, decay_rule="no_norm_bias")
    rule: Any = optimizers.build("sgd", groups, momentum=0.9)
    rule = optimizers.Lookahead(rule, steps=lookahead, alpha=0.5) if lookahead else rule

    def drawn(step: int) -> Batch:
        if step == kill_at:
            raise KilledError
        now[0] = step
        before[step] = {name: value.clone() for name, value in net.state_dict().items()}
        return draw(step)

    def losses(batch: Batch) -> Mapping[str, Tensor]:
        bce = nn.functional.binary_cross_entropy_with_logits(net(batch.images_BCHW).float(), batch.labels_B)
        return {"bce": OVERFLOWS[how](bce) if now[0] in bad else bce, "small": 0.1 * bce}

    settings = loop.Settings(steps=steps, precision=number_format, save_every_s=0.0, clip_norm=1.0)
    outcome = loop.Training(
        net, key="job", settings=settings, optimizer=rule, factor=lambda update: 1.0, draw=drawn, losses=losses,
        validate=None, state_path=work / "state.safetensors", device=CPU,
    ).run()  # fmt: skip
    before[steps] = {name: value.clone() for name, value in net.state_dict().items()}
    state = json.loads(read_metadata(work / "state.safetensors")["state"])
    return net, outcome, before, state


@pytest.mark.parametrize("how", OVERFLOWS)
@pytest.mark.parametrize("lookahead", [0, 3])
def test_fp16_skips_an_update_whose_loss_is_not_finite(
    tmp_path: Path, how: str, lookahead: int, caplog: pytest.LogCaptureFixture
) -> None:
    bad = (4, 5, 11)
    _, outcome, weights, state = train_with_overflows(
        tmp_path, bad=bad, number_format="fp16", how=how, lookahead=lookahead
    )
    assert (outcome.counters.step, outcome.counters.skipped) == (20, len(bad))
    assert state["scaler"]["scale"] == 2.0**16 * 0.5 ** len(bad)
    for step in range(20):
        same = all(torch.equal(value, weights[step + 1][name]) for name, value in weights[step].items())
        assert same == (step in bad), f"update {step + 1}: neither weights nor buffers change where it is skipped"
    rows = {step for step, name, _ in outcome.counters.history if name == "loss/total"}
    assert rows == {step + 1 for step in range(20)} - {step + 1 for step in bad}
    assert sum("skipped" in record.message for record in caplog.records) == len(bad)


def test_a_skipped_update_does_not_count_in_the_mean_of_its_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "HISTORY_ROWS", 1)
    _, outcome, _, _ = train_with_overflows(tmp_path / "a", bad=(1,), number_format="fp16", steps=2)
    _, first, _, _ = train_with_overflows(tmp_path / "b", bad=(), number_format="fp16", steps=1)
    expected, found = ([row for row in one.counters.history if row[1].startswith("loss/")] for one in (first, outcome))
    assert [row[1:] for row in found] == [row[1:] for row in expected]


def test_skipped_updates_are_counted_over_all_attempts_and_resumed_to_the_same_bits(tmp_path: Path) -> None:
    whole, straight, _, _ = train_with_overflows(tmp_path / "whole", bad=(4, 5, 11), number_format="fp16")
    with pytest.raises(KilledError):
        train_with_overflows(tmp_path / "cut", bad=(4, 5, 11), number_format="fp16", kill_at=6)
    resumed, outcome, _, _ = train_with_overflows(tmp_path / "cut", bad=(4, 5, 11), number_format="fp16")
    assert (outcome.resumed_from, outcome.counters.skipped) == (6, straight.counters.skipped)
    assert stable(outcome) == stable(straight)
    for (name, a), b in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_fp16_gives_up_after_many_skipped_updates_in_a_row(tmp_path: Path) -> None:
    most = loop.SKIPPED_IN_A_ROW
    steps = 2 * most + 1
    often = tuple(step for step in range(steps) if step % most)  # never that many in a row
    _, outcome, _, _ = train_with_overflows(tmp_path / "often", bad=often, number_format="fp16", steps=steps)
    assert outcome.counters.skipped == len(often)
    with pytest.raises(NotFiniteLoss, match=rf"{most} updates in a row skipped, the last of them update {most + 2},"):
        train_with_overflows(tmp_path / "always", bad=range(2, steps), number_format="fp16", steps=steps)


@pytest.mark.parametrize("number_format", ["fp32", "bf16"])
def test_no_other_number_format_skips(tmp_path: Path, number_format: str) -> None:
    with pytest.raises(NotFiniteLoss, match="'bce' is nan at update 5"):
        train_with_overflows(tmp_path, bad=(4,), number_format=number_format)


@pytest.mark.parametrize(("takes", "updates"), [(0.0, [5, 10, 15, 20]), (0.5, [5, 15])])
def test_states_are_saved_as_often_as_asked_unless_saving_takes_long(
    tmp_path: Path, takes: float, updates: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An update takes a second here; saving takes a twentieth of all time at most."""
    now, saved = [0.0], []

    def save(state: Any, path: Path) -> None:
        now[0] += takes
        saved.append(state.counters.step)

    def progress(view: Mapping[str, Any]) -> None:
        now[0] += 1

    monkeypatch.setattr(loop.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(loop.State, "save", save)
    monkeypatch.setattr(loop, "SAVE_SHARE", 0.05)
    run(tmp_path, settings=replace(EVERY, save_every_s=5.0), progress=progress)
    assert saved == updates


def test_no_speed_is_shown_before_it_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "HISTORY_ROWS", 5)
    views: list[Mapping[str, Any]] = []
    run(tmp_path, settings=EVERY, progress=views.append)
    shown = [view["images_per_s"] for view in views]
    measured = next(step for step, speed in enumerate(shown) if speed)
    assert measured > 0 and shown[:measured] == [0.0] * measured
    assert views[0]["losses"] == {} and set(views[-1]["losses"]) == {"bce", "small", "total"}


def test_progress_file_is_written_at_most_once_a_second(tmp_path: Path) -> None:
    progress = ProgressFile(tmp_path / "progress.json")
    run(tmp_path, settings=replace(EVERY, save_every_s=1e9), progress=progress)
    shown = json.loads((tmp_path / "progress.json").read_text())
    assert shown["steps"] == 20
    assert shown["step"] < 20
    assert set(shown["losses"]) == {"bce", "small", "total"}


def test_unknown_precision() -> None:
    with pytest.raises(ValueError, match="allowed: fp32, bf16, fp16"):
        precision.autocast("fp8", CPU)


@pytest.mark.parametrize(("number_format", "computed_in"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_validation_is_as_precise_as_training(tmp_path: Path, number_format: str, computed_in: torch.dtype) -> None:
    seen = []
    weight = torch.ones(4, 4)

    def validate() -> Mapping[str, float]:
        seen.append((weight @ weight).dtype)
        return {"val/loss": 1.0}

    run(tmp_path, settings=loop.Settings(steps=2, validate_every=1, precision=number_format), validate=validate)
    assert seen == [computed_in] * 2
    assert (weight @ weight).dtype == torch.float32  # what is scored afterwards is not


def test_new_memory_is_not_filled() -> None:
    before = torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic.fill_uninitialized_memory
    try:
        precision.be_deterministic()
        with torch.profiler.profile() as seen:
            torch.empty(1000)
        assert "aten::fill_" not in {event.key for event in seen.key_averages()}
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.utils.deterministic.fill_uninitialized_memory = before[1]
