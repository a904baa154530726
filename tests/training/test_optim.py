"""Losses, optimizers, learning rates and averaged weights, against PyTorch and worked examples."""

import math
from collections.abc import Callable
from typing import get_args

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fishline.core.training_params import Optimizer, Schedule, Training
from fishline.training.optim import EMA, OPTIMIZERS, make_loss, make_optimizer, make_schedule


def small() -> nn.Module:
    """A kernel, a norm, a matrix, and biases of all three."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))


LOGITS = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 2, 0, 1])


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 2.0, 0.5])], ids=["even", "weighted"])
@pytest.mark.parametrize(
    ("loss", "smoothing", "expected"),
    [
        ("cross_entropy", 0.0, F.cross_entropy),
        ("cross_entropy", 0.1, lambda *a, **k: F.cross_entropy(*a, label_smoothing=0.1, **k)),
        ("multi_margin", 0.0, F.multi_margin_loss),
    ],
    ids=["cross_entropy", "smoothed", "multi_margin"],
)
def test_a_loss_is_pytorchs_of_each_image(
    settings: Training,
    loss: str,
    smoothing: float,
    expected: Callable[..., torch.Tensor],
    weights: torch.Tensor | None,
) -> None:
    chosen = settings.model_copy(update={"loss": loss, "label_smoothing": smoothing})
    found = make_loss(chosen, weights)(LOGITS, LABELS)  # (b,)
    torch.testing.assert_close(found, expected(LOGITS, LABELS, weight=weights, reduction="none"))


def test_every_optimizer_is_there() -> None:
    assert set(OPTIMIZERS) == set(get_args(Optimizer))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weight_decay_is_on_kernels_and_matrices_alone(settings: Training, name: str) -> None:
    network = small()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(1.0)
            parameter.grad = torch.zeros_like(parameter)
    chosen = settings.model_copy(update={"optimizer": name, "weight_decay": 0.5, "lr": 0.1})
    optimizer = make_optimizer(network, network[-1], chosen)
    optimizer.step()
    shrunk = {name for name, p in network.named_parameters() if float(p.detach().max()) < 1}
    assert shrunk == {"0.weight", "3.weight"}
    assert all(group["lr"] == 0.1 for group in optimizer.param_groups)


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "constant"])
def test_layers_below_the_head_take_smaller_steps(settings: Training, schedule: str) -> None:
    changes = {"optimizer": "sgd", "lr": 0.1, "backbone_lr": 0.2, "schedule": schedule}
    chosen, network = settings.model_copy(update=changes), small()
    optimizer = make_optimizer(network, network[-1], chosen)
    lr_schedule = make_schedule(optimizer, chosen, steps=8)
    lr_of = {id(p): g for g in optimizer.param_groups for p in g["params"]}
    highest = []
    for _ in range(8):
        head, below = (lr_of[id(network[place].weight)]["lr"] for place in (-1, 0))
        assert below == pytest.approx(0.2 * head)
        assert lr_schedule.get_last_lr()[0] == head  # what is logged
        highest.append(head)
        optimizer.step()
        lr_schedule.step()
    assert max(highest) == pytest.approx(0.1, rel=0.1)


def test_what_is_frozen_is_not_optimized(settings: Training) -> None:
    network = small()
    network[0].requires_grad_(False)
    groups = make_optimizer(network, network[-1], settings).param_groups
    found = {id(p) for group in groups for p in group["params"]}
    assert found == {id(p) for p in [*network[1].parameters(), *network[3].parameters()]}


def test_sgd_has_momentum(settings: Training) -> None:
    chosen, network = settings.model_copy(update={"optimizer": "sgd"}), small()
    groups = make_optimizer(network, network[-1], chosen).param_groups
    assert {group["momentum"] for group in groups} == {0.9}


def rates(settings: Training, steps: int, **changes: object) -> list[float]:
    """The learning rate of each step."""
    chosen = settings.model_copy(update={"optimizer": "sgd", "lr": 0.1} | changes)
    network = small()
    optimizer = make_optimizer(network, network[-1], chosen)
    schedule = make_schedule(optimizer, chosen, steps)
    found = []
    for _ in range(steps):
        (rate,) = {group["lr"] for group in optimizer.param_groups}
        assert rate == schedule.get_last_lr()[0]
        assert {group["momentum"] for group in optimizer.param_groups} == {0.9}
        found.append(rate)
        optimizer.step()
        schedule.step()
    return found


def test_a_constant_rate(settings: Training) -> None:
    assert rates(settings, 5, schedule="constant") == [0.1] * 5


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_the_rate_rises_in_even_steps(settings: Training, schedule: str) -> None:
    found = rates(settings, 12, schedule=schedule, warmup=0.25)
    assert found[:4] == pytest.approx([0.025, 0.05, 0.075, 0.1])
    assert max(found) == pytest.approx(0.1)


@pytest.mark.parametrize("warmup", [0.0, 0.2])
def test_the_cosine_goes_down_to_nearly_nothing(settings: Training, warmup: float) -> None:
    steps = 50
    found = rates(settings, steps, schedule="cosine", warmup=warmup)
    warm = round(warmup * steps)
    down = steps - warm
    expected = [0.1 * (1 + math.cos(math.pi * step / down)) / 2 for step in range(down)]
    assert found[warm:] == pytest.approx(expected)
    assert found[-1] < 0.001


@pytest.mark.parametrize(("steps", "warmup"), [(40, 0.25), (40, 0.5), (7, 0.3), (200, 0.1)])
def test_one_cycle_rises_to_the_rate_and_falls(
    settings: Training, steps: int, warmup: float
) -> None:
    found = rates(settings, steps, schedule="one_cycle", warmup=warmup)
    top = found.index(max(found))
    assert top == pytest.approx(warmup * steps - 1, abs=1)
    assert found == sorted(found[:top]) + sorted(found[top:], reverse=True)
    if warmup * steps == round(warmup * steps):
        assert max(found) == pytest.approx(0.1)
        assert found[0] == pytest.approx(0.1 / 25)
    assert found[-1] < 1e-5


@pytest.mark.parametrize("schedule", get_args(Schedule))
@pytest.mark.parametrize("warmup", [0.0, 0.01, 0.25, 0.5, 0.99])
def test_no_number_of_steps_is_too_small(settings: Training, schedule: str, warmup: float) -> None:
    if schedule == "one_cycle" and not warmup:
        return  # refused by params.py
    for steps in range(1, 13):
        found = rates(settings, steps, schedule=schedule, warmup=warmup)
        assert all(0 < rate <= 0.1 + 1e-9 for rate in found), steps


def test_an_average_is_the_one_worked_by_hand() -> None:
    network = nn.Linear(1, 1)
    values = [1.0, 2.0, 4.0, 8.0]
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(values[0])
    average, expected = EMA(network, 0.75), values[0]
    for value in values[1:]:
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.fill_(value)
        average.update()
        expected = 0.75 * expected + 0.25 * value
    assert [float(tensor) for tensor in average.values] == pytest.approx([expected] * 2)
    assert network.weight.item() == values[-1]


def test_an_average_is_of_statistics_too_and_counts_stay() -> None:
    network = nn.BatchNorm1d(1).train()
    average = EMA(network, 0.5)
    network(torch.tensor([[10.0], [30.0]]))  # running mean 0 -> 2
    average.update()
    with average.in_place():
        assert network.running_mean.item() == pytest.approx(1)
        assert network.num_batches_tracked == 1
    assert network.running_mean.item() == pytest.approx(2)


def test_averaged_weights_are_in_place_for_a_while() -> None:
    network = small()
    average = EMA(network, 0.5)
    before = [p.detach().clone() for p in network.parameters()]
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1)
    own = [p.detach().clone() for p in network.parameters()]
    with pytest.raises(RuntimeError, match="in between"), average.in_place():
        inside = [p.detach().clone() for p in network.parameters()]
        raise RuntimeError("in between")
    assert all(map(torch.equal, inside, before))
    assert all(
        torch.equal(p.detach(), mine) for p, mine in zip(network.parameters(), own, strict=True)
    )
