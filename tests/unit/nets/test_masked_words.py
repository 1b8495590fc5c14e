"""Whole words are hidden, and only what is a report; the report's loss is over the places that are asked for."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from refers_bench.nets import masked_words


@given(st.lists(st.booleans(), min_size=4, max_size=30), st.data())
def test_words_are_hidden_whole_and_by_a_draw_of_their_own(follows: list[bool], data: st.DataObject) -> None:
    """As a loop over the pieces does it."""
    T = len(follows)
    length = data.draw(st.integers(1, T))
    draws = data.draw(st.lists(st.floats(0, 1, exclude_max=True), min_size=T, max_size=T))
    found = masked_words.hidden_words(
        torch.tensor([follows]), torch.tensor([length]), torch.tensor([draws], dtype=torch.float64), probability=0.5
    )[0].tolist()
    expected, left = [False] * T, iter(draws)
    for place in range(1, min(length, T - 1)):
        expected[place] = expected[place - 1] if follows[place] else next(left) < 0.5
    assert found == expected


def test_the_loss_is_over_all_places_or_over_hidden_ones() -> None:
    torch.manual_seed(0)
    logits, ids = torch.randn(2, 5, 7), torch.randint(0, 7, (2, 5))
    hidden = torch.zeros(2, 5, dtype=torch.bool)
    hidden[0, 1:3] = hidden[1, 2] = True
    each = F.cross_entropy(logits.flatten(0, 1), ids.flatten(), reduction="none").view(2, 5)
    torch.testing.assert_close(masked_words.report_loss(logits, ids, hidden, places="all"), each.mean())
    torch.testing.assert_close(masked_words.report_loss(logits, ids, hidden, places="masked"), each[hidden].mean())
    assert masked_words.report_loss(logits, ids, hidden & False, places="masked") == 0, "nothing was hidden"
    with pytest.raises(ValueError, match="allowed: all, masked"):
        masked_words.report_loss(logits, ids, hidden, places="some")


def test_padding_is_not_looked_at_and_every_place_knows_the_image() -> None:
    torch.manual_seed(0)
    model = masked_words.MaskedReportModel(
        vocabulary=9, max_tokens=6, width=8, depth=2, heads=2, mlp_width=16, dropout=0.1
    ).eval()
    ids, mask, feature = torch.tensor([[1, 4, 5, 0, 0, 0]]), torch.tensor([[1, 1, 1, 0, 0, 0]]), torch.randn(1, 8)
    other = ids.clone()
    other[0, 4] = 7
    logits = model(ids, mask, feature)
    assert torch.equal(logits[:, :3], model(other, mask, feature)[:, :3])
    assert ((logits - model(ids, mask, feature + 1.0 * torch.randn(1, 8))).abs().amax((0, 2)) > 0).all()
    assert model.decoder.weight is not model.bert.embeddings.word_embeddings.weight, "not tied"
