"""Two processes compute what one computes on the whole batch: sums, means, gathered rows, losses, and a training."""

from __future__ import annotations

import multiprocessing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from refers_bench.nets import distributed
from refers_bench.nets.losses import known, masked_bce, report_generation, study_report_contrast
from refers_bench.nets.parts import split
from refers_bench.training import loop

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="a process that uses a GPU cannot be forked")
CPU, WORLD = torch.device("cpu"), 2


@dataclass(frozen=True)
class Batch:
    x_BF: Tensor
    labels_BK: Tensor
    tokens_BT: Tensor


def batch() -> Batch:
    """Of 6 rows; each half has other numbers of known labels and of tokens."""
    draws = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (6, 3), generator=draws).float()
    labels[0] = labels[1, 1:] = torch.nan
    tokens = torch.randint(1, 7, (6, 5), generator=draws)
    tokens[4, 2:] = tokens[5, 1:] = 0
    return Batch(torch.randn(6, 4, generator=draws), labels, tokens)


def own(whole: Batch) -> Batch:
    """This process's share."""
    found: Batch = list(split(whole, distributed.world()))[distributed.rank()][0]
    return found


class Net(nn.Module):
    """Logits of labels and of tokens, and two features, which dropout leaves alone."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.labels, self.words, self.image, self.text = (
            nn.Linear(4, 3),
            nn.Linear(4, 35),
            nn.Linear(4, 2),
            nn.Linear(4, 2),
        )

    def forward(self, given: Batch) -> dict[str, Tensor]:
        words = self.words(given.x_BF).view(-1, 5, 7)
        contrast = study_report_contrast(
            self.image(given.x_BF), self.text(given.x_BF), temperature=0.5, image_to_text_weight=0.75,
            text_to_image_gradient=True, gather=True,
        )  # fmt: skip
        return {
            "bce": masked_bce(self.labels(given.x_BF), given.labels_BK), "contrast": contrast,
            "words": report_generation(words, given.tokens_BT),
        }  # fmt: skip


def trained(work: Path, *, parts: int = 1, stop_at: int = 0) -> dict[str, Any]:
    """Weights, losses and the update at which a signal in the last process ended each of them."""
    net, asked = Net(), [0]
    forward = DistributedDataParallel(net) if distributed.world() > 1 else net
    optimizer = torch.optim.SGD([{"params": list(net.parameters()), "base_lr": 0.1}], lr=0.1)

    def interrupted() -> bool:
        asked[0] += 1
        return bool(stop_at) and distributed.rank() == distributed.world() - 1

    found: dict[str, Any] = {"stopped": ""}
    try:
        outcome = loop.Training(
            net, key="k", settings=loop.Settings(steps=25, micro_batches=parts, save_every_s=1e9), optimizer=optimizer,
            factor=lambda step: 1.0, draw=lambda step: own(batch()), losses=forward, validate=None,
            counts=lambda part: {"bce": known(part.labels_BK).sum(), "words": (part.tokens_BT[:, 1:] != 0).sum()},
            state_path=work / "state", device=CPU, interrupted=interrupted,
        ).run()  # fmt: skip
        found["losses"] = [row for row in outcome.counters.history if row[1] != "images_per_s"]
    except loop.Interrupted as error:
        found |= {"stopped": str(error), "asked": asked[0]}
    return {**found, "weights": {name: value.clone() for name, value in net.state_dict().items()}}


def masks() -> list[float]:
    """What dropout keeps in each of three updates."""
    weight, seen = nn.Parameter(torch.ones(())), []

    def losses(given: Batch) -> dict[str, Tensor]:
        seen.append((nn.functional.dropout(torch.ones(20)) * 2.0 ** -torch.arange(20)).sum().item())
        return {"one": weight * 1.0}

    model = nn.ParameterList([weight])
    loop.Training(
        model, key="k", settings=loop.Settings(steps=3, save_every_s=1e9), factor=lambda step: 1.0,
        optimizer=torch.optim.SGD([{"params": [weight], "base_lr": 0.0}], lr=0.0), draw=lambda step: own(batch()),
        losses=losses, validate=None, state_path=Path("/nowhere/state"), device=CPU,
    ).run()  # fmt: skip
    return seen


def seen_in_a_process(work: Path) -> dict[str, Any]:
    """Everything that the tests look at, in one of the processes or alone."""
    rank = distributed.rank()
    rows = own(batch()).x_BF.clone().requires_grad_()
    gathered = distributed.gathered(rows)
    (gathered * torch.arange(1, 7)[:, None]).sum().backward()
    items = torch.tensor([1.0, 5.0][: rank + 1], requires_grad=True)
    share = distributed.mean_share(items.sum(), torch.tensor(len(items)))
    share.backward()
    number = torch.tensor(rank + 1, dtype=torch.int64)
    return {
        "rank": rank, "world": distributed.world(), "first_row": distributed.first_row(3),
        "gathered": gathered.detach(), "gradient": rows.grad, "share": share.item(), "share_gradient": items.grad,
        "nothing": distributed.mean_share(torch.tensor(0.0), torch.tensor(0)).item(),
        "summed": (distributed.summed(number).item(), number.item(), distributed.summed(number).dtype),
        "averaged": distributed.averaged(number.float()).item(),
        "any_of": [distributed.any_of(here, CPU) for here in (False, rank == 0, rank == 1, True)],
        "trained": trained(work / "whole"), "in_parts": trained(work / "parts", parts=2),
        "stopped": trained(work / "stopped", stop_at=1), "masks": masks(),
        "saved": (work / "stopped" / "state").is_file(),
    }  # fmt: skip


def process(rank: int, work: Path) -> None:
    """One of the two."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{work}/meeting", rank=rank, world_size=WORLD)
    found = seen_in_a_process(work)
    torch.save(found, work / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes has seen."""
    work = tmp_path_factory.mktemp("two")
    context = multiprocessing.get_context("fork")
    started = [context.Process(target=process, args=(rank, work)) for rank in range(WORLD)]
    for one in started:
        one.start()
    for one in started:
        one.join(120)
        assert one.exitcode == 0
    return [torch.load(work / f"{rank}.pt", weights_only=False) for rank in range(WORLD)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process without others sees."""
    return seen_in_a_process(tmp_path_factory.mktemp("alone"))


def test_sums_means_and_rows_are_those_of_all_processes(two: list[dict[str, Any]], alone: dict[str, Any]) -> None:
    whole = batch().x_BF
    for rank, found in enumerate(two):
        assert (found["rank"], found["world"], found["first_row"]) == (rank, 2, 3 * rank)
        assert torch.equal(found["gathered"], whole)
        # Both processes weigh row n with n + 1: twice that comes back to it.
        assert torch.equal(found["gradient"], 2.0 * torch.arange(1, 7)[3 * rank : 3 * rank + 3, None].expand(3, 4))
        assert found["summed"] == (3, rank + 1, torch.float32) and found["averaged"] == 1.5
        assert found["any_of"] == [False, True, True, True]
        assert found["nothing"] == 0
    # 1 here, 1 and 5 there: the mean of three items is that of the shares.
    assert [found["share"] for found in two] == pytest.approx([2 * 1 / 3, 2 * 6 / 3])
    assert all(
        found["share_gradient"].tolist() == pytest.approx([2 / 3] * (rank + 1)) for rank, found in enumerate(two)
    )
    assert (alone["rank"], alone["world"], alone["first_row"], alone["averaged"]) == (0, 1, 0, 1)
    assert torch.equal(alone["gathered"], whole) and alone["summed"] == (1, 1, torch.float32)
    assert (alone["share"], alone["any_of"], alone["nothing"]) == (1, [False, True, False, True], 0)


@pytest.mark.parametrize("how", ["trained", "in_parts"])
def test_a_training_in_two_processes_is_that_of_one(two: list[dict[str, Any]], alone: dict[str, Any], how: str) -> None:
    """Losses that are means over labels and tokens, and a contrast over all rows, of halves of other sizes."""
    expected = alone["trained"]
    for found in two if how == "trained" else ():
        for name, value in expected["weights"].items():
            torch.testing.assert_close(found[how]["weights"][name], value, rtol=1e-3, atol=3e-4)
        for (step, name, value), (*_, other) in zip(expected["losses"], found[how]["losses"], strict=True):
            assert other == pytest.approx(value, rel=1e-5 if step == 1 else 1e-3), (step, name)
    for name in ("labels.weight", "words.bias"):  # the contrast of a part has the negatives of the part alone
        for found in (*two, alone):
            torch.testing.assert_close(
                found[how]["weights"][name], expected["weights"][name], rtol=1e-4, atol=1e-5
            )  # fmt: skip


def test_all_processes_stop_after_the_same_update_and_one_saves(
    two: list[dict[str, Any]], alone: dict[str, Any]
) -> None:
    """They agree every tenth update; a process alone stops at once."""
    for found in two:
        assert found["stopped"]["stopped"].startswith("preempted after update 10 of 25") and found["saved"]
        assert found["stopped"]["asked"] == 1
    assert alone["stopped"]["stopped"].startswith("preempted after update 1 of 25") and alone["saved"]


def test_each_process_drops_units_of_its_own(two: list[dict[str, Any]], alone: dict[str, Any]) -> None:
    first, second = (found["masks"] for found in two)
    assert first == alone["masks"] and len({*first, *second}) == 6
