"""Compares what the restoring methods minimise, with their own defaults, with loops over images and pixels."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor
from torchvision.transforms import functional as transforms

from refers_bench import plugins
from refers_bench.data import distortions, pretext
from refers_bench.data.augment import Augment
from refers_bench.data.batches import StudySource
from refers_bench.manifest import protocols
from refers_bench.manifest.protocols import resolve_sections
from refers_bench.nets.facts import SourceFacts
from refers_bench.nets.restoration import VALIDATION_SEED, GreyLevels

BATCH, SIZE = 12, 32
SECTIONS = resolve_sections("smoke")
MEAN, STD = SECTIONS["image"]["mean"][0], SECTIONS["image"]["std"][0]


def objective_of(name: str, *, image: Any = SECTIONS["image"], **params: Any) -> Any:
    method = plugins.load("method", name)
    torch.manual_seed(0)
    given = method.Params(**params)
    encoder = method.build_encoder(given, SECTIONS["network"], image)
    facts = SourceFacts(classes=())
    return method.build_objective(given, facts, SECTIONS["network"], image, SECTIONS["pretrain"], encoder).eval()


def batch() -> Any:
    generator = torch.Generator().manual_seed(1)
    grey = torch.rand(BATCH, 1, 1, SIZE, SIZE, generator=generator)
    labels = torch.randint(0, 44, (BATCH, 1), generator=generator).float()
    return SimpleNamespace(images_BVCHW=(grey - MEAN) / STD, labels_BK=labels)


def grey_of(one: Any) -> Tensor:
    """Grey levels as the objective gets them back from normalised images."""
    return (one.images_BVCHW[:, 0, 0] * STD + MEAN).clamp(0, 1)


def seen_and_restored(objective: Any, distorted: Tensor) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        tokens = objective.encoder((distorted[:, None] - MEAN) / STD)
        return tokens, objective.decoder(objective.encoder.patches(tokens))


def squared_error(restored: Tensor, target: Tensor) -> float:
    total = 0.0
    for image, wanted in zip(restored.double().numpy(), target.double().numpy(), strict=True):
        for row, wanted_row in zip(image, wanted, strict=True):
            total += sum((a - b) ** 2 for a, b in zip(row, wanted_row, strict=True))
    return total / restored.numel()


def test_grey_levels_stay_between_black_and_white() -> None:
    """Normalised and back, rounding would leave [0, 1], in which distortions are defined, by a little."""
    values, beyond = torch.tensor([0.0, 0.25, 1.0]), 0
    for mean in np.linspace(0.05, 0.95, 40):
        levels = GreyLevels({"mean": [float(mean)], "std": [float(mean) / 3]})
        normalised = (values - torch.tensor(float(mean))) / torch.tensor(float(mean) / 3)
        back = normalised * levels.std.flatten() + levels.mean.flatten()
        beyond += bool((back < 0).any() or (back > 1).any())
        grey = levels.grey(normalised[None, None, None].expand(1, 3, 1, 3))
        assert grey.min() >= 0 and grey.max() <= 1
        torch.testing.assert_close(grey.flatten(), values, rtol=0, atol=1e-6)
        torch.testing.assert_close(levels.normalised(grey).flatten(), normalised, rtol=1e-5, atol=1e-5)
    assert beyond > 0, "there is something to keep inside"


def test_model_genesis_restores_the_flipped_clean_image() -> None:
    objective, one = objective_of("model_genesis"), batch()
    generator = torch.Generator().manual_seed(VALIDATION_SEED)
    flipped = pretext.flips(grey_of(one), generator)
    assert 0 < int((flipped != grey_of(one)).flatten(1).any(1).sum()) < BATCH
    distorted = pretext.genesis(flipped, generator, windows=700, shuffle=0.5, intensity=0.9, paint=0.9, inpaint=0.2)
    _, restored = seen_and_restored(objective, distorted)
    losses = objective(one)
    assert list(losses) == ["restoration"]
    assert float(losses["restoration"]) == pytest.approx(squared_error(restored, flipped), rel=1e-5)
    assert float(losses["restoration"]) != pytest.approx(squared_error(restored, grey_of(one)), rel=1e-5)


def test_context_restoration_restores_the_image_itself() -> None:
    objective, one = objective_of("context_restoration"), batch()
    generator = torch.Generator().manual_seed(VALIDATION_SEED)
    drawn = distortions.draw_swaps(BATCH, SIZE, swaps=20, side=(20, 20), generator=generator)
    _, restored = seen_and_restored(objective, distortions.apply_swaps(grey_of(one), drawn))
    assert float(objective(one)["restoration"]) == pytest.approx(squared_error(restored, grey_of(one)), rel=1e-5)


def test_transvw_weighs_words_by_a_hundredth_and_restores_the_crop_before_the_warp() -> None:
    objective, one = objective_of("transvw"), batch()
    generator = torch.Generator().manual_seed(VALIDATION_SEED)
    distorted = pretext.visual_words(grey_of(one), generator, windows=5, alpha=172.5, sigma=8.0)
    tokens, restored = seen_and_restored(objective, distorted)
    with torch.no_grad():
        logits = objective.head(objective.encoder.readout(tokens)).double().numpy()
    crossed = 0.0
    for row, word in zip(logits, one.labels_BK[:, 0].int().tolist(), strict=True):
        crossed -= math.log(math.exp(row[word]) / sum(math.exp(value) for value in row))
    losses = objective(one)
    assert list(losses) == ["visual_word", "restoration"]
    assert float(losses["visual_word"]) == pytest.approx(0.01 * crossed / BATCH, rel=1e-5)
    assert float(losses["restoration"]) == pytest.approx(squared_error(restored, grey_of(one)), rel=1e-5)


def test_word_accuracy_is_the_share_of_crops_whose_word_comes_first() -> None:
    objective, one = objective_of("transvw"), batch()
    named = (one.labels_BK[:, 0].long() + (torch.arange(BATCH) == 1)) % objective.head[1].out_features
    logits = torch.nn.functional.one_hot(named, objective.head[1].out_features).float()
    objective.head = torch.nn.Sequential(*(torch.nn.Identity(),) * 2)
    objective.encoder.readout = lambda tokens: logits
    assert float(objective.measures(one)["word_accuracy"]) == pytest.approx((BATCH - 1) / BATCH)


@pytest.mark.parametrize("name", ["model_genesis", "context_restoration", "transvw"])
def test_distortions_are_those_of_float32_whatever_the_networks_compute_in(name: str) -> None:
    """In 16 bit a warp's sampling places would be wrong by up to a pixel."""
    objective, one = objective_of(name), batch()
    found = []
    contexts: list[Callable[[], Any]] = [contextlib.nullcontext, lambda: torch.autocast("cpu", dtype=torch.bfloat16)]
    for context in contexts:
        with context():
            found.append(objective.pair_of(one))
            assert (torch.ones(4, 4) @ torch.ones(4, 4)).dtype == (torch.bfloat16 if len(found) == 2 else torch.float32)
    for exact, inside in zip(*found, strict=True):
        assert inside.dtype == torch.float32
        np.testing.assert_array_equal(inside.numpy(), exact.numpy())


@pytest.mark.parametrize("preset", ["paper", "official_code", "phantom_cpu"])
@pytest.mark.parametrize("name", ["model_genesis", "context_restoration"])
def test_what_is_restored_is_the_prepared_radiograph_itself(name: str, preset: str) -> None:
    """No crop, no black corners, no jitter: a flip at most, and of Context Restoration not even that.

    Source: generate_pair of Models Genesis takes its images whole; the README of the golden cases, case 07.
    """
    method = plugins.load("method", name)
    own = {key: protocols.Value(value=value, origin=source) for key, (value, source) in method.constants.items()}
    image = protocols.sections_of(protocols.resolve(preset, method=own))["image"]
    P, size = image["prepared_size"], image["size"]
    pixels = np.random.default_rng(0).integers(60, 256, (6, P, P), dtype=np.uint8)
    rows = pd.DataFrame({"image_id": list("abcdef"), "study_id": list("abcdef"), "place": range(6), "report": None})
    source = StudySource(
        pixels, rows, group="image_id", tokenizer=None, max_tokens=0, task="", classes=(), views=1,
        view_sampling="paper", report_flip="paper", shuffled=False, augment=Augment.of(image, "pretrain_augment"),
        device=torch.device("cpu"), key="k",
    )  # fmt: skip
    objective = objective_of(name, image=image)
    whole = transforms.resize(torch.from_numpy(pixels).float() / 255, [size, size], antialias=True)
    flips = [whole.flip(axes) for axes in ((), (1,), (2,), (1, 2))][: 4 if name == "model_genesis" else 1]
    seen = set()
    for step in range(3):
        grey = objective.levels.grey(source.draw(step, batch_size=6).images_BVCHW[:, 0])
        target = objective.target(grey, torch.Generator().manual_seed(step))
        for one in target:
            gaps = torch.stack([(one - flip).abs().amax((1, 2)) for flip in flips])
            assert float(gaps.min()) < 1e-5
            seen.add(int(gaps.flatten().argmin()) // 6)
    assert (len(seen) > 1) == (len(flips) > 1)


def test_windows_of_the_same_laboratory_are_a_choice_by_name() -> None:
    """POPAR, Pretraining/md_aug.py: 40 windows in every image."""
    params = plugins.load("method", "model_genesis").Params(shuffling="popar")
    assert (params.chances()["windows"], params.chances()["shuffle"]) == (40, 1.0)
    drawn = pretext.draw_genesis(9, 64, torch.Generator().manual_seed(0), **params.chances())
    assert drawn.shuffles is not None
    assert drawn.shuffles.windows.top.shape == (9, 40)
    # A job's specification holds all parameters; what came later is in no key at its default.
    assert type(params)(**params.model_dump()) == params
    assert not {"shuffling", "dimensions"} & set(type(params)().model_dump())
    for other in ({"windows": 41}, {"shuffle": 0.6}):
        with pytest.raises(ValueError, match="stands in place of"):
            type(params)(shuffling="popar", **other)
