"""Probabilities that mean what they say: one temperature for all logits, chosen on validation.

Dividing logits by a temperature changes no prediction (Guo et al. 2017,
https://arxiv.org/abs/1706.04599).
"""

from __future__ import annotations

import math

import numpy as np
import torch

BINS = 15  # as in the paper
RANGE = (0.05, 20.0)


def find_temperature(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """The temperature under which the images' own species are likeliest.

    Where all images are told right, the likeliest temperature is 0: certainty. The true species
    therefore gets (n + 1) / (n + 2) of the target, the others what is left (Platt 1999,
    "Probabilistic outputs for support vector machines").

    Args:
        logits: float (n, classes)
        labels: int64 (n,), positions
    """
    from scipy.optimize import minimize_scalar

    images, classes = logits.shape
    targets = torch.full(logits.shape, 1 / (images + 2) / (classes - 1), dtype=torch.float64)
    targets[torch.arange(images), labels] = (images + 1) / (images + 2)

    def loss(log_temperature: float) -> float:
        scaled = logits.double() / math.exp(log_temperature)
        return float(-(targets * scaled.log_softmax(1)).sum(1).mean())

    low, high = (math.log(bound) for bound in RANGE)
    return math.exp(float(minimize_scalar(loss, bounds=(low, high), method="bounded").x))


def probabilities(logits: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """Softmax of logits (n, classes) over the temperature: float64 (n, classes)."""
    return (logits.double() / temperature).softmax(1)


def calibration_error(probabilities: torch.Tensor, labels: torch.Tensor) -> float:
    """Expected calibration error: |confidence − accuracy| in `BINS` equal bins, by their images.

    Args:
        probabilities: float (n, classes)
        labels: int64 (n,), positions
    """
    confidence, predicted = probabilities.max(1)
    bins = (confidence * BINS).long().clamp(max=BINS - 1)
    gaps = confidence - (predicted == labels).to(confidence.dtype)
    sums = np.bincount(bins.numpy(), gaps.numpy(), BINS)  # signs stay inside a bin
    return float(np.abs(sums).sum() / len(labels))
