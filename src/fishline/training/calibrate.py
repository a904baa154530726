"""What a trained network's answers are worth: chosen on the validation images, once trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from fishline.data.dataset import Images
from fishline.models.artifact import ModelConfig, Normalize
from fishline.models.calibration import find_temperature
from fishline.models.inference import classify, embed
from fishline.models.networks import Network
from fishline.models.novelty import MOST, MahalanobisDetector, fit_detector


def calibrate(
    network: Network, config: ModelConfig, subsets: Mapping[str, Images], recall: float
) -> tuple[ModelConfig, MahalanobisDetector]:
    """`config` with the temperature of `network`, and what counts as known.

    Args:
        parts: train and validation.
        recall: share of the validation images that shall count as known.
    """
    normalize = Normalize(config)
    validation, labels = embed(network, normalize, subsets["validation"])
    logits = classify(network, validation)
    temperature = find_temperature(logits.numpy(), labels.numpy())
    train, train_labels = embed(network, normalize, _some(subsets["train"]))
    known = fit_detector(train.numpy(), train_labels.numpy(), validation.numpy(), recall)
    return replace(config, temperature=temperature), known


def _some(images: Images) -> Images:
    """`images`, or `MOST` of them evenly spread: they are in order of species."""
    step = -(-len(images) // MOST)
    if step == 1:
        return images
    chosen = torch.arange(0, len(images), step)
    table = images.table.iloc[chosen.numpy()].reset_index(drop=True)
    return replace(images, rows=images.rows[chosen], labels=images.labels[chosen], table=table)
