"""Builds optimisers, with the learning rate and weight decay of each parameter."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from refers_bench.training import arithmetic

#: Rules that say which parameters are decayed.
DECAY_RULES = ("no_norm_bias", "official_code", "all")

#: The authors' expression for undecayed names. It is case sensitive: BERT's ``LayerNorm.weight`` is decayed.
#: Source: Pre-train/refers/config.py:143-145, factories.py:497.
OFFICIAL_NO_DECAY = re.compile(r".*(norm.*|bias)")

_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.modules.batchnorm._NormBase)


def part_of(name: str, parts: Iterable[str]) -> str:
    """The first of `parts` that is one of the dotted components of a parameter's name, or '' (everything else).

    Example:
        >>> part_of("text_encoder.bert.pooler.dense.weight", ["text_encoder", "report_transformer"])
        'text_encoder'
    """
    components = name.split(".")
    return next((part for part in parts if part in components), "")


def undecayed(module: nn.Module, rule: str) -> frozenset[str]:
    """Names of the parameters of `module` that weight decay leaves alone.

    Args:
        module: any module.
        rule: ``no_norm_bias``: everything that belongs to a normalisation layer, and every bias (the paper);
            ``official_code``: every name that `OFFICIAL_NO_DECAY` matches (the released pre-training);
            ``all``: none, every parameter is decayed (torch's default; the released fine-tuning, C2L).

    Raises:
        ValueError: unknown rule.
    """
    if rule not in DECAY_RULES:
        raise ValueError(f"unknown decay rule {rule!r}; allowed: {', '.join(DECAY_RULES)}")
    if rule == "all":
        return frozenset()
    names = [name for name, _ in module.named_parameters()]
    if rule == "official_code":
        return frozenset(name for name in names if OFFICIAL_NO_DECAY.match(name))
    norms = [child for child in module.modules() if isinstance(child, _NORMS)]
    of_norms = {id(parameter) for norm in norms for parameter in norm.parameters(recurse=False)}
    return frozenset(
        name
        for name, parameter in module.named_parameters()
        # `in_proj_bias` of torch's attention is a bias too.
        if id(parameter) in of_norms or name.rpartition(".")[2].endswith("bias")
    )


def parameter_groups(
    module: nn.Module,
    *,
    learning_rate: float,
    weight_decay: float,
    decay_rule: str,
    part_learning_rates: Mapping[str, float] | None = None,
) -> list[dict[str, Any]]:
    """Optimiser groups: one per part and decay, each with its base learning rate in ``base_lr``.

    Args:
        module: what is trained; parameters that need no gradient are left out, tied ones counted once.
        learning_rate: base rate of everything that is in no part.
        weight_decay: decay of the parameters that `decay_rule` does not spare.
        decay_rule: see `undecayed`.
        part_learning_rates: part (a component of parameter names, such as ``text_encoder``) -> base rate.
    """
    rates, spared = part_learning_rates or {}, undecayed(module, decay_rule)
    groups: dict[tuple[str, bool], dict[str, Any]] = {}
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        part, decays = part_of(name, rates), name not in spared
        rate, decay = rates.get(part, learning_rate), weight_decay if decays else 0.0
        new = {"params": [], "names": [], "lr": rate, "base_lr": rate, "weight_decay": decay}
        group = groups.setdefault((part, decays), new)
        group["params"].append(parameter)
        group["names"].append(name)
    return list(groups.values())


def build(name: str, groups: list[dict[str, Any]], *, momentum: float = 0.9) -> torch.optim.Optimizer:
    """``sgd`` (classical momentum: no Nesterov, no dampening), ``adam`` (decay as L2) or ``adamw``.

    Args:
        name: "sgd", "adam" or "adamw".
        groups: see `parameter_groups`.
        momentum: of SGD; the first beta of Adam and AdamW.

    Raises:
        ValueError: unknown name.
    """
    # Names are for people who look at the groups; torch keeps "names" of its own meaning out of reach.
    plain = [{key: value for key, value in group.items() if key != "names"} for group in groups]
    rate, device = plain[0]["lr"], plain[0]["params"][0].device.type
    # On a GPU one kernel then moves many parameters.
    fused = True if device == "cuda" else None
    if name == "sgd":
        return torch.optim.SGD(plain, lr=rate, momentum=momentum, dampening=0.0, nesterov=False, fused=fused)
    # Fused, the root in Adam's update is the processor's own, correctly rounded; otherwise it is MKL's, which is not.
    fused = True if arithmetic.chosen(device) == arithmetic.PORTABLE else fused
    kinds: dict[str, type[torch.optim.Adam]] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    if name not in kinds:
        raise ValueError(f"unknown optimizer {name!r}; allowed: sgd, adam, adamw")
    return kinds[name](plain, lr=rate, betas=(momentum, 0.999), fused=fused)


def set_rates(optimizer: torch.optim.Optimizer | Lookahead, factor: float) -> None:
    """Give every group its base learning rate times `factor`."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor


def clip_gradients(optimizer: torch.optim.Optimizer | Lookahead, max_norm: float) -> Tensor:
    """Scale all gradients by min(1, max_norm / (n + 1e-6)), n their joint L2 norm; returns n from before.

    Args:
        optimizer: holds the parameters.
        max_norm: 0 measures without clipping.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return nn.utils.clip_grad_norm_(parameters, max_norm if max_norm > 0 else float("inf"))


class Lookahead:
    """Slow weights that follow an optimiser: every k updates the weights become alpha w + (1 - alpha) slow.

    Momentum buffers are kept across synchronisations.

    Args:
        inner: the optimiser that makes the fast updates.
        steps: k, updates between synchronisations.
        alpha: how far the slow weights go towards the fast ones, in (0, 1].

    Source:
        Zhang et al. 2019; Pre-train/refers/optim/lookahead.py (momentum not reset).
    """

    def __init__(self, inner: torch.optim.Optimizer, *, steps: int, alpha: float) -> None:
        self.inner, self.steps, self.alpha = inner, steps, alpha
        self.updates = 0
        self.slow = [parameter.detach().clone() for parameter in self._parameters()]

    def _parameters(self) -> list[Tensor]:
        return [parameter for group in self.inner.param_groups for parameter in group["params"]]

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of the inner optimiser."""
        return self.inner.param_groups

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        self.inner.zero_grad(set_to_none=set_to_none)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:
        """One update of the inner optimiser, and a synchronisation when it is due."""
        self.inner.step(closure)
        self.updates += 1
        if self.updates % self.steps:
            return
        fast = self._parameters()
        torch._foreach_mul_(self.slow, 1 - self.alpha)
        torch._foreach_add_(self.slow, list(torch._foreach_mul(fast, self.alpha)))
        torch._foreach_copy_(fast, self.slow)
