"""The last layer before fine-tuning: a logistic regression's, by scikit-learn itself."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from fishline.core.params import Params, load_params
from fishline.core.training_params import Trainable
from fishline.data.dataset import Images
from fishline.models.artifact import ModelConfig, build
from fishline.models.trained_model import TrainedModel
from fishline.training.linear_probe import linear_probe

ROOT = Path(__file__).parents[2]
SIZE = 48


@pytest.fixture
def params() -> Params:
    return load_params(ROOT / "params.yaml").model_copy(update={"device": "cpu"})


def images(species: tuple[str, ...], copies: int = 1) -> Images:
    """Noise, each species of another brightness; of the first photograph `copies` files."""
    labels = torch.arange(6 * len(species)) % len(species)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 90, (len(labels), SIZE, SIZE, 3), np.uint8)
    pixels += (labels.numpy() * 30).astype(np.uint8)[:, None, None, None]
    rows = torch.cat([torch.zeros(copies - 1, dtype=torch.int64), torch.arange(len(labels))])
    table = pd.DataFrame({"original": rows.numpy(), "file": range(len(rows))})
    return Images(torch.from_numpy(pixels), rows, labels[rows], species, table)


def model(species: tuple[str, ...]) -> TrainedModel:
    torch.manual_seed(0)
    config = ModelConfig("fishline", species, SIZE, (0.5,) * 3, (0.5,) * 3, "grouped")
    return TrainedModel(build(config), config)


@pytest.mark.parametrize("species", [("a", "b"), ("a", "b", "c")])
def test_the_probabilities_are_those_of_the_regression(
    params: Params, species: tuple[str, ...]
) -> None:
    probed, given = model(species), images(species)
    linear_probe(probed.network, probed.config, given, params, "all")
    embeddings, labels = probed.embed_images(given)
    scaled = embeddings / embeddings.square().sum(1).mean().sqrt()
    expected = LogisticRegression(max_iter=1000, tol=1e-6).fit(scaled, labels)
    found = probed.logits(embeddings).softmax(1)
    np.testing.assert_allclose(found, expected.predict_proba(scaled), atol=0.01)


def test_copies_of_a_photograph_do_not_outvote_others(params: Params) -> None:
    heads = {}
    for counted in ("photographs", "files"):
        for copies in (1, 20):
            probed = model(("a", "b"))
            chosen = params.model_copy(update={"sample_weight": counted})
            linear_probe(probed.network, probed.config, images(("a", "b"), copies), chosen, "all")
            heads[counted, copies] = probed.network.classifier[-1].bias.detach()  # type: ignore
    moved = {c: float((heads[c, 20] - heads[c, 1]).abs().max()) for c in ("photographs", "files")}
    assert moved["photographs"] < moved["files"] / 2


@pytest.mark.parametrize(("train", "weights"), [("head", "default"), ("all", "none")])
def test_a_head_alone_and_a_network_from_nothing_begin_as_they_are(
    params: Params, train: Trainable, weights: str
) -> None:
    untouched = params.model.model_copy(update={"weights": weights})
    probed = model(("a", "b"))
    before = probed.network.classifier[-1].weight.clone()  # type: ignore
    linear_probe(
        probed.network,
        probed.config,
        images(("a", "b")),
        params.model_copy(update={"model": untouched}),
        train,
    )
    assert torch.equal(probed.network.classifier[-1].weight, before)  # type: ignore
