"""Visual words are found where they should be, and cropped as a plain loop crops."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from refers_bench.data import visual_words as room
from refers_bench.data.augment import Augment

SETTINGS = {
    "words": 5, "patients": 6, "val_patients": 2, "side": 0.3, "scales": (0.78, 1.25), "jitter": 0.16, "border": 0.15,
    "distance": 0.0375,
}  # fmt: skip


def rows(train: int = 30, val: int = 8) -> pd.DataFrame:
    split = ["train"] * train + ["val"] * val
    return pd.DataFrame(
        {"place": range(100, 100 + len(split)), "patient_id": [f"p{i:03d}" for i in range(len(split))], "split": split}
    )


def found(seed: int = 0) -> tuple[pd.DataFrame, np.ndarray, pd.DataFrame]:
    features = np.random.default_rng(1).normal(size=(38, 4)).astype(np.float32)
    frame = rows()
    return room.discovered(frame, features, rng=np.random.default_rng(seed), **SETTINGS), features, frame


def test_each_word_has_the_patients_nearest_to_its_reference() -> None:
    words, features, frame = found()
    assert list(words.columns) == list(room.COLUMNS)
    assert len(words) == 5 * (6 + 2) * 3
    references = set()
    for _, part in words.groupby("word"):
        own = part[part["split"] == "train"]
        assert own["patient_id"].nunique() == 6
        # The reference is at distance 0, so it comes first; the others by a slow sort.
        reference = int(frame.index[frame["place"] == own["place"].iloc[0]][0])
        references.add(reference)
        for split, count in (("train", 6), ("val", 2)):
            group = [i for i in frame.index if frame["split"][i] == split]
            nearest = sorted(group, key=lambda i: sum((features[i] - features[reference]) ** 2))[:count]
            assert list(dict.fromkeys(part[part["split"] == split]["place"])) == [frame["place"][i] for i in nearest]
    assert len(references) == 5


def test_crops_lie_at_the_words_place_in_three_sizes() -> None:
    words, _, _ = found()
    assert bool((words[["top", "left"]] >= 0).all().all())
    assert bool((words[["top", "left"]].add(words["side"], axis=0) <= 1 + 1e-12).all().all())
    for _, part in words.groupby("word"):
        first = part.iloc[::3]
        assert first[["top", "left", "side"]].drop_duplicates().shape == (1, 3)
        others = part.drop(first.index)
        assert bool(others["side"].between(0.3 * 0.78, 0.3 * 1.25).all())
        assert others["side"].nunique() == len(others)


def test_places_keep_their_distance_and_the_border() -> None:
    places = room.centres(44, border=0.15, distance=0.0375, rng=np.random.default_rng(0))
    assert places.min() >= 0.15
    assert places.max() <= 0.85
    gaps = [np.abs(places[i] - places[j]).max() for i in range(44) for j in range(i)]
    assert min(gaps) >= 0.0375
    with pytest.raises(ValueError, match="do not fit"):
        room.centres(10, border=0.45, distance=0.2, rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match="need as many reference patients"):
        room.discovered(rows(3, 0), np.zeros((3, 4), np.float32), rng=np.random.default_rng(0), **SETTINGS)


def test_the_same_seed_finds_the_same_words() -> None:
    pd.testing.assert_frame_equal(found()[0], found()[0])
    assert not found()[0].equals(found(1)[0])


def test_frontal_radiographs_one_a_patient() -> None:
    frame = pd.DataFrame(
        {
            "image_id": ["b", "a", "c", "d", "e"], "patient_id": ["1", "1", "2", "2", "3"],
            "view": ["PA", "LATERAL", "L", "AP", ""],
        }
    )  # fmt: skip
    assert room.frontal(frame)["image_id"].tolist() == ["b", "d", "e"]


def test_whole_pixel_crops_equal_slices() -> None:
    x = torch.randint(0, 256, (3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    top, left, side = torch.tensor([0, 10, 20]) / 40, torch.tensor([4, 0, 24]) / 40, torch.tensor([16, 16, 16]) / 40
    got = room.cropped(x, top, left, side, size=16)
    for n, (t, c) in enumerate([(0, 4), (10, 0), (20, 24)]):
        torch.testing.assert_close(got[n], x[n, t : t + 16, c : c + 16].float(), atol=1e-3, rtol=0)


def test_enlarged_crops_at_the_edges_show_the_edge() -> None:
    """Of a white image every pixel is white; of a ramp the first and last ones are its ends."""
    at = torch.tensor([0.0, 0.75]), torch.tensor([0.75, 0.0]), torch.tensor([0.25, 0.25])
    white = torch.full((2, 16, 16), 255, dtype=torch.uint8)
    assert torch.equal(room.cropped(white, *at, size=32), torch.full((2, 32, 32), 255.0))
    ramp = torch.arange(16, dtype=torch.uint8).repeat(2, 16, 1)
    found = room.cropped(ramp, *at, size=32)
    # A pixel of the crop is an eighth of the image's: columns 12 to 16 and 0 to 4, between the centres of its pixels.
    places = (torch.arange(32) + 0.5) / 8 - 0.5
    torch.testing.assert_close(found[0], (12 + places).clamp(max=15).expand(32, -1), atol=1e-4, rtol=0)
    torch.testing.assert_close(found[1], places.clamp(min=0).expand(32, -1), atol=1e-4, rtol=0)


def test_batches_hold_crops_and_their_words() -> None:
    images = np.random.default_rng(0).integers(0, 256, (138, 36, 36), dtype=np.uint8)
    words, _, _ = found()
    augment = Augment(size=32, channels=3, mean=(0.5,) * 3, std=(0.25,) * 3)
    source = room.CropSource(
        images, words[words["split"] == "train"], augment=augment, device=torch.device("cpu"), key="k"
    )
    batch = source.draw(3, batch_size=7)
    assert batch.images_BVCHW.shape == (7, 1, 3, 32, 32)
    assert batch.labels_BK.shape == (7, 1)
    assert torch.equal(batch.images_BVCHW, source.draw(3, batch_size=7).images_BVCHW)
    every = list(source.fixed(batch_size=40))
    assert (
        torch.cat([part.labels_BK for part in every])[:, 0].tolist()
        == words[words["split"] == "train"]["word"].tolist()
    )
    epoch = torch.cat([source.draw(step, batch_size=len(source) // 5).labels_BK for step in range(5)])
    assert sorted(epoch[:, 0].tolist()) == sorted(source.words.tolist())
