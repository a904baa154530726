"""Augmentation: what is drawn lies within its ranges, and images become what was drawn."""

import math
from collections.abc import Callable, Sequence

import pytest
import torch

from fishline.data.augment import (
    COLOUR,
    HAZE,
    LIGHT,
    SCALE,
    SHIFT,
    augment,
    draw_augmentations,
    draw_flips,
)

NOTHING = (1, 0, 0, 0, 1, 0, 1, 1, 1, 0)  # an affine map row by row, 3 gains, an offset


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int = 2, size: int = 20) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=generator(5)) * 0.8 + 0.1


def augmented(images: torch.Tensor, row: Sequence[float]) -> torch.Tensor:
    """Every image by the same hand-made parameters."""
    return augment(images, torch.tensor(row, dtype=torch.float32).expand(len(images), 10))


@pytest.mark.parametrize("size", [20, 21])
@pytest.mark.parametrize(
    ("affine", "expected"),
    [
        ((1, 0, 0, 0, 1, 0), lambda images: images),
        ((-1, 0, 0, 0, 1, 0), lambda images: images.flip(3)),
        ((0, -1, 0, 1, 0, 0), lambda images: images.rot90(1, (2, 3))),
        ((-1, 0, 0, 0, -1, 0), lambda images: images.rot90(2, (2, 3))),
        ((0, 1, 0, -1, 0, 0), lambda images: images.rot90(3, (2, 3))),
        ((0, 1, 0, 1, 0, 0), lambda images: images.transpose(2, 3)),  # turned and mirrored
    ],
    ids=["nothing", "mirrored", "quarter", "half", "three quarters", "both"],
)
def test_whole_turns_and_mirrors_only_move_pixels(
    affine: Sequence[float], expected: Callable[[torch.Tensor], torch.Tensor], size: int
) -> None:
    images = pictures(size=size)
    before = images.clone()
    out = augmented(images, (*affine, 1, 1, 1, 0))
    torch.testing.assert_close(out, expected(images), atol=1e-5, rtol=0)
    assert torch.equal(images, before)
    assert (out.shape, out.dtype) == (images.shape, torch.float32)


def test_a_shift_moves_by_pixels_and_black_comes_from_outside() -> None:
    images = pictures(size=20)
    out = augmented(images, (1, 0, 2 * 3 / 20, 0, 1, -2 * 2 / 20, 1, 1, 1, 0))  # 3 left, 2 down
    torch.testing.assert_close(out[:, :, 2:, :-3], images[:, :, :-2, 3:], atol=1e-5, rtol=0)
    assert out[:, :, :2].max() < 1e-5
    assert out[:, :, :, -3:].max() < 1e-5


def test_a_larger_factor_shows_a_smaller_picture_on_black() -> None:
    out = augmented(torch.ones(1, 3, 20, 20), (2, 0, 0, 0, 2, 0, 1, 1, 1, 0))[0, 0]
    assert out[5:15, 5:15].min() > 0.99
    out[5:15, 5:15] = 0
    assert out.max() < 1e-5


def test_the_gain_is_each_channels_and_the_offset_is_alls() -> None:
    images = pictures()
    out = augmented(images, (*NOTHING[:6], 0.5, 1.0, 2.0, -0.1))
    gain = torch.tensor([0.5, 1.0, 2.0]).view(1, 3, 1, 1)
    torch.testing.assert_close(out, images * gain - 0.1, atol=1e-5, rtol=0)


def test_each_image_has_its_own_parameters() -> None:
    images = pictures(3)
    rows = torch.tensor([NOTHING, (-1, *NOTHING[1:]), (*NOTHING[:6], 0, 0, 0, 0)]).float()
    out = augment(images, rows)
    expected = torch.stack([images[0], images[1].flip(2), torch.zeros_like(images[2])])
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=0)


@pytest.fixture(scope="module")
def drawn() -> torch.Tensor:
    return draw_augmentations(4000, generator())


def test_draws_repeat_with_the_generator(drawn: torch.Tensor) -> None:
    assert (drawn.shape, drawn.dtype) == ((4000, 10), torch.float32)
    rng = generator()
    assert torch.equal(draw_augmentations(4000, rng), drawn)
    assert not torch.equal(draw_augmentations(4000, rng), drawn)
    assert draw_augmentations(1, generator()).shape == (1, 10)


def test_maps_turn_mirror_and_scale_and_do_not_shear(drawn: torch.Tensor) -> None:
    maps = drawn[:, :6].reshape(-1, 2, 3)[:, :, :2]
    square = maps.mT @ maps  # of a scaled turn: factor² times the identity
    factor = square[:, 0, 0].sqrt()
    expected = factor.square()[:, None, None] * torch.eye(2)
    torch.testing.assert_close(square, expected, atol=1e-5, rtol=0)
    spread(factor.log(), -SCALE, SCALE)
    mirrored = maps.det() < 0
    assert 0.45 < mirrored.float().mean() < 0.55
    angle = torch.atan2(-maps[:, 0, 1], maps[:, 1, 1])
    for some in (angle[mirrored], angle[~mirrored]):
        spread(some, -math.pi, math.pi)


def test_shifts_and_gains_fill_their_ranges(drawn: torch.Tensor) -> None:
    spread(drawn[:, 2], -2 * SHIFT, 2 * SHIFT)
    spread(drawn[:, 5], -2 * SHIFT, 2 * SHIFT)
    gain = drawn[:, 6:9].log()
    assert gain.abs().max() <= LIGHT + COLOUR
    ratio = gain[:, 0] - gain[:, 2]  # the light is the same for all channels
    assert ratio.abs().max() <= 2 * COLOUR + 1e-6
    assert ratio.std() > 0.01
    assert gain.mean(1).std() > LIGHT / 3
    spread(drawn[:, 9], -HAZE, HAZE)


def spread(values: torch.Tensor, low: float, high: float, slack: float = 1e-6) -> None:
    """`values` are spread evenly over low…high, and none lies outside."""
    assert values.min() >= low - slack
    assert values.max() <= high + slack
    quarters = ((values - low) / (high - low) * 4).floor().clamp(0, 3).long().bincount(minlength=4)
    assert (quarters / len(values) - 0.25).abs().max() < 0.05


def test_what_is_drawn_makes_pictures() -> None:
    images = pictures(64, 40)
    out = augment(images, draw_augmentations(64, generator()))
    assert out.isfinite().all()
    assert -HAZE <= out.min() < 0  # the corners come from outside
    middle = out[:, :, 15:25, 15:25].mean((1, 2, 3))
    assert middle.min() > 0.05  # the middle is still in the picture
    assert middle.std() > 0.02


def test_flips_are_the_eight_ways_to_lay_a_photograph() -> None:
    image = pictures(1, 12)
    ways = {
        (mirrored, quarters): torch.rot90(image.flip(3) if mirrored else image, quarters, (2, 3))
        for mirrored in (False, True)
        for quarters in range(4)
    }
    rng, seen = generator(), set()
    for made in augment(image.expand(400, -1, -1, -1), draw_flips(400, rng)):
        near = [way for way, other in ways.items() if torch.allclose(made, other[0], atol=1e-4)]
        assert len(near) == 1
        seen.update(near)
    assert seen == set(ways)
