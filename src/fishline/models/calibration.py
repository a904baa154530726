"""Probabilities that mean what they say: one temperature for all logits, chosen on validation.

Dividing logits by a temperature changes no prediction (Guo et al. 2017,
https://arxiv.org/abs/1706.04599).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
BINS = 15  # as in the paper
RANGE = (0.05, 20.0)


def find_temperature(logits: Floats, labels: npt.NDArray[np.integer]) -> float:
    """The temperature under which the images' own species are likeliest.

    Where all images are told right, the likeliest temperature is 0: certainty. The true species
    therefore gets (n + 1) / (n + 2) of the target, the others what is left (Platt 1999,
    "Probabilistic outputs for support vector machines").

    Args:
        logits: (n, classes)
        labels: (n,), positions
    """
    from scipy.optimize import minimize_scalar

    images, classes = logits.shape
    targets = np.full((images, classes), 1 / (images + 2) / (classes - 1))
    targets[np.arange(images), labels] = (images + 1) / (images + 2)

    def loss(log_temperature: float) -> float:
        return float(-(targets * log_softmax(logits, math.exp(log_temperature))).sum(1).mean())

    low, high = (math.log(bound) for bound in RANGE)
    return math.exp(float(minimize_scalar(loss, bounds=(low, high), method="bounded").x))


def log_softmax(logits: Floats, temperature: float = 1.0) -> npt.NDArray[np.float64]:
    """Logarithms of the probabilities (n, classes)."""
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(1, keepdims=True)
    shares: npt.NDArray[np.float64] = scaled - np.log(np.exp(scaled).sum(1, keepdims=True))
    return shares


def probabilities(logits: Floats, temperature: float = 1.0) -> npt.NDArray[np.float64]:
    """Of each class (n, classes); a row adds up to 1."""
    shares: npt.NDArray[np.float64] = np.exp(log_softmax(logits, temperature))
    return shares


def calibration_error(shares: Floats, labels: npt.NDArray[np.integer]) -> float:
    """Expected calibration error: |confidence − accuracy| in `BINS` equal bins, by their images.

    Args:
        shares: probabilities (n, classes)
        labels: (n,), positions
    """
    confidence = shares.max(1)
    right = shares.argmax(1) == labels
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, confidence - right, BINS)  # a bin's sum of gaps: signs stay inside it
    return float(np.abs(gaps).sum() / len(labels))
