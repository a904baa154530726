"""What a model's predictions are worth, as numbers and tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    multilabel_confusion_matrix,
    precision_recall_fscore_support,
)

from fishline.data.dataset import Images
from fishline.models.artifact import Normalize
from fishline.models.inference import predict
from fishline.models.networks import Network


@dataclass(frozen=True)
class ClassificationReport:
    """One model on one set of images.

    matrix:      int (classes, classes), rows the actual species, columns the predicted
    species:     a row per species: precision, recall, f1, images
    one_vs_rest: a row per species: true_negative, false_positive, false_negative, true_positive
    pairs:       a row per image: actual, predicted (names)
    """

    accuracy: float
    macro_f1: float
    matrix: npt.NDArray[np.int64]
    species: pd.DataFrame
    one_vs_rest: pd.DataFrame
    pairs: pd.DataFrame


def report(
    actual: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64], names: Sequence[str]
) -> ClassificationReport:
    """Compare labels with predictions, both int (n,), positions in `names`.

    A species without images, or never predicted, scores 0 there, as scikit-learn has it.
    """
    labels = np.arange(len(names))
    precision, recall, f1, images = precision_recall_fscore_support(
        actual, predicted, labels=labels, zero_division=0
    )
    binary = multilabel_confusion_matrix(actual, predicted, labels=labels)  # (classes, 2, 2)
    columns = ["true_negative", "false_positive", "false_negative", "true_positive"]
    one_vs_rest = pd.DataFrame(binary.reshape(-1, 4), columns=columns)
    one_vs_rest.insert(0, "species", list(names))
    return ClassificationReport(
        accuracy=float(accuracy_score(actual, predicted)),
        macro_f1=float(np.mean(f1)),
        matrix=confusion_matrix(actual, predicted, labels=labels),
        species=pd.DataFrame(
            {
                "species": list(names),
                "precision": precision,
                "recall": recall,
                "f1": f1,
                "images": images,
            }
        ),
        one_vs_rest=one_vs_rest,
        pairs=pd.DataFrame(
            {"actual": np.take(names, actual), "predicted": np.take(names, predicted)}
        ),
    )


def headline(found: ClassificationReport) -> dict[str, float]:
    """What one compares models by."""
    return {
        "accuracy": found.accuracy,
        "macro_f1": found.macro_f1,
        "worst_recall": float(found.species["recall"].min()),
        "images": len(found.pairs),
    }


def by_species(found: ClassificationReport) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and number of images of each species."""
    rows: list[dict[Any, Any]] = found.species.to_dict("records")
    return {row.pop("species"): row for row in rows}


def of_species(found: ClassificationReport, names: Sequence[str]) -> float:
    """Accuracy on the images of these species, predicted among all."""
    pairs = found.pairs[found.pairs["actual"].isin(names)]
    return float((pairs["actual"] == pairs["predicted"]).mean())


def assess(network: Network, normalize: Normalize, images: Images) -> ClassificationReport:
    """What `network` makes of `images`, whose species must be the network's, in its order."""
    logits, labels = predict(network, normalize, images)
    return report(labels.numpy(), logits.argmax(1).numpy(), images.species)
