"""Checks of batches from outside: whose pixels, labels and words they hold, in which order, and how they were drawn.

Every radiograph carries its number, and its left half is darker than its right one: a flip can be seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from refers_bench.data.augment import Augment
from refers_bench.data.batches import RadiographSource, StudyBatch, StudySource
from refers_bench.data.sentences import sentences
from refers_bench.data.text import ReportTokenizer
from refers_bench.data.visual_words import CropSource

CPU = torch.device("cpu")
SIDE = 4
#: As written, of an image flipped as the paper has it, and as the released code has it.
REPORTS = (
    ("left effusion", "right effusion", "right effusion"),
    ("Right effusion seen upright", "Left effusion seen upright", "Right effusion seen upleft"),
    ("LEFT and right apex", "RIGHT and left apex", "LEFT and left apex"),
    ("heart of normal size", "heart of normal size", "heart of normal size"),
    ("the leftmost rib, left", "the leftmost rib, right", "the rightmost rib, right"),
)
#: Views of each study.
VIEWS = (1, 2, 3, 4, 5)
READINGS = {"paper": 1, "official_code": 2}


def radiographs(count: int) -> np.ndarray:
    """(N, SIDE, SIDE): radiograph n is n on the left, and 128 more on the right."""
    images = np.repeat(np.arange(count, dtype=np.uint8), SIDE * SIDE).reshape(count, SIDE, SIDE)
    images[:, :, SIDE // 2 :] += 128
    return images


def augment(**changes: Any) -> Augment:
    """Flips alone; pixels as they are, in [0, 1]."""
    return Augment(**{"size": SIDE, "channels": 1, "mean": (0.0,), "std": (1.0,), "crop": "none", **changes})


def seen(images: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of radiographs and whether they are flipped, of images (..., 1, SIDE, SIDE)."""
    left, right = ((images[..., 0, 0, column] * 255).round().int().numpy() for column in (0, -1))
    assert (abs(left - right) == 128).all()
    return np.minimum(left, right), left > right


def study_rows() -> pd.DataFrame:
    """Studies s0 to s4 with 1 to 5 views, in an order of their own; study n's report and label are its number's."""
    study = np.random.default_rng(0).permutation(np.repeat(np.arange(len(VIEWS)), VIEWS))
    return pd.DataFrame(
        {
            "image_id": [f"i{number}" for number in range(len(study))], "study_id": [f"s{one}" for one in study],
            "place": np.arange(len(study))[::-1], "report": [REPORTS[one][0] for one in study],
            "t:k": pd.array([one % 2 if one else None for one in study], dtype="Int8"),
        }
    )  # fmt: skip


ROWS = study_rows()
#: Place in the store -> study.
STUDY = {int(place): int(name[1:]) for place, name in zip(ROWS["place"], ROWS["study_id"], strict=True)}
WORDS = ReportTokenizer.train([text for texts in REPORTS for text in texts], vocabulary=80)
OTHER_WORDS = ReportTokenizer.train([text for texts in REPORTS for text in texts], vocabulary=40)


def studies(**changes: Any) -> StudySource:
    given = {
        "group": "study_id", "tokenizer": WORDS, "text_tokenizer": OTHER_WORDS, "max_tokens": 40, "task": "t",
        "classes": ("k",), "views": 3, "view_sampling": "paper", "report_flip": "paper", "shuffled": False,
        "augment": augment(), "device": CPU, "key": "k", **changes,
    }  # fmt: skip
    return StudySource(radiographs(len(ROWS)), ROWS, **given)


def ids(tokenizer: ReportTokenizer, text: str) -> list[int]:
    """Start, pieces, end."""
    return [1, *tokenizer.tokenizer.encode(text).ids, 2]


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("view_sampling", ["paper", "official_code"])
def test_a_flipped_radiograph_has_the_report_with_its_sides_swapped(reading: str, view_sampling: str) -> None:
    source, pairs, mixed = studies(report_flip=reading, view_sampling=view_sampling), Counter[tuple[int, bool]](), 0
    for step in range(40):
        batch = source.draw(step, batch_size=5)
        numbers, flips = seen(batch.images_BVCHW)
        assert numbers.shape == (5, 3)
        for row in range(5):
            (study,) = {STUDY[int(number)] for number in numbers[row]}
            flipped = bool(flips[row, 0])
            pairs[study, flipped] += 1
            mixed += len(set(flips[row])) == 2
            text = REPORTS[study][READINGS[reading] if flipped else 0]
            expected, length = ids(WORDS, text), int(batch.lengths_B[row])
            assert batch.tokens_BT[row, :length].tolist() == expected
            assert not batch.tokens_BT[row, length:].any()
            other = ids(OTHER_WORDS, text)
            assert batch.text_ids_BT[row, : len(other)].tolist() == other
            assert not batch.text_ids_BT[row, len(other) :].any()
            assert batch.text_mask_BT[row].tolist() == [int(n < len(other)) for n in range(batch.text_ids_BT.shape[1])]
            label = batch.labels_BK[row].tolist()
            assert label == [study % 2] if study else np.isnan(label).all()
    # Of 200 draws about half are flipped, each study once an epoch; in the paper's reading all views of a study alike.
    assert all(sum(pairs[study, flip] for flip in (False, True)) == 40 for study in range(5))
    assert 70 < sum(pairs[study, True] for study in range(5)) < 130
    assert (mixed > 0) == (reading == "official_code")


@pytest.mark.parametrize(("probability", "reading"), [(0.0, "paper"), (1.0, "official_code")])
def test_flips_are_as_likely_as_asked_for(probability: float, reading: str) -> None:
    batch = studies(report_flip=reading, augment=augment(flip_probability=probability)).draw(0, batch_size=5)
    assert (seen(batch.images_BVCHW)[1] == bool(probability)).all()


def test_validation_has_every_study_once_in_order_unflipped_with_the_same_views() -> None:
    source = studies(augment=augment(flip_probability=1.0, jitter_probability=1.0, brightness=(0.5, 0.6)))
    batches = list(source.fixed(batch_size=2))
    assert [len(batch.lengths_B) for batch in batches] == [2, 2, 1]
    numbers, flips = (np.concatenate(parts) for parts in zip(*(seen(one.images_BVCHW) for one in batches), strict=True))
    assert [[STUDY[int(number)] for number in row] for row in numbers] == [[study] * 3 for study in range(5)]
    assert not flips.any()
    rows = [(one.tokens_BT[row], one.lengths_B[row]) for one in batches for row in range(len(one.lengths_B))]
    assert [tokens[:length].tolist() for tokens, length in rows] == [ids(WORDS, texts[0]) for texts in REPORTS]
    torch.manual_seed(3)
    again = np.concatenate([seen(one.images_BVCHW)[0] for one in studies().fixed(batch_size=2)])
    assert np.array_equal(numbers, again)


def test_sentences_are_drawn_anew_with_each_step_and_are_the_same_in_every_validation() -> None:
    text = "Left lung clear. Heart is normal. No effusion seen."
    source = studies(report_text="sentence", augment=augment(flip_probability=0.0))
    assert source.reports is not None
    source.reports[:] = text
    known = {tuple(ids(OTHER_WORDS, sentence)) for sentence in sentences(text)}
    assert len(known) == 3

    def read(batch: StudyBatch) -> list[tuple[int, ...]]:
        rows = zip(batch.text_ids_BT.tolist(), batch.text_mask_BT.sum(1).tolist(), strict=True)
        return [tuple(row[:length]) for row, length in rows]

    drawn = [read(source.draw(step, batch_size=5)) for step in range(12)]
    assert {one for rows in drawn for one in rows} == known
    assert len({tuple(rows) for rows in drawn}) > 6
    assert read(source.draw(3, batch_size=5)) == drawn[3]
    once, again = ([read(batch) for batch in source.fixed(batch_size=2)] for _ in range(2))
    assert once == again and len({one for rows in once for one in rows}) > 1


def test_validation_views_are_drawn_from_the_key_and_the_studies() -> None:
    """Of 12 studies with 4 views each, one at a time."""
    rows = pd.DataFrame({"study_id": np.repeat(range(12), 4), "place": range(48), "report": ""})

    def views(key: str) -> list[int]:
        source = StudySource(
            radiographs(48), rows, group="study_id", tokenizer=None, max_tokens=9, task="", classes=(), views=1,
            view_sampling="paper", report_flip="paper", shuffled=False, augment=augment(), device=CPU, key=key,
        )  # fmt: skip
        return [number for batch in source.fixed(batch_size=1) for number in numbers(batch)]

    plain = views("k")
    assert [number // 4 for number in plain] == list(range(12)) and plain == views("k") != views("l")
    assert {number % 4 for number in plain} == {0, 1, 2, 3}, "not the same view of each"


def test_a_study_with_fewer_views_shows_all_of_them_and_one_with_more_other_ones_each_time() -> None:
    views: dict[int, list[tuple[int, ...]]] = {study: [] for study in range(5)}
    source = studies()
    for step in range(60):
        for row in seen(source.draw(step, batch_size=5).images_BVCHW)[0]:
            views[STUDY[int(row[0])]].append(tuple(int(number) for number in row))
    own = {study: sorted(place for place, one in STUDY.items() if one == study) for study in range(5)}
    for study, drawn in views.items():
        missing = 3 - len(own[study])
        for numbers in drawn:
            if missing >= 0:
                assert set(numbers) == set(own[study]), "all of them, then some again"
            else:
                assert len(set(numbers)) == 3 and set(numbers) < set(own[study])
    # 4 and 5 views, 3 of them in order: every choice appears, and all fill-ups of two views.
    assert len({frozenset(one) for one in views[3]}) == 4
    assert len({frozenset(one) for one in views[4]}) == 10
    assert {Counter(one).most_common(1)[0][0] for one in views[1]} == set(own[1])


def test_view_sampling_of_the_released_code_draws_each_view_anew() -> None:
    source, repeated, alone = studies(view_sampling="official_code"), 0, Counter[int]()
    for step in range(60):
        for row in seen(source.draw(step, batch_size=5).images_BVCHW)[0]:
            study = STUDY[int(row[0])]
            repeated += study == 4 and len(set(row)) < 3
            alone[study] += study == 2 and len(set(row)) == 1
    # Of 5 views 3 draws are distinct in 12 of 25 cases; of 3 views all the same in 1 of 9.
    assert 20 < repeated < 43 and 1 < alone[2] < 16


def test_reports_of_other_studies_are_each_used_once() -> None:
    source = studies(shuffled=True, views=1, augment=augment(flip_probability=0.0))
    given = {}
    for step in range(2):
        batch = source.draw(step, batch_size=5)
        for row, number in enumerate(seen(batch.images_BVCHW)[0][:, 0]):
            tokens = batch.tokens_BT[row, : int(batch.lengths_B[row])].tolist()
            (text,) = [study for study in range(5) if ids(WORDS, REPORTS[study][0]) == tokens]
            assert given.setdefault(STUDY[int(number)], text) == text, "the same one each time"
            label = batch.labels_BK[row].tolist()
            assert label == [STUDY[int(number)] % 2] if STUDY[int(number)] else np.isnan(label).all()
    assert sorted(given) == sorted(given.values()) == list(range(5)) and all(a != b for a, b in given.items())
    others = [studies(shuffled=True, key=key).reports.tolist() for key in "abcdef"]
    assert len({tuple(one) for one in others}) > 1, "another key pairs otherwise"


def test_reports_are_cut_to_the_longest() -> None:
    batch = studies(max_tokens=4, augment=augment(flip_probability=0.0), views=1).draw(0, batch_size=5)
    for row, number in enumerate(seen(batch.images_BVCHW)[0][:, 0]):
        text = REPORTS[STUDY[int(number)]][0]
        assert batch.tokens_BT[row].tolist() == [*ids(WORDS, text), 0, 0][:4]
        assert int(batch.lengths_B[row]) == min(4, len(ids(WORDS, text)))


COUNT = 7


def one_by_one(key: str = "k", **changes: Any) -> RadiographSource:
    """7 radiographs, at places 2 to 8 of a store of 10; each one's label is its number's remainder."""
    labels = np.array([[number % 2, np.nan] for number in range(2, 9)], np.float32)
    return RadiographSource(
        radiographs(10), np.arange(2, 9), labels, augment=augment(**changes), device=CPU, key=key
    )  # fmt: skip


def crops(key: str = "k", **changes: Any) -> CropSource:
    """7 whole images as crops; each one's word is its number."""
    table = pd.DataFrame({"word": range(2, 9), "place": range(2, 9), "top": 0.0, "left": 0.0, "side": 1.0})
    return CropSource(radiographs(10), table, augment=augment(**changes), device=CPU, key=key)


def alone(key: str = "k", **changes: Any) -> StudySource:
    """7 radiographs without reports or labels, each a study of its own."""
    rows = pd.DataFrame({"image_id": [f"i{number}" for number in range(2, 9)], "place": range(2, 9)})
    return StudySource(
        radiographs(10), rows, group="image_id", tokenizer=None, max_tokens=9, task="", classes=(), views=1,
        view_sampling="paper", report_flip="paper", shuffled=False, augment=augment(**changes), device=CPU, key=key,
    )  # fmt: skip


def _images(batch: Any) -> Tensor:
    """(N, 1, SIDE, SIDE), of a batch of radiographs or of studies with one view."""
    found: Tensor = batch.images_BCHW if hasattr(batch, "images_BCHW") else batch.images_BVCHW[:, 0]
    return found


def numbers(batch: Any) -> list[int]:
    return [int(number) for number in seen(_images(batch))[0]]


def drawn(source: Any, *, batch_size: int, steps: int) -> Iterator[int]:
    for step in range(steps):
        yield from numbers(source.draw(step, batch_size=batch_size))


@pytest.mark.parametrize("make", [one_by_one, crops, alone], ids=lambda make: str(make.__name__))
def test_an_epoch_has_each_example_once_in_an_order_of_its_own(make: Callable[..., Any]) -> None:
    source = make()
    assert len(source) == COUNT
    for batch_size in (3, 7, 10):
        laid_out = list(drawn(source, batch_size=batch_size, steps=12 * COUNT // batch_size))
        epochs = [tuple(laid_out[start : start + COUNT]) for start in range(0, len(laid_out) - COUNT + 1, COUNT)]
        assert len(epochs) == 12 * COUNT // batch_size * batch_size // COUNT
        assert all(sorted(epoch) == list(range(2, 9)) for epoch in epochs)
        assert len(set(epochs)) > 8, "orders differ between epochs"
        assert all(epoch != tuple(range(2, 9)) for epoch in epochs)
    same = list(drawn(make(), batch_size=7, steps=6))
    torch.manual_seed(5)
    np.random.seed(5)
    assert list(drawn(make(), batch_size=7, steps=6)) == same
    late = make()
    assert numbers(late.draw(5, batch_size=7)) == same[35:], "whatever was drawn before"
    keys = [tuple(drawn(make(key), batch_size=7, steps=2)) for key in ("k", "l", "m")]
    assert len(set(keys)) == 3
    fixed = list(make().fixed(batch_size=3))
    assert [numbers(batch) for batch in fixed] == [[2, 3, 4], [5, 6, 7], [8]]


def test_labels_and_words_are_those_of_their_radiographs() -> None:
    for step in range(3):
        batch = one_by_one().draw(step, batch_size=5)
        assert batch.labels_BK[:, 0].tolist() == [number % 2 for number in numbers(batch)]
        assert batch.labels_BK[:, 1].isnan().all()
        batch = crops().draw(step, batch_size=5)
        assert batch.labels_BK.tolist() == [[number] for number in numbers(batch)]
        assert batch.tokens_BT.shape == (5, 0)
    for source in (one_by_one(), crops()):
        for batch in source.fixed(batch_size=4):
            expected = numbers(batch)
            found = batch.labels_BK[:, 0].tolist()
            assert found == (expected if isinstance(source, CropSource) else [number % 2 for number in expected])


@pytest.mark.parametrize("make", [one_by_one, alone], ids=lambda make: str(make.__name__))
def test_each_step_augments_in_its_own_way(make: Callable[..., Any]) -> None:
    """One radiograph in each step: its brightness, and whether it is flipped, are drawn anew."""
    changes = {"jitter_probability": 1.0, "brightness": (0.5, 1.0)}

    def brightness(source: Any, steps: range) -> list[float]:
        """The brightest pixel of each radiograph of each step."""
        batches = [_images(source.draw(step, batch_size=COUNT)) for step in steps]
        return [value for images in batches for value in images.flatten(1).amax(1).sort().values.tolist()]

    plain = brightness(make(**changes), range(8))
    assert len(set(plain)) == 8 * COUNT, "no two draws are alike"
    torch.manual_seed(7)
    assert brightness(make(**changes), range(8)) == plain
    assert brightness(make(**changes), range(5, 8)) == plain[5 * COUNT :]
    assert not set(brightness(make("l", **changes), range(8))) & set(plain)
    flips = [tuple(seen(_images(make().draw(step, batch_size=COUNT)))[1]) for step in range(8)]
    assert len(set(flips)) > 4


def test_views_are_drawn_from_the_key_and_the_step() -> None:
    def views(key: str) -> list[list[list[int]]]:
        source = studies(key=key)
        return [sorted(seen(source.draw(step, batch_size=5).images_BVCHW)[0].tolist()) for step in range(6)]

    plain = views("k")
    torch.manual_seed(3)
    np.random.seed(3)
    assert views("k") == plain != views("l")
    assert len({str(one) for one in plain}) > 3, "two steps with the same studies draw other views"
