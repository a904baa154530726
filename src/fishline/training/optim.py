"""Optimizer, learning-rate schedule, averaged weights: what turns gradients into steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    OneCycleLR,
    SequentialLR,
)
from torch.optim.swa_utils import get_ema_multi_avg_fn

from fishline.core.training_params import Training

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": lambda params, **options: torch.optim.SGD(params, momentum=0.9, **options),
}


def make_loss(
    settings: Training, weights: torch.Tensor | None
) -> nn.CrossEntropyLoss | nn.MultiMarginLoss:
    """The loss of each image of a batch; `weights` of the classes, float (classes,)."""
    if settings.loss == "multi_margin":
        return nn.MultiMarginLoss(weight=weights, reduction="none")
    return nn.CrossEntropyLoss(weights, reduction="none", label_smoothing=settings.label_smoothing)


def make_optimizer(trainable: nn.Module, head: nn.Module, settings: Training) -> Optimizer:
    """The optimizer of all that learns in `trainable`: first the group of the head's weights.

    Weight decay on matrices and kernels alone; biases and norms have one dimension. What is not
    the head takes steps of `backbone_lr` times the learning rate.
    """
    of_head = set(head.parameters())
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in [*head.parameters(), *(p for p in trainable.parameters() if p not in of_head)]:
        if parameter.requires_grad:
            lr = settings.lr * (1 if parameter in of_head else settings.backbone_lr)
            decay = settings.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((lr, decay), []).append(parameter)
    return OPTIMIZERS[settings.optimizer](
        [
            {"params": parameters, "lr": lr, "weight_decay": decay}
            for (lr, decay), parameters in groups.items()
        ],
        lr=settings.lr,
    )


def make_schedule(optimizer: Optimizer, settings: Training, steps: int) -> LRScheduler:
    """The learning rate of each of `steps` steps, at its highest what each group begins with.

    `one_cycle` (https://arxiv.org/abs/1708.07120) and `cosine` go down to nearly 0; all rise
    over the first `warmup` share of the steps.
    """
    if settings.schedule == "one_cycle":
        # A hair shorter: torch divides by zero where the rise is exactly one step.
        rise = settings.warmup * (1 - 1e-9)
        highest = [group["lr"] for group in optimizer.param_groups]
        return OneCycleLR(optimizer, highest, steps, pct_start=rise, cycle_momentum=False)
    warm = max(1, round(settings.warmup * steps)) if settings.warmup else 0
    main: LRScheduler = LambdaLR(optimizer, lambda step: 1.0)
    if settings.schedule == "cosine":
        main = CosineAnnealingLR(optimizer, max(1, steps - warm))
    if not warm:
        return main
    up = LinearLR(optimizer, start_factor=1 / (warm + 1), total_iters=warm)
    return SequentialLR(optimizer, [up, main], milestones=[warm])


class EMA:
    """An exponential moving average of a network's weights and statistics (`ema`, its decay)."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        tensors = network.state_dict(keep_vars=False).values()
        self._live = [tensor for tensor in tensors if tensor.is_floating_point()]
        self.values = [tensor.clone() for tensor in self._live]
        self._update = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def update(self) -> None:
        self._update(self.values, self._live, 0)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Give the network its averaged weights, and its own back at the end."""
        own = [tensor.clone() for tensor in self._live]
        self._copy(self.values)
        try:
            yield
        finally:
            self._copy(own)

    @torch.no_grad()
    def _copy(self, values: list[torch.Tensor]) -> None:
        for live, value in zip(self._live, values, strict=True):
            live.copy_(value)
