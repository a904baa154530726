"""What a classifier says of photographs that it did not learn from, by cross-validation.

Five times, a logistic regression learns four fifths of the photographs, by the features that
`embed` made of them, and is asked about the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fishline.data.cache import Rows
from fishline.data.features import directions

FOLDS = 5
PENALTY = 10.0  # C of the regression, for features of length 1

_BLOCK = 4096  # photographs whose features are read at once

Floats = npt.NDArray[np.floating[Any]]
Numbers = npt.NDArray[np.integer[Any]]
Take = Callable[[Rows], Floats]


def mean_features(rows: Rows, number: Numbers, take: Take) -> Floats:
    """What `take` gives of `rows` (n,), the mean of those with the same `number`: (numbers, d).

    Scaled to a length of 1.
    """
    total = np.zeros((number.max() + 1, take(rows[:1]).shape[1]), np.float32)
    for start in range(0, len(rows), _BLOCK):
        some = slice(start, start + _BLOCK)
        np.add.at(total, number[some], take(rows[some]))
    return directions(total)


def out_of_sample(features: Floats, labels: Numbers) -> Floats:
    """The probability of each species, by a classifier that did not learn from the photograph.

    Args:
        features: (n, d), of length 1, a row per photograph.
        labels: (n,), 0 … classes - 1; each occurs.

    Returns:
        (n, classes). NaN for the only photograph of a species, which all classifiers learn from.
    """
    order = np.lexsort((np.random.default_rng(0).permutation(len(labels)), labels))
    fold = np.empty(len(labels), np.int64)
    fold[order] = np.arange(len(labels)) % FOLDS  # dealt, so two of a species lie in two folds
    counts = np.bincount(labels)
    fold[counts[labels] == 1] = FOLDS
    found = np.full((len(labels), len(counts)), np.nan)
    for held in (fold == number for number in range(FOLDS)):
        if held.any():
            found[held] = ask(features[held], features[~held], labels[~held])
    return found


def ask(about: Floats, features: Floats, labels: Numbers) -> Floats:
    """What a classifier that learnt from `features` and `labels` says: (about, classes)."""
    from sklearn.linear_model import LogisticRegression

    regression = LogisticRegression(C=PENALTY, max_iter=1000).fit(features, labels)
    return np.asarray(regression.predict_proba(about))
