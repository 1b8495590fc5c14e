"""Studies as they were read before: a frame for each study, every report as tokens in both flip states at the start.

The same batches as `refers_bench.data.batches.StudySource`, for the ratio of `bench_scale.py` and for the test that both
are equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from refers_bench import identity
from refers_bench.data.augment import Augment
from refers_bench.data.batches import StudyBatch, StudySource, derangement, generator_of, labels_of, step_indices
from refers_bench.data.text import PAD, ReportTokenizer, swap_sides


class SlowStudySource(StudySource):
    """See `StudySource`."""

    def __init__(
        self, images_NHW: np.ndarray, rows: pd.DataFrame, *, group: str, tokenizer: ReportTokenizer | None,
        max_tokens: int, task: str, classes: Sequence[str], views: int, view_sampling: str, report_flip: str,
        shuffled: bool, augment: Augment, device: torch.device, key: str, text_tokenizer: ReportTokenizer | None = None,
    ) -> None:  # fmt: skip
        self.images_NHW, self.views, self.view_sampling, self.report_flip = (
            images_NHW,
            views,
            view_sampling,
            report_flip,
        )
        self.augment, self.device, self.key = augment, device, key
        studies = [(name, part) for name, part in rows.groupby(group, sort=True)]
        self.study_views = [part["place"].to_numpy() for _, part in studies]
        # A study's labels and report stand on each of its rows.
        first = pd.concat([part.iloc[:1] for _, part in studies]) if studies else rows
        self.labels = torch.from_numpy(
            labels_of(first, task, classes) if task else np.zeros((len(first), 0), np.float32)
        )
        reports = first["report"].tolist() if tokenizer else []
        if shuffled and reports:
            reports = [reports[i] for i in derangement(len(reports), key)]
        # State 0: as written; state 1: sides swapped, for flipped radiographs.
        states = [
            [swap_sides(report, reading=report_flip) if flip else report for report in reports] for flip in (0, 1)
        ]
        if tokenizer is None:
            max_tokens = 0
        states = states if tokenizer else [[""] * len(first)] * 2
        self.tokens = [_padded(tokenizer, texts, max_tokens) for texts in states]
        other = text_tokenizer or tokenizer
        self.text = self.tokens if other is tokenizer else [_padded(other, texts, max_tokens) for texts in states]

    def __len__(self) -> int:
        return len(self.study_views)

    def _chosen(self, which: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        chosen = np.empty((len(which), self.views), np.int64)
        for row, study in enumerate(which):
            places, missing = self.study_views[study], self.views - len(self.study_views[study])
            if self.view_sampling == "official_code":
                chosen[row] = generator.choice(places, self.views, replace=True)
            elif missing >= 0:
                chosen[row] = np.concatenate([places, generator.choice(places, missing, replace=True)])
            else:
                chosen[row] = generator.choice(places, self.views, replace=False)
        return chosen

    def _batch(self, which: np.ndarray, images_MCHW: Tensor, flips_B: Tensor) -> StudyBatch:
        B = len(which)
        images = images_MCHW.view(B, self.views, *images_MCHW.shape[1:])
        state = flips_B.numpy().astype(int)

        def texts(both: list[tuple[np.ndarray, np.ndarray]]) -> tuple[Tensor, Tensor]:
            lengths = np.stack([both[s][1][i] for s, i in zip(state, which, strict=True)])
            ids = np.stack([both[s][0][i] for s, i in zip(state, which, strict=True)])
            longest = int(lengths.max()) if len(lengths) else 0
            return torch.from_numpy(ids[:, :longest]).to(self.device), torch.from_numpy(lengths).to(self.device)

        tokens, lengths = texts(self.tokens)
        ids, id_lengths = texts(self.text)
        mask = (torch.arange(ids.shape[1], device=self.device)[None] < id_lengths[:, None]).long()
        return StudyBatch(
            images_BVCHW=images, tokens_BT=tokens, lengths_B=lengths, text_ids_BT=ids, text_mask_BT=mask,
            labels_BK=self.labels[which].to(self.device),
        )  # fmt: skip

    def _pixels(self, chosen_BV: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(self.images_NHW[chosen_BV.ravel()]))

    def draw(self, step: int, *, batch_size: int) -> StudyBatch:
        """The augmented training batch of a step."""
        which = step_indices(self.key, step, count=len(self), batch_size=batch_size)
        chosen = self._chosen(which, np.random.default_rng(identity.seed(self.key, "views", step)))
        generator = generator_of(self.key, "augment", step)
        if self.report_flip == "paper":
            flips = self.augment.flips(len(which), generator).repeat_interleave(self.views)
        else:
            flips = self.augment.flips(chosen.size, generator)
        images = self.augment.training(self._pixels(chosen), generator, flips)
        return self._batch(which, images, flips.view(len(which), self.views)[:, 0])

    def fixed(self, *, batch_size: int) -> Iterator[StudyBatch]:
        """All studies in order, unaugmented, always with the same views: validation compares like with like."""
        for start in range(0, len(self), batch_size):
            which = np.arange(start, min(len(self), start + batch_size))
            chosen = self._chosen(which, np.random.default_rng(identity.seed(self.key, "validation views", start)))
            images = self.augment.evaluation(self._pixels(chosen))
            yield self._batch(which, images, torch.zeros(len(which), dtype=torch.bool))


def _padded(tokenizer: ReportTokenizer | None, texts: list[str], max_tokens: int) -> tuple[np.ndarray, np.ndarray]:
    """Token ids (N, max_tokens) and lengths (N); no text has length 0 without a tokenizer."""
    ids = np.full((len(texts), max_tokens), PAD, np.int64)
    lengths = np.zeros(len(texts), np.int64)
    if tokenizer is None:
        return ids, lengths
    for row, text in enumerate(texts):
        encoded = tokenizer.encode(text, max_tokens=max_tokens)
        ids[row, : len(encoded)], lengths[row] = encoded, len(encoded)
    return ids, lengths
