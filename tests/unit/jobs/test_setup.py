"""Do jobs find their roots, initial weights and tokenizers, or say which one is missing?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

from refers_bench.errors import DataError, UserError
from refers_bench.jobs import finetune, pretrain, reports, setup
from refers_bench.nets.radiograph_transformer import RadiographTransformer
from refers_bench.store.context import JobContext


def context(tmp_path: Path, **named: Path) -> JobContext:
    return JobContext(results=tmp_path, cache=tmp_path, roots={name: str(path) for name, path in named.items()})


def encoder(
    image_size: int = 48, width: int = 48, position: str = "added", activation: str = "gelu"
) -> RadiographTransformer:
    torch.manual_seed(0)
    return RadiographTransformer(
        image_size=image_size, patch_size=16, channels=3, width=width, depth=2, heads=4, mlp_width=96, dropout=0.0,
        activation=activation, position=position, aggregation="none",
    )  # fmt: skip


def test_data_roots(tmp_path: Path) -> None:
    assert context(tmp_path, nih=tmp_path).data_root("nih") == tmp_path
    with pytest.raises(UserError, match="data root 'nih' is not set; allowed: covid"):
        context(tmp_path, covid=tmp_path).data_root("nih")
    with pytest.raises(UserError, match="data root 'nih' does not exist"):
        context(tmp_path, nih=tmp_path / "gone").data_root("nih")
    file = tmp_path / "weights.npz"
    file.write_text("")
    assert context(tmp_path, nih=file).data_root("nih", folder=False) == file
    with pytest.raises(UserError, match="data root 'nih' is not a folder"):
        context(tmp_path, nih=file).data_root("nih")


def test_initial_weights_from_npz_are_resized_to_the_image(golden: Path, tmp_path: Path) -> None:
    network, net = {"init": "imagenet", "init_path_name": "vit"}, encoder()
    loaded = setup.load_image_weights(net, network, context(tmp_path, vit=golden / "case10_vit_jax_layout.npz"))
    assert loaded is not None
    assert not loaded[0].missing
    with np.load(golden / "case10_vit_jax_layout.npz") as arrays:
        np.testing.assert_array_equal(net.aggregation_embedding.detach().numpy(), arrays["cls"])
        assert arrays["Transformer/posembed_input/pos_embedding"].shape[1] == 17
    assert net.position_embedding.shape == (1, 10, 48)


def test_initial_weights_keep_their_positions_and_the_record_says_how(golden: Path, tmp_path: Path) -> None:
    network = {"init": "imagenet", "init_path_name": "vit"}
    where = context(tmp_path, vit=golden / "case10_vit_jax_layout.npz")
    net, plain = encoder(position="concatenated", activation="relu"), encoder(activation="relu")
    facts = [setup.initial_fact(setup.load_image_weights(one, network, where)) for one in (net, plain)]
    images = torch.randn(2, 3, 48, 48)
    torch.testing.assert_close(net.embed(images), plain.embed(images), rtol=1e-5, atol=1e-5)
    remark = "weights trained with GELU run here with ReLU"
    count = len(plain.state_dict())
    assert facts == [f"{count} tensors given; 2 derived from them; {remark}", f"{count} tensors given; {remark}"]
    assert setup.initial_fact(None) == "random"


def test_initial_weights_of_another_width_are_refused(golden: Path, tmp_path: Path) -> None:
    network = {"init": "imagenet", "init_path_name": "vit"}
    with pytest.raises(DataError, match=r"tensors|of this network"):
        setup.load_image_weights(
            encoder(width=32), network, context(tmp_path, vit=golden / "case10_vit_jax_layout.npz")
        )
    assert setup.load_image_weights(encoder(), {"init": "random"}, context(tmp_path)) is None


def test_tokenizers_are_built_from_the_reports(tmp_path: Path) -> None:
    section = {"vocabulary": 60, "text_encoder": {"path_name": ""}}
    words = reports.tokenizers(["No effusion.", "Large effusion."], section, context(tmp_path))
    assert words.text is words.reports
    assert words.bert_path is None
    assert words.reports.encode("effusion", max_tokens=50)[0] == 1


def test_a_tokenizer_is_built_once_for_the_same_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts, cache = ["No effusion.", "Large  effusion, left.", "Heart of normal size."], tmp_path / "cache"
    direct = reports.ReportTokenizer.train(texts, vocabulary=60)
    first = reports.report_tokenizer(texts, vocabulary=60, cache=cache)
    train, calls = reports.ReportTokenizer.train, []

    def counted(*given: object, vocabulary: int) -> reports.ReportTokenizer:
        calls.append(vocabulary)
        return train(*given, vocabulary=vocabulary)  # type: ignore[arg-type]

    monkeypatch.setattr(reports.ReportTokenizer, "train", counted)
    again = reports.report_tokenizer(texts[::-1], vocabulary=60, cache=cache)
    assert calls == []
    assert direct.to_json() == first.to_json() == again.to_json()
    for text in texts:
        assert again.encode(text, max_tokens=50) == direct.encode(text, max_tokens=50)
    reports.report_tokenizer(texts, vocabulary=50, cache=cache)
    reports.report_tokenizer(texts[1:], vocabulary=60, cache=cache)
    monkeypatch.setattr(reports, "RULES", -1)
    reports.report_tokenizer(texts, vocabulary=60, cache=cache)
    assert calls == [50, 60, 60]
    (tmp_path / "file").write_text("no folder")
    reports.report_tokenizer(texts, vocabulary=40, cache=tmp_path / "file")
    assert calls[3:] == [40]
    assert len(list((cache / "tokenizers").iterdir())) == 4, "nothing is left but the tokenizers"


def test_a_local_bert_brings_its_own_tokenizer(tmp_path: Path) -> None:
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "no", "effusion", "."]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces))
    BertTokenizerFast(vocab=str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    config = BertConfig(
        vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        max_position_embeddings=16,
    )  # fmt: skip
    BertModel(config).save_pretrained(tmp_path)
    section = {"vocabulary": 60, "text_encoder": {"path_name": "bert"}}
    words = reports.tokenizers(["No effusion."], section, context(tmp_path, bert=tmp_path))
    assert words.bert_path == str(tmp_path)
    assert words.text.vocabulary == 8
    assert words.text.encode("no  effusion .", max_tokens=10) == [2, 5, 6, 7, 3]
    assert words.text.encode("no effusion . no no no", max_tokens=4) == [2, 5, 6, 3]
    with pytest.raises(UserError, match="data root 'bert' is not set"):
        reports.tokenizers(["No effusion."], section, context(tmp_path))


def source_index() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image_id": list("abcdef"), "patient_id": ["1", "2", "3", "4", "5", "5"], "study_id": list("abcdef"),
            "split": ["train", "train", "val", "test", "train", "test"], "report": ["x", None, "y", "z", "w", "v"],
            "t:k": pd.array([1, 0, None, 1, 1, 0], dtype="Int8"),
        }
    )  # fmt: skip


def test_pretraining_rows() -> None:
    rows, dropped = pretrain.usable_rows(source_index(), needs=frozenset({"reports"}), task="t")
    assert list(rows["image_id"]) == ["a", "c"]
    assert dropped == {"test or unused split": 2, "patient in the test split": 1, "no report": 1}
    rows, _ = pretrain.usable_rows(source_index(), needs=frozenset({"labels"}), task="t")
    assert list(rows["image_id"]) == ["a", "b"]


@pytest.mark.parametrize(
    ("wanted", "labels", "expected"),
    [
        ("best_auc", [[1.0], [0.0]], "best_auc"),
        ("best_auc", [[0.0], [0.0]], "best_loss"),
        ("best_auc", [[1.0, 0.0], [np.nan, 0.0]], "best_loss"),
        ("best_auc", np.zeros((0, 1)), "last"),
        ("best_loss", np.zeros((0, 1)), "last"),
        ("best_loss", [[1.0]], "best_loss"),
        ("last", np.zeros((0, 1)), "last"),
    ],
)
def test_selection_falls_back_with_a_reason(wanted: str, labels: list[list[float]], expected: str) -> None:
    select, why = finetune.selection(wanted, np.array(labels, dtype=np.float32))
    assert select == expected
    assert bool(why) == (select != wanted)
