"""The networks that `model.name` chooses from, all with fresh weights.

Those of timm stand in timm_networks.py.

`fishline` is made for small pictures and few cores: an 8-fold smaller first layer (4×4 patches, as
in ViT and ConvNeXt, https://arxiv.org/abs/2201.03545) in place of convolutions at full resolution,
and the strongest response anywhere in the picture (global max-pool) in place of a wide classifier.
Group norm (https://arxiv.org/abs/1803.08494) looks at one picture at a time, so that what is frozen
is a pure function and a batch can be divided among processes without changing the result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn


class Network(nn.Module):
    """What every network here has: float (b, 3, size, size) in, logits (b, classes) out.

    features:   images to feature maps (convolutions and their norms)
    classifier: feature maps to logits; its last layer is the head, a Linear
    """

    features: nn.Sequential
    classifier: nn.Sequential

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(self.features(images))
        return logits

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """What the last layer is given: float (b, d)."""
        embeddings: torch.Tensor = self.classifier[:-1](self.features(images))
        return embeddings

    def materialize(self) -> None:
        """Make what is otherwise made when it is first run."""

    def blocks(self) -> list[list[nn.Parameter]]:
        """The parameters of `features`, block by block from the image on; the stem is the first."""
        blocks = [list(layer.parameters()) for layer in self.features]
        return [parameters for parameters in blocks if parameters]


class Notebook(Network):
    """The course notebook's network: four 5×5 convolutions, four fully connected layers.

    At 128 pixels the feature maps are 60 × 6 × 6 = 2160 numbers.
    """

    def __init__(self, classes: int, image_size: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        edge = image_size
        for before, after in ((3, 30), (30, 40), (40, 50), (50, 60)):
            # Pooling before ReLU gives the same numbers and spares three quarters of the ReLUs.
            layers += [nn.Conv2d(before, after, 5, padding=1), nn.BatchNorm2d(after)]
            layers += [nn.MaxPool2d(2), nn.ReLU(inplace=True)]
            edge = (edge - 2) // 2
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(60 * edge * edge, 800),
            nn.ReLU(),
            nn.Linear(800, 200),
            nn.ReLU(),
            nn.Linear(200, 80),
            nn.ReLU(),
            nn.Linear(80, classes),
        )


class Fishline(Network):
    """Patches of 4×4, three 3×3 convolutions with max-pools between, global max-pool.

    At 128 pixels the feature maps are 128 × 8 × 8; the classifier begins with the last
    convolution, the cheapest and the most specific to the species.
    """

    def __init__(self, classes: int, image_size: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 48, 4, stride=4),
            nn.GroupNorm(8, 48),
            nn.ReLU(inplace=True),
            nn.Conv2d(48, 64, 3, padding=1),
            nn.MaxPool2d(2),
            nn.GroupNorm(8, 64),
            nn.ReLU(inplace=True),
            nn.Conv2d(64, 128, 3, padding=1),
            nn.MaxPool2d(2),
            nn.GroupNorm(8, 128),
            nn.ReLU(inplace=True),
        )
        self.classifier = nn.Sequential(
            nn.Conv2d(128, 256, 3, padding=1),
            nn.GroupNorm(8, 256),
            nn.ReLU(inplace=True),
            GlobalMaxPool(),
            nn.Linear(256, classes),
        )


class GlobalMaxPool(nn.Module):
    """float (b, c, h, w) to (b, c). `amax`, as adaptive pooling does not repeat itself on GPUs."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return maps.amax(dim=(2, 3))


class Backbone(Network):
    """A classification network of torchvision, as `features` and `classifier`."""

    def __init__(self, whole: Any) -> None:
        super().__init__()
        if hasattr(whole, "fc"):  # a ResNet: its layers in their order, pooling, fc
            self.features = nn.Sequential(*list(whole.children())[:-2])
            self.classifier = nn.Sequential(whole.avgpool, nn.Flatten(), whole.fc)
            return
        head = list(whole.classifier)
        flatten = [] if any(isinstance(layer, nn.Flatten) for layer in head) else [nn.Flatten()]
        self.features = whole.features
        self.classifier = nn.Sequential(whole.avgpool, *flatten, *head)


def _backbone(name: str) -> Callable[[int, int], Network]:
    def make(classes: int, image_size: int) -> Network:
        from torchvision.models import get_model  # takes seconds to import

        return Backbone(get_model(name, weights=None, num_classes=classes))

    return make


BACKBONES = ("resnet18", "mobilenet_v3_small", "efficientnet_b0", "convnext_tiny")
NETWORKS: dict[str, Callable[[int, int], Network]] = {
    "fishline": Fishline,
    "notebook": Notebook,
    **{name: _backbone(name) for name in BACKBONES},
}
