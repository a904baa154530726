"""What test images share with training images, and what that makes of their accuracy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from fishline.data.prepare.leaks import known_columns, shared


@dataclass(frozen=True)
class Shared:
    """Test images by whether they share something, such as a trip, with a training image.

    images, accuracy:            of those that do
    others, accuracy_of_others:  of those that do not, or of which it is not known

    An accuracy is None where there is no image, or no answer is known.
    """

    column: str
    images: int
    accuracy: float | None
    others: int
    accuracy_of_others: float | None

    def numbers(self) -> dict[str, float]:
        """The accuracies that there are, by name."""
        named = {
            f"accuracy_shared_{self.column}": self.accuracy,
            f"accuracy_new_{self.column}": self.accuracy_of_others,
        }
        return {name: accuracy for name, accuracy in named.items() if accuracy is not None}


def shared_with_training(right: pd.Series[bool] | None, table: pd.DataFrame) -> list[Shared]:
    """Accuracy on test images that share a day, a camera, … with training, and on the others.

    Args:
        right: whether each test image is answered rightly, if that is known.
        table: training and test images as the split has them, these in the order of `right`.
    """
    rows = []
    for column in known_columns(table):
        mask = shared(table, column)[table["part"] == "test"].to_numpy()
        here, away = (_accuracy(right, some) for some in (mask, ~mask))
        rows.append(Shared(column, int(mask.sum()), here, int((~mask).sum()), away))
    return rows


def _accuracy(right: pd.Series[bool] | None, some: npt.NDArray[np.bool_]) -> float | None:
    return None if right is None or not some.any() else float(right.to_numpy()[some].mean())
