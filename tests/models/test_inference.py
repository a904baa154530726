"""What a network makes of images, in their order."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from fishline.data.dataset import Images
from fishline.evaluation.metrics import assess
from fishline.models.artifact import ModelConfig, Normalize, build, scale
from fishline.models.inference import predict
from fishline.models.networks import Network


@pytest.fixture
def network(config: ModelConfig) -> Network:
    torch.manual_seed(0)
    return build(config)


def test_predictions_come_in_the_order_of_the_images(
    network: Network, config: ModelConfig, images: Images
) -> None:
    normalize = Normalize(config)
    logits, labels = predict(network, normalize, images)
    assert (logits.shape, logits.dtype, logits.requires_grad) == ((24, 3), torch.float32, False)
    assert torch.equal(labels, images.labels)
    one_by_one, _ = predict(network, normalize, images, batch_size=1)
    torch.testing.assert_close(logits, one_by_one)
    backwards = replace(images, rows=images.rows.flip(0), labels=images.labels.flip(0))
    flipped, _ = predict(network, normalize, backwards)
    torch.testing.assert_close(flipped, logits.flip(0))
    assert len(logits.unique(dim=0)) == len(images)


def test_a_prediction_is_in_eval_mode_and_normalised(
    network: Network, config: ModelConfig, images: Images
) -> None:
    network.train()
    logits, _ = predict(network, Normalize(config), images)
    assert not any(module.training for module in network.modules())
    inputs = (scale(images.pixels[images.rows]) - 0.4) / 0.3  # as the fixture describes them
    torch.testing.assert_close(logits, network(inputs).detach())


@pytest.mark.parametrize("counts", [(8, 8, 8), (1, 2, 3)], ids=str)
def test_a_network_that_always_says_the_same(
    network: Network,
    config: ModelConfig,
    make_images: Callable[..., Images],
    counts: tuple[int, ...],
) -> None:
    head = network.classifier[-1]
    nn.init.zeros_(head.weight)
    with torch.no_grad():
        head.bias.copy_(torch.tensor([0.0, 1.0, 0.0]))
    found = assess(network, Normalize(config), make_images(*counts))
    assert found.accuracy == pytest.approx(counts[1] / math.fsum(counts))
    assert found.matrix.tolist() == [[0, count, 0] for count in counts]
    assert found.species["species"].tolist() == ["Bream", "Shrimp", "Trout"]
