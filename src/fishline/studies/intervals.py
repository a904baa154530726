"""How sure a mean over repeated trials is."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def student_interval(
    scores: Sequence[float] | npt.NDArray[np.float64], confidence: float
) -> tuple[float, float]:
    """Student's confidence interval for the mean of `scores` (n,); nan of one score alone."""
    from scipy import stats

    if len(scores) < 2:
        return math.nan, math.nan
    mean, error = float(np.mean(scores)), float(stats.sem(scores))
    if error == 0:
        return mean, mean
    low, high = stats.t.interval(confidence, len(scores) - 1, mean, error)
    return float(low), float(high)
