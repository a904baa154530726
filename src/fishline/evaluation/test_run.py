"""A model put to the test: what it makes of its test images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from fishline.core.errors import UserError
from fishline.core.paths import MODELS
from fishline.data.dataset import Images
from fishline.evaluation.metrics import ClassificationReport, report
from fishline.models import artifact
from fishline.models.artifact import ModelConfig, Normalize
from fishline.models.calibration import calibration_error, probabilities
from fishline.models.inference import classify, embed
from fishline.models.networks import Network
from fishline.models.novelty import UNKNOWN, MahalanobisDetector, load_detector


@dataclass(frozen=True)
class TestRun:
    """One model and what it makes of its test images.

    distances:   float (n,), of each image to the nearest of the model's species
    predictions: a row per image: file, sha256, original, species, predicted, answer (predicted,
                 or "unknown") and the probability of each species
    numbers:     calibration, and how much is taken for unknown
    """

    network: Network
    config: ModelConfig
    known: MahalanobisDetector
    report: ClassificationReport
    distances: npt.NDArray[np.float64]
    predictions: pd.DataFrame
    numbers: dict[str, float]

    @property
    def confidence(self) -> pd.Series[float]:
        """The probability of the predicted species, of each image."""
        return self.predictions[list(self.config.species)].max(axis=1)


def evaluate_model(model: str, test: Images, device: torch.device) -> TestRun:
    """Test `models/<model>`.

    Raises:
        UserError: it is not for these images.
    """
    network, config = artifact.load(MODELS / model)
    known = load_detector(MODELS / model)
    _require_fit(model, config, test)
    embeddings, labels = embed(network.to(device), Normalize(config), test)
    logits, truth = classify(network, embeddings).numpy(), labels.numpy()
    found = report(truth, logits.argmax(1), test.species)
    shares = probabilities(logits, config.temperature)
    distances = known.distances(embeddings.numpy())
    unknown = distances > known.limit
    numbers = {
        "calibration_error": calibration_error(shares, truth),
        "calibration_error_before": calibration_error(probabilities(logits), truth),
        "temperature": config.temperature,
        "taken_for_unknown": float(unknown.mean()),
    }
    table = test.table[["file", "sha256", "original", "species"]].assign(
        predicted=found.pairs["predicted"],
        answer=found.pairs["predicted"].mask(unknown, UNKNOWN),
    )
    rounded = pd.DataFrame(shares.round(6), columns=list(test.species))
    predictions = pd.concat([table, rounded], axis=1)
    return TestRun(network, config, known, found, distances, predictions, numbers)


def _require_fit(model: str, config: ModelConfig, images: Images) -> None:
    if (config.species, config.image_size) != (images.species, images.size):
        raise UserError(
            f"{MODELS / model} is for {config.image_size} pixels and the species "
            f"{', '.join(config.species)}; the test images have {images.size} pixels and "
            f"{', '.join(images.species)}. `dvc repro` trains it anew."
        )
