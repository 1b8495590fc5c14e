"""Losses, heads, words and sentences of ConVIRT, GLoRIA and MGCA follow recordings of their public functions.

Cases 01 to 13 and 24; every size, temperature, vocabulary and count is read from the case.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from recorded_cases import close, groups, inside, load
from refers_bench.data.sentences import LEAST_OF_ALL, STOP_AT, read, sentences
from refers_bench.nets import losses, token_alignment
from refers_bench.nets.projection_heads import BatchNormHead
from refers_bench.nets.prototypes import Prototypes, sinkhorn
from refers_bench.nets.word_encoder import attended_words, opening, summed, word_counts
from refers_bench.nets.word_encoder import groups as word_groups
from refers_bench.training import schedules

LOSS, FEATURE = 1e-5, 1e-4


def leaf(x: Tensor) -> Tensor:
    return x.clone().requires_grad_()


def gradients(loss: Tensor, expected: dict[str, Tensor], found: dict[str, Tensor]) -> None:
    """The loss has these gradients, of exactly these inputs."""
    assert set(expected) == set(found)
    loss.backward()  # type: ignore[no-untyped-call]
    for name, x in found.items():
        assert x.grad is not None, name
        close(x.grad, expected[name], f"gradient of {name}", relative=FEATURE)


def contrast(image: Tensor, text: Tensor, *, temperature: float, weight: float = 0.5) -> Tensor:
    how = {"image_to_text_weight": weight, "text_to_image_gradient": True}
    return losses.study_report_contrast(image, text, temperature=temperature, **how)


def scalar(x: Tensor) -> Tensor:
    """A loss, with the shape of the recorded ones."""
    return x.detach()[None]


def test_convirt_as_in_mgca(golden_medvlp: Path) -> None:
    data, _ = load(golden_medvlp / "case01_convirt_mgca.safetensors")
    for one in groups(data, ending="out/loss"):
        case = inside(data, f"{one}/")
        image, text = leaf(case["in/image"]), leaf(case["in/text"])
        loss = 2 * contrast(image, text, temperature=float(case["in/temperature"]))
        close(scalar(loss), case["out/loss"], one, relative=LOSS)
        gradients(loss, inside(case, "grad_in/"), {"image": image, "text": text})


def as_linear(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """1 x 1 convolutions over a sequence are linear maps of its tokens."""
    return {name: value[..., 0] if value.ndim == 3 else value for name, value in weights.items()}


@pytest.mark.parametrize("kind", ["global", "local"])
def test_projection_heads(golden_medvlp: Path, kind: str) -> None:
    data, hp = load(golden_medvlp / "case02_projection_heads.safetensors")
    case = inside(data, f"{kind}/")
    weights = as_linear(inside(case, "weights/"))
    (hidden, width), out = weights["head.0.weight"].shape, len(weights["head.3.weight"])
    head = BatchNormHead(width, hidden, out)
    head.load_state_dict(weights, strict=False)
    norms = [head.head[1], head.head[4]]
    assert all(norm.eps == hp["bn_eps"] and norm.momentum == hp["bn_momentum"] for norm in norms)
    x = leaf(case["in/features"])
    found = head.train()(x)
    close(found.detach(), case["out/training"], "training", relative=FEATURE)
    for name, value in inside(case, "out/head.").items():
        close(head.state_dict()[f"head.{name}"], value, name, relative=FEATURE)
    gradients((found * case["in/weight_of_output"]).sum(), inside(case, "grad_in/"), {"features": x})
    close(head.eval()(x).detach(), case["out/evaluation"], "evaluation", relative=FEATURE)


def test_convirt_weighted(golden_medvlp: Path) -> None:
    data, _ = load(golden_medvlp / "case03_convirt_weighted.safetensors")
    for one in groups(data, ending="out/loss"):
        case = inside(data, f"{one}/")
        image, text = leaf(case["in/image"]), leaf(case["in/text"])
        temperature, weight = float(case["in/temperature"]), float(case["in/image_to_text_weight"])
        for name, share in (("image_to_text", 1.0), ("text_to_image", 0.0)):
            term = contrast(image, text, temperature=temperature, weight=share)
            close(scalar(term), case[f"out/{name}"].mean()[None], name, relative=LOSS)
        loss = contrast(image, text, temperature=temperature, weight=weight)
        close(scalar(loss), case["out/loss"], one, relative=LOSS)
        gradients(loss, inside(case, "grad_in/"), {"image": image, "text": text})


def test_gloria_global(golden_medvlp: Path) -> None:
    data, _ = load(golden_medvlp / "case04_gloria_global.safetensors")
    for one in groups(data, ending="out/image_to_text"):
        case = inside(data, f"{one}/")
        image, text = leaf(case["in/image"]), leaf(case["in/text"])
        temperature = 1 / float(case["in/temp3"])
        for name, share in (("image_to_text", 1.0), ("text_to_image", 0.0)):
            term = contrast(image, text, temperature=temperature, weight=share)
            close(scalar(term), case[f"out/{name}"], name, relative=LOSS)
        loss = 2 * contrast(image, text, temperature=temperature)
        gradients(loss, inside(case, "grad_in/"), {"image": image, "text": text})


def regions_and_words(case: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Leaves (B, D, h, w) and (B, D, W) as recorded, and what the losses take: (B, P, D) and (B, W, D)."""
    regions, words = leaf(case["in/regions"]), leaf(case["in/words"])
    return regions, words, regions.flatten(2).transpose(1, 2), words.transpose(1, 2)


def test_gloria_local(golden_medvlp: Path) -> None:
    data, hp = load(golden_medvlp / "case05_gloria_local.safetensors")
    temps = {name: hp[name] for name in ("temp1", "temp2", "temp3")}
    for one in groups(data, ending="out/image_to_text"):
        case = inside(data, f"{one}/")
        regions, words, regions_BPD, words_BWD = regions_and_words(case)
        counts = case["in/word_counts"]
        scores = token_alignment.word_region_scores(regions_BPD, words_BWD, counts, **temps)
        rows, columns = token_alignment.region_contrast(scores)
        close(scalar(rows), case["out/image_to_text"], one, relative=LOSS)
        close(scalar(columns), case["out/text_to_image"], one, relative=LOSS)
        gradients(rows + columns, inside(case, "grad_in/"), {"regions": regions, "words": words})
        for text, count in enumerate(counts.tolist()):
            present = torch.arange(words.shape[2]) < count
            how = {"temp1": hp["temp1"]}
            context, attention = token_alignment.region_context(regions_BPD, words_BWD[text], present, **how)
            maps = attention.detach()[:, :count].reshape(len(regions), count, *regions.shape[2:])
            close(maps[text], case[f"out/attention_{text}"], "attention", relative=FEATURE)
            if f"out/context_of_text_{text}" in case:
                expected = case[f"out/context_of_text_{text}"].transpose(1, 2)
                close(context.detach()[:, :count], expected, "context", relative=FEATURE)
                close(maps, case[f"out/attention_of_text_{text}"], "attention", relative=FEATURE)


def told(hp: dict[str, Any], ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Whether each place opens a word, whether that counts, and whether there is a piece."""
    vocabulary = hp["vocabulary"]
    opens, counted = opening(vocabulary, len(vocabulary))
    return opens[ids], counted[ids], ids != vocabulary.index("[PAD]")


def test_gloria_words(golden_medvlp: Path) -> None:
    data, hp = load(golden_medvlp / "case06_gloria_words.safetensors")
    opens, counted, mask = told(hp, data["in/ids"])
    assigned = word_groups(opens, mask)
    words = summed(data["in/hidden_states"][-hp["last_n_layers"] :].sum(0), assigned)
    close(words.transpose(1, 2), data["out/words"], "words", relative=FEATURE)
    close(words.mean(1), data["out/sentence"], "sentence", relative=FEATURE)
    close(losses.unit(words.mean(1)), data["out/sentence_if_norm"], "unit sentence", relative=FEATURE)
    assert torch.equal(word_counts(opens, counted, mask), data["out/word_counts"])
    for row, expected in enumerate(hp["out/words_of_rows"]):
        assert spelled(hp, data["in/ids"][row], assigned[row]) == [word for word in expected if word != "[PAD]"]


def spelled(hp: dict[str, Any], ids: Tensor, assigned_TW: Tensor) -> list[str]:
    """The words of a row as text."""
    pieces = [hp["vocabulary"][number].removeprefix("##") for number in ids.tolist()]
    columns = assigned_TW.T.tolist()
    return [
        "".join(piece for piece, inside in zip(pieces, column, strict=True) if inside)
        for column in columns
        if any(column)
    ]


def test_gloria_total(golden_medvlp: Path) -> None:
    case, hp = load(golden_medvlp / "case07_gloria_total.safetensors")
    for words, count in zip(hp["words_of_rows"], case["in/word_counts"].tolist(), strict=True):
        real = [word != "[PAD]" for word in words]
        counts = [not word.startswith("[") for word in words]
        rows = (torch.tensor([one]) for one in (real, counts, real))
        assert word_counts(*rows).tolist() == [count]
    regions, words_leaf, regions_BPD, words_BWD = regions_and_words(case)
    image, text = leaf(case["in/image"]), leaf(case["in/text"])
    temps = {"temp1": 4.0, "temp2": 5.0, "temp3": 10.0}  # the README of the cases states them for this one
    scores = token_alignment.word_region_scores(regions_BPD, words_BWD, case["in/word_counts"], **temps)
    local_weight, global_weight = hp["weights"]
    loss = local_weight * sum(token_alignment.region_contrast(scores))
    loss = loss + global_weight * 2 * contrast(image, text, temperature=1 / temps["temp3"])
    close(scalar(loss), case["out/loss"], "loss", relative=LOSS)
    leaves = {"regions": regions, "words": words_leaf, "image": image, "text": text}
    gradients(loss, inside(case, "grad_in/"), leaves)


def test_mgca_instances(golden_medvlp: Path) -> None:
    data, hp = load(golden_medvlp / "case08_mgca_instance.safetensors")
    for one in groups(data, ending="out/loss"):
        case = inside(data, f"{one}/")
        image, report = leaf(case["in/image"]), leaf(case["in/report"])
        loss = 2 * contrast(image, report, temperature=hp["temperature"])
        close(scalar(loss), case["out/loss"], one, relative=LOSS)
        for among in (1, 5):
            share = losses.paired_first(image, report, among=among)
            close(100 * scalar(share), case[f"out/top{among}_percent"], one, relative=LOSS)
        gradients(loss, inside(case, "grad_in/"), {"image": image, "report": report})


@pytest.mark.parametrize("kind", ["vit", "resnet"])
def test_mgca_tokens(golden_medvlp: Path, kind: str) -> None:
    data, hp = load(golden_medvlp / "case09_mgca_tokens.safetensors")
    case = inside(data, f"{kind}/")
    words, patches = leaf(case["in/words"]), leaf(case["in/patches"])
    if kind == "vit":
        seen = token_alignment.clipped_weights(case["in/last_block_attention"].mean(1)[:, 0, 1:])
    else:
        seen = torch.full(patches.shape[:2], 1 / patches.shape[1])
    found = token_alignment.token_alignment(
        words,
        patches,
        words_weight_BW=token_alignment.clipped_weights(case["in/word_attention"]),
        patches_weight_BP=seen,
        present_BW=torch.arange(words.shape[1]) < case["in/word_counts"][:, None],
        temperature=hp["temperature"],
        unit_contexts=kind == "resnet",
    )
    close(scalar(found[0]), case["out/loss_words"], "words", relative=LOSS)
    close(scalar(found[0] + found[1]), case["out/loss"], "both", relative=LOSS)
    gradients(found[0] + found[1], inside(case, "grad_in/"), {"words": words, "patches": patches})


def test_mgca_sinkhorn(golden_medvlp: Path) -> None:
    data, _ = load(golden_medvlp / "case10_mgca_sinkhorn.safetensors")
    for one in groups(data, ending="out/assignments"):
        case = inside(data, f"{one}/")
        epsilon, iterations = case["in/epsilon_iterations"].tolist()
        found = sinkhorn(case["in/scores"], epsilon=epsilon, iterations=int(iterations))
        close(found, case["out/assignments"], one, relative=FEATURE)


@pytest.mark.parametrize("kind", ["vit", "resnet"])
def test_mgca_prototypes(golden_medvlp: Path, kind: str) -> None:
    data, hp = load(golden_medvlp / "case11_mgca_prototypes.safetensors")
    case = inside(data, f"{kind}/")
    count, width = case["in/prototypes"].shape
    model = Prototypes(width, count=count, frozen_updates=0, **hp)
    with torch.no_grad():
        model.weight.copy_(case["in/prototypes"])
    model.after_update()
    close(model.weight.detach(), case["out/prototypes_normalised"], "prototypes", relative=FEATURE)
    image, report = leaf(case["in/image"]), leaf(case["in/report"])
    for name, x in (("image", image), ("report", report)):
        assigned = sinkhorn(
            losses.unit(x.detach()) @ model.weight.T, epsilon=hp["epsilon"], iterations=hp["iterations"]
        )
        close(assigned, case[f"out/{name}_assignments"], name, relative=FEATURE)
    loss = model(image, report)
    close(scalar(loss), case["out/loss"], "loss", relative=LOSS)
    leaves = {"image": image, "report": report, "prototypes_normalised": model.weight}
    gradients(loss, inside(case, "grad_in/"), leaves)


def test_mgca_words(golden_medvlp: Path) -> None:
    case, hp = load(golden_medvlp / "case12_mgca_words.safetensors")
    opens, _, mask = told(hp, case["in/ids"])
    attention = case["in/last_layer_attention"].mean(1)[:, 0]
    found = attended_words(case["in/hidden"], attention, opens, mask, shifted=True)
    close(found.words_BWD[:, 0], case["out/report"], "report", relative=FEATURE)
    close(found.words_BWD[:, 1:], case["out/words"], "words", relative=FEATURE)
    close(found.attention_BW[:, 1:], case["out/word_attention"], "attention", relative=FEATURE)
    spoken = [sum(word != "[PAD]" for word in words) for words in hp["out/words_of_rows"]]
    assert found.present_BW.sum(1).tolist() == spoken


def test_mgca_words_with_their_own_attention_keep_all_words_and_all_attention(golden_medvlp: Path) -> None:
    """Ours by default: what the shift of the released code takes away is there."""
    case, hp = load(golden_medvlp / "case12_mgca_words.safetensors")
    opens, _, mask = told(hp, case["in/ids"])
    attention = case["in/last_layer_attention"].mean(1)[:, 0] * mask
    found = attended_words(case["in/hidden"], attention, opens, mask)
    close(found.attention_BW.sum(1), attention.sum(1), "attention", relative=LOSS)
    close(found.words_BWD.sum(1), (case["in/hidden"] * mask[..., None]).sum(1), "words", relative=FEATURE)


def test_sentences(golden_medvlp: Path) -> None:
    case = json.loads((golden_medvlp / "case13_text.json").read_text(encoding="utf-8"))
    removed = []
    for number, report in enumerate(case["reports"]):
        found = sentences(report, stop_at=STOP_AT)
        assert found == case["gloria_sentences"].get(str(number), [])
        expected = case["gloria_sentences_without_the_stop_at_5_words"].get(str(number), [])
        assert sentences(report) == expected
        # The source lists an empty report twice.
        removed += [str(number)] * (0 if found else 1 if report else 2)
        both = f"{report} {case['mgca_findings'][number]}"
        found_of_both = sentences(both)
        kept = len(" ".join(found_of_both).split()) >= LEAST_OF_ALL
        assert (found_of_both if kept else []) == case["mgca_sentences"].get(str(number), [])
        assert (read(both, "sentences", 0.0) == " ".join(found_of_both)) == kept
        if found:
            assert read(report, "sentence_official_code", number / 100) in found
    assert removed == case["gloria_removed"]


def test_learning_rates(golden_medvlp: Path) -> None:
    """Half a cosine behind a warm-up; behind its end it rises again, as the source has it."""
    data, hp = load(golden_medvlp / "case24_learning_rates.safetensors")
    known = hp["mrm_pretrain"]
    assert known["min_lr"] == 0
    curve: Any = schedules.multiplier("cosine", steps=known["epochs"], warmup_steps=known["warmup_epochs"])
    epochs, rates = (data[f"mrm_pretrain/{name}"].tolist() for name in ("in/epoch", "out/lr"))
    assert [known["lr"] * curve(epoch) for epoch in epochs] == pytest.approx(rates, rel=1e-9, abs=1e-18)
    for one in groups(data, ending="out/factor"):
        steps, factors = data[f"{one}/in/step"].tolist(), data[f"{one}/out/factor"].tolist()
        # The file names the end of a schedule, or ends with it; its warm-up is the one that gives these factors.
        total = int(one.rpartition("_")[2]) if one[-1].isdigit() else steps[-1]
        fitting = [n for n in range(1, total) if agrees(total, n, steps[:3], factors[:3])]
        assert len(fitting) == 1, one
        assert agrees(total, fitting[0], steps, factors), one


def agrees(total: int, warmup: int, steps: list[int], factors: list[float]) -> bool:
    curve = schedules.multiplier("cosine", steps=total, warmup_steps=warmup)
    return [curve(step) for step in steps] == pytest.approx(factors, rel=1e-9, abs=1e-12)
