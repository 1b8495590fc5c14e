"""Checks that a method keeps its contract: card, encoder, objective, gradients, state, determinism, resume."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import BaseModel, ValidationError
from torch import Tensor, nn

from refers_bench import plugins
from refers_bench.contracts import checked
from refers_bench.data.batches import StudyBatch
from refers_bench.data.sentences import Reading
from refers_bench.errors import UserError
from refers_bench.manifest import protocols
from refers_bench.nets.classifier import Classifier
from refers_bench.nets.facts import SourceFacts
from refers_bench.plugins import Method

NAMES = checked.names("method")
HEAVY = ("torch", "torchvision", "timm", "transformers")
#: Three sizes: pixels, patch, width, channels, and the reading.
SIZES = {
    "tiny, paper": (32, 8, 16, 1, "concatenated", "relu"),
    "small, official_code": (48, 12, 24, 3, "added", "gelu"),
    "larger, plain, no power of two": (64, 16, 76, 1, "none", "gelu"),
}
BATCH, CLASSES, VOCABULARY, TOKENS = 6, 5, 40, 12


@dataclass(frozen=True)
class Case:
    name: str
    method: Method
    params: Any
    network: Mapping[str, Any]
    image: Mapping[str, Any]
    pretrain: Mapping[str, Any]

    def encoder(self, seed: int = 0) -> nn.Module:
        torch.manual_seed(seed)
        encoder: nn.Module = self.method.build_encoder(self.params, self.network, self.image)
        return encoder

    def objective(self, seed: int = 0) -> nn.Module:
        assert self.method.build_objective is not None
        facts = SourceFacts(
            classes=tuple(f"class {k}" for k in range(CLASSES)),
            vocabulary=VOCABULARY,
            max_tokens=TOKENS,
            text_vocabulary=VOCABULARY,
            radiographs=BATCH,
        )
        encoder = self.encoder(seed)
        objective: nn.Module = self.method.build_objective(
            self.params, facts, self.network, self.image, self.pretrain, encoder
        )
        return objective

    def batch(self, step: int = 0) -> StudyBatch:
        """Smooth images, so that there is something to restore; labels as the method reads them."""
        generator = torch.Generator().manual_seed(100 + step)
        views = self.method.crops(self.params) or self.method.views(self.params)
        coarse = torch.rand(BATCH * views, 1, 4, 4, generator=generator)
        side = self.image["size"] * self.method.magnification(self.params)
        grey = nn.functional.interpolate(coarse, size=side, mode="bilinear")
        images = (grey.expand(-1, self.image["channels"], -1, -1) - 0.5) / 0.25
        tokens = torch.randint(3, VOCABULARY, (BATCH, TOKENS), generator=generator)
        labels = torch.randint(0, 2, (BATCH, CLASSES), generator=generator).float()
        if self.method.discovery is not None:
            words = dict(self.method.discovery(self.params))["words"]
            labels = torch.randint(0, words, (BATCH, 1), generator=generator).float()
        return StudyBatch(
            images_BVCHW=images.view(BATCH, views, *images.shape[1:]).contiguous(),
            tokens_BT=tokens,
            lengths_B=torch.full((BATCH,), TOKENS),
            text_ids_BT=tokens,
            text_mask_BT=torch.ones_like(tokens),
            labels_BK=labels,
        )

    def radiographs(self) -> Tensor:
        """What a classifier is shown: the first views of a batch, of the encoder's size."""
        return nn.functional.interpolate(self.batch().images_BVCHW[:, 0], size=self.image["size"])


def case(name: str, size: str = "tiny, paper") -> Case:
    pixels, patch, width, channels, aggregation, activation = SIZES[size]
    sections = protocols.resolve_sections("smoke")
    method: Method = plugins.load("method", name)
    params = method.Params(**method.small)
    network = {
        **sections["network"],
        "patch_size": patch,
        "width": width,
        "heads": 2,
        "mlp_width": 2 * width,
        "depth": 2,
        "aggregation": aggregation,
        "activation": activation,
        "position": "concatenated" if aggregation == "concatenated" else "added",
    }
    image = {
        **sections["image"],
        "size": pixels,
        "channels": channels,
        "mean": [0.5] * channels,
        "std": [0.25] * channels,
    }
    return Case(name, method, params, network, image, sections["pretrain"])


#: Those with an encoder.
BUILT = [name for name in NAMES if case(name).method.index_features is None]
PRETRAINED = [name for name in NAMES if case(name).method.pretrains(case(name).params)]


def total(objective: nn.Module, batch: StudyBatch) -> Tensor:
    """The loss as validation sees it: the same distortions every time."""
    objective.eval()
    losses = objective(batch)
    assert losses
    assert all(loss.ndim == 0 and loss.dtype == torch.float32 for loss in losses.values())
    return torch.stack(list(losses.values())).sum()


def test_loading_any_method_loads_no_network_library() -> None:
    program = (
        "import sys; from refers_bench import plugins as p; [p.load('method', name) for name in p.names('method')]; "
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", NAMES)
def test_card_is_complete(name: str) -> None:
    method: Method = plugins.load("method", name)
    assert method.label
    assert method.source
    assert method.impl >= 1
    assert issubclass(method.Params, BaseModel)
    for field, info in method.Params.model_fields.items():
        assert info.description, f"{field} says nothing"
    for field in method.Params.model_fields:
        assert field in repr(method.Params())
    assert all(isinstance(note, str) for note in method.footnotes(method.Params()))
    assert method.report_text(method.Params()) in get_args(Reading)
    gradient, plain = method.passes(method.Params())
    assert gradient >= 1
    assert plain >= 0
    assert method.upsampled(method.Params()) >= 0
    # What a method fixes is compared with its own source, where that states anything.
    assert not method.source_values or method.constants.items() <= method.source_values.items()


@pytest.mark.parametrize("name", NAMES)
def test_parameters_do_not_change_once_they_are_set(name: str) -> None:
    """They are part of a key."""
    params = plugins.load("method", name).Params()
    for field, value in dict(params).items():
        with pytest.raises(ValidationError, match="frozen"):
            setattr(params, field, value)


@pytest.mark.parametrize("name", NAMES)
def test_unknown_parameters_are_refused(name: str) -> None:
    method: Method = plugins.load("method", name)
    with pytest.raises(ValidationError, match="no_such_parameter"):
        method.Params(no_such_parameter=1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", BUILT)
def test_builds_at_three_sizes_and_classifies(name: str, size: str) -> None:
    one = case(name, size)
    classifier = Classifier(one.encoder(), 3)
    logits = classifier(one.radiographs())
    assert logits.shape == (BATCH, 3)
    assert torch.isfinite(logits).all()
    if name in PRETRAINED:
        assert torch.isfinite(total(one.objective(), one.batch()))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", PRETRAINED)
def test_one_step_lowers_the_loss_and_reaches_all_that_fine_tuning_uses(name: str, size: str) -> None:
    one = case(name, size)
    objective, batch = one.objective(), one.batch()
    used = fine_tuned_parameters(one)
    loss = total(objective, batch)
    loss.backward()  # type: ignore[no-untyped-call]
    encoder: Any = objective.encoder
    reached = {
        key for key, value in encoder.named_parameters() if value.grad is not None and value.grad.abs().sum() > 0
    }
    assert used <= reached, f"no gradient for {sorted(used - reached)}"
    norm = torch.stack([p.grad.norm() for p in objective.parameters() if p.grad is not None]).norm()
    with torch.no_grad():
        for parameter in objective.parameters():
            if parameter.grad is not None:
                parameter.sub_(1e-3 * parameter.grad / norm)
    assert total(objective, batch) < loss


def small_index() -> pd.DataFrame:
    """An index with labels, reports and metadata, some of them missing."""
    rng, count = np.random.default_rng(0), 60
    names = [f"image {n}" for n in range(count)]
    age = np.where(rng.random(count) < 0.8, rng.integers(1, 90, count), np.nan)
    text = {name: rng.choice(["a", "b", "c", "d"], count) for name in ("view", "split", "report", "about:site")}
    label = pd.Series(rng.integers(0, 2, count), dtype="Int8")
    own = {
        "image_id": names,
        "path": names,
        "patient_id": names,
        "study_id": names,
        "bytes": rng.integers(9, 99, count),
    }
    return pd.DataFrame({**own, **text, "about:age": age, "findings:Mass": label})


@pytest.mark.parametrize("name", [name for name in NAMES if name not in BUILT])
def test_features_of_an_index_are_those_of_each_row_and_never_of_its_labels(name: str) -> None:
    one, index = case(name), small_index()
    assert one.method.index_features is not None and not one.method.pretrains(one.params)
    features_ND = np.asarray(one.method.index_features(index, one.params))
    assert features_ND.shape[0] == len(index) and features_ND.ndim == 2
    assert np.isfinite(features_ND).all() and np.ptp(features_ND, axis=0).max() > 0
    order = np.random.default_rng(1).permutation(len(index))
    moved = one.method.index_features(index.iloc[order].reset_index(drop=True), one.params)
    np.testing.assert_allclose(moved, features_ND[order], atol=1e-5)
    hidden: dict[str, Any] = {
        "findings:Mass": pd.NA,
        "report": None,
        "split": "train",
        "patient_id": "p",
        "image_id": "i",
        "path": "i",
    }
    np.testing.assert_array_equal(one.method.index_features(index.assign(**hidden), one.params), features_ND)
    with pytest.raises(UserError, match="linear_probe"):
        one.encoder()


@pytest.mark.parametrize("readout", ["cls", "mean"])
@pytest.mark.parametrize("name", BUILT)
def test_either_readout_is_read_and_trained(name: str, readout: str) -> None:
    """What fine-tuning classifies is the aggregation embedding, or the mean over patches that have met it."""
    one = case(name)
    one = replace(one, network={**one.network, "readout": readout})
    if one.method.architecture(one.params) != "transformer":
        pytest.skip("the protocol's network section describes transformers")
    encoder: Any = one.encoder().eval()
    tokens = encoder(one.radiographs())
    assert encoder.patch_width != encoder.width, "the readouts have the same width"
    expected = tokens[:, 0] if readout == "cls" else encoder.patches(tokens).sum(1) / encoder.grid**2
    torch.testing.assert_close(encoder.readout(tokens), expected)
    assert expected.shape[1] == encoder.readout_width
    assert Classifier(encoder, 3)(one.radiographs()).shape == (BATCH, 3)
    if name in PRETRAINED:
        objective: Any = one.objective()
        total(objective, one.batch()).backward()  # type: ignore[no-untyped-call]
        found = {
            key for key, value in objective.encoder.named_parameters() if value.grad is not None and value.grad.any()
        }
        assert fine_tuned_parameters(one) <= found


def alternatives(model: type[BaseModel]) -> Iterator[dict[str, Any]]:
    """Every choice of a method's parameters, one at a time: the other truth value, each word, each of several words."""
    for key, info in model.model_fields.items():
        kind = info.annotation
        if kind is bool:
            yield {key: not info.default}
        elif get_origin(kind) is Literal:
            yield from ({key: word} for word in get_args(kind))
        elif get_origin(kind) is tuple and get_origin(word := get_args(kind)[0]) is Literal:
            yield from ({key: (one,)} for one in get_args(word))


def variants() -> Iterator[Any]:
    """Methods that pre-train, as they are and with each of their choices."""
    asked: list[tuple[str, dict[str, Any]]] = [(name, {}) for name in NAMES]
    asked += [(name, changed) for name in NAMES for changed in alternatives(plugins.load("method", name).Params)]
    seen = []
    for name, changed in asked:
        method: Method = plugins.load("method", name)
        try:
            params = method.Params(**{**method.small, **changed})
        except ValidationError:
            continue  # a choice that needs another one
        if method.pretrains(params) and (name, params) not in seen:
            seen.append((name, params))
            label = ",".join(f"{key}={value}" for key, value in changed.items())
            yield pytest.param(name, params, id=f"{name}[{label}]" if label else name)


def as_read(name: str, params: Any, preset: str) -> Case:
    """The case in a preset's reading: everything of its network but the sizes."""
    pixels, patch, width, *_ = SIZES["tiny, paper"]
    sections = protocols.resolve_sections(preset)
    one = case(name)
    sizes = {"patch_size": patch, "width": width, "heads": 2, "mlp_width": 2 * width, "depth": 2}
    decoder, text = ({**one.pretrain[part], "dropout": 0.0} for part in ("decoder", "text_encoder"))
    activation = sections["pretrain"]["decoder"]["activation"]
    names = ("temperature", "image_to_text_weight", "text_to_image_gradient")
    pretrain = {
        **one.pretrain,
        "decoder": {**decoder, "activation": activation},
        "text_encoder": text,
        **{key: sections["pretrain"][key] for key in names},
    }
    network = {**sections["network"], **sizes, "dropout": 0.0}
    return replace(one, params=params, network=network, image={**one.image, "size": pixels}, pretrain=pretrain)


class Gradients:
    """Which tensors inside a module a loss reaches: of every layer's output each token or place, of every weight."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.outputs: dict[str, list[Tensor]] = {}
        for key, layer in module.named_modules():
            if not list(layer.children()):
                layer.register_forward_hook(functools.partial(self.note, key))

    def note(self, key: str, layer: nn.Module, given: Any, output: Tensor) -> None:
        if output.requires_grad:
            output.retain_grad()
            self.outputs.setdefault(key, []).append(output)

    def reached(self, loss: Tensor) -> dict[str, Tensor]:
        """Name -> whether the loss depends on it: (tokens,) or (places,) where there are any."""
        self.module.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        sizes = {key: torch.stack([places(one.grad) for one in all_of]) for key, all_of in self.outputs.items()}
        found = {key: size.sum(0) > 0 for key, size in sizes.items()}
        for key, weight in self.module.named_parameters():
            if weight.grad is not None:
                # Positions are weights of one token each.
                found[f"weight {key}"] = places(weight.grad if weight.ndim == 3 else weight.grad.reshape(1, -1)) > 0
        self.outputs.clear()
        return found


def places(gradient: Tensor | None) -> Tensor:
    """Size of a gradient (B, N, D) at each token, (B, C, h, w) at each place, or of all of it."""
    if gradient is None:
        return torch.zeros(1)
    size = gradient.detach().abs()
    return size.sum((0, 2)) if size.ndim == 3 else size.sum((0, 1)).flatten() if size.ndim == 4 else size.sum()[None]


@pytest.mark.parametrize("preset", ["paper", "official_code"])
@pytest.mark.parametrize(("name", "params"), list(variants()))
def test_all_that_fine_tuning_reads_out_is_trained_token_by_token(name: str, params: Any, preset: str) -> None:
    check_readout(name, params, preset)


def check_readout(name: str, params: Any, preset: str) -> None:
    """A readout that pre-training never moved would be fine-tuned from random values."""
    one = as_read(name, params, preset)
    objective: Any = one.objective().eval()
    inside = Gradients(objective.encoder)
    tokens = objective.encoder(one.radiographs())
    readout = objective.encoder.readout(tokens)
    mix = torch.randn(readout.shape, generator=torch.Generator().manual_seed(2))
    used = inside.reached((readout * mix).sum())
    trained = inside.reached(total(objective, one.batch()))
    assert any(one.ndim and len(one) > 1 for one in used.values()), "no tokens were seen"
    for key, needed in used.items():
        reached = trained.get(key, torch.zeros_like(needed))
        # An encoder may be shown some of the patches alone: its first token, and those. Patches are needed alike.
        lost = (needed[: len(reached)] if 1 < len(reached) < len(needed) else needed) & ~reached
        assert not lost.any(), f"{key}: read out and never trained at {lost.nonzero().flatten().tolist()}"


def fine_tuned_parameters(one: Case) -> set[str]:
    """Names of the encoder's parameters that a classifier's loss depends on."""
    encoder = one.encoder()
    torch.manual_seed(1)
    classifier = Classifier(encoder, 3).eval()
    (classifier(one.radiographs()) ** 2).sum().backward()
    return {key for key, value in encoder.named_parameters() if value.grad is not None and value.grad.abs().sum() > 0}
