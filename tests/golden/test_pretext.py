"""Replays draws recorded from the authors' functions of Models Genesis and TransVW through the product's distortions.

Every size, rate and number of steps is read from a case itself.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from refers_bench import plugins
from refers_bench.data import distortions, pretext
from refers_bench.data.distortions import Shuffles
from refers_bench.data.windows import Windows, covered

#: Absolute, of float32 arithmetic on float64 recordings.
EXACT = 1e-6


def case(folder: Path, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the constants of a case."""
    with safe_open(folder / f"{name}.safetensors", "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        return tensors, json.loads(file.metadata()["hparams"])


def examples(tensors: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Independent examples by their prefix."""
    found: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        prefix, _, name = key.partition("/")
        if len(prefix) == 1:
            found.setdefault(prefix, {})[name] = value
    assert found
    return found


def windows(hwtl: Tensor) -> Windows:
    """Recorded rows of height, width, top, left as the windows of one image."""
    height, width, top, left = hwtl.long().T[:, None]
    return Windows(top=top, left=left, height=height, width=width)


def shuffles(hwtl: Tensor, permutations: Tensor) -> Shuffles:
    """Recorded windows with their permutations, one after the other."""
    drawn = windows(hwtl)
    areas = drawn.height * drawn.width
    assert int(areas.sum()) == len(permutations)
    return Shuffles(windows=drawn, pool=permutations, start=areas.cumsum(1) - areas)


def as_image(drawn: Windows, values: Tensor, image: Tensor) -> Tensor:
    """Numbers given block after block, row by row, as an image; later blocks overwrite earlier ones."""
    last = covered(drawn, image[None]).last
    return torch.cat([values, values.new_zeros(1)])[last].view(1, *image.shape)


def painting(image: Tensor, noise: Tensor, *, inside: Tensor | None, outside: Tensor | None) -> pretext.Painting:
    """One recorded in- or out-painting of an image."""
    none = torch.zeros(0, 4)
    blocks, kept = (windows(none if hwtl is None else hwtl) for hwtl in (inside, outside))
    noise_1HW = noise.view(1, *image.shape) if inside is None else as_image(blocks, noise, image)
    return pretext.Painting(
        inside=blocks, outside=kept, kind=torch.tensor([2 if inside is None else 1]), noise=noise_1HW
    )


def distorted(image: Tensor, **steps: Any) -> Tensor:
    """The product's distortion of one image in float32."""
    one = {"shuffled": torch.tensor([0]), "shuffles": None, "curves": None, "painting": None}
    return pretext.apply_distortion(image.float()[None], pretext.Distortion(**{**one, **steps}))[0]


def close(got: Tensor, expected: Tensor, tolerance: float = EXACT) -> None:
    torch.testing.assert_close(got.double(), expected.double(), rtol=0, atol=tolerance)


def test_01_intensity_curves(golden_methods_folder: Path) -> None:
    tensors, _ = case(golden_methods_folder, "case01_bezier")
    x, y, control = tensors["in/x"].float(), tensors["out/y"], tensors["in/control"].float()
    got = distortions.apply_curves(x.expand(len(y), 1, -1).contiguous(), control, tensors["in/inverted"] == 1)
    close(got[:, 0], y, 1e-4)


@pytest.mark.parametrize("name", ["case02_local_shuffling_genesis", "case03_local_shuffling_transvw"])
def test_02_03_local_shuffling(golden_methods_folder: Path, name: str) -> None:
    tensors, hparams = case(golden_methods_folder, name)
    for one in examples(tensors).values():
        drawn = shuffles(one["in/windows_hwtl"], one["in/permutations"])
        assert drawn.windows.top.shape == (1, hparams["windows"])
        image = one["in/image"].float()
        assert torch.equal(distortions.apply_shuffles(image[None], drawn)[0], one["out/image"].float())
        # The windows that were drawn lie within the product's sizes.
        for side, length in zip((drawn.windows.height, drawn.windows.width), image.shape, strict=True):
            assert 1 <= int(side.min()) <= int(side.max()) <= max(1, length // 10)


@pytest.mark.parametrize(("authors", "most"), [("genesis", 5), ("transvw", 1)])
@pytest.mark.parametrize("inside", [True, False])
def test_04_05_painting(golden_methods_folder: Path, authors: str, most: int, inside: bool) -> None:
    number = {"genesis": "04", "transvw": "05"}[authors]
    tensors, _ = case(golden_methods_folder, f"case{number}_{'in' if inside else 'out'}painting_{authors}")
    for one in examples(tensors).values():
        image, hwtl = one["in/image"], one["in/blocks_hwtl"]
        drawn = painting(
            image, one["in/noise"], inside=hwtl if inside else None, outside=None if inside else hwtl
        )  # fmt: skip
        assert torch.equal(distorted(image, painting=drawn), one["out/image"])
        # The product draws as many blocks, of such sizes, at such places.
        assert (0 if inside and most > 1 else 1) <= len(hwtl) <= most
        if len(set(image.shape)) == 1 and len(hwtl):
            draw = distortions.draw_inpainting if inside else distortions.draw_outpainting
            ours = draw(2000, image.shape[0], torch.Generator().manual_seed(0), most=most)
            come = ours.height > 0
            assert int(ours.height[come].min()) <= int(hwtl[:, :2].min())
            assert int(ours.height.max()) >= int(hwtl[:, :2].max())
            assert int(ours.top[come].min()) <= int(hwtl[:, 2:].min())


def test_06_flips(golden_methods_folder: Path) -> None:
    tensors, hparams = case(golden_methods_folder, "case06_flips")
    axes, images = tensors["in/axes"], tensors["out/images"]
    got = pretext.apply_flips(tensors["in/image"].expand_as(images).contiguous(), axes)
    assert torch.equal(got, images)
    assert torch.equal((axes >= 0).sum(1), tensors["out/rounds"])
    ours = pretext.draw_flips(20_000, torch.Generator().manual_seed(0))
    assert ours.shape[1] == axes.shape[1]
    assert float((ours[:, 0] >= 0).float().mean()) == pytest.approx(hparams["prob"], abs=0.015)


def test_07_whole_pairs_of_models_genesis(golden_methods_folder: Path) -> None:
    tensors, hparams = case(golden_methods_folder, "case07_genesis_pair")
    for one in examples(tensors).values():
        image = one["in/image"].float()
        axes = one.get("in/flip_axes", torch.zeros(0, dtype=torch.long))
        target = pretext.apply_flips(image[None], axes[None])[0]
        assert torch.equal(target, one["out/target"].float())
        steps: dict[str, Any] = {}
        if "in/windows_hwtl" in one:
            steps["shuffles"] = shuffles(one["in/windows_hwtl"], one["in/permutations"])
        if "in/control" in one:
            steps["curves"] = pretext.Curves(
                images=torch.tensor([0]), control=one["in/control"].float()[None], inverted=one["in/inverted"].view(1) == 1
            )  # fmt: skip
        if "in/noise" in one:
            steps["painting"] = painting(
                image, one["in/noise"].float(), inside=one.get("in/inpaint_hwtl"), outside=one.get("in/outpaint_hwtl")
            )
        close(distorted(target, **steps), one["out/distorted"], 1e-4 if "in/control" in one else EXACT)
    ours = plugins.load("method", "model_genesis").Params().chances()
    assert {name: ours[name] for name in ("shuffle", "intensity", "paint", "inpaint")} == {
        name: hparams[name] for name in ("shuffle", "intensity", "paint", "inpaint")
    }


def test_08_elastic_warp_of_recorded_noise(golden_methods_folder: Path) -> None:
    tensors, hparams = case(golden_methods_folder, "case08_elastic")
    for one in examples(tensors).values():
        noise = torch.stack([one["in/noise_rows"], one["in/noise_columns"]])
        shift = hparams["alpha"] * distortions.smoothed(noise, sigma=hparams["sigma"], axes=(1, 2, 3))
        close(shift[0], one["out/shift_rows"], 1e-4)
        close(shift[1], one["out/shift_columns"], 1e-4)
        slices = one["in/image"].movedim(-1, 0)
        got = distortions.warped(slices, shift.permute(3, 0, 1, 2))
        close(got.movedim(0, -1), one["out/image"], 2e-5)


def strength_map(tensors: dict[str, Tensor]) -> Tensor:
    """Root mean square of one component of the shift at each place, at the side at which the method states its warp."""
    prefix = f"stat/rms_shift_{pretext.WARP_AT}x{pretext.WARP_AT}x"
    found = [key for key in tensors if key.startswith(prefix) and key.endswith("_mean_over_depth")]
    if not found:
        pytest.skip("this set has no map of the warp's strength")
    return tensors[found[0]].double()


def test_08_warp_of_visual_words_is_as_strong_as_the_authors(golden_methods_folder: Path) -> None:
    """In size and in profile, at the authors' side and, as a share of the side, at another."""
    tensors, hparams = case(golden_methods_folder, "case08_elastic")
    recorded, params = strength_map(tensors), plugins.load("method", "transvw").Params()
    side = len(recorded)
    assert params.sigma == hparams["sigma"]
    for size in (side, side * 3 // 2, 3 * side):
        factor = size / side
        # Independent noise of variance 1/3 has this root mean square after a linear filter: exact, without draws.
        response = distortions.smoothed(torch.eye(size, dtype=torch.float64), sigma=params.sigma * factor, axes=(0,))
        gain = (response**2).sum(1)
        rms = params.alpha * factor**2 * (gain[:, None] * gain / 3).sqrt()[None, None] / factor
        ratio = torch.nn.functional.interpolate(rms, size=(side, side), mode="bilinear")[0, 0] / recorded
        assert float(ratio.mean()) == pytest.approx(1, abs=0.015)
        # The recorded map is a mean over draws itself.
        assert float(ratio.std()) < 0.03
        edge, middle = [0, 1, 2, -3, -2, -1], slice(side // 2 - 4, side // 2 + 4)
        for part in (ratio[edge][:, edge], ratio[edge, middle], ratio[middle, middle]):
            assert float(part.mean()) == pytest.approx(1, abs=0.04)


def test_08_the_product_warps_a_ramp_by_that_much(golden_methods_folder: Path) -> None:
    """The whole recipe with nothing else drawn: shifts read off a horizontal ramp in the middle, and what is folded."""
    recorded = strength_map(case(golden_methods_folder, "case08_elastic")[0])
    side, params = len(recorded), plugins.load("method", "transvw").Params()
    ramp = torch.linspace(0, 1, side).expand(400, side, side).contiguous()
    got = pretext.visual_words(
        ramp, torch.Generator().manual_seed(1), windows=1, alpha=params.alpha, sigma=params.sigma
    )
    # Shuffled in one small window at most: a quarter of the crops.
    which = pretext.branches(torch.rand(400, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    moved = (got - ramp)[which == 0] * (side - 1)
    middle = slice(side // 4, -(side // 4))
    expected = float(recorded[middle, middle].square().mean().sqrt())
    assert float(moved[:, middle, middle].double().square().mean().sqrt()) == pytest.approx(expected, rel=0.08)
    noise = 2 * torch.rand(400, 2, side, side, generator=torch.Generator().manual_seed(2)) - 1
    rows, columns = (params.alpha * distortions.smoothed(noise, sigma=params.sigma, axes=(2, 3))).unbind(1)
    folded = ((1 + rows.diff(dim=1)[:, :, 1:]) * (1 + columns.diff(dim=2)[:, 1:]) - columns.diff(dim=1)[:, :, 1:]
              * rows.diff(dim=2)[:, 1:]) <= 0  # fmt: skip
    assert float(folded.double().mean()) < 0.004  # README of the cases: 0.13 %


def test_09_branches_of_transvw(golden_methods_folder: Path) -> None:
    tensors, hparams = case(golden_methods_folder, "case09_transvw_branch")
    assert torch.equal(pretext.branches(tensors["in/r"]), tensors["out/branch"])
    assert hparams["branches"] == ["local-shuffle", "non-linear", "in-paint", "out-paint"]
    assert bool(tensors["out/target_is_the_unwarped_input"].all())


def test_10_loss_of_transvw(golden_methods_folder: Path) -> None:
    from refers_bench.nets.visual_word_objective import VisualWordObjective

    tensors, hparams = case(golden_methods_folder, "case10_transvw_loss")
    params = plugins.load("method", "transvw").Params()
    assert params.classification_weight == hparams["lambda_cls"]
    assert params.restoration_weight == hparams["lambda_rec"]

    class Encoder(torch.nn.Module):
        readout_width = 4

    objective = VisualWordObjective(
        encoder=Encoder(), decoder=torch.nn.Identity(), image={"mean": [0.0], "std": [1.0]},
        distort=lambda x, generator: x, words=tensors["in/logits"].shape[1],
        classification_weight=hparams["lambda_cls"], restoration_weight=hparams["lambda_rec"],
    )  # fmt: skip
    logits, restored = (tensors[f"in/{name}"].clone().requires_grad_() for name in ("logits", "restored"))
    losses = objective.losses(logits, tensors["in/labels"], restored, tensors["in/target"])
    for name, recorded in (("visual_word", "classification_weighted"), ("restoration", "restoration_weighted")):
        assert losses[name].item() == pytest.approx(float(tensors[f"out/{recorded}"]), rel=1e-6)
    total = torch.stack(list(losses.values())).sum()
    assert total.item() == pytest.approx(float(tensors["out/total"]), rel=1e-6)
    total.backward()
    for name, leaf in (("logits", logits), ("restored", restored)):
        recorded_gradient = tensors[f"grad_in/{name}"]
        assert leaf.grad is not None
        close(leaf.grad, recorded_gradient, 1e-5 * float(recorded_gradient.abs().max()))


def test_18_discovery(golden_methods_folder: Path) -> None:
    from refers_bench.data.visual_words import further_crop, nearest

    tensors, hparams = case(golden_methods_folder, "case18_discovery")
    features, words = tensors["in/features_train"].numpy(), tensors["out/words"].numpy()
    params = plugins.load("method", "transvw").Params()
    assert len(words) == hparams["words"] * hparams["instances"]
    for word in range(hparams["words"]):
        own = words[words[:, 0] == word]
        patients = nearest(features, features[own[0, 1]], most=hparams["instances"])
        np.testing.assert_array_equal(patients, own[:, 1])
        assert len(np.unique(own[:, 2:], axis=0)) == 1
    for name in ("second_crops", "third_crops"):
        for first, further in zip(words, tensors[f"out/{name}"].numpy(), strict=True):
            np.testing.assert_array_equal(first[:2], further[:2])
            # The recorded move of the corner and the recorded size are ones that the product draws, to half a pixel.
            side, half = first[4], 0.5 / first[4]
            shift, scale = (further[2:4] - first[2:4]) / side, further[4] / side
            assert np.abs(shift).max() <= params.jitter + half
            assert params.smallest_scale - half <= scale <= params.largest_scale + half
            # In units of an image of a thousand pixels.
            corner, got = further_crop(first[2:4] / 1000, side / 1000, shift=shift, scale=scale)
            np.testing.assert_allclose([*corner, got], further[2:] / 1000, atol=1e-12)
