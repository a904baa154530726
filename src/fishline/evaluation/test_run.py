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
from fishline.evaluation.metrics import ClassificationReport, classification_report
from fishline.evaluation.shared import Shared, shared_with_training
from fishline.models.artifact import ModelConfig
from fishline.models.calibration import calibration_error, probabilities
from fishline.models.taxonomy import FAMILY, GENUS, SPECIES, Answers, are_right
from fishline.models.trained_model import TrainedModel


@dataclass(frozen=True)
class TestRun:
    """One model and what it makes of its test images.

    distances:   float (n,), of each image to the nearest of the model's species
    predictions: a row per image: file, sha256, original, group, species, predicted, answer
                 (predicted, its genus or family, or "unknown"), rank (which of these) and the
                 probability of each species
    numbers:     calibration, and how specific answers are and how often right
    table:       what the split knows of each image
    embeddings:  float32 (n, d), what the last layer is given
    """

    model: TrainedModel
    report: ClassificationReport
    distances: npt.NDArray[np.float64]
    predictions: pd.DataFrame
    numbers: dict[str, float]
    table: pd.DataFrame
    embeddings: npt.NDArray[np.float32]

    @property
    def config(self) -> ModelConfig:
        return self.model.config

    @property
    def confidence(self) -> pd.Series[float]:
        """The probability of the predicted species, of each image."""
        return self.predictions[list(self.config.species)].max(axis=1)

    def shared_with(self, train: pd.DataFrame) -> list[Shared]:
        """Accuracy by what test images share with those of `train`, a table of the split."""
        right = self.predictions["species"] == self.predictions["predicted"]
        return shared_with_training(right, pd.concat([train, self.table]))


def evaluate_model(name: str, test: Images, device: torch.device) -> TestRun:
    """Test `models/<name>`.

    Raises:
        UserError: it is not for these images.
    """
    model = TrainedModel.load(MODELS / name, device)
    _require_fit(name, model.config, test)
    embeddings, labels = model.embed_images(test)
    predictions = model.answer(embeddings)
    report = classification_report(labels.numpy(), predictions.logits.argmax(1), test.species)
    uncalibrated = probabilities(torch.from_numpy(predictions.logits))
    numbers = {
        "calibration_error": calibration_error(torch.from_numpy(predictions.probabilities), labels),
        "calibration_error_before": calibration_error(uncalibrated, labels),
        "temperature": model.config.temperature,
        "taken_for_unknown": float(predictions.unknown.mean()),
    } | by_rank(predictions.answers, labels.numpy(), model.config)
    table = test.table[["file", "sha256", "original", "group", "species"]].assign(
        predicted=report.pairs["predicted"],
        answer=predictions.answers.names,
        rank=predictions.answers.ranks,
    )
    rounded = pd.DataFrame(predictions.probabilities.round(6), columns=list(test.species))
    table = pd.concat([table, rounded], axis=1)
    seen = embeddings.numpy()
    return TestRun(model, report, predictions.distances, table, numbers, test.table, seen)


def by_rank(
    answers: Answers, labels: npt.NDArray[np.int64], config: ModelConfig
) -> dict[str, float]:
    """The share of the answers that name a species, and of those that name a genus or family.

    Of either, if there are any, also the accuracy: how many are what the images (labels int64 (n,),
    positions in the model's species) show.
    """
    right = are_right(answers, labels, config)
    kinds = {"species": [SPECIES], "coarser": [GENUS, FAMILY]}
    numbers: dict[str, float] = {}
    for kind, ranks in kinds.items():
        mine = np.isin(answers.ranks.astype(str), ranks)
        numbers[f"answered_{kind}"] = float(mine.mean())
        if mine.any():
            numbers[f"answered_{kind}_accuracy"] = float(right[mine].mean())
    return numbers


def _require_fit(name: str, config: ModelConfig, images: Images) -> None:
    if (config.species, config.image_size) != (images.species, images.size):
        raise UserError(
            f"{MODELS / name} is for {config.image_size} pixels and the species "
            f"{', '.join(config.species)}; the test images have {images.size} pixels and "
            f"{', '.join(images.species)}. `dvc repro` trains it anew."
        )
