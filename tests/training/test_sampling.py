"""Which images an epoch has, and what each of them counts."""

from collections import Counter
from collections.abc import Callable
from typing import get_args

import pytest
import torch

from fishline.core.training_params import Balance
from fishline.data.dataset import Images
from fishline.training.sampling import class_weights, epoch_length, epoch_order

LABELS = torch.tensor([0] * 7 + [1] * 3 + [2] * 5)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("balance", "expected"),
    [
        ("none", [7, 3, 5]),
        ("class_weights", [7, 3, 5]),
        ("oversample", [7, 7, 7]),
        ("undersample", [3, 3, 3]),
    ],
)
def test_images_of_each_species_in_an_epoch(balance: Balance, expected: list[int]) -> None:
    order = epoch_order(LABELS, balance, generator())
    assert LABELS[order].bincount().tolist() == expected


def test_every_balance_is_tested() -> None:
    assert set(get_args(Balance)) == {"none", "class_weights", "oversample", "undersample"}


@pytest.mark.parametrize("balance", ["none", "class_weights", "undersample"])
def test_no_image_comes_twice_in_an_epoch(balance: Balance) -> None:
    order = epoch_order(LABELS, balance, generator()).tolist()
    assert len(set(order)) == len(order)


@pytest.mark.parametrize("seed", range(5))
def test_oversampling_uses_all_images_equally_often(seed: int) -> None:
    times = Counter(epoch_order(LABELS, "oversample", generator(seed)).tolist())
    assert [times[i] for i in range(7)] == [1] * 7
    assert sorted(times[i] for i in range(7, 10)) == [2, 2, 3]
    assert sorted(times[i] for i in range(10, 15)) == [1, 1, 1, 2, 2]


def test_undersampling_draws_anew_in_each_epoch() -> None:
    rng = generator()
    drawn = [set(epoch_order(LABELS, "undersample", rng).tolist()) for _ in range(20)]
    assert set.union(*drawn) == set(range(15))


@pytest.mark.parametrize("balance", get_args(Balance))
def test_epochs_are_shuffled_and_repeatable(balance: Balance) -> None:
    rng, again = generator(), generator()
    first, second = (epoch_order(LABELS, balance, rng).tolist() for _ in range(2))
    assert first != second
    assert first == epoch_order(LABELS, balance, again).tolist()
    shown = LABELS[first].tolist()
    assert shown != sorted(shown)


@pytest.mark.parametrize("balance", get_args(Balance))
@pytest.mark.parametrize("labels", [LABELS, LABELS + 1, LABELS[:7]], ids=["all", "gap", "one"])
def test_the_length_of_an_epoch_is_known_before(balance: Balance, labels: torch.Tensor) -> None:
    assert epoch_length(labels, balance) == len(epoch_order(labels, balance, generator()))


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
