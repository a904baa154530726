"""The training loop: repeatable, frozen where it says so, and it keeps the best weights."""

import copy
import math
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import nn
from torch.nn import functional as F

from fishline.dataset import Images
from fishline.models import Description, Network, Normalize, build, freeze, scale
from fishline.params import Balance, Training
from fishline.training import (
    LOSSES,
    OPTIMIZERS,
    Epoch,
    Trainer,
    best_epoch,
    class_weights,
    fit,
    predict,
    seed_everything,
)

State = dict[str, torch.Tensor]
MakeTrainer = Callable[..., Trainer]


@pytest.fixture
def make_trainer(description: Description, images: Images, settings: Training) -> MakeTrainer:
    """A function (settings to change) -> a trainer of a fresh network on the small images."""

    def make(part: str = "all", train: Images = images, **changes: Any) -> Trainer:
        chosen = replace(settings, **changes)
        rng = seed_everything(chosen.seed)
        network = build(description)
        trainable = freeze(network, part)  # type: ignore[arg-type]
        return Trainer(network, trainable, Normalize(description), chosen, rng, train)

    return make


def state(network: nn.Module) -> State:
    return {
        name: tensor.detach().cpu().contiguous().clone()
        for name, tensor in network.state_dict().items()
    }


def changed(before: State, after: State) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


def quietly(trainer: Trainer, validation: Images) -> list[Epoch]:
    return fit(trainer, validation, lambda epoch: None, "test")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"balance": "oversample", "augment": True},
        {"balance": "undersample", "optimizer": "sgd"},
        {"balance": "class_weights", "loss": "multi_margin"},
    ],
    ids=str,
)
def test_the_same_seed_gives_the_same_bytes(
    make_trainer: MakeTrainer, make_images: Callable[..., Images], changes: dict[str, Any]
) -> None:
    uneven = make_images(7, 3, 5)
    weights, losses = [], []
    for seed in (1, 1, 2):
        trainer = make_trainer(train=uneven, seed=seed, **changes)
        history = quietly(trainer, uneven)
        weights.append(save(state(trainer.network)))
        losses.append([epoch.train_loss for epoch in history])
    assert weights[0] == weights[1]
    assert losses[0] == losses[1]
    assert weights[0] != weights[2]


def test_every_source_of_chance_is_seeded() -> None:
    def draw(seed: int) -> list[float]:
        rng = seed_everything(seed)
        numbers = [torch.rand(()).item(), torch.rand((), generator=rng).item()]
        return [random.random(), float(np.random.rand()), *numbers]

    first, again, other = draw(3), draw(3), draw(4)
    assert first == again
    assert all(a != b for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize(
    ("part", "prefixes"),
    [("head", ("classifier.7.",)), ("classifier", ("classifier.",))],
)
def test_frozen_means_frozen(
    make_trainer: MakeTrainer, images: Images, part: str, prefixes: tuple[str, ...]
) -> None:
    """Weights and batch-norm statistics of the frozen part stay bit for bit as they were."""
    trainer = make_trainer(part, weight_decay=0.1, lr=0.01)
    before = state(trainer.network)
    quietly(trainer, images)
    moved = changed(before, state(trainer.network))
    assert moved == {name for name in before if name.startswith(prefixes)}


def test_all_means_all(make_trainer: MakeTrainer, images: Images) -> None:
    trainer = make_trainer("all")
    before = state(trainer.network)
    quietly(trainer, images)
    after = state(trainer.network)
    assert changed(before, after) == set(before)
    assert any(name.endswith("running_mean") for name in before)
    batches = [after[name] for name in before if name.endswith("num_batches_tracked")]
    assert all(count in (3, 6) for count in batches)  # the best of two epochs of 24 images in 8s


def test_validating_changes_nothing(make_trainer: MakeTrainer, images: Images) -> None:
    trainer = make_trainer()
    trainer.run_epoch()
    before = state(trainer.network)
    assert trainer.validate(images) == trainer.validate(images)
    assert changed(before, state(trainer.network)) == set()


class Scripted(Trainer):
    """Training sets every weight of the head to the epoch's number; validation is made up."""

    script: list[tuple[float, float]]
    number = 0

    def run_epoch(self) -> tuple[float, float]:
        self.number += 1
        nn.init.constant_(self.network.classifier[-1].weight, self.number)
        return 0.5, 100.0

    def validate(self, images: Images) -> tuple[float, float]:
        return self.script[self.number - 1]


@pytest.mark.parametrize(
    ("script", "best"),
    [
        ([(0.9, 0.1), (0.5, 0.8), (0.7, 0.6)], 2),
        ([(0.9, 0.8), (0.1, 0.7), (0.1, 0.7)], 1),  # accuracy before loss
        ([(0.9, 0.7), (0.4, 0.7), (0.6, 0.7)], 2),  # of equal accuracies the lowest loss
        ([(0.4, 0.7), (0.4, 0.7), (0.4, 0.6)], 1),  # of equals the first
        ([(0.9, 0.1), (0.8, 0.2), (0.7, 0.3)], 3),
        ([(0.9, 0.0)], 1),
    ],
    ids=str,
)
def test_the_weights_of_the_best_epoch_are_kept(
    make_trainer: MakeTrainer, images: Images, script: list[tuple[float, float]], best: int
) -> None:
    trainer = make_trainer(epochs=len(script))
    trainer.__class__ = Scripted
    assert isinstance(trainer, Scripted)
    trainer.script = script
    history = quietly(trainer, images)
    assert trainer.network.classifier[-1].weight.unique().tolist() == [best]
    assert best_epoch(history).epoch == best


def test_the_kept_weights_score_what_the_history_says(
    make_trainer: MakeTrainer, make_images: Callable[..., Images], images: Images
) -> None:
    shuffled = replace(
        images, labels=images.labels.flip(0)
    )  # hard to learn: results go up and down
    trainer = make_trainer(epochs=5, lr=0.01)
    seen: list[Epoch] = []
    history = fit(trainer, shuffled, seen.append, "test")
    assert seen == history
    assert [epoch.epoch for epoch in history] == [1, 2, 3, 4, 5]
    assert {epoch.lr for epoch in history} == {0.01}
    best = best_epoch(history)
    assert best is not history[-1]  # else this would show nothing
    assert trainer.validate(shuffled) == (best.val_loss, best.val_accuracy)
    assert not any(module.training for module in trainer.network.modules())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_and_optimizer_learns(
    make_trainer: MakeTrainer, images: Images, loss: str, optimizer: str
) -> None:
    trainer = make_trainer(loss=loss, optimizer=optimizer, epochs=3)
    history = quietly(trainer, images)
    assert history[-1].train_loss < history[0].train_loss


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_weight_decay_makes_weights_smaller(make_trainer: MakeTrainer, optimizer: str) -> None:
    norms = []
    for decay in (0.0, 10.0):
        trainer = make_trainer(optimizer=optimizer, weight_decay=decay)
        trainer.run_epoch()
        norms.append(sum(float(p.detach().norm()) for p in trainer.network.parameters()))
    assert norms[1] < norms[0]


def test_easy_pictures_are_learnt(make_trainer: MakeTrainer, images: Images) -> None:
    history = quietly(make_trainer(epochs=5, augment=True), images)
    assert best_epoch(history).val_accuracy == 1
    assert history[-1].train_loss < 0.6 * history[0].train_loss


def test_each_step_is_one_of_plain_sgd(make_trainer: MakeTrainer, images: Images) -> None:
    options = {"lr": 0.1, "weight_decay": 0.01}
    trainer = make_trainer("head", optimizer="sgd", batch_size=len(images), **options)
    network = copy.deepcopy(trainer.network).eval()
    optimizer = torch.optim.SGD(network.classifier[-1].parameters(), momentum=0.9, **options)
    inputs = trainer.normalize(scale(images.pixels.to(trainer.place)))
    for _ in range(3):
        trainer.run_epoch()
        optimizer.zero_grad()
        F.cross_entropy(network(inputs), images.labels.to(trainer.place)).backward()
        optimizer.step()
    torch.testing.assert_close(state(trainer.network), state(network))


def test_augmenting_is_for_training_alone(make_trainer: MakeTrainer, images: Images) -> None:
    plain, augmented = make_trainer(), make_trainer(augment=True)
    assert plain.validate(images) == augmented.validate(images)
    assert plain.run_epoch()[0] != augmented.run_epoch()[0]


def test_a_last_batch_of_one_image_trains(make_trainer: MakeTrainer, images: Images) -> None:
    trainer = make_trainer(batch_size=23)  # of 24
    loss, _ = trainer.run_epoch()
    assert math.isfinite(loss)
    assert all(bool(p.isfinite().all()) for p in trainer.network.parameters())


def test_the_train_loss_is_the_mean_over_images(make_trainer: MakeTrainer, images: Images) -> None:
    """With nothing learnt in between, batches of any size give the same mean."""
    means = [make_trainer("head", batch_size=size, lr=1e-12).run_epoch()[0] for size in (24, 7)]
    assert means[0] == pytest.approx(means[1], rel=1e-5)
    assert means[0] == pytest.approx(make_trainer("head").validate(images)[0], rel=1e-5)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [((4, 4, 4), (1, 1, 1)), ((1, 2, 3), (2, 1, 2 / 3)), ((9, 1), (5 / 9, 5))],
)
def test_class_weights(
    make_images: Callable[..., Images], counts: tuple[int, ...], expected: tuple[float, ...]
) -> None:
    weights = class_weights(make_images(*counts))
    assert weights.dtype == torch.float32
    assert weights.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("balance", get_args(Balance))
def test_the_loss_is_weighted_for_class_weights_alone(
    make_trainer: MakeTrainer, make_images: Callable[..., Images], balance: str
) -> None:
    uneven = make_images(9, 2, 4)
    trainer = make_trainer(train=uneven, balance=balance)
    logits, labels = predict(trainer.network, trainer.normalize, uneven)
    weights = class_weights(uneven) if balance == "class_weights" else None
    expected = float(F.cross_entropy(logits, labels, weights))
    assert trainer.validate(uneven)[0] == pytest.approx(expected, rel=1e-6)


def test_predictions_come_in_the_order_of_the_images(
    make_trainer: MakeTrainer, images: Images
) -> None:
    trainer = make_trainer()
    network: Network = trainer.network
    logits, labels = predict(network, trainer.normalize, images)
    assert torch.equal(labels, images.labels)
    one_by_one, _ = predict(network, trainer.normalize, images, batch_size=1)
    torch.testing.assert_close(logits, one_by_one)
    backwards = replace(images, rows=images.rows.flip(0), labels=images.labels.flip(0))
    flipped, _ = predict(network, trainer.normalize, backwards)
    torch.testing.assert_close(flipped, logits.flip(0))
    assert len(logits.unique(dim=0)) == len(images)


def test_accuracy_and_loss_of_known_logits(make_trainer: MakeTrainer, images: Images) -> None:
    """A head that always says species 0 is right in a third of the images."""
    trainer = make_trainer()
    head = trainer.network.classifier[-1]
    nn.init.zeros_(head.weight)
    with torch.no_grad():
        head.bias.copy_(torch.tensor([1.0, 0.0, 0.0]))
    loss, accuracy = trainer.validate(images)
    assert accuracy == pytest.approx(1 / 3)
    total = math.log(math.e + 2)
    assert loss == pytest.approx((3 * total - 1) / 3)
