"""Do fusion, contrast and generation losses equal the obvious loops over studies, views and tokens?"""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

from refers_bench.errors import UserError
from refers_bench.manifest import protocols
from refers_bench.methods import refers
from refers_bench.nets import text_encoder
from refers_bench.nets.facts import SourceFacts
from refers_bench.nets.losses import masked_bce, report_generation, study_report_contrast
from refers_bench.nets.report_transformer import ReportTransformer
from refers_bench.nets.view_fusion import ViewFusion


@pytest.mark.parametrize("weight", [1.0, 0.75, 0.0])
def test_contrast_against_a_loop(weight: float) -> None:
    torch.manual_seed(0)
    study, text, tau = torch.randn(5, 7), torch.randn(5, 7), 0.1

    def cosine(i: int, j: int) -> float:
        return float(study[i] @ text[j] / (study[i].norm() * text[j].norm()))

    total = 0.0
    for i in range(5):
        positive = math.exp(cosine(i, i) / tau)
        to_text = -math.log(positive / sum(math.exp(cosine(i, j) / tau) for j in range(5)))
        to_image = -math.log(positive / sum(math.exp(cosine(j, i) / tau) for j in range(5)))
        total += weight * to_text + (1 - weight) * to_image
    found = study_report_contrast(
        study, text, temperature=tau, image_to_text_weight=weight, text_to_image_gradient=True
    )
    assert found.item() == pytest.approx(total / 5, rel=1e-5)


def test_contrast_is_float32_whatever_the_networks_compute_in() -> None:
    torch.manual_seed(0)
    study, text = torch.randn(8, 16), torch.randn(8, 16)
    settings = {"temperature": 0.1, "image_to_text_weight": 0.75, "text_to_image_gradient": True}
    exact = study_report_contrast(study, text, **settings)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = study_report_contrast(study, text, **settings)
    assert inside.dtype == torch.float32
    assert torch.equal(exact, inside)


def test_contrast_without_the_second_gradient() -> None:
    study, text = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3)
    study_report_contrast(study, text, temperature=0.1, image_to_text_weight=0.0, text_to_image_gradient=False).mul(
        1.0
    ).add(0 * study.sum()).backward()
    assert not study.grad.any()


def test_identical_features_score_the_logarithm_of_the_batch() -> None:
    same = torch.ones(16, 8)
    loss = study_report_contrast(same, same, temperature=0.1, image_to_text_weight=1.0, text_to_image_gradient=True)
    assert loss.item() == pytest.approx(math.log(16))


def test_generation_skips_padding_and_the_first_token() -> None:
    torch.manual_seed(0)
    logits, tokens = torch.randn(2, 5, 9), torch.tensor([[1, 4, 5, 2, 0], [1, 6, 2, 0, 0]])
    terms = [-F.log_softmax(logits[b, t], 0)[tokens[b, t + 1]] for b in range(2) for t in range(4) if tokens[b, t + 1]]
    assert len(terms) == 5
    torch.testing.assert_close(report_generation(logits, tokens), torch.stack(terms).mean())


def test_unknown_labels_have_no_loss_and_no_gradient() -> None:
    logits = torch.tensor([[0.3, -1.0], [2.0, 0.5]], requires_grad=True)
    labels = torch.tensor([[1.0, math.nan], [0.0, 1.0]])
    loss = masked_bce(logits, labels)
    expected = (math.log1p(math.exp(-0.3)) + math.log1p(math.exp(2.0)) + math.log1p(math.exp(-0.5))) / 3
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    loss.backward()
    assert logits.grad[0, 1] == 0
    assert masked_bce(logits, torch.full((2, 2), math.nan)).item() == 0


@pytest.mark.parametrize("reading", ["paper", "official_code", "off"])
@pytest.mark.parametrize("pooled", [True, False])
def test_view_fusion_against_a_loop(reading: str, pooled: bool) -> None:
    torch.manual_seed(0)
    B, V, N, P, D = 2, 3, 4, 6, 5
    fusion = ViewFusion(reading=reading, patch_width=P, width=D, views=V, pooled=pooled)
    patches, aggregates = torch.randn(B, V, N, P), torch.randn(B, V, D)
    memory, study = fusion(patches, aggregates)
    assert study.shape == (B, fusion.study_width)
    for b in range(B):
        weighted, embeddings = torch.empty(V, N, P), aggregates[b].clone()
        for v in range(V):
            for n in range(N):
                if reading == "official_code":
                    joined = torch.cat([patches[b, w, n] for w in range(V)])
                    weight = torch.sigmoid(fusion.gates[v](joined))
                elif reading == "paper":
                    means = torch.cat([patches[b, w].mean(0) for w in range(V)])
                    weight = torch.softmax(fusion.weigh(means), 0)[v]
                else:
                    weight = torch.tensor(1.0)
                weighted[v, n] = patches[b, v, n] * weight
            if reading == "paper":  # its weights serve both tasks, whatever is contrasted
                embeddings[v] *= weight
        torch.testing.assert_close(memory[b], weighted.reshape(V * N, P))
        expected = weighted.mean(1).flatten() if pooled else embeddings.flatten()
        torch.testing.assert_close(study[b], expected)
    if reading == "paper":
        torch.testing.assert_close(fusion.weights(patches).sum(1), torch.ones(B, 1, 1))


def test_unknown_fusion() -> None:
    with pytest.raises(ValueError, match="unknown reading 'mean'; allowed: paper, official_code, off"):
        ViewFusion(reading="mean", patch_width=1, width=1, views=1, pooled=False)


@pytest.fixture
def decoder() -> ReportTransformer:
    torch.manual_seed(0)
    return ReportTransformer(
        vocabulary=30, visual_width=6, max_tokens=10, width=16, depth=2, heads=2, mlp_width=32, dropout=0.0
    ).eval()


def test_a_token_sees_only_what_stands_before_it(decoder: ReportTransformer) -> None:
    memory, tokens, lengths = torch.randn(1, 4, 6), torch.randint(1, 30, (1, 8)), torch.tensor([8])
    before = decoder(memory, tokens, lengths)
    changed = tokens.clone()
    changed[0, 5] = changed[0, 5] % 29 + 1
    after = decoder(memory, changed, lengths)
    torch.testing.assert_close(before[:, :5], after[:, :5])
    assert not torch.allclose(before[:, 5], after[:, 5])


def test_a_token_sees_the_images(decoder: ReportTransformer) -> None:
    tokens, lengths = torch.randint(1, 30, (1, 8)), torch.tensor([8])
    one, other = (decoder(torch.randn(1, 4, 6), tokens, lengths) for _ in range(2))
    assert not torch.allclose(one, other)


def test_padding_changes_nothing(decoder: ReportTransformer) -> None:
    memory, tokens = torch.randn(1, 4, 6), torch.randint(1, 30, (1, 5))
    padded = F.pad(tokens, (0, 3))
    torch.testing.assert_close(
        decoder(memory, tokens, torch.tensor([5])), decoder(memory, padded, torch.tensor([5]))[:, :5]
    )


TINY = {"width": 16, "depth": 1, "heads": 2, "mlp_width": 16}
SIZES = {"width": 16, "depth": 1, "heads": 2, "mlp_width": 32, "dropout": 0.0}


def test_texts_differ_from_the_start() -> None:
    """A narrow text encoder with BERT's own small weights gives every text the same feature."""
    torch.manual_seed(0)
    encoder = text_encoder.build(SIZES, vocabulary=50, max_tokens=12, out_width=8, path=None).eval()
    ids = torch.randint(3, 50, (40, 12))
    features = F.normalize(encoder(ids, torch.ones_like(ids)) - encoder.fc.bias, dim=-1)
    cosine = (features @ features.T)[~torch.eye(40, dtype=torch.bool)]
    assert cosine.mean().item() < 0.9


def test_masked_tokens_change_nothing() -> None:
    encoder = text_encoder.build(SIZES, vocabulary=50, max_tokens=12, out_width=8, path=None).eval()
    ids, mask = torch.randint(3, 50, (2, 12)), torch.ones(2, 12, dtype=torch.long)
    mask[:, 7:] = 0
    changed = ids.clone()
    changed[:, 7:] = 4
    torch.testing.assert_close(encoder(ids, mask), encoder(changed, mask))


def test_a_folder_without_bert_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no BERT here \(config.json is missing\); allowed: a folder saved by"):
        text_encoder.build(SIZES, vocabulary=50, max_tokens=12, out_width=8, path=str(tmp_path))


def test_a_local_bert_is_read_without_a_network(tmp_path: Path) -> None:
    made = text_encoder.build(SIZES, vocabulary=50, max_tokens=12, out_width=8, path=None)
    made.bert.save_pretrained(tmp_path)
    read = text_encoder.build(SIZES, vocabulary=50, max_tokens=12, out_width=8, path=str(tmp_path))
    ids = torch.randint(3, 50, (2, 12))
    one, other = (net.bert.eval()(input_ids=ids).pooler_output for net in (made, read))
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize("number_format", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", ["safetensors", "torch"])
def test_a_bert_stored_in_half_precision_is_trained_in_single(
    tmp_path: Path, number_format: torch.dtype, kind: str
) -> None:
    stored = text_encoder.build(SIZES, vocabulary=50, max_tokens=12, out_width=8, path=None).bert.to(number_format)
    stored.save_pretrained(tmp_path)
    if kind == "torch":
        (tmp_path / "model.safetensors").unlink()
        torch.save(stored.state_dict(), tmp_path / "pytorch_model.bin")
    read = text_encoder.build(SIZES, vocabulary=50, max_tokens=12, out_width=8, path=str(tmp_path))
    assert {one.dtype for one in read.parameters()} == {torch.float32}
    found = read.bert.state_dict()
    for name, value in stored.state_dict().items():
        assert torch.equal(found[name], value.to(found[name].dtype)), name


@pytest.mark.parametrize("preset", ["paper", "official_code"])
@pytest.mark.parametrize("readout", ["auto", "cls", "mean"])
@pytest.mark.parametrize("feature", ["auto", "aggregation_embedding", "patches"])
def test_a_plain_vit_contrasts_what_it_is_fine_tuned_by(preset: str, readout: str, feature: str) -> None:
    """Table 3 row 2, of single views that nothing weighs: the study feature is what a classifier would read."""
    sections = protocols.resolve_sections(preset)
    sizes = {"width": 16, "heads": 2, "depth": 1, "mlp_width": 16, "patch_size": 8, "readout": readout}
    network, image = {**sections["network"], **sizes}, {**sections["image"], "size": 16}
    params = refers.Params(recurrent_concatenation=False, view_fusion=False, views=1, plain_feature=feature)
    pretrain = {**sections["pretrain"], "text_encoder": SIZES, "decoder": {**sections["pretrain"]["decoder"], **TINY}}
    encoder = refers.build_encoder(params, network, image)
    facts = SourceFacts(vocabulary=20, max_tokens=8, text_vocabulary=20)
    objective = refers.build_objective(params, facts, network, image, pretrain, encoder).eval()
    images = torch.randn(3, 1, 3, 16, 16)
    _, study = objective.fuse(images)
    torch.testing.assert_close(study, encoder.readout(encoder(images[:, 0])))


def test_the_plain_vit_is_read_out_by_what_its_tasks_train() -> None:
    full, plain = refers.Params(), refers.Params(recurrent_concatenation=False)
    assert "plain_feature" not in full.model_dump(), "the full model's key is what it was"
    assert plain.model_dump()["plain_feature"] == "aggregation_embedding"
    assert refers.Params(**plain.model_dump()) == plain
    alone = refers.Params(recurrent_concatenation=False, tasks=("report_generation",))
    assert alone.plain_feature == "patches"
    for wrong in (
        {"recurrent_concatenation": True},
        {"recurrent_concatenation": False, "tasks": ["report_generation"]},
    ):
        with pytest.raises(ValidationError, match="plain_feature"):
            refers.Params(plain_feature="aggregation_embedding", **wrong)
