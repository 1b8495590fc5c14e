"""Finds visual words, patterns that recur at the same place of many radiographs, and makes batches of their crops.

A visual word is a place in a randomly chosen reference patient; its examples are the crops at the same place in the
patients who look most alike. Words are found by `discovered`, kept as a table, and drawn by `CropSource`.

Source: methods-and-datasets.md 1 C.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from refers_bench.data.augment import Augment
from refers_bench.data.batches import StudyBatch, own_rows, step_indices
from refers_bench.data.pixels import Pixels, spans
from refers_bench.data.transfer import OnDevice, gathered

Floats = npt.NDArray[np.float64]
#: Columns of a table of crops: number of the word, place in the store of prepared images, the patient, the split
#: ("train" or "val"), and the square, as shares of the image's side.
COLUMNS = ("word", "place", "patient_id", "split", "top", "left", "side")

#: Places tried before an error reports that the words do not fit at their distance.
TRIES = 10_000


def frontal(rows: pd.DataFrame) -> pd.DataFrame:
    """One radiograph of each patient, the first that is not known to be a lateral one."""
    lateral = rows["view"].str.upper().str.startswith("L").fillna(False).astype(bool)
    return rows[~lateral].sort_values("image_id").drop_duplicates("patient_id")


def centres(count: int, *, border: float, distance: float, rng: np.random.Generator) -> Floats:
    """Places (count, 2) as shares of the side: uniform inside the border, no two nearer than `distance` on both axes.

    Raises:
        ValueError: they do not fit.
    """
    chosen: list[Floats] = []
    for _ in range(TRIES):
        place = rng.uniform(border, 1 - border, 2)
        if all(np.abs(place - other).max() >= distance for other in chosen):
            chosen.append(place)
        if len(chosen) == count:
            return np.array(chosen)
    raise ValueError(f"{count} places at least {distance:.3f} apart do not fit into the middle of an image")


def discovered(
    rows: pd.DataFrame,
    features_PF: npt.NDArray[np.float32],
    *,
    words: int,
    patients: int,
    val_patients: int,
    side: float,
    scales: tuple[float, float],
    jitter: float,
    border: float,
    distance: float,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Visual words and the crops that show them.

    Args:
        rows: P radiographs, one of each patient, with `place`, `patient_id` and `split` ("train" or "val").
        features_PF: of those radiographs.
        words: C; each has a reference of its own, drawn from the training patients.
        patients: N nearest training patients by Euclidean distance, the reference among them; fewer if there are.
        val_patients: nearest validation patients.
        side: of a crop, as a share of the image's.
        scales: each example has two further crops, of sides uniform between these multiples of `side`.
        jitter: and first rows and columns moved by up to this share of `side`.
        border: share of the image at each edge that holds no centre.
        distance: least distance of two words' centres, on either axis.
        rng: random numbers.

    Raises:
        ValueError: more words than training patients, or places that do not fit.
    """
    train, val = (np.flatnonzero(rows["split"].to_numpy() == split) for split in ("train", "val"))
    if words > len(train):
        raise ValueError(f"{words} visual words need as many reference patients; there are {len(train)}")
    references = rng.permutation(train)[:words]
    middles = centres(words, border=border, distance=distance, rng=rng)
    found = []
    for word, (reference, centre) in enumerate(zip(references, middles, strict=True)):
        corner = np.clip(centre - side / 2, 0, 1 - side)
        for group, most in ((train, patients), (val, val_patients)):
            for example in group[nearest(features_PF[group], features_PF[reference], most=most)]:
                first = rows.iloc[int(example)]
                crops = [(corner, side)]
                for _ in range(2):
                    shift, scale = rng.uniform(-jitter, jitter, 2), float(rng.uniform(*scales))
                    crops.append(further_crop(corner, side, shift=shift, scale=scale))
                for (top, left), share in crops:
                    found.append((word, int(first["place"]), first["patient_id"], first["split"], top, left, share))
    return pd.DataFrame(found, columns=list(COLUMNS))


def nearest(
    features_PF: npt.NDArray[np.float32], reference_F: npt.NDArray[np.float32], *, most: int
) -> npt.NDArray[np.int64]:
    """Patients nearest to a reference by Euclidean distance, at most so many, the nearest first."""
    gap: npt.NDArray[np.float32] = ((features_PF - reference_F) ** 2).sum(1)
    return np.argsort(gap, kind="stable")[:most]


def further_crop(corner: Floats, side: float, *, shift: Floats, scale: float) -> tuple[Floats, float]:
    """A square of another size beside a word's own: its first row and column, and its side.

    Args:
        corner: first row and column of the word's square, as shares of the image's side.
        side: of the word's square.
        shift: of the first row and column, as a share of `side`: the corner moves, not the centre.
        scale: of the side.

    Source: TransVW, self_discovery/pattern_generator_3D.py.
    """
    other = min(1.0, side * scale)
    return np.clip(corner + shift * side, 0, 1 - other), other


def cropped(x_NHW: Tensor, top_N: Tensor, left_N: Tensor, side_N: Tensor, *, size: int) -> Tensor:
    """Squares of images as images of their own, bilinear.

    Args:
        x_NHW: uint8 or float.
        top_N: upper edges, as shares of the side.
        left_N: left edges.
        side_N: sides.
        size: of the result, in pixels.

    Returns:
        float32 (N, size, size), in the images' units.
    """
    steps = (torch.arange(size, device=x_NHW.device) + 0.5) / size
    rows = 2 * (top_N[:, None] + steps * side_N[:, None]) - 1
    columns = 2 * (left_N[:, None] + steps * side_N[:, None]) - 1
    grid = torch.stack([columns[:, None].expand(-1, size, -1), rows[:, :, None].expand(-1, -1, size)], dim=-1).float()
    crops = F.grid_sample(x_NHW[:, None].float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
    return crops[:, 0]


@dataclass
class CropSource:
    """Crops of visual words with the number of their word, for pre-training; nothing else is augmented.

    Attributes:
        images_NHW: uint8 store.
        crops: rows of `COLUMNS`, all of one split.
        augment: its size, channels and normalisation.
        device: where batches are made.
        key: names the random streams.
    """

    images_NHW: Pixels | OnDevice
    crops: pd.DataFrame
    _: KW_ONLY
    augment: Augment
    device: torch.device
    key: str

    def __post_init__(self) -> None:
        self.places = self.crops["place"].to_numpy(np.int64)
        self.squares = self.crops[["top", "left", "side"]].to_numpy(np.float32)
        self.words = self.crops["word"].to_numpy(np.float32)

    def __len__(self) -> int:
        return len(self.crops)

    def _batch(self, which: npt.NDArray[np.int64]) -> StudyBatch:
        sent = (self.squares[which], self.words[which, None])
        pixels, squares, words = gathered(self.images_NHW, self.places[which], self.device, *sent)
        top, left, side = squares.unbind(1)
        images = self.augment.normalised(cropped(pixels, top, left, side, size=self.augment.size) / 255)
        empty = torch.zeros(len(which), 0, dtype=torch.long, device=self.device)
        no_text = dict.fromkeys(("tokens_BT", "text_ids_BT", "text_mask_BT"), empty)
        lengths = empty.new_zeros(len(which))
        return StudyBatch(images_BVCHW=images[:, None], lengths_B=lengths, labels_BK=words, **no_text)

    def draw(self, step: int, *, batch_size: int, part: tuple[int, int] = (0, 1)) -> StudyBatch:
        """The training batch of a step, or the part of one of several processes (`own_rows`)."""
        which = step_indices(self.key, step, count=len(self), batch_size=batch_size)
        return self._batch(which[own_rows(batch_size, part)])

    def fixed(self, *, batch_size: int) -> Iterator[StudyBatch]:
        """All crops in order."""
        return (self._batch(which) for which in spans(len(self), batch_size))
