"""Maps what a classifier looks at: attention rolled out over its layers, and what speaks for one class in a radiograph.

Attention weights are computed beside the network's own pass, by hooks: the fused kernels that train do not give them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from refers_bench.errors import UserError
from refers_bench.nets.convnet import ConvNet
from refers_bench.nets.radiograph_transformer import Attention

ROLLOUT = "Abnar and Zuidema, ACL 2020: mean over heads, half of it the token itself, row of the \
aggregation embedding"
GRADIENT_ATTENTION = "gradient-weighted attention (Chefer et al., ICCV 2021): positive part of attention times its \
gradient of the class's logit, mean over heads, rolled out, row of the aggregation embedding"
GRAD_CAM = "Grad-CAM (Selvaraju et al., ICCV 2017) of the last feature map"


def has_attention(encoder: nn.Module) -> bool:
    """Whether the encoder is a transformer, so that attention can be rolled out."""
    return any(isinstance(module, Attention) for module in encoder.modules())


@contextlib.contextmanager
def attention_weights(encoder: nn.Module, *, differentiable: bool = False) -> Iterator[list[Tensor]]:
    """Collects the attention weights of every pass inside the block, (B, heads, N, N) a layer, first layer first.

    Args:
        encoder: its attention layers are watched; the network is left as it was.
        differentiable: let the pass go through the collected weights, so that a logit has gradients in them; the
            network's own kernels compute it otherwise.
    """
    found: list[Tensor] = []

    def note(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        assert isinstance(layer, Attention)
        with torch.set_grad_enabled(differentiable and torch.is_grad_enabled()):
            weights = layer.weights(inputs[0])
        found.append(weights)
        return layer.mixed(inputs[0], weights) if differentiable else None

    handles = [module.register_forward_hook(note) for module in encoder.modules() if isinstance(module, Attention)]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def rollout(classifier: nn.Module, x_BCHW: Tensor) -> Tensor:
    """How much each patch reaches the aggregation embedding through all layers: (B, g, g), a share in [0, 1].

    Source: Abnar and Zuidema, Quantifying Attention Flow in Transformers, ACL 2020, section 3: half of what a token
    takes is itself (the residual connection), rows are normalised, layers are multiplied.
    """
    with torch.no_grad(), attention_weights(classifier) as layers:
        classifier(x_BCHW)
    eye = torch.eye(layers[0].shape[-1], device=x_BCHW.device, dtype=layers[0].dtype)
    reached = eye.expand(len(x_BCHW), -1, -1)
    for weights_BHNN in layers:
        mixed = 0.5 * weights_BHNN.mean(1) + 0.5 * eye
        reached = mixed / mixed.sum(-1, keepdim=True) @ reached
    return _on_grid(reached[:, 0, 1:])


def class_activation(classifier: nn.Module, x_BCHW: Tensor, classes_B: Tensor) -> Tensor:
    """What in each radiograph speaks for one class: (B, g, g), not negative, of no unit.

    A transformer gives gradient-weighted attention, a convolutional network Grad-CAM of its last feature map.

    Args:
        classifier: encoder and head (`refers_bench.nets.classifier`), in eval mode.
        x_BCHW: normalised images.
        classes_B: which of the classifier's classes is asked about, image by image.

    Raises:
        UserError: an encoder of another kind.
    """
    if not has_attention(classifier):
        if not isinstance(classifier.encoder, ConvNet):
            found = f"no map of what {type(classifier.encoder).__name__} looks at"
            raise UserError(found, allowed="cells of a radiograph transformer or a ResNet of these methods")
        return _grad_cam(classifier, x_BCHW, classes_B)
    with torch.enable_grad(), attention_weights(classifier, differentiable=True) as layers:
        logits_BK = classifier(x_BCHW)
        # No image enters another one's logit: the sum has every image's own gradient.
        chosen = logits_BK.gather(1, classes_B[:, None]).sum()
        gradients = torch.autograd.grad(chosen, layers)
    eye = torch.eye(layers[0].shape[-1], device=x_BCHW.device, dtype=layers[0].dtype)
    relevant = eye.expand(len(x_BCHW), -1, -1)
    for weights_BHNN, gradient_BHNN in zip(layers, gradients, strict=True):
        spoken = (weights_BHNN.detach() * gradient_BHNN).clamp(min=0).mean(1)
        relevant = relevant + spoken @ relevant
    return _on_grid(relevant[:, 0, 1:])


def _grad_cam(classifier: nn.Module, x_BCHW: Tensor, classes_B: Tensor) -> Tensor:
    """Feature map weighted by the mean gradient of each feature, positive part."""
    encoder: nn.Module = classifier.encoder  # type: ignore[assignment]
    with torch.no_grad():
        patches = encoder(x_BCHW)[:, 1:]
    with torch.enable_grad():
        patches = patches.detach().requires_grad_()
        tokens = torch.cat([patches.mean(1, keepdim=True), patches], dim=1)
        logits_BK = classifier.head(encoder.readout(tokens))  # type: ignore[operator]
        chosen = logits_BK.gather(1, classes_B[:, None]).sum()
        (gradient_BND,) = torch.autograd.grad(chosen, patches)
    return _on_grid((gradient_BND.mean(1, keepdim=True) * patches.detach()).sum(-1).clamp(min=0))


def _on_grid(values_BN: Tensor) -> Tensor:
    """Patch by patch, row by row -> (B, g, g)."""
    side = round(values_BN.shape[1] ** 0.5)
    return values_BN.reshape(len(values_BN), side, side)
