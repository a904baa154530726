"""Networks that train in milliseconds, for the images of conftest.py."""

from torch import nn

from fishline.models.networks import Fishline, Network


def small() -> Network:
    return Fishline(classes=3, image_size=48)


class Dropping(Network):
    """Batch norm in its features and dropout in its classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 4, 5, stride=4), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(3)
        )
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Linear(36, 16), nn.Dropout(0.3), nn.ReLU(), nn.Linear(16, 3)
        )
