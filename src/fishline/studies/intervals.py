"""How sure a mean over repeated trials is."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def student_interval(
    scores: Sequence[float] | npt.NDArray[np.float64], confidence: float, test_ratio: float = 0.0
) -> tuple[float, float]:
    """Student's confidence interval for the mean of `scores` (n,); nan of one score alone.

    Args:
        test_ratio: images to test on for each one to train with, where each score is of another
            random split of the same data. Such splits overlap, and the plain interval (0) is too
            narrow: the variance of the mean is taken as 1/n + `test_ratio` times that of a score
            (Nadeau & Bengio, "Inference for the Generalization Error", Machine Learning 52, 2003:
            the corrected resampled t-test).
    """
    from scipy import stats

    if len(scores) < 2:
        return math.nan, math.nan
    mean = float(np.mean(scores))
    error = float(np.std(scores, ddof=1)) * math.sqrt(1 / len(scores) + test_ratio)
    if error == 0:
        return mean, mean
    low, high = stats.t.interval(confidence, len(scores) - 1, mean, error)
    return float(low), float(high)
