"""The training loop: repeatable, and it keeps the best weights."""

import math
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any, get_args

import pytest
import torch
from safetensors.torch import save
from tiny import Dropping, small
from torch import nn

from fishline.core.training_params import Loss
from fishline.data.dataset import Images
from fishline.models.artifact import ModelConfig, build
from fishline.training.loop import Epoch, TrainingProgress, best_epoch, chosen_epoch, fit, is_over
from fishline.training.optim import OPTIMIZERS
from fishline.training.trainer import EpochState, Trainer

MakeTrainer = Callable[..., Trainer]


def quietly(trainer: Trainer, images: Images, **hooks: Any) -> list[Epoch]:
    return fit(trainer, trainer.validation(images), TrainingProgress(), "test", **hooks)


def content(network: nn.Module) -> bytes:
    return save({name: tensor.contiguous() for name, tensor in network.state_dict().items()})


def numbers(history: list[Epoch]) -> list[dict[str, float]]:
    """All but the speed, which no two runs share."""
    assert all(epoch.images_per_second != 0 for epoch in history)
    return [asdict(replace(epoch, images_per_second=0)) for epoch in history]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"balance": "oversample", "augment": True},
        {"balance": "undersample", "optimizer": "sgd", "schedule": "cosine", "ema": 0.5},
        {"balance": "class_weights", "loss": "multi_margin"},
        {"part": "classifier", "augment": True, "views": 2},
        {"part": "head", "network": Dropping, "augment": True, "views": 2},
    ],
    ids=str,
)
def test_the_same_seed_gives_the_same_bytes(
    make_trainer: MakeTrainer, make_images: Callable[..., Images], changes: dict[str, Any]
) -> None:
    uneven = make_images(7, 3, 5)
    ends = []
    for seed in (1, 1, 2):
        trainer = make_trainer(train=uneven, seed=seed, **changes)
        history = quietly(trainer, uneven)
        ends.append((content(trainer.network), numbers(history)))
    assert ends[0] == ends[1]
    assert ends[0][0] != ends[2][0]
    assert ends[0][1] != ends[2][1]


class Scripted(Trainer):
    """Training sets every weight of the head to the epoch's number; validation is made up."""

    script: list[tuple[float, float]]
    number = 0

    def run_epoch(
        self, under_way: EpochState, after_step: Callable[[], None] = lambda: None
    ) -> float:
        self.number += 1
        nn.init.constant_(self.network.classifier[-1].weight, self.number)
        under_way.losses += [torch.tensor(0.5)] * 3
        under_way.lrs += [0.1] * 3
        return 100.0

    def validate(self, inputs: object) -> tuple[float, float]:
        return self.script[self.number - 1]


@pytest.fixture
def scripted(make_trainer: MakeTrainer) -> Callable[..., Scripted]:
    """A function ([(validation loss, accuracy) of each epoch], settings) -> a trainer."""

    def make(script: list[tuple[float, float]], **changes: Any) -> Scripted:
        trainer = make_trainer(network=small, epochs=len(script), **changes)
        trainer.__class__ = Scripted
        assert isinstance(trainer, Scripted)
        trainer.script = script
        return trainer

    return make


@pytest.mark.parametrize(
    ("script", "best"),
    [
        ([(0.9, 0.1), (0.5, 0.8), (0.7, 0.6)], 2),
        ([(0.9, 0.8), (0.1, 0.7), (0.1, 0.7)], 1),  # accuracy before loss
        ([(0.9, 0.7), (0.4, 0.7), (0.6, 0.7)], 2),  # of equal accuracies the lowest loss
        ([(0.4, 0.7), (0.4, 0.7), (0.4, 0.6)], 1),  # of equals the first
        ([(0.9, 0.1), (0.8, 0.2), (0.7, 0.3)], 3),
        ([(math.nan, 0.7), (0.9, 0.7), (math.nan, 0.7)], 2),  # no number is the worst loss
        ([(math.nan, 0.1), (math.nan, 0.1)], 1),
        ([(0.9, 0.0)], 1),
    ],
    ids=str,
)
def test_the_weights_of_the_best_epoch_are_kept(
    scripted: Callable[..., Scripted],
    images: Images,
    script: list[tuple[float, float]],
    best: int,
) -> None:
    trainer = scripted(script)
    history = quietly(trainer, images)
    assert len(history) == len(script)
    assert trainer.network.classifier[-1].weight.unique().tolist() == [best]
    assert best_epoch(history).epoch == best


@pytest.mark.parametrize(
    ("accuracies", "patience", "epochs"),
    [
        ((0.5, 0.4, 0.4, 0.9), 0, 4),  # never stops
        ((0.5, 0.4, 0.4, 0.9), 1, 2),
        ((0.5, 0.4, 0.4, 0.9), 2, 3),
        ((0.5, 0.4, 0.4, 0.9), 3, 4),
        ((0.5, 0.6, 0.7, 0.8), 1, 4),
        ((0.5, 0.6, 0.5, 0.7, 0.5, 0.5, 0.9), 2, 6),
        ((0.5, 0.5, 0.5), 2, 3),  # as good is not better
    ],
    ids=str,
)
def test_training_stops_when_nothing_gets_better(
    scripted: Callable[..., Scripted],
    images: Images,
    accuracies: tuple[float, ...],
    patience: int,
    epochs: int,
) -> None:
    trainer = scripted([(0.5, accuracy) for accuracy in accuracies], patience=patience)
    history = quietly(trainer, images)
    assert len(history) == epochs
    assert is_over(history, len(accuracies), patience)
    assert not any(is_over(history[:n], len(accuracies), patience) for n in range(epochs))
    best = max(range(epochs), key=lambda number: accuracies[number])
    assert trainer.network.classifier[-1].weight.unique().tolist() == [best + 1]


@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_the_kept_weights_score_what_the_history_says(
    make_trainer: MakeTrainer, images: Images, ema: float
) -> None:
    # Hard to learn: results go up and down.
    shuffled = replace(images, labels=images.labels.flip(0))
    trainer = make_trainer(epochs=5, lr=0.01, ema=ema)
    seen: list[Epoch] = []
    history = quietly(trainer, shuffled, after_epoch=lambda epoch, steps: seen.append(epoch))
    assert seen == history
    assert [epoch.epoch for epoch in history] == [1, 2, 3, 4, 5]
    assert {epoch.lr for epoch in history} == {0.01}
    best = best_epoch(history)
    assert best is not history[-1]  # else this would show nothing
    assert not any(module.training for module in trainer.network.modules())
    trainer.average = None  # its weights are the network's now
    found = trainer.validate(trainer.validation(shuffled))
    assert found == pytest.approx((best.val_loss, best.val_accuracy), rel=1e-6)


def test_the_train_loss_is_the_mean_over_images(make_trainer: MakeTrainer, images: Images) -> None:
    """The last batch is smaller: 24 images in steps of 7."""
    seen: list[list[float]] = []
    trainer = make_trainer(network=small, batch_size=7)
    history = quietly(
        trainer,
        images,
        after_epoch=lambda epoch, steps: seen.append(list(map(float, steps.losses))),
    )
    for epoch, losses in zip(history, seen, strict=True):
        sizes = (7, 7, 7, 3)
        mean = sum(n * loss for n, loss in zip(sizes, losses, strict=True)) / 24
        assert epoch.train_loss == pytest.approx(mean)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("loss", get_args(Loss))
def test_every_loss_and_optimizer_learns(
    make_trainer: MakeTrainer, images: Images, loss: str, optimizer: str
) -> None:
    trainer = make_trainer(network=small, loss=loss, optimizer=optimizer, epochs=3)
    history = quietly(trainer, images)
    assert history[-1].train_loss < history[0].train_loss


@pytest.mark.parametrize("network", ["fishline", "notebook"])
def test_easy_pictures_are_learnt(
    make_trainer: MakeTrainer, config: ModelConfig, images: Images, network: str
) -> None:
    described = replace(config, network=network)
    trainer = make_trainer(
        network=lambda: build(described), epochs=8, augment=True, schedule="one_cycle", warmup=0.25
    )
    history = quietly(trainer, images)
    assert best_epoch(history).val_accuracy == 1
    assert history[-1].train_loss < 0.6 * history[0].train_loss


def test_the_last_epoch_is_kept_if_that_is_asked_for(
    make_trainer: MakeTrainer, images: Images
) -> None:
    trainer = make_trainer(epochs=3, keep="last")
    history = fit(trainer, trainer.validation(images), TrainingProgress(), "test")
    last = trainer.validate(trainer.validation(images))
    assert last == (history[-1].val_loss, history[-1].val_accuracy)
    worse = [replace(e, val_accuracy=1 - e.epoch / 10) for e in history]
    assert chosen_epoch(worse, "last").epoch == 3
    assert chosen_epoch(worse, "best").epoch == 1
