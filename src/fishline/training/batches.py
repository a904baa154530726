"""What the loop trains on: photographs for a whole network, kept features for a part of one."""

from __future__ import annotations

import math
from typing import Protocol

import psutil
import torch
from torch import nn

from fishline.core.training_params import SampleWeight
from fishline.data.augment import Draw, augment
from fishline.data.dataset import Images
from fishline.models.artifact import Normalize, scale
from fishline.training.sampling import sample_weights

RESIDENT = 1 << 30  # bytes of photographs that are kept in memory; more are read as they are needed
BATCH = 256  # images at a time where nothing is learnt


class Inputs(Protocol):
    """On the device:

    labels:  int64 (n,)
    weights: float32 (n,), what each image counts in the loss
    """

    labels: torch.Tensor
    weights: torch.Tensor

    def draw(self, count: int, rng: torch.Generator) -> torch.Tensor:
        """What chance decides for `count` images: (count, k), on the device."""
        ...

    def take(self, positions: torch.Tensor, drawn: torch.Tensor | None = None) -> torch.Tensor:
        """The images at `positions` (b,), as `drawn` (b, k) says or as they are: float (b, …)."""
        ...


class Photographs:
    """Images, normalised; augmented as `augmentation` draws."""

    def __init__(
        self,
        images: Images,
        normalize: Normalize,
        device: torch.device,
        augmentation: Draw | None = None,
        alike: SampleWeight = "files",
    ) -> None:
        self.labels = images.labels.to(device)
        self.weights = sample_weights(images, alike).to(device)
        self._images = images
        self._normalize = normalize.to(device)
        self._device = device
        self._augmentation = augmentation
        self._resident = _resident(images, device)

    def draw(self, count: int, rng: torch.Generator) -> torch.Tensor:
        drawn = self._augmentation(count, rng) if self._augmentation else torch.empty(count, 0)
        return drawn.to(self._device)

    def take(self, positions: torch.Tensor, drawn: torch.Tensor | None = None) -> torch.Tensor:
        if self._resident is not None:
            pixels = self._resident[positions.to(self._device)]
        else:
            rows = self._images.rows[positions.cpu()]
            pixels = self._images.pixels[rows].to(self._device)  # (b, size, size, 3)
        images = scale(pixels)  # (b, 3, size, size)
        if self._augmentation and drawn is not None:
            images = augment(images, drawn)
        normal: torch.Tensor = self._normalize(images)
        return normal.contiguous(memory_format=torch.channels_last)


def _resident(images: Images, device: torch.device) -> torch.Tensor | None:
    """The pixels of `images` on the device if they fit there, uint8 (n, size, size, 3)."""
    room = torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else RESIDENT
    if len(images) * images.size**2 * 3 > room:
        return None
    # Filled part by part: to join parts would take twice the memory.
    kept = torch.empty((len(images), *images.pixels.shape[1:]), dtype=torch.uint8, device=device)
    for rows, part in zip(torch.split(images.rows, BATCH), torch.split(kept, BATCH), strict=True):
        part.copy_(images.pixels[rows])
    return kept


class CachedFeatures:
    """What the frozen layers make of images, computed once: float (views, n, …, channels)."""

    def __init__(self, values: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> None:
        self.values = values
        self.labels = labels
        self.weights = weights

    def draw(self, count: int, rng: torch.Generator) -> torch.Tensor:
        if len(self.values) == 1:  # chance decides nothing, as for photographs not augmented
            return torch.zeros(count, 1, dtype=torch.int64, device=self.values.device)
        views = torch.randint(len(self.values), (count, 1), generator=rng)
        return views.to(self.values.device)

    def take(self, positions: torch.Tensor, drawn: torch.Tensor | None = None) -> torch.Tensor:
        views = 0 if drawn is None else drawn[:, 0]
        return self.values[views, positions.to(self.values.device)].movedim(-1, 1)


class ComputedFeatures:
    """What the frozen layers make of images, computed each time they are asked for."""

    def __init__(self, frozen: nn.Module, photographs: Photographs) -> None:
        self.labels = photographs.labels
        self.weights = photographs.weights
        self.draw = photographs.draw
        self._frozen = frozen
        self._photographs = photographs

    @torch.no_grad()
    def take(self, positions: torch.Tensor, drawn: torch.Tensor | None = None) -> torch.Tensor:
        made: torch.Tensor = self._frozen(self._photographs.take(positions, drawn))
        return made


@torch.no_grad()
def cache_features(
    frozen: nn.Module, inputs: Photographs, views: int, rng: torch.Generator
) -> CachedFeatures | None:
    """What `frozen` makes of all inputs as they are, and of `views` − 1 augmented versions more.

    None if it would not fit into a quarter of the free memory.
    """
    count = len(inputs.labels)
    values: torch.Tensor | None = None
    for view in range(views):
        drawn = inputs.draw(count, rng) if view else None
        for positions in torch.split(torch.arange(count, device=inputs.labels.device), BATCH):
            made = frozen(inputs.take(positions, None if drawn is None else drawn[positions]))
            made = made.movedim(1, -1)  # channels last: as convolutions want them
            if values is None:
                shape = (views, count, *made.shape[1:])
                if math.prod(shape) * made.element_size() > _room(made.device):
                    return None
                values = torch.empty(shape, dtype=made.dtype, device=made.device)
            values[view, positions] = made
    assert values is not None  # a task has images
    return CachedFeatures(values, inputs.labels, inputs.weights)


def _room(device: torch.device) -> int:
    free = (
        torch.cuda.mem_get_info(device)[0]
        if device.type == "cuda"
        else psutil.virtual_memory().available
    )
    return free // 4
