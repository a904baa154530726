"""What a model looked at."""

import numpy as np
import pytest
import torch
from tiny import Dropping, small
from torch import nn

from fishline.evaluation.gradcam import heatmaps, last_maps, overlay
from fishline.models.artifact import ModelConfig
from fishline.models.networks import NETWORKS, Fishline, GlobalMaxPool, Network
from fishline.models.trained_model import TrainedModel

PLAIN = ModelConfig("fishline", ("A", "B", "C"), 48, (0.0,) * 3, (1.0,) * 3, "grouped")


class Bright(Network):
    """Species 0 where the picture is red, 1 where it is blue."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 2, 4, stride=4, bias=False), nn.ReLU())
        self.classifier = nn.Sequential(GlobalMaxPool(), nn.Linear(2, 2))
        with torch.no_grad():
            self.features[0].weight.zero_()
            self.features[0].weight[0, 0] = self.features[0].weight[1, 2] = 1 / 16
            self.classifier[1].weight.copy_(torch.eye(2))


def spots() -> np.ndarray:
    """A red spot at the upper left, a blue one at the lower right; uint8 (1, 48, 48, 3)."""
    pixels = np.zeros((1, 48, 48, 3), np.uint8)
    pixels[:, 8:16, 8:16, 0] = 255
    pixels[:, 32:40, 32:40, 2] = 255
    return pixels


@pytest.mark.parametrize(("label", "place"), [(0, 8), (1, 32)])
def test_it_points_at_what_speaks_for_the_species(label: int, place: int) -> None:
    (found,) = heatmaps(TrainedModel(Bright(), PLAIN), spots(), torch.tensor([label]))
    assert found.shape == (48, 48)
    assert found.max() == 1
    y, x = np.unravel_index(found.argmax(), found.shape)
    assert place <= y < place + 8
    assert place <= x < place + 8
    assert found[48 - place - 8 : 48 - place, 48 - place - 8 : 48 - place].max() < 0.01


def test_nothing_speaks_for_it() -> None:
    black = np.zeros((2, 48, 48, 3), np.uint8)
    assert not heatmaps(TrainedModel(Bright(), PLAIN), black, torch.tensor([0, 1])).any()


def test_a_frozen_network_stays_frozen_and_one_in_training_learns_nothing() -> None:
    network = small()
    network.features.requires_grad_(False)
    before = [p.clone() for p in network.parameters()]
    heatmaps(TrainedModel(network, PLAIN), spots(), torch.tensor([1]))
    assert not any(p.requires_grad for p in network.features.parameters())
    assert all(p.requires_grad for p in network.classifier.parameters())
    assert all(torch.equal(p, b) for p, b in zip(network.parameters(), before, strict=True))
    assert all(p.grad is None for p in network.parameters())


def test_the_last_maps_of_the_default_network_are_those_before_its_pooling() -> None:
    network = Fishline(3, 48)
    assert last_maps(network, torch.zeros(1, 3, 48, 48)) is network.classifier[2]
    assert last_maps(Dropping(), torch.zeros(1, 3, 48, 48)) is not None


@pytest.mark.parametrize("name", ["fishline", "notebook", "resnet18", "convnext_tiny"])
def test_every_kind_of_network_can_be_asked(name: str) -> None:
    network = NETWORKS[name](classes=3, image_size=64)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    found = heatmaps(TrainedModel(network, PLAIN), pixels, torch.tensor([0, 2]))
    assert found.shape == (2, 64, 64)
    assert 0 <= found.min() <= found.max() <= 1


def test_an_overlay_leaves_what_was_not_looked_at() -> None:
    pixels = spots()
    maps = np.zeros((1, 48, 48), np.float32)
    assert (overlay(pixels, maps) == pixels).all()
    maps[0, :24] = 1
    shown = overlay(pixels, maps)
    assert shown.dtype == np.uint8
    assert (shown[0, 24:] == pixels[0, 24:]).all()
    assert (shown[0, :24] != pixels[0, :24]).any()
