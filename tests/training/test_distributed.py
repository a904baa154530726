"""Two processes train as one does: each on its share of every batch."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import small
from torch import multiprocessing

from fishline.core.training_params import Training
from fishline.data.dataset import Images
from fishline.models.artifact import ModelConfig, Normalize, build
from fishline.models.devices import seed_everything
from fishline.models.transfer import freeze
from fishline.training import distributed
from fishline.training.distributed import share
from fishline.training.loop import TrainingProgress, fit
from fishline.training.trainer import Trainer

Cases = list[tuple[str, dict[str, Any]]]
CASES: Cases = [
    ("all", {"augment": True, "batch_size": 5}),  # 24 images: shares and the last batch differ
    ("head", {"balance": "class_weights", "batch_size": 23}),  # the last batch has one image
]


def train_all(
    settings: Training, config: ModelConfig, images: Images
) -> list[tuple[list[float], dict[str, torch.Tensor]]]:
    """Losses, accuracies and weights of every case."""
    results = []
    for part, changes in CASES:
        chosen = settings.model_copy(update={"optimizer": "sgd", "lr": 0.01} | changes)
        rng = seed_everything(chosen.seed)
        network = build(replace(config, network="fishline"))
        normalize = Normalize(config)
        trainable = freeze(network, part)  # type: ignore[arg-type]
        trainer = Trainer(network, trainable, normalize, chosen, rng, images)
        history = fit(trainer, trainer.validation(images), TrainingProgress(), "test")
        numbers = [n for e in history for n in (e.train_loss, e.val_loss, e.val_accuracy)]
        results.append((numbers, network.state_dict()))
    return results


def one_of_two(rank: int, folder: str, *arguments: Any) -> None:
    # What torchrun does, with a file instead of a port.

    torch.set_num_threads(1)
    store = torch.distributed.FileStore(f"{folder}/store", 2)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    with_value = distributed.from_first({"from": rank})
    torch.save((train_all(*arguments), with_value), Path(folder, f"{rank}.pt"))
    torch.distributed.destroy_process_group()


@pytest.mark.slow  # each process imports torch anew
def test_two_processes_end_where_one_does(
    settings: Training, config: ModelConfig, images: Images, tmp_path: Path
) -> None:
    alone = train_all(settings, config, images)
    multiprocessing.spawn(one_of_two, (str(tmp_path), settings, config, images), nprocs=2)
    for rank in (0, 1):
        together, with_value = torch.load(tmp_path / f"{rank}.pt", weights_only=False)
        assert with_value == {"from": 0}
        for (numbers, weights), (expected, right) in zip(together, alone, strict=True):
            assert numbers == pytest.approx(expected, rel=1e-4)
            torch.testing.assert_close(weights, right, rtol=1e-4, atol=1e-5)


def test_alone_everything_is_ones_own() -> None:
    assert (distributed.rank(), distributed.world_size()) == (0, 1)
    assert distributed.is_first()
    positions = torch.arange(5)
    assert torch.equal(share(positions), positions)
    assert torch.equal(distributed.sum_over_all(positions), positions)
    assert distributed.from_first("x") == "x"


@pytest.mark.parametrize(
    ("count", "shares"), [(5, [[0, 2, 4], [1, 3]]), (2, [[0], [1]]), (1, [[0], []])]
)
def test_shares_of_a_batch(
    count: int, shares: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    for rank, expected in enumerate(shares):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        assert share(torch.arange(count)).tolist() == expected


def test_fewer_validation_images_than_processes_count_once(
    make_trainer: Callable[..., Trainer], images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = replace(images, rows=images.rows[:2], labels=images.labels[:2])
    trainer = make_trainer(network=small)
    validation = trainer.validation(two)
    alone = trainer.validate(validation)
    monkeypatch.setattr(distributed, "world_size", lambda: 3)
    scores = []
    for rank in range(3):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        scores.append(trainer.validate(validation))
    assert torch.tensor(scores).sum(0).tolist() == pytest.approx(alone)
