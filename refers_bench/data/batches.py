"""Chooses the studies or radiographs of step t, and makes their batch of tensors."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from refers_bench import identity
from refers_bench.data.augment import Augment
from refers_bench.data.pixels import Pixels, spans
from refers_bench.data.sentences import Reading, read
from refers_bench.data.text import PAD, ReportTokenizer, swap_sides
from refers_bench.data.transfer import OnDevice, gathered


@dataclass(frozen=True, kw_only=True)
class StudyBatch:
    """B studies.

    Attributes:
        images_BVCHW: normalised float32.
        tokens_BT: report, [SOS] ids [EOS], 0-padded int64; T = 0 where there is no text.
        lengths_B: tokens of each report.
        text_ids_BT: input of the text encoder.
        text_mask_BT: 1 where it holds a token.
        labels_BK: 0, 1 or NaN (unknown); K = 0 where there are none.
    """

    images_BVCHW: Tensor
    tokens_BT: Tensor
    lengths_B: Tensor
    text_ids_BT: Tensor
    text_mask_BT: Tensor
    labels_BK: Tensor


@dataclass(frozen=True, kw_only=True)
class RadiographBatch:
    """B radiographs with labels: images (B, C, H, W) normalised, labels (B, K) in {0, 1, NaN}."""

    images_BCHW: Tensor
    labels_BK: Tensor


@functools.lru_cache(maxsize=4)
def epoch_order(key: str, epoch: int, count: int) -> np.ndarray:
    """The permutation of an epoch, read-only: it depends on the key and the epoch, never on what was drawn before."""
    order = np.random.default_rng(identity.seed(key, "shuffle", epoch)).permutation(count)
    order.flags.writeable = False  # it is cached for the other steps of the epoch
    return order


def step_indices(key: str, step: int, *, count: int, batch_size: int) -> np.ndarray:
    """Examples of step `step` (from 0): consecutive places of the epochs' permutations laid end to end.

    A batch larger than the data set holds some examples twice, from consecutive epochs.
    """
    places = np.arange(step * batch_size, (step + 1) * batch_size)
    epochs, inside = np.divmod(places, count)
    orders = {int(epoch): epoch_order(key, int(epoch), count) for epoch in np.unique(epochs)}
    return np.array([orders[int(epoch)][place] for epoch, place in zip(epochs, inside, strict=True)])


def generator_of(*names: str | int) -> torch.Generator:
    """A CPU generator with the seed of these names."""
    return torch.Generator().manual_seed(identity.seed(*names))


def labels_of(rows: pd.DataFrame, task: str, classes: Sequence[str]) -> np.ndarray:
    """Label columns as float32 (N, K), NaN where unknown."""
    columns = [rows[f"{task}:{name}"].astype("Float32").to_numpy(np.float32, na_value=np.nan) for name in classes]
    return np.stack(columns, axis=1) if columns else np.zeros((len(rows), 0), np.float32)


class AsStored:
    """Shows cached features to a network as they are, as float32; stands where pixels would be augmented."""

    def drawn(self, count: int, side: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Nothing is random."""
        return ()

    def applied(self, features: Tensor) -> Tensor:
        """Features of a training batch."""
        return features.float()

    def evaluation(self, features: Tensor) -> Tensor:
        """Features to be scored."""
        return features.float()


def own_rows(count: int, part: tuple[int, int]) -> slice:
    """The examples of a batch of `count` that one of several processes trains on.

    Args:
        count: of the whole batch.
        part: number of the process, and how many there are.
    """
    rank, world = part
    size = -(-count // world)
    return slice(rank * size, (rank + 1) * size)


@dataclass(frozen=True)
class RadiographSource:
    """Single radiographs with labels, for fine-tuning.

    Attributes:
        images_NHW: uint8 store (memory-mapped), several end to end, or what is kept of it on the device; or cached
            tokens (N, 1, T, D) instead of pixels.
        places: rows of the store that belong to this source.
        labels: float32 (len(places), K).
        augment: transforms.
        device: where batches are made.
        key: names the random streams.
    """

    images_NHW: Pixels | OnDevice
    places: np.ndarray
    labels: np.ndarray
    _: KW_ONLY
    augment: Augment | AsStored
    device: torch.device
    key: str

    def __len__(self) -> int:
        return len(self.places)

    def draw(self, step: int, *, batch_size: int, part: tuple[int, int] = (0, 1)) -> RadiographBatch:
        """The augmented training batch of a step; of several processes each draws the numbers of the whole of it.

        Args:
            step: from 0.
            batch_size: of all processes together.
            part: see `own_rows`.
        """
        which = step_indices(self.key, step, count=len(self), batch_size=batch_size)
        random = generator_of(self.key, "augment", step)
        mine = own_rows(batch_size, part)
        drawn = [values[mine] for values in self.augment.drawn(batch_size, self.images_NHW.shape[-1], random)]
        sent = (self.labels[which[mine]], *drawn)
        pixels, labels, *drawn = gathered(self.images_NHW, self.places[which[mine]], self.device, *sent)
        return RadiographBatch(images_BCHW=self.augment.applied(pixels, *drawn), labels_BK=labels)

    def fixed(self, *, batch_size: int) -> Iterator[RadiographBatch]:
        """All radiographs in order, without augmentation."""
        for which in spans(len(self), batch_size):
            pixels, labels = gathered(self.images_NHW, self.places[which], self.device, self.labels[which])
            yield RadiographBatch(images_BCHW=self.augment.evaluation(pixels), labels_BK=labels)


class StudySource:
    """Studies with several views, a report in both flip states, and labels, for pre-training.

    Args:
        images_NHW: uint8 store.
        rows: index rows with their place in the store in column ``place``; all of one split.
        group: "study_id", or "image_id" for methods that look at single radiographs.
        tokenizer: of the report transformer; None for methods without text.
        text_tokenizer: ``text -> ids`` of the text encoder.
        max_tokens: longest report.
        task: label task, '' for none.
        classes: its classes.
        views: V, drawn per study.
        view_sampling: "paper": fewer views than V are filled up by repeating, more are drawn without replacement;
            "official_code": V draws with replacement, always.
        report_flip: "paper": one flip per study, sides swapped as whole words; "official_code": every view flips on
            its own and the report follows the first one, sides swapped as substrings.
        shuffled: whether every study gets another study's report.
        report_text: what of its report is read, see `refers_bench.data.sentences`.
        augment: transforms.
        device: where batches are made.
        key: names the random streams.

    Source: paper, Methods (implementation); Pre-train/refers/data/datasets/captioning.py:67-98.
    """

    def __init__(
        self,
        images_NHW: Pixels | OnDevice,
        rows: pd.DataFrame,
        *,
        group: str,
        tokenizer: ReportTokenizer | None,
        max_tokens: int,
        task: str,
        classes: Sequence[str],
        views: int,
        view_sampling: str,
        report_flip: str,
        shuffled: bool,
        augment: Augment,
        device: torch.device,
        key: str,
        text_tokenizer: ReportTokenizer | None = None,
        report_text: Reading = "report",
    ) -> None:
        self.images_NHW, self.augment, self.device, self.key = images_NHW, augment, device, key
        self.views, self.view_sampling, self.report_flip = views, view_sampling, report_flip
        # Rows of a study lie side by side in `places`, in the index's order; those of study s begin at starts[s].
        codes, names = pd.factorize(rows[group], sort=True)
        order = np.argsort(codes, kind="stable")[np.count_nonzero(codes < 0) :]  # a row without a name is in no study
        self.places = rows["place"].to_numpy()[order]
        self.starts = np.searchsorted(codes[order], np.arange(len(names) + 1))
        # Each row of a study repeats its labels and report.
        first = rows.iloc[order[self.starts[:-1]]]
        self.labels = labels_of(first, task, classes if task else ())
        self.reports = first["report"].to_numpy(object) if tokenizer else None
        if shuffled and self.reports is not None:
            self.reports = self.reports[derangement(len(self.reports), key)]
        self.tokenizer, self.text_tokenizer = tokenizer, text_tokenizer or tokenizer
        self.report_text: Reading = report_text
        self.max_tokens = max_tokens if tokenizer else 0

    def __len__(self) -> int:
        return len(self.starts) - 1

    def _chosen(self, which: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        chosen = np.empty((len(which), self.views), np.int64)
        for row, study in enumerate(which):
            places = self.places[self.starts[study] : self.starts[study + 1]]
            missing = self.views - len(places)
            if self.view_sampling == "official_code":
                chosen[row] = generator.choice(places, self.views, replace=True)
            elif missing >= 0:
                chosen[row] = np.concatenate([places, generator.choice(places, missing, replace=True)])
            else:
                chosen[row] = generator.choice(places, self.views, replace=False)
        return chosen

    def _batch(
        self,
        which: np.ndarray,
        chosen_BV: np.ndarray,
        flips_B: Tensor,
        shown: Callable[..., Tensor],
        drawn: Sequence[Tensor] = (),
        *,
        chances_B: np.ndarray,
    ) -> StudyBatch:
        """These studies on the device: chosen views as `shown`, reports with sides swapped where `flips_B`.

        Where a report is read by one of its sentences, `chances_B` in [0, 1) say which.
        """
        texts = [""] * len(which)
        if self.reports is not None:
            texts = [
                swap_sides(report, reading=self.report_flip) if flip else report
                for report, flip in zip(self.reports[which], flips_B.tolist(), strict=True)
            ]
            texts = [read(text, self.report_text, chance) for text, chance in zip(texts, chances_B, strict=True)]
        # Reports are tokenised batch by batch: all those of a large source would take minutes at every start.
        tokens, lengths = ids, id_lengths = _padded(self.tokenizer, texts, self.max_tokens)
        if self.text_tokenizer is not self.tokenizer:
            ids, id_lengths = _padded(self.text_tokenizer, texts, self.max_tokens)
        mask = (np.arange(ids.shape[1])[None] < id_lengths[:, None]).astype(np.int64)
        rest: dict[str, np.ndarray] = {
            "tokens_BT": tokens,
            "lengths_B": lengths,
            "text_ids_BT": ids,
            "text_mask_BT": mask,
        }
        rest["labels_BK"] = self.labels[which]
        pixels, *there = gathered(self.images_NHW, chosen_BV.ravel(), self.device, *rest.values(), *drawn)
        images = shown(pixels, *there[len(rest) :])
        images = images.view(-1, self.views, *images.shape[1:])
        return StudyBatch(images_BVCHW=images, **dict(zip(rest, there, strict=False)))

    def draw(self, step: int, *, batch_size: int, part: tuple[int, int] = (0, 1)) -> StudyBatch:
        """The augmented training batch of a step; of several processes each draws the numbers of the whole of it.

        Args:
            step: from 0.
            batch_size: of all processes together.
            part: see `own_rows`.
        """
        which = step_indices(self.key, step, count=len(self), batch_size=batch_size)
        chosen = self._chosen(which, np.random.default_rng(identity.seed(self.key, "views", step)))
        generator = generator_of(self.key, "augment", step)
        if self.report_flip == "paper":
            flips = self.augment.flips(len(which), generator).repeat_interleave(self.views)
        else:
            flips = self.augment.flips(chosen.size, generator)
        mine = own_rows(batch_size, part)
        views = slice(mine.start * self.views, mine.stop * self.views)
        drawn = self.augment.drawn(chosen.size, self.images_NHW.shape[-1], generator, flips)
        first = flips.view(-1, self.views)[mine, 0]
        chances = np.random.default_rng(identity.seed(self.key, "sentences", step)).random(len(which))
        own = [values[views] for values in drawn]
        return self._batch(which[mine], chosen[mine], first, self.augment.applied, own, chances_B=chances[mine])

    def fixed(self, *, batch_size: int) -> Iterator[StudyBatch]:
        """All studies in order, unaugmented, always the same views and sentences: validations compare alike."""
        for which in spans(len(self), batch_size):
            first = int(which[0])
            rng = np.random.default_rng(identity.seed(self.key, "validation views", first))
            chances = np.random.default_rng(identity.seed(self.key, "validation sentences", first)).random(len(which))
            unflipped = torch.zeros(len(which), dtype=torch.bool)
            yield self._batch(which, self._chosen(which, rng), unflipped, self.augment.evaluation, chances_B=chances)


def derangement(count: int, key: str) -> np.ndarray:
    """A seeded permutation without a fixed point (count >= 2): a random cycle through all."""
    order = np.random.default_rng(identity.seed(key, "shuffled reports")).permutation(count)
    result = np.empty(count, np.int64)
    result[order] = np.roll(order, 1)
    return result


def _padded(tokenizer: ReportTokenizer | None, texts: list[str], max_tokens: int) -> tuple[np.ndarray, np.ndarray]:
    """Token ids (N, longest) and lengths (N), at most `max_tokens`; no text has length 0 without a tokenizer."""
    encoded = [tokenizer.encode(text, max_tokens=max_tokens) if tokenizer else [] for text in texts]
    lengths = np.array([len(ids) for ids in encoded], np.int64)
    padded = np.full((len(texts), lengths.max(initial=0)), PAD, np.int64)
    for row, ids in enumerate(encoded):
        padded[row, : len(ids)] = ids
    return padded, lengths
