"""The networks to choose from: their shapes, and that torchvision's are torchvision's."""

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from fishline.models.networks import BACKBONES, NETWORKS, Fishline, GlobalMaxPool, Network, Notebook


def layers(network: nn.Module, kind: type[nn.Module]) -> Iterator[nn.Module]:
    return (layer for layer in network.modules() if isinstance(layer, kind))


def images(count: int = 2, size: int = 48) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def test_the_layers_are_the_notebooks() -> None:
    network = Notebook(classes=9, image_size=128)
    shapes = [tuple(layer.weight.shape) for layer in layers(network, nn.Conv2d)]
    assert shapes == [(30, 3, 5, 5), (40, 30, 5, 5), (50, 40, 5, 5), (60, 50, 5, 5)]
    sizes = [(layer.in_features, layer.out_features) for layer in layers(network, nn.Linear)]
    assert sizes == [(2160, 800), (800, 200), (200, 80), (80, 9)]
    assert [layer.num_features for layer in layers(network, nn.BatchNorm2d)] == [30, 40, 50, 60]


def test_the_layers_of_fishline() -> None:
    network = Fishline(classes=9, image_size=128)
    shapes = [tuple(layer.weight.shape) for layer in layers(network, nn.Conv2d)]
    assert shapes == [(48, 3, 4, 4), (64, 48, 3, 3), (128, 64, 3, 3), (256, 128, 3, 3)]
    assert network.features(images(2, 128)).shape == (2, 128, 8, 8)
    assert not any("running" in name for name in network.state_dict())


@pytest.mark.parametrize("name", ["fishline", "notebook"])
@pytest.mark.parametrize(("size", "classes"), [(48, 2), (65, 3), (128, 9)])
def test_images_of_any_size_become_logits(name: str, size: int, classes: int) -> None:
    network = NETWORKS[name](classes=classes, image_size=size).eval()
    logits = network(images(2, size))
    assert (logits.shape, logits.dtype) == ((2, classes), torch.float32)


def test_the_strongest_response_anywhere_counts() -> None:
    maps = torch.zeros(1, 2, 3, 4)
    maps[0, 0, 2, 3], maps[0, 1] = 5, -2
    assert GlobalMaxPool()(maps).tolist() == [[5, -2]]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_has_features_and_a_linear_head(name: str) -> None:
    network = NETWORKS[name](classes=4, image_size=48).eval()
    assert isinstance(network, Network)
    head = network.classifier[-1]
    assert isinstance(head, nn.Linear)
    assert head.out_features == 4
    with torch.no_grad():
        maps = network.features(images())
        assert maps.ndim == 4
        assert torch.equal(network.classifier(maps), network(images()))
    owned = [*network.features.parameters(), *network.classifier.parameters()]
    assert {id(p) for p in owned} == {id(p) for p in network.parameters()}


@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbone_gives_what_torchvisions_network_gives(name: str) -> None:
    from torchvision.models import get_model

    torch.manual_seed(3)
    ours = NETWORKS[name](classes=4, image_size=48)
    torch.manual_seed(3)
    whole = get_model(name, weights=None, num_classes=4)
    for training in (False, True):  # with dropout and batch statistics too
        ours.train(training)
        whole.train(training)
        outputs = []
        for network in (ours, whole):
            torch.manual_seed(1)
            with torch.no_grad():
                outputs.append(network(images(4)))
        assert torch.equal(*outputs)
    sizes = [sum(p.numel() for p in network.parameters()) for network in (ours, whole)]
    assert sizes[0] == sizes[1]
