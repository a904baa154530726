"""A network in training: its steps, its validation, its state.

Deterministic: the same machine, data, parameters and library versions give the same bytes, also
when training was broken off and is taken up again from a saved state.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from fishline.core.training_params import Training
from fishline.data.augment import Draw, draw_augmentations, draw_flips
from fishline.data.dataset import Images
from fishline.models.artifact import Normalize
from fishline.models.devices import find_device, find_precision
from fishline.models.embedding import frozen_digest
from fishline.models.networks import Network
from fishline.models.transfer import divide, training_mode
from fishline.training import distributed
from fishline.training.batches import (
    BATCH,
    CachedFeatures,
    ComputedFeatures,
    Inputs,
    Photographs,
    cache_features,
)
from fishline.training.optim import EMA, make_loss, make_optimizer, make_schedule
from fishline.training.sampling import class_weights, epoch_length, epoch_order, sample_weights

State = dict[str, Any]


@dataclass
class EpochState:
    """An epoch under way, between two steps.

    rng:    the generator's state when it began
    losses: of its steps so far, each 0-dimensional, on the device
    lrs:    the learning rate of each
    """

    rng: torch.Tensor
    losses: list[torch.Tensor] = field(default_factory=list)
    lrs: list[float] = field(default_factory=list)


class Trainer:
    """A network in training: `trainable`, a part of it or all of it, learns from batches.

    What is frozen runs once for each image (and for each of `views` augmentations of it), in
    eval mode: its parameters and its batch-norm statistics stay as they are.
    """

    def __init__(
        self,
        network: Network,
        trainable: nn.Module,
        normalize: Normalize,
        settings: Training,
        rng: torch.Generator,
        train: Images,
        views: int = 1,
    ) -> None:
        self.settings = settings
        self.device = find_device(settings.device)
        self.precision = find_precision(settings.precision, self.device)
        self.network = network.to(self.device).eval()
        self.trainable = trainable
        self.normalize = normalize
        self.rng = rng
        self.frozen, self.tail = divide(self.network, trainable)
        self._stored = self._has_features(train)
        self.train = self._inputs(train, self._augmentation(), views)
        self.length = epoch_length(train.labels, settings.balance)
        weights = class_weights(train) if settings.balance == "class_weights" else None
        self.loss = make_loss(settings, weights).to(self.device)
        self.optimizer = make_optimizer(trainable, network.classifier[-1], settings)
        steps = settings.epochs * math.ceil(self.length / settings.batch_size)
        self.schedule = make_schedule(self.optimizer, settings, steps)
        self.scaler = torch.amp.GradScaler(enabled=self.precision == torch.float16)
        self.average = EMA(network, settings.ema) if settings.ema else None
        self._body = self._make_body()

    def _has_features(self, images: Images) -> bool:
        """Whether `embed` has what the head, which alone learns, is given."""
        if images.features is None or self.trainable is not self.network.classifier[-1]:
            return False
        digest = frozen_digest(self.network, self.normalize, images.size)
        return images.features_by(digest) is not None

    def _augmentation(self) -> Draw | None:
        if not self.settings.augment:
            return None
        return draw_flips if self.settings.pretrained else draw_augmentations

    def _inputs(self, images: Images, augmentation: Draw | None = None, views: int = 1) -> Inputs:
        views = views if augmentation else 1
        if self._stored and images.features:
            values = images.features.take(images.rows, views)
            weights = sample_weights(images, self.settings.sample_weight)
            return CachedFeatures(
                values.to(self.device), images.labels.to(self.device), weights.to(self.device)
            )
        photographs = Photographs(
            images, self.normalize, self.device, augmentation, self.settings.sample_weight
        )
        if self.frozen is None:
            return photographs
        kept = cache_features(self.frozen, photographs, views, self.rng)
        return kept or ComputedFeatures(self.frozen, photographs)

    def _make_body(self) -> nn.Module:
        """What turns inputs into logits, as it is called in a step."""
        body: nn.Module = self.tail
        if distributed.world_size() > 1:
            if self.device.type == "cuda":
                nn.SyncBatchNorm.convert_sync_batchnorm(body)  # type: ignore[no-untyped-call]
            body = DistributedDataParallel(body)
        if self.settings.compile:
            torch.use_deterministic_algorithms(True, warn_only=True)  # tells the compiler, too
            body.compile()
        return body

    def validation(self, images: Images) -> Inputs:
        """`images` as `validate` wants them."""
        return self._inputs(images)

    def start_epoch(self) -> EpochState:
        return EpochState(self.rng.get_state())

    def run_epoch(
        self, under_way: EpochState, after_step: Callable[[], None] = lambda: None
    ) -> float | None:
        """Train on every image of an epoch once, or on what `under_way` leaves of it.

        Args:
            under_way: grows by a loss and a learning rate with each step.
            after_step: called after each step, when everything can be saved.

        Returns:
            Images per second; None if nothing was left.
        """
        self.network.eval()
        training_mode(self.trainable)
        self.rng.set_state(under_way.rng)
        order = epoch_order(self.train.labels.cpu(), self.settings.balance, self.rng)
        drawn = self.train.draw(len(order), self.rng)
        order = order.to(self.device)
        size = self.settings.batch_size
        done, started = len(under_way.losses) * size, time.perf_counter()
        if done >= len(order):
            return None
        for first in range(done, len(order), size):
            under_way.lrs.append(float(self.schedule.get_last_lr()[0]))
            batch = slice(first, first + size)
            under_way.losses.append(self._step(order[batch], drawn[batch]))
            after_step()
        float(under_way.losses[-1])  # waits for the device, so that the time is the work's
        return (len(order) - done) / (time.perf_counter() - started)

    def _step(self, positions: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        """One step on a batch (b,) of images; its mean loss, 0-dimensional, on the device."""
        mine = torch.arange(len(positions), device=positions.device)
        # Of fewer images than processes each takes all: the mean of equals is right, and all step.
        shared = distributed.world_size() if len(mine) >= distributed.world_size() else 1
        if shared > 1:
            mine = distributed.share(mine)
        labels, weights = self.train.labels[positions], self.train.weights[positions]
        with self._autocast():
            logits = self._body(self.train.take(positions[mine], drawn[mine]))
        losses = self.loss(logits.float(), labels[mine])  # (b,)
        total = (losses * weights[mine]).sum() / self._weight(labels, weights)
        self.optimizer.zero_grad(set_to_none=True)
        # Data-parallel training averages the gradients of all processes: this makes it their sum.
        torch.autograd.backward(self.scaler.scale(total * shared))
        if self.settings.clip:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.trainable.parameters(), self.settings.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.schedule.step()
        if self.average:
            self.average.update()
        loss = total.detach() * shared / distributed.world_size()
        return distributed.sum_over_all(loss)

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.precision == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.precision)

    def _averaged(self) -> AbstractContextManager[None]:
        return self.average.in_place() if self.average else nullcontext()

    def _weight(self, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """What the summed loss of such images (b,) is to be divided by for their mean."""
        classes = self.loss.weight
        if classes is None or isinstance(self.loss, nn.MultiMarginLoss):
            return weights.sum()
        return (classes[labels] * weights).sum()

    @torch.no_grad()
    def validate(self, inputs: Inputs) -> tuple[float, float]:
        """Mean loss and accuracy, of the averaged weights where there are any."""
        self.network.eval()
        mine = distributed.share(torch.arange(len(inputs.labels), device=self.device))
        sums = torch.zeros(2)  # of the losses, of the images told right
        with self._averaged():
            for positions in torch.split(mine, BATCH) if len(mine) else ():
                labels = inputs.labels[positions]
                with self._autocast():
                    logits = self.tail(inputs.take(positions)).float()
                right = (logits.argmax(1) == labels).sum()
                sums += torch.stack([self.loss(logits, labels).sum(), right]).cpu()
        shared = distributed.sum_over_all(sums.to(self.device)).tolist()
        labels = inputs.labels
        weight = float(self._weight(labels, torch.ones_like(labels, dtype=torch.float32)))
        return shared[0] / weight, shared[1] / len(labels)

    def state_dict(self) -> State:
        """Everything that the next step depends on, besides `TrainingProgress`."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": self.average.values if self.average else [],
            "rng": self.rng.get_state(),
            "torch_rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all(),
        }

    def load_state_dict(self, state: State) -> None:
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.scaler.load_state_dict(state["scaler"])
        if self.average:
            self.average.values = [value.to(self.device) for value in state["average"]]
        self.rng.set_state(state["rng"])
        torch.set_rng_state(state["torch_rng"])
        torch.cuda.set_rng_state_all(state["cuda_rng"])

    def weights(self) -> State:
        """A copy of what is validated: the averaged weights where there are any."""
        with self._averaged():
            return {name: tensor.clone() for name, tensor in self.network.state_dict().items()}

    def restore(self, weights: State) -> None:
        """Give the network the weights that `weights` returned, in eval mode."""
        self.network.load_state_dict(weights)
        self.network.eval()
        if self.average:  # what is validated from now on is this
            self.average = EMA(self.network, self.settings.ema)
