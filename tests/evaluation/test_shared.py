"""Accuracy by what test images share with training."""

import pandas as pd

from fishline.evaluation.shared import Shared, shared_with_training

TABLE = pd.DataFrame(
    {
        "file": list("abcdef"),
        "part": ["train", "test", "test", "test", "test", "validation"],
        "trip": ["1", "1", "1", "2", "", "2"],
        "day": ["", "", "", "x", "x", ""],
        "boat": "",
    }
)
RIGHT = pd.Series([True, False, True, True])


def test_test_images_are_divided_by_each_column_that_is_known() -> None:
    trip, day = shared_with_training(RIGHT, TABLE)
    assert trip == Shared("trip", 2, 0.5, 2, 1.0)
    assert trip.numbers() == {"accuracy_shared_trip": 0.5, "accuracy_new_trip": 1.0}
    assert day == Shared("day", 0, None, 4, 0.75)
    assert day.numbers() == {"accuracy_new_day": 0.75}


def test_without_answers_they_are_counted() -> None:
    assert shared_with_training(None, TABLE)[0] == Shared("trip", 2, None, 2, None)
