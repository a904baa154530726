"""The training loop: epochs, validation, the best weights.

Deterministic: the same machine, data, parameters and library versions give the same bytes
(https://docs.pytorch.org/docs/stable/notes/randomness.html).
"""

from __future__ import annotations

import copy
import math
import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from fishline.dataset import Images, augment, epoch_order
from fishline.metrics import Report, report
from fishline.models import Network, Normalize, scale
from fishline.params import Training

LOSSES: dict[str, type[nn.CrossEntropyLoss] | type[nn.MultiMarginLoss]] = {
    "cross_entropy": nn.CrossEntropyLoss,
    "multi_margin": nn.MultiMarginLoss,
}
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": lambda params, **options: torch.optim.SGD(params, momentum=0.9, **options),
}


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to; the names are those of the logged metrics."""

    epoch: int
    train_loss: float
    val_loss: float
    val_accuracy: float
    lr: float
    images_per_second: float


def seed_everything(seed: int) -> torch.Generator:
    """Seed Python, NumPy and torch, allow deterministic kernels only; a generator for the rest."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS needs it to repeat
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    return torch.Generator().manual_seed(seed)


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Trainer:
    """A network in training: `trainable`, a part of it or all of it, learns from batches.

    Everything outside `trainable` stays in eval mode, so that a frozen batch norm keeps its
    running statistics.
    """

    def __init__(
        self,
        network: Network,
        trainable: nn.Module,
        normalize: Normalize,
        settings: Training,
        rng: torch.Generator,
        train: Images,
    ) -> None:
        self.place = device()
        self.network = network.to(self.place)
        self.trainable = trainable
        self.normalize = normalize.to(self.place)
        self.settings = settings
        self.rng = rng
        self.train = train
        weights = class_weights(train) if settings.balance == "class_weights" else None
        self.loss = LOSSES[settings.loss](weight=weights).to(self.place)
        self.optimizer = OPTIMIZERS[settings.optimizer](
            trainable.parameters(), lr=settings.lr, weight_decay=settings.weight_decay
        )

    def run_epoch(self) -> tuple[float, float]:
        """Train on every image of the epoch once; mean loss, and images per second."""
        self.network.eval()
        self.trainable.train()
        order = epoch_order(self.train.labels, self.settings.balance, self.rng)
        total = torch.zeros((), device=self.place)
        started = time.perf_counter()
        for pixels, labels in self.train.batches(order, self.settings.batch_size):
            total += self._step(pixels, labels) * len(labels)
        mean = float(total) / len(order)  # waits for the device, so the time is the work's
        return mean, len(order) / (time.perf_counter() - started)

    def _step(self, pixels: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        images = scale(pixels.to(self.place))  # (b, 3, h, w)
        if self.settings.augment:
            images = augment(images, self.rng)
        self.optimizer.zero_grad(set_to_none=True)
        loss: torch.Tensor = self.loss(self.network(self.normalize(images)), labels.to(self.place))
        torch.autograd.backward(loss)
        self.optimizer.step()
        return loss.detach()

    def validate(self, images: Images) -> tuple[float, float]:
        """Mean loss and accuracy on `images`."""
        logits, labels = predict(self.network, self.normalize, images)
        loss = self.loss(logits.to(self.place), labels.to(self.place))
        return float(loss), float((logits.argmax(1) == labels).double().mean())


def fit(
    trainer: Trainer, validation: Images, on_epoch: Callable[[Epoch], None], title: str
) -> list[Epoch]:
    """Run all epochs, then give the network the weights of `best_epoch`, in eval mode.

    Args:
        on_epoch: called after each epoch.
        title: what the progress bar is called.
    """
    history: list[Epoch] = []
    best = copy.deepcopy(trainer.network.state_dict())
    bar = tqdm(range(1, trainer.settings.epochs + 1), title, unit="epoch", disable=None)
    for number in bar:
        train_loss, speed = trainer.run_epoch()
        val_loss, val_accuracy = trainer.validate(validation)
        lr = trainer.optimizer.param_groups[0]["lr"]
        epoch = Epoch(number, train_loss, val_loss, val_accuracy, lr, speed)
        history.append(epoch)
        if best_epoch(history) is epoch:
            best = copy.deepcopy(trainer.network.state_dict())
        bar.set_postfix(loss=f"{train_loss:.3f}", val_accuracy=f"{val_accuracy:.3f}")
        on_epoch(epoch)
    trainer.network.load_state_dict(best)
    trainer.network.eval()
    return history


def best_epoch(history: Sequence[Epoch]) -> Epoch:
    """Highest validation accuracy; of equals, the one with the lowest validation loss."""
    return max(
        history,
        key=lambda e: (e.val_accuracy, -math.inf if math.isnan(e.val_loss) else -e.val_loss),
    )


def class_weights(images: Images) -> torch.Tensor:
    """float32 (classes,): inverse to a class's frequency, 1 if all are equally frequent."""
    from sklearn.utils.class_weight import compute_class_weight

    classes = np.arange(len(images.species))
    weights = compute_class_weight("balanced", classes=classes, y=images.labels.numpy())
    return torch.tensor(weights, dtype=torch.float32)


@torch.inference_mode()
def predict(
    network: Network, normalize: Normalize, images: Images, batch_size: int = 256
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits float (n, classes) and labels int64 (n,) of `images` in their order, on the CPU."""
    place = next(network.parameters()).device
    network.eval()
    logits, labels = [], []
    for pixels, truth in images.batches(torch.arange(len(images)), batch_size):
        logits.append(network(normalize(scale(pixels.to(place)))).cpu())
        labels.append(truth)
    return torch.cat(logits), torch.cat(labels)


def assess(network: Network, normalize: Normalize, images: Images) -> Report:
    """What `network` makes of `images`, whose species must be the network's, in its order."""
    logits, labels = predict(network, normalize, images)
    return report(labels.numpy(), logits.argmax(1).numpy(), images.species)
