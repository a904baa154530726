"""A training that was broken off ends with the same bytes as one that was not."""

import copy
import io
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from safetensors.torch import save
from tiny import Dropping
from torch import nn

from fishline.data.dataset import Images
from fishline.training.loop import Epoch, TrainingProgress, fit
from fishline.training.trainer import EpochState, Trainer

MakeTrainer = Callable[..., Trainer]


def content(network: nn.Module) -> bytes:
    return save({name: tensor.contiguous() for name, tensor in network.state_dict().items()})


def numbers(history: list[Epoch]) -> list[dict[str, float]]:
    """All but the speed, which no two runs share."""
    assert all(epoch.images_per_second != 0 for epoch in history)
    return [asdict(replace(epoch, images_per_second=0)) for epoch in history]


RECIPES: dict[str, dict[str, Any]] = {
    "photographs": {
        "part": "all",
        "augment": True,
        "ema": 0.9,
        "optimizer": "adamw",
        "schedule": "one_cycle",
        "warmup": 0.25,
        "clip": 1.0,
        "label_smoothing": 0.1,
    },
    "kept features": {
        "part": "classifier",
        "augment": True,
        "views": 3,
        "balance": "oversample",
        "optimizer": "sgd",
        "schedule": "cosine",
        "warmup": 0.3,
        "precision": "bfloat16",
    },
    "plain": {"part": "all", "optimizer": "adam", "balance": "class_weights"},
}


class BrokenOff(Exception):
    pass


def begin(make_trainer: MakeTrainer, recipe: str) -> Trainer:
    return make_trainer(network=Dropping, epochs=3, batch_size=7, lr=0.01, **RECIPES[recipe])


def train(
    trainer: Trainer,
    images: Images,
    progress: TrainingProgress,
    steps: float = math.inf,
    epochs: float = math.inf,
) -> bytes | None:
    """Train on, and give up after so many steps or at the end of so many epochs: what was saved."""
    saved, count = io.BytesIO(), 0

    def save_and_stop() -> None:
        state = {"trainer": trainer.state_dict(), "progress": progress.state_dict()}
        torch.save(state, saved)
        raise BrokenOff

    def after_step() -> None:
        nonlocal count
        count += 1
        if count == steps:
            save_and_stop()

    def after_epoch(epoch: Epoch, _: EpochState) -> None:
        if epoch.epoch == epochs:
            save_and_stop()

    validation = trainer.validation(images)
    try:
        fit(trainer, validation, progress, "test", after_step, after_epoch)
    except BrokenOff:
        return saved.getvalue()
    return None


def resumed(trainer: Trainer, saved: bytes) -> TrainingProgress:
    state = torch.load(io.BytesIO(saved), map_location="cpu", weights_only=True)
    trainer.load_state_dict(state["trainer"])
    return TrainingProgress.of(state["progress"], trainer.device)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_training_broken_off_ends_with_the_same_bytes(
    make_trainer: MakeTrainer, make_images: Callable[..., Images], recipe: str
) -> None:
    """Three epochs of 4 steps, the last one smaller."""
    images = make_images(8, 9, 7)
    whole, progress = begin(make_trainer, recipe), TrainingProgress()
    assert train(whole, images, progress) is None
    expected, history = content(whole.network), numbers(progress.history)
    assert len(history) == 3
    breaks = [{"steps": n} for n in (1, 2, 4, 5, 8, 11, 12)] + [{"epochs": n} for n in (1, 2, 3)]
    for point in breaks:
        saved = train(begin(make_trainer, recipe), images, TrainingProgress(), **point)
        assert saved, point
        again = begin(make_trainer, recipe)
        progress = resumed(again, saved)
        assert train(again, images, progress) is None
        assert content(again.network) == expected, point
        assert numbers(progress.history) == history, point


def test_a_training_may_be_broken_off_at_every_step(
    make_trainer: MakeTrainer, images: Images
) -> None:
    whole, progress = begin(make_trainer, "photographs"), TrainingProgress()
    train(whole, images, progress)
    expected = content(whole.network)
    saved = train(begin(make_trainer, "photographs"), images, TrainingProgress(), steps=1)
    for _ in range(11):
        assert saved
        trainer = begin(make_trainer, "photographs")
        saved = train(trainer, images, resumed(trainer, saved), steps=1)
    assert saved
    trainer = begin(make_trainer, "photographs")
    progress = resumed(trainer, saved)
    assert progress.under_way
    assert len(progress.under_way.losses) == 4
    train(trainer, images, progress, steps=1)
    assert content(trainer.network) == expected
    assert len(progress.history) == 3


def test_a_finished_training_is_not_trained_again(
    make_trainer: MakeTrainer, images: Images
) -> None:
    whole, progress = begin(make_trainer, "plain"), TrainingProgress()
    train(whole, images, progress)
    state = copy.deepcopy({"trainer": whole.state_dict(), "progress": progress.state_dict()})
    saved = io.BytesIO()
    torch.save(state, saved)
    again = begin(make_trainer, "plain")
    taken_up = resumed(again, saved.getvalue())
    assert train(again, images, taken_up, steps=1) is None
    assert content(again.network) == content(whole.network)
    assert taken_up.history == progress.history
