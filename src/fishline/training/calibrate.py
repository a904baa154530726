"""What a trained network's answers are worth: chosen on the validation images, once trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from fishline.data.dataset import Images
from fishline.models.calibration import find_temperature
from fishline.models.novelty import fit_detector
from fishline.models.trained_model import TrainedModel


def calibrate(model: TrainedModel, subsets: Mapping[str, Images], recall: float) -> TrainedModel:
    """`model` with a temperature and a novelty detector.

    Args:
        subsets: train and validation.
        recall: share of the validation images that shall count as known.
    """
    validation, labels = model.embed_images(subsets["validation"])
    temperature = find_temperature(model.logits(validation), labels)
    train, train_labels = model.embed_images(subsets["train"])
    detector = fit_detector(train.numpy(), train_labels.numpy(), validation.numpy(), recall)
    return TrainedModel(model.network, replace(model.config, temperature=temperature), detector)
