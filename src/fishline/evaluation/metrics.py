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


def classification_report(
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


def headline(report: ClassificationReport) -> dict[str, float]:
    """What one compares models by, over the species that there are images of."""
    tested = report.species[report.species["images"] > 0]
    return {
        "accuracy": report.accuracy,
        "macro_f1": float(tested["f1"].mean()),
        "worst_recall": float(tested["recall"].min()),
        "images": len(report.pairs),
    }


def by_species(report: ClassificationReport) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and number of images of each species."""
    rows: list[dict[Any, Any]] = report.species.to_dict("records")
    return {row.pop("species"): row for row in rows}


def of_species(report: ClassificationReport, names: Sequence[str]) -> float:
    """Accuracy on the images of these species, predicted among all."""
    pairs = report.pairs[report.pairs["actual"].isin(names)]
    return float((pairs["actual"] == pairs["predicted"]).mean())
