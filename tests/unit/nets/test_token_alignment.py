"""Weights of tokens, and scores of words and regions that do not depend on what lies behind the last word."""

from __future__ import annotations

import torch

from refers_bench.nets import token_alignment

TEMPS = {"temp1": 4.0, "temp2": 5.0, "temp3": 10.0}


def test_weights_have_sum_one_and_no_gradient() -> None:
    attention = torch.rand(3, 9, requires_grad=True) + 0.01
    attention = attention * torch.tensor([1.0] * 6 + [0.0] * 3)
    found = token_alignment.clipped_weights(attention)
    torch.testing.assert_close(found.sum(1), torch.ones(3))
    assert not found.requires_grad and not found[:, 6:].any() and (found[:, :6] > 0).all()
    spread = (found[:, :6].amax(1) / found[:, :6].amin(1)) < (attention[:, :6].amax(1) / attention[:, :6].amin(1))
    assert spread.all(), "the largest and the smallest are clipped"


def test_a_row_without_attention_has_no_weight() -> None:
    found = token_alignment.clipped_weights(torch.zeros(2, 4))
    assert torch.equal(found, torch.zeros(2, 4))


def test_words_behind_the_last_one_do_not_count() -> None:
    torch.manual_seed(0)
    regions, words, counts = torch.randn(3, 6, 4), torch.randn(3, 5, 4), torch.tensor([2, 5, 1])
    found = token_alignment.word_region_scores(regions, words, counts, **TEMPS)
    words[0, 2:], words[2, 1:] = 7.0, -3.0
    torch.testing.assert_close(token_alignment.word_region_scores(regions, words, counts, **TEMPS), found)
    assert found.shape == (3, 3)


def test_a_word_that_is_a_region_is_found_there() -> None:
    torch.manual_seed(0)
    regions = 5 * torch.nn.functional.normalize(torch.randn(4, 6, 16), dim=-1)
    words = regions[:, :3].clone()
    scores = token_alignment.word_region_scores(regions, words, torch.full((4,), 3), **TEMPS)
    assert torch.equal(scores.argmax(0), torch.arange(4))
