"""Augmentation of whole batches: all that chance decides is drawn first, then applied at once.

Copies in the data are turned and mirrored photographs on black, and so are these; scale, shifts,
light and colour stand for another camera and another day. Light and colour vary more than they do
in a set from one day: with less, a network learns the day (measured on real photographs).

Pretrained layers have seen many days: for them photographs are mirrored and turned by quarters
alone, which leaves nothing of a photograph out and adds nothing to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch.nn import functional as F

# Draws float32 (count, 10), what `augment` does with each of so many images.
Draw = Callable[[int, torch.Generator], torch.Tensor]

SCALE = 0.15  # larger or smaller, as a natural logarithm
SHIFT = 0.04  # of the edge, in each direction
LIGHT = 0.40  # brighter or darker, all channels alike, as a natural logarithm
COLOUR = 0.25  # the same, each channel for itself
HAZE = 0.20  # added to or taken from all channels, on the scale 0…1


def draw_augmentations(count: int, rng: torch.Generator) -> torch.Tensor:
    """float32 (count, 10) on the CPU: an affine map (2 × 3, row by row), 3 gains, an offset."""

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return torch.rand(count, *shape, generator=rng) * (high - low) + low

    angle = uniform(0, 2 * math.pi)
    mirror = torch.randint(2, (count,), generator=rng) * 2.0 - 1  # -1 or 1
    # From places in the result to places in the picture: a larger factor shows it smaller.
    factor = uniform(-SCALE, SCALE).exp()
    shift = uniform(-2 * SHIFT, 2 * SHIFT, 2)  # the edge is 2 long
    cos, sin = angle.cos() * factor, angle.sin() * factor
    affine = torch.stack(
        [cos * mirror, -sin, shift[:, 0], sin * mirror, cos, shift[:, 1]], 1
    )  # (count, 6)
    gain = (uniform(-LIGHT, LIGHT, 1) + uniform(-COLOUR, COLOUR, 3)).exp()
    return torch.cat([affine, gain, uniform(-HAZE, HAZE, 1)], 1)


def draw_flips(count: int, rng: torch.Generator) -> torch.Tensor:
    """The same for photographs mirrored and turned by quarters, and nothing else: (count, 10)."""
    quarters = torch.randint(4, (count,), generator=rng)
    cos, sin = torch.tensor([1.0, 0, -1, 0])[quarters], torch.tensor([0.0, 1, 0, -1])[quarters]
    mirror = torch.randint(2, (count,), generator=rng) * 2.0 - 1
    still = torch.zeros(count)
    affine = torch.stack([cos * mirror, -sin, still, sin * mirror, cos, still], 1)  # (count, 6)
    return torch.cat([affine, torch.ones(count, 3), still[:, None]], 1)


def augment(images: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
    """Turn, mirror, scale, shift, lighten, tint and haze each image, black outside.

    The result may leave the scale 0…1: cutting it off there would lose what light areas show.

    Args:
        images: float (b, 3, h, w) on the scale 0…1.
        drawn: rows of `draw_augmentations` or `draw_flips` (b, 10), on the same device.
    """
    theta = drawn[:, :6].reshape(-1, 2, 3)
    gain, offset = drawn[:, 6:9, None, None], drawn[:, 9:, None, None]
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, padding_mode="zeros", align_corners=False)
    return moved.mul_(gain).add_(offset)
