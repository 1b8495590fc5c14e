"""Compares the pretext transforms with obvious loops, and how often and how much they distort with their sources."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats
from torch import Tensor

from refers_bench import plugins
from refers_bench.data import distortions as room
from refers_bench.data import pretext
from refers_bench.data.phantoms.natural import SHAPES, scenes

DRAWS, SIDE = 10_000, 224
#: Images whose masks are made, pixel by pixel: a share of pixels is known to a thousandth from fewer of them.
MASKS = 2000


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int, size: int, seed: int = 0) -> Tensor:
    return torch.rand(count, size, size, generator=seeded(seed))


def chunks(total: int = DRAWS, size: int = 500) -> Iterator[int]:
    assert total % size == 0
    yield from [size] * (total // size)


def near(share: float, expected: float, draws: int = DRAWS) -> bool:
    """Within four standard errors of a share over so many draws."""
    return abs(share - expected) < 4 * math.sqrt(expected * (1 - expected) / draws)


# Swaps -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "side"), [(32, (20, 20)), (48, (12, 60)), (64, (30, 70))])
def test_swaps_equal_a_loop(size: int, side: tuple[float, float]) -> None:
    x = images(5, size)
    drawn = room.draw_swaps(5, size, swaps=9, side=side, generator=seeded(1))
    expected = x.clone().numpy()
    for n in range(5):
        for t in range(9):
            s = int(drawn.side[n, t])
            a0, a1, b0, b1 = (int(v[n, t]) for v in (drawn.top_a, drawn.left_a, drawn.top_b, drawn.left_b))
            a, b = expected[n, a0 : a0 + s, a1 : a1 + s].copy(), expected[n, b0 : b0 + s, b1 : b1 + s].copy()
            assert a.shape == b.shape == (s, s)
            expected[n, a0 : a0 + s, a1 : a1 + s], expected[n, b0 : b0 + s, b1 : b1 + s] = b, a
    got = room.apply_swaps(x, drawn)
    np.testing.assert_array_equal(got.numpy(), expected)
    # Nothing is lost and nothing comes in: the histogram stays.
    assert torch.equal(got.flatten(1).sort(1).values, x.flatten(1).sort(1).values)


@pytest.mark.parametrize(
    ("swaps", "side", "touched"),
    [
        (10, 16, 0.096),
        (20, 20, 0.27),
        pytest.param(10, 20, 0.147, marks=pytest.mark.slow),
        pytest.param(50, 16, 0.39, marks=pytest.mark.slow),
    ],
)
def test_swaps_touch_the_stated_share_of_pixels(swaps: int, side: int, touched: float) -> None:
    total, overlaps, unaligned = 0.0, 0, 0
    for seed, count in enumerate(chunks()):
        drawn = room.draw_swaps(count, SIDE, swaps=swaps, side=(side, side), generator=seeded(seed))
        apart = ((drawn.top_a - drawn.top_b).abs() >= side) | ((drawn.left_a - drawn.left_b).abs() >= side)
        overlaps += int((~apart & (drawn.side > 0)).sum())
        unaligned += int((drawn.top_a % 16 != 0).sum())
        assert int((drawn.side == 0).sum()) == 0
        for first, second in ((drawn.top_a, drawn.left_a), (drawn.top_b, drawn.left_b)):
            assert int(first.min()) >= 0
            assert int((second + side).max()) <= SIDE
        squares = room.Windows(
            top=torch.cat([drawn.top_a, drawn.top_b], 1), left=torch.cat([drawn.left_a, drawn.left_b], 1),
            height=torch.cat([drawn.side] * 2, 1), width=torch.cat([drawn.side] * 2, 1),
        )  # fmt: skip
        if seed * count < MASKS:
            total += float(squares.mask(SIDE).float().mean()) * count
    assert overlaps == 0
    assert unaligned / (DRAWS * swaps) > 0.9  # 15 of 16 positions are off the token grid
    assert total / MASKS == pytest.approx(touched, abs=0.012)


# Local shuffling -------------------------------------------------------------------------------------------------


def shuffled_slowly(x: Tensor, drawn: room.Shuffles) -> np.ndarray:
    """Window after window, from the image as it was."""
    expected, windows = x.clone().numpy(), drawn.windows
    for n in range(len(x)):
        for k in range(windows.top.shape[1]):
            top, left, h, w = (int(v[n, k]) for v in (windows.top, windows.left, windows.height, windows.width))
            content = x[n, top : top + h, left : left + w].numpy().ravel()
            order = drawn.pool[int(drawn.start[n, k]) :][: h * w].numpy()
            assert sorted(order) == list(range(h * w))
            expected[n, top : top + h, left : left + w] = content[order].reshape(h, w)
    return expected


@pytest.mark.parametrize(("size", "count"), [(32, 60), (64, 60), (224, 300)])
def test_shuffling_equals_a_loop(size: int, count: int) -> None:
    x = images(4, size)
    drawn = room.draw_shuffles(4, size, windows=count, generator=seeded(2))
    for side in (drawn.windows.height, drawn.windows.width):
        assert 1 <= int(side.min()) <= int(side.max()) <= size // 10
    np.testing.assert_array_equal(room.apply_shuffles(x, drawn).numpy(), shuffled_slowly(x, drawn))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4), st.integers(10, 40), st.integers(10, 40), st.integers(1, 30), st.integers(0, 2**31))
def test_shuffling_equals_a_loop_for_any_windows(count: int, height: int, width: int, windows: int, seed: int) -> None:
    """Images of any shape, windows of any size, also none at all (height 0)."""
    rng = np.random.default_rng(seed)
    sides = rng.integers(0, height // 2 + 1, (count, windows)), rng.integers(1, width // 2 + 1, (count, windows))
    corners = (rng.integers(0, length - side + 1) for length, side in zip((height, width), sides, strict=True))
    h, w, top, left = (torch.from_numpy(values) for values in (*sides, *corners))
    areas = (h * w).flatten()
    pool = torch.from_numpy(np.concatenate([rng.permutation(int(area)) for area in areas] + [np.zeros(1, int)]))
    drawn = room.Shuffles(
        windows=room.Windows(top=top, left=left, height=h, width=w), pool=pool, start=(areas.cumsum(0) - areas).view_as(h)
    )  # fmt: skip
    x = torch.from_numpy(rng.random((count, height, width), np.float32))
    np.testing.assert_array_equal(room.apply_shuffles(x, drawn).numpy(), shuffled_slowly(x, drawn))


def test_permutations_of_every_length_are_uniform() -> None:
    """Chi-square over all permutations of three and four, and over places of a longer one."""
    count = 24_000
    pool = room.permutations(9, count, seeded(30)).long()
    for length in range(1, 10):
        own = pool[:, length * (length - 1) // 2 :][:, :length]
        assert torch.equal(own.sort(1).values, torch.arange(length).expand(count, length))
        for place in range(length):
            found = np.bincount(own[:, place].numpy(), minlength=length)
            assert stats.chisquare(found).pvalue > 1e-4 if length > 1 else found[0] == count
        if length in (3, 4):
            _, found = np.unique(own.numpy(), axis=0, return_counts=True)
            assert len(found) == math.factorial(length)
            assert stats.chisquare(found).pvalue > 1e-4


def test_windows_choose_among_all_permutations_of_a_batch() -> None:
    drawn = room.draw_shuffles(40, 64, windows=100, generator=seeded(31))
    area = drawn.windows.height * drawn.windows.width
    row, inside = (
        drawn.start.div(len(drawn.pool) // room.POOL, rounding_mode="floor"),
        drawn.start % (len(drawn.pool) // room.POOL),
    )
    assert torch.equal(inside, area * (area - 1) // 2)
    assert stats.chisquare(np.bincount(row.flatten().numpy(), minlength=room.POOL)).pvalue > 1e-4


def test_shuffling_covers_each_pixel_as_often_as_the_official_volume_does() -> None:
    area = 0.0
    for seed, count in enumerate(chunks(2000)):
        windows = room.draw_shuffles(count, SIDE, windows=700, generator=seeded(seed)).windows
        area += float((windows.height * windows.width).sum()) / (SIDE * SIDE)
        assert int(windows.height.max()) == 22
        assert int((windows.top + windows.height).max()) <= SIDE
    assert area / 2000 == pytest.approx(1.84, abs=0.05)


# Intensities -----------------------------------------------------------------------------------------------------


def test_curves_equal_interpolation_in_a_loop() -> None:
    x = images(6, 40)
    control, inverted = room.draw_curves(6, seeded(3))
    got = room.apply_curves(x, control, inverted)
    t = np.linspace(0, 1, 20_000)
    for n in range(6):
        p = [np.zeros(2), *control[n].numpy(), np.ones(2)]
        curve = sum(math.comb(3, k) * (1 - t)[:, None] ** (3 - k) * t[:, None] ** k * p[k] for k in range(4))
        xs, ys = np.sort(curve[:, 0]), np.sort(curve[:, 1])
        # Inverted: the official code sorts the abscissae alone, and its samples run from t = 1 to t = 0.
        expected = np.interp(x[n].numpy(), xs, ys[::-1] if inverted[n] else ys)
        np.testing.assert_allclose(got[n].numpy(), expected, atol=2e-3)


def test_steep_curves_map_black_and_white_to_their_ends() -> None:
    """With control points in the corners many points of a curve share an abscissa in float32."""
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 4).view(-1, 2, 2)
    levels = torch.arange(256) / 255
    s = np.linspace(0, 1, 100_000)
    for inverted in (False, True):
        got = room.apply_curves(
            levels.expand(16, 1, 256).contiguous(), corners, torch.full((16,), inverted, dtype=torch.bool)
        )[:, 0]
        for control, values in zip(corners.double().numpy(), got, strict=True):
            curve = [3 * s * (1 - s) ** 2 * a + 3 * s**2 * (1 - s) * b + s**3 for a, b in control.T]
            xs, ys = np.sort(curve[0]), curve[1][::-1] if inverted else np.sort(curve[1])
            np.testing.assert_allclose(values.numpy(), np.interp(levels.double().numpy(), xs, ys), atol=1e-4)


def test_curves_rise_or_fall_all_the_way_half_of_them_each() -> None:
    grid = torch.linspace(0, 1, 64).expand(DRAWS, 1, 64).contiguous()
    control, inverted = room.draw_curves(DRAWS, seeded(4))
    values = room.apply_curves(grid, control, inverted)[:, 0]
    steps = values[:, 1:] - values[:, :-1]
    assert bool((steps[~inverted] >= -1e-5).all())
    assert bool((steps[inverted] <= 1e-5).all())
    assert near(float(inverted.float().mean()), 0.5)
    assert float(values.min()) >= 0
    assert float(values.max()) <= 1 + 1e-6
    torch.testing.assert_close(
        values[~inverted][:, [0, -1]], torch.tensor([0.0, 1.0]).expand(int((~inverted).sum()), 2)
    )


# Painting --------------------------------------------------------------------------------------------------------


def test_masks_equal_a_loop() -> None:
    drawn = room.draw_inpainting(8, 50, seeded(5))
    expected = np.zeros((8, 50, 50), bool)
    for n in range(8):
        for k in range(drawn.top.shape[1]):
            top, left, h, w = (int(v[n, k]) for v in (drawn.top, drawn.left, drawn.height, drawn.width))
            expected[n, top : top + h, left : left + w] = True
    np.testing.assert_array_equal(drawn.mask(50).numpy(), expected)


def test_inpainting_statistics() -> None:
    covered, counts = 0.0, torch.zeros(6)
    for seed, count in enumerate(chunks()):
        drawn = room.draw_inpainting(count, SIDE, seeded(seed))
        come = drawn.height > 0
        assert int(drawn.height[come].min()) >= 37
        assert int(drawn.height.max()) <= 74
        assert int(drawn.top.min()) >= 3
        assert int((drawn.top + drawn.height).max()) <= SIDE - 3
        counts += torch.bincount(come.sum(1), minlength=6)
        if seed * count < MASKS:
            covered += float(drawn.mask(SIDE).float().mean()) * count
    for blocks in range(5):
        assert near(float(counts[blocks]) / DRAWS, 0.95**blocks * 0.05)
    assert near(float(counts[5]) / DRAWS, 0.95**5)
    assert covered / MASKS == pytest.approx(0.22, abs=0.015)


def test_outpainting_statistics() -> None:
    kept, counts = 0.0, torch.zeros(6)
    for seed, count in enumerate(chunks()):
        drawn = room.draw_outpainting(count, SIDE, seeded(seed))
        come = drawn.height > 0
        assert bool(come[:, 0].all())
        assert int(drawn.height[come].min()) >= 96
        assert int(drawn.height.max()) <= 128
        counts += torch.bincount(come.sum(1), minlength=6)
        if seed * count < MASKS:
            kept += float(drawn.mask(SIDE).float().mean()) * count
    assert near(float(counts[5]) / DRAWS, 0.95**4)
    assert near(float(counts[1]) / DRAWS, 0.05)
    assert kept / MASKS == pytest.approx(0.55, abs=0.02)


def painted_share_of_volumes(*, inside: bool, most: int, draws: int = 300) -> float:
    """Models Genesis' and TransVW's blocks in volumes of 64 x 64 x 32, whose sides span three axes."""
    shape, rng, painted = np.array([64, 64, 32]), np.random.default_rng(0), 0.0
    low, high = (shape // 6, shape // 3) if inside else (shape - 4 * shape // 7, shape - 3 * shape // 7)
    for _ in range(draws):
        mask = np.zeros(shape, bool)
        for block in range(most):
            # Of out-painting and of a single block the first one always comes.
            if (block or (inside and most > 1)) and rng.random() >= 0.95:
                break
            side = rng.integers(low, high + 1)
            first = rng.integers(room.MARGIN, shape - side - room.MARGIN + 1)
            mask[tuple(slice(a, a + b) for a, b in zip(first, side, strict=True))] = True
        painted += float(mask.mean() if inside else 1 - mask.mean())
    return painted / draws


@pytest.mark.parametrize(("name", "most"), [("model_genesis", 5), ("transvw", 1)])
def test_the_ledger_says_how_much_more_or_less_is_painted_in_two_dimensions(name: str, most: int) -> None:
    """The four shares that the parameter's description names, in per cent: ours and those of volumes."""
    field = plugins.load("method", name).Params.model_fields["dimensions"]
    assert field.json_schema_extra == {"official": "3-D"}
    stated = [float(number) for number in re.findall(r"([0-9.]+) %", str(field.description))]
    inside = float(room.draw_inpainting(2000, SIDE, seeded(1), most=most).mask(SIDE).float().mean())
    outside = 1 - float(room.draw_outpainting(2000, SIDE, seeded(2), most=most).mask(SIDE).float().mean())
    volumes = [painted_share_of_volumes(inside=inner, most=most) for inner in (True, False)]
    found = [100 * share for share in (inside, volumes[0], outside, volumes[1])]
    assert stated == pytest.approx(found, abs=1.5), found
    assert stated[1] == pytest.approx(found[1], abs=0.6), found


def test_painting_puts_uniform_noise_on_the_mask_alone() -> None:
    x, mask = images(20, 64) + 2, torch.rand(20, 64, 64, generator=seeded(6)) < 0.3
    drawn = room.as_noise(room.draw_noise(x.shape, seeded(7)), x.device)
    got = room.painted(x, mask, drawn)
    assert torch.equal(got[~mask], x[~mask])
    noise = got[mask]
    assert stats.kstest(drawn.flatten().numpy(), "uniform").pvalue > 1e-3
    # Numbers side by side, of which four come out of one draw, are independent.
    flat = drawn.flatten().numpy()
    for apart in range(1, 9):
        assert abs(np.corrcoef(flat[:-apart], flat[apart:])[0, 1]) < 4 / math.sqrt(len(flat))
    assert float(noise.min()) >= 0
    assert float(noise.max()) < 1
    assert float(noise.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(noise.std()) == pytest.approx(1 / math.sqrt(12), abs=0.01)


# Whole recipes ---------------------------------------------------------------------------------------------------


def test_flips_come_as_often_as_the_rounds_say() -> None:
    x = torch.arange(4.0).view(1, 2, 2).expand(DRAWS, 2, 2).contiguous()
    got = pretext.flips(x, seeded(8))
    rows, columns = got[:, 0, 0] >= 2, got[:, 0, 0] % 2 == 1
    assert {tuple(image.flatten().tolist()) for image in got} == {
        (0, 1, 2, 3),
        (2, 3, 0, 1),
        (1, 0, 3, 2),
        (3, 2, 1, 0),
    }

    def odd(rounds: int) -> float:
        """Probability that of so many rounds an odd number falls on one of three axes."""
        return (1 - (1 / 3) ** rounds) / 2

    expected = 0.24 * odd(1) + 0.096 * odd(2) + 0.064 * odd(3)
    assert near(float(rows.float().mean()), expected)
    assert near(float(columns.float().mean()), expected)


def test_model_genesis_distorts_as_often_as_stated() -> None:
    """Unchanged 0.5 %; shuffled alone 0.5 x 0.1 x 0.1; painted 90 %, of which 20 % inside."""
    size, untouched, inside, outside = 32, 0, 0, 0
    settings = {"shuffle": 0.5, "intensity": 0.9, "paint": 0.9, "inpaint": 0.2}
    for seed, count in enumerate(chunks()):
        x = images(count, size, seed)
        untouched += int((pretext.genesis(x, seeded(seed), windows=200, **settings) == x).flatten(1).all(1).sum())
        # With nothing else switched on, what is painted can be seen.
        flat = torch.full((count, size, size), 2.0)
        seen = pretext.genesis(flat, seeded(seed), windows=1, shuffle=0, intensity=0, paint=0.9, inpaint=0.2)
        changed = (seen != 2).float().mean((1, 2))
        corner = seen[:, 0, 0] != 2  # outside every window of out-painting, and of in-painting
        outside += int(corner.sum())
        inside += int((~corner & (changed > 0)).sum())
    assert near(untouched / DRAWS, 0.005)
    # In-painting draws no block at all in one of twenty.
    assert near(inside / DRAWS, 0.9 * 0.2 * 0.95)
    assert near(outside / DRAWS, 0.9 * 0.8)


def test_elastic_warp_equals_scipy() -> None:
    """Zeros outside the noise, the image reflected outside its borders, as the official code asks of scipy."""
    x, noise = images(2, 64), torch.rand(2, 2, 64, 64, generator=seeded(9)) * 2 - 1
    got = room.warped(x, 60 * room.smoothed(noise, sigma=5.0, axes=(2, 3)))
    for n in range(2):
        shift = [
            ndimage.gaussian_filter(noise[n, k].double().numpy(), 5.0, mode="constant", truncate=4.0) * 60
            for k in range(2)
        ]
        place = np.indices((64, 64)) + np.stack(shift)
        expected = ndimage.map_coordinates(x[n].double().numpy(), place, order=1, mode="reflect")
        np.testing.assert_allclose(got[n].numpy(), expected, atol=2e-5)
        assert np.abs(shift).max() > 1


@pytest.mark.parametrize("size", [48, 96])
def test_the_warp_of_visual_words_grows_with_the_image(size: int) -> None:
    """Scipy's, with alpha by the square of the side over 64 and sigma by the side over 64, where nothing else is."""
    count, strength = 12, plugins.load("method", "transvw").Params().alpha
    x = images(count, size)
    got = pretext.visual_words(x, seeded(21), windows=5, alpha=strength, sigma=8.0)
    drawn = pretext.draw_visual_words(count, size, seeded(21), windows=5)
    assert drawn.displacement is not None and drawn.painting is not None
    noise = 2 * room.as_noise(drawn.displacement, x.device).double().numpy() - 1
    alpha, sigma = strength * (size / 64) ** 2, 8.0 * size / 64
    bent = set(drawn.curves.images.tolist()) if drawn.curves else set()
    assert len(bent) <= 6
    for n in set(range(count)) - bent:
        shift = [ndimage.gaussian_filter(noise[n, k], sigma, mode="constant", truncate=4.0) * alpha for k in range(2)]
        place = np.indices((size, size)) + np.stack(shift)
        expected = ndimage.map_coordinates(x[n].double().numpy(), place, order=1, mode="reflect")
        close = np.abs(got[n].numpy() - expected) < 1e-3
        # A few small windows are shuffled, a block is painted, or all but a window.
        assert close.mean() > {0: 0.85, 1: 0.85, 2: 0.15}[int(drawn.painting.kind[n])]
        assert np.abs(shift).max() > size / 48


def test_visual_words_get_exactly_one_of_four_distortions() -> None:
    """Without a warp a pixel that kept its value, or that has another one's, can be told from noise and from a curve."""
    size, draws, counts = 64, 2000, dict.fromkeys(("shuffled", "bent", "inside", "outside"), 0)
    for seed, count in enumerate(chunks(draws, 100)):
        x = images(count, size, 1000 + seed)
        got = pretext.visual_words(x, seeded(seed), windows=5, alpha=0.0, sigma=8.0)
        for before, after in zip(x, got, strict=True):
            same, known = before == after, torch.isin(after, before)
            share, corner = float(same.float().mean()), bool(same[0, 0])
            found = []
            if bool(known.all()) and 0.9 < share < 1:
                found.append("shuffled")
            if share < 0.02:
                steps = after.flatten()[before.flatten().argsort()].diff()
                found += ["bent"] if bool((steps >= -1e-5).all() or (steps <= 1e-5).all()) else []
            if not bool(known.all()) and corner and share > 0.85:
                found.append("inside")
            if not bool(known.all()) and not corner and 0.15 < share < 0.4:
                found.append("outside")
            # Five windows of single pixels, or drawn in order, shuffle nothing: once in a thousand at most.
            assert len(found) == 1 or share == 1, (share, corner)
            for one in found:
                counts[one] += 1
    assert sum(counts.values()) >= 0.998 * draws
    for times in counts.values():
        assert near(times / draws, 0.25, draws), counts


def test_one_block_and_one_window_for_visual_words() -> None:
    inside, outside = (draw(1000, SIDE, seeded(1), most=1) for draw in (room.draw_inpainting, room.draw_outpainting))
    assert inside.height.shape[1] == outside.height.shape[1] == 1
    assert int(inside.height.min()) >= 37
    assert 96 <= int(outside.height.min()) <= int(outside.height.max()) <= 128


@pytest.mark.parametrize(("side", "half"), [(96, 7), (48, 3)], ids=["even length, 14", "odd length, 7"])
def test_cutout_equals_a_loop(side: int, half: int) -> None:
    """[c - length // 2, c + length // 2) in each direction: a hole of odd length is one pixel smaller."""
    x = torch.randn(40, 3, side, side, generator=seeded(10)) + 5
    got = room.cutout(x, seeded(11), holes=3, side=32)
    centre = torch.randint(0, side, (2, 40, 3), generator=seeded(11))
    expected = x.clone()
    for n in range(40):
        for k in range(3):
            row, column = (int(c) for c in centre[:, n, k])
            expected[n, :, max(0, row - half) : row + half, max(0, column - half) : column + half] = 0
    assert torch.equal(got, expected)


def test_cutout_has_the_stated_statistics() -> None:
    total = 0.0
    for seed, count in enumerate(chunks(MASKS, 100)):
        total += float(
            (room.cutout(torch.ones(count, 1, SIDE, SIDE), seeded(seed), holes=3, side=32) == 0).float().mean()
        )
    hole = (32 * (SIDE - 8) / SIDE) ** 2 / SIDE**2  # a hole loses a quarter of its side at each border
    assert total / (MASKS / 100) == pytest.approx(1 - (1 - hole) ** 3, abs=0.002)


def test_everything_is_a_function_of_its_generator() -> None:
    x = images(6, 48)
    settings = {"windows": 50, "shuffle": 0.5, "intensity": 0.9, "paint": 0.9, "inpaint": 0.2}
    for function in (
        lambda g: pretext.genesis(x, g, **settings),
        lambda g: pretext.visual_words(x, g, windows=5, alpha=172.5, sigma=8.0),
        lambda g: pretext.flips(x, g),
        lambda g: room.cutout(x[:, None], g, holes=3, side=32),
        lambda g: scenes(6, 48, g)[0],
    ):
        before = torch.random.get_rng_state()
        assert torch.equal(function(seeded(3)), function(seeded(3)))
        assert not torch.equal(function(seeded(3)), function(seeded(4)))
        assert torch.equal(before, torch.random.get_rng_state())


def test_scenes_show_their_shape() -> None:
    """The pixels of each shape have about one colour: less spread than the scene around them."""
    images_NCHW, labels = scenes(400, 48, seeded(12))
    assert images_NCHW.shape == (400, 3, 48, 48)
    assert float(images_NCHW.min()) >= 0
    assert float(images_NCHW.max()) <= 1
    assert torch.bincount(labels, minlength=len(SHAPES)).min() > 25
    # A nearest-mean classifier of grey images is far above chance's 1/8 where the shape can be seen at all.
    contrast = (images_NCHW - images_NCHW.mean((2, 3), keepdim=True)).abs().mean(1).flatten(1)
    means = torch.stack([contrast[:300][labels[:300] == k].mean(0) for k in range(len(SHAPES))])
    guessed = torch.cdist(contrast[300:], means).argmin(1)
    assert float((guessed == labels[300:]).float().mean()) > 0.2
