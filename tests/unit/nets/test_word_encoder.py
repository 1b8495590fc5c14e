"""Words are sums over their pieces, of either kind of vocabulary, and a given BERT is read as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel

from refers_bench.data.text import ReportTokenizer
from refers_bench.nets.facts import SourceFacts
from refers_bench.nets.word_encoder import WordEncoder, groups, opening, summed

SIZES = {"width": 16, "depth": 3, "heads": 2, "mlp_width": 32, "dropout": 0.0}
REPORTS = ["no pleural effusion", "the lungs are clear", "no focal consolidation or pneumothorax", "pleural effusions"]


def test_words_of_byte_pair_pieces_are_those_between_spaces() -> None:
    tokenizer = ReportTokenizer.train(REPORTS, vocabulary=32)
    opens, _ = opening(tokenizer.pieces(), tokenizer.vocabulary)
    for report in REPORTS:
        ids = torch.tensor([tokenizer.encode(report, max_tokens=99)])
        assert ids.shape[1] > len(report.split()) + 2, "a word has several pieces"
        found = groups(opens[ids], torch.ones_like(ids))
        assert found.any(1).sum() == len(report.split()) + 2
        pieces = [tokenizer.pieces()[number] for number in ids[0].tolist()]
        words = [
            "".join(p for p, inside in zip(pieces, column, strict=True) if inside) for column in found[0].T.tolist()
        ]
        assert [word.removeprefix("\u2581") for word in words if word] == ["[SOS]", *report.split(), "[EOS]"]


def test_every_piece_is_a_word_where_pieces_are_not_known() -> None:
    opens, counted = opening((), 5)
    assert opens.all() and counted.all()
    x, ids = torch.randn(2, 4, 3), torch.randint(5, (2, 4))
    torch.testing.assert_close(summed(x, groups(opens[ids], torch.ones_like(ids))), x)


def test_brackets_and_unknown_pieces_are_counted_as_the_source_counts_them() -> None:
    """A word piece that is a bracket is no word of its own, a byte-pair piece is; special pieces never are."""
    pieces = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[", "a", "##b")
    opens, counted = opening(pieces, len(pieces))
    assert opens.tolist() == [True] * 6 + [False]
    assert counted.tolist() == [False] * 5 + [True] * 2
    pieces = ("<unk>", "[SOS]", "[EOS]", "[MASK]", "\u2581[", "[", "<", "\u2581a", "b")
    opens, counted = opening(pieces, len(pieces))
    assert opens.tolist() == [True] * 5 + [False, False, True, False]
    assert counted.tolist() == [False] * 4 + [True] * 5


def test_padding_is_in_no_word() -> None:
    mask = torch.tensor([[1, 1, 0, 0]])
    found = groups(torch.tensor([[True, False, True, False]]), mask)
    assert found[0].tolist() == [[True, False, False, False], [True, False, False, False], [False] * 4, [False] * 4]


def encoder(pooling: str = "max", path: str | None = None, **more: int) -> WordEncoder:
    torch.manual_seed(0)
    facts = SourceFacts(text_vocabulary=30, max_tokens=8, bert_path=path)
    return WordEncoder.build(SIZES, facts, pooling=pooling, attn_implementation="eager", **more).eval()


@pytest.mark.parametrize("pooling", ["max", "cls", "pooler"])
@torch.no_grad()
def test_padding_does_not_change_a_feature(pooling: str) -> None:
    ids = torch.randint(3, 30, (2, 8))
    ids[:, 5:] = 0
    mask = (ids != 0).long()
    net = encoder(pooling)
    torch.testing.assert_close(net(ids, mask), net(ids[:, :5], mask[:, :5]))
    assert net(ids, mask).shape == (2, 16)


@pytest.mark.parametrize("shifted", [False, True])
@torch.no_grad()
def test_padding_changes_no_words(shifted: bool) -> None:
    ids = torch.randint(3, 30, (2, 8))
    ids[:, 5:] = 0
    mask, net = (ids != 0).long(), encoder()
    whole, cut = (net.attended(ids[:, :n], mask[:, :n], shifted=shifted, places=8) for n in (8, 5))
    torch.testing.assert_close(whole.words_BWD[:, :5], cut.words_BWD)
    torch.testing.assert_close(whole.attention_BW[:, :5], cut.attention_BW)
    assert not whole.present_BW[:, 5:].any() and whole.present_BW[:, :5].all()
    rows = whole.attention_BW.sum(1)
    assert (rows < 0.999).all() if shifted else torch.allclose(rows, torch.ones(2), atol=1e-5)


def test_another_pooling_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown pooling 'mean'; allowed: max, cls, pooler"):
        encoder("mean")


@torch.no_grad()
def test_a_given_bert_keeps_its_first_layers_and_its_frozen_ones(tmp_path: Path) -> None:
    torch.manual_seed(3)
    names = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
    given = BertModel(BertConfig(vocab_size=30, max_position_embeddings=8, **names)).eval()
    given.save_pretrained(tmp_path)
    ids = torch.randint(3, 30, (2, 8))
    mask = torch.ones_like(ids)
    states = given(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
    for layers in (0, 2):
        net = encoder("cls", str(tmp_path), layers=layers, frozen_layers=1)
        torch.testing.assert_close(net(ids, mask), states[layers or 3][:, 0])
        fixed = {name for name, one in net.named_parameters() if not one.requires_grad}
        assert fixed == {n for n, _ in net.named_parameters() if "embeddings" in n or "encoder.layer.0." in n}
    assert all(one.requires_grad for one in encoder(frozen_layers=1).parameters())
