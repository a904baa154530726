"""Scores against an example worked by hand."""

import json

import numpy as np
import pytest

from fishline.evaluation.metrics import (
    ClassificationReport,
    by_species,
    classification_report,
    headline,
    of_species,
)

NAMES = ("Bream", "Shrimp", "Trout", "Sprat")


@pytest.fixture
def example() -> ClassificationReport:
    """Trout is never predicted, Sprat has no images."""
    actual = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    predicted = np.array([0, 0, 0, 1, 1, 0, 0, 3])
    return classification_report(actual, predicted, NAMES)


def test_rows_are_actual_and_columns_predicted(example: ClassificationReport) -> None:
    assert example.matrix.tolist() == [[3, 1, 0, 0], [1, 1, 0, 0], [1, 0, 0, 1], [0, 0, 0, 0]]


def test_scores_of_each_species(example: ClassificationReport) -> None:
    table = example.species
    assert list(table) == ["species", "precision", "recall", "f1", "images"]
    assert tuple(table["species"]) == NAMES
    assert table["precision"].tolist() == pytest.approx([3 / 5, 1 / 2, 0, 0])
    assert table["recall"].tolist() == pytest.approx([3 / 4, 1 / 2, 0, 0])
    assert table["f1"].tolist() == pytest.approx([2 / 3, 1 / 2, 0, 0])
    assert table["images"].tolist() == [4, 2, 2, 0]


def test_overall_scores(example: ClassificationReport) -> None:
    assert example.accuracy == pytest.approx(4 / 8)
    assert example.macro_f1 == pytest.approx((2 / 3 + 1 / 2) / 4)
    assert type(example.accuracy) is type(example.macro_f1) is float


def test_one_species_against_the_rest(example: ClassificationReport) -> None:
    table = example.one_vs_rest.set_index("species")
    assert tuple(table.index) == NAMES
    assert table.loc["Bream"].to_dict() == {
        "true_negative": 2,
        "false_positive": 2,
        "false_negative": 1,
        "true_positive": 3,
    }
    columns = ["true_negative", "false_positive", "false_negative", "true_positive"]
    assert table.loc["Shrimp", columns].tolist() == [5, 1, 1, 1]
    assert table.loc["Trout", columns].tolist() == [6, 0, 2, 0]
    assert table.loc["Sprat", columns].tolist() == [7, 1, 0, 0]


def test_pairs_name_both_species_of_each_image(example: ClassificationReport) -> None:
    assert list(example.pairs) == ["actual", "predicted"]
    pairs = list(example.pairs.itertuples(index=False, name=None))
    assert pairs[3:] == [
        ("Bream", "Shrimp"),
        ("Shrimp", "Shrimp"),
        ("Shrimp", "Bream"),
        ("Trout", "Bream"),
        ("Trout", "Sprat"),
    ]


@pytest.mark.parametrize(
    ("predicted", "score"), [([0, 1, 2, 3], 1.0), ([1, 2, 3, 0], 0.0)], ids=["all", "none"]
)
def test_all_right_and_all_wrong(predicted: list[int], score: float) -> None:
    result = classification_report(np.arange(4), np.array(predicted), NAMES)
    assert (result.accuracy, result.macro_f1) == (score, score)


def test_headline_and_species_for_json() -> None:
    found = classification_report(np.array([0, 0, 1]), np.array([0, 1, 1]), ("Trout", "Shrimp"))
    assert headline(found) == {
        "accuracy": pytest.approx(2 / 3),
        "macro_f1": pytest.approx(2 / 3),
        "worst_recall": 0.5,
        "images": 3,
    }
    trout = {"precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "images": 2}
    assert by_species(found)["Trout"] == trout
    json.dumps(by_species(found))


@pytest.mark.parametrize(
    ("names", "accuracy"),
    [
        (("Bream",), 3 / 4),
        (("Shrimp", "Trout"), 1 / 4),  # told as any of all species, not only of these
        (("Trout",), 0),
        (NAMES, 4 / 8),
        (("Sprat", "Shrimp"), 1 / 2),  # a species without images takes no part
    ],
)
def test_accuracy_on_some_species(
    example: ClassificationReport, names: tuple[str, ...], accuracy: float
) -> None:
    found = of_species(example, names)
    assert found == pytest.approx(accuracy)
    assert type(found) is float
