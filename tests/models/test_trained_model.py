"""What a network makes of images, in their order."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from fishline.data.dataset import Images
from fishline.evaluation.metrics import classification_report
from fishline.models.artifact import ModelConfig, build, scale
from fishline.models.networks import Network
from fishline.models.trained_model import TrainedModel


@pytest.fixture
def network(config: ModelConfig) -> Network:
    torch.manual_seed(0)
    return build(config)


def test_predictions_come_in_the_order_of_the_images(
    network: Network, config: ModelConfig, images: Images
) -> None:
    model = TrainedModel(network, config)

    def logits_of(images: Images, batch_size: int = 256) -> torch.Tensor:
        return model.logits(model.embed_images(images, batch_size)[0])

    logits, labels = logits_of(images), model.embed_images(images)[1]
    assert (logits.shape, logits.dtype, logits.requires_grad) == ((24, 3), torch.float32, False)
    assert torch.equal(labels, images.labels)
    one_by_one = logits_of(images, batch_size=1)
    torch.testing.assert_close(logits, one_by_one)
    backwards = replace(images, rows=images.rows.flip(0), labels=images.labels.flip(0))
    flipped = logits_of(backwards)
    torch.testing.assert_close(flipped, logits.flip(0))
    assert len(logits.unique(dim=0)) == len(images)


def test_a_prediction_is_in_eval_mode_and_normalised(
    network: Network, config: ModelConfig, images: Images
) -> None:
    network.train()
    model = TrainedModel(network, config)
    logits = model.logits(model.embed_images(images)[0])
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
    images = make_images(*counts)
    model = TrainedModel(network, config)
    embeddings, labels = model.embed_images(images)
    predicted = model.logits(embeddings).argmax(1)
    report = classification_report(labels.numpy(), predicted.numpy(), images.species)
    assert report.accuracy == pytest.approx(counts[1] / math.fsum(counts))
    assert report.matrix.tolist() == [[0, count, 0] for count in counts]
    assert report.species["species"].tolist() == ["Bream", "Shrimp", "Trout"]


def test_a_model_comes_back_with_its_detector(
    make_model: Callable[..., Path], tmp_path: Path, images: Images
) -> None:
    model = TrainedModel.load(make_model(tmp_path / "model", temperature=2.0))
    model.save(tmp_path / "again")
    for file in (tmp_path / "model").iterdir():
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes()
    answers = model.answer(model.embed_images(images)[0])
    torch.testing.assert_close(
        torch.from_numpy(answers.probabilities),
        (torch.from_numpy(answers.logits).double() / 2).softmax(1),
    )
    assert (answers.unknown == (answers.distances > model.detector.limit)).all()


def test_what_was_not_calibrated_does_not_answer(network: Network, config: ModelConfig) -> None:
    with pytest.raises(RuntimeError, match="no novelty detector"):
        TrainedModel(network, config).answer(torch.zeros(1, 80))
