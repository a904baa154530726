"""Statistics over photographs, against examples worked by hand."""

import warnings
from collections.abc import Sequence

import pandas as pd
import pytest

from fishline.evaluation import statistics
from fishline.evaluation.statistics import accuracy_interval, difference, mcnemar, sign_flip


def predictions(right: Sequence[Sequence[int]], species: Sequence[str] = ()) -> pd.DataFrame:
    """A row per image; `right` has a photograph's images in each item, 1 or 0."""
    rows = [
        (f"{number}-{copy}", str(number), species[number] if species else "Trout", hit)
        for number, images in enumerate(right)
        for copy, hit in enumerate(images)
    ]
    table = pd.DataFrame(rows, columns=["sha256", "original", "species", "hit"])
    return table.assign(predicted=table["species"].where(table["hit"] == 1, "Shrimp"))


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    [(0, 0, 1.0), (0, 1, 1.0), (3, 3, 1.0), (0, 5, 2 / 2**5), (1, 8, 2 * (1 + 9) / 2**9)],
)
def test_mcnemar_is_the_exact_binomial_test_of_the_discordant(
    only_a: int, only_b: int, p: float
) -> None:
    assert mcnemar(only_a, only_b) == pytest.approx(p)
    assert mcnemar(only_b, only_a) == pytest.approx(p)


@pytest.mark.parametrize(
    ("of_a", "of_b", "only_a", "only_b"),
    [
        ([[1, 1, 0]], [[1, 0, 0]], 1, 0),  # most of its images
        ([[1, 0]], [[1, 1]], 0, 1),  # a tie is wrong
        ([[1, 0]], [[0, 0]], 0, 0),
        ([[1] * 20], [[0] * 20], 1, 0),  # twenty copies are one trial
    ],
)
def test_the_trial_is_the_photograph(
    of_a: list[list[int]], of_b: list[list[int]], only_a: int, only_b: int
) -> None:
    found = difference(predictions(of_a), predictions(of_b))
    assert (found.only_a, found.only_b) == (only_a, only_b)
    assert found.photographs == 1


def test_copies_make_no_difference_surer() -> None:
    few = difference(predictions([[0]] * 6 + [[1]] * 6), predictions([[1]] * 12))
    many = difference(predictions([[0] * 20] * 6 + [[1] * 20] * 6), predictions([[1] * 20] * 12))
    assert many.p == few.p == pytest.approx(2 / 2**6)
    assert many.interval == few.interval
    assert few.is_real
    assert few.change == 0.5


def test_the_interval_is_of_the_difference_over_images() -> None:
    a, b = predictions([[0, 0, 0], [1], [1, 0]] * 7), predictions([[1, 1, 1], [1], [0, 1]] * 7)
    found = difference(a, b)
    low, high = found.interval
    assert found.change == pytest.approx(3 / 6)
    assert -0.1 < low < 0.5 < high < 0.8
    assert found.interval == difference(a, b).interval  # always the same


def test_resamples_in_parts_give_the_same_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = predictions([[0], [1], [1]] * 5), predictions([[1], [1], [0]] * 5)
    whole = difference(a, b).interval
    monkeypatch.setattr(statistics, "CELLS", 1000)
    assert difference(a, b).interval == pytest.approx(whole, abs=0.05)


@pytest.mark.parametrize(
    ("of_a", "of_b", "interval"),
    [
        ([[1]] * 9, [[1]] * 9, (0.0, 0.0)),  # none parts them
        ([[0]] * 9, [[1]] * 9, (1.0, 1.0)),  # all do
        ([[1]], [[0]], (-1.0, 1.0)),  # nothing to draw from
    ],
)
def test_intervals_of_what_does_not_vary(
    of_a: list[list[int]], of_b: list[list[int]], interval: tuple[float, float]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert difference(predictions(of_a), predictions(of_b)).interval == interval


def test_recall_of_each_species() -> None:
    species = ["Bass", "Bass", "Cod"]
    found = difference(
        predictions([[1, 1], [0, 1], [1]], species), predictions([[1, 0], [0, 0], [1]], species)
    )
    assert [(r.species, r.a, r.b, r.images) for r in found.recalls] == [
        ("Bass", 0.75, 0.25, 4),
        ("Cod", 1.0, 1.0, 1),
    ]
    assert found.recalls[0].change == -0.5


def test_predictions_of_other_images_are_an_error() -> None:
    with pytest.raises(ValueError, match="same images"):
        difference(predictions([[1], [1]]), predictions([[1]]))
    with pytest.raises(ValueError, match="same images"):
        difference(predictions([]), predictions([]))


def test_the_interval_of_an_accuracy_counts_photographs() -> None:
    few, copies = predictions([[1]] * 8 + [[0]] * 2), predictions([[1] * 20] * 8 + [[0] * 20] * 2)
    assert accuracy_interval(few) == pytest.approx((0.4902, 0.9433), abs=1e-4)  # Wilson, 8 of 10
    assert accuracy_interval(copies) == accuracy_interval(few)


@pytest.mark.parametrize("right", [[[1, 0, 0]] * 7, [[1, 1, 0]], [[1, 0]] * 3, [[1]], [[0]]])
def test_the_interval_holds_the_accuracy_that_stands_beside_it(right: list[list[int]]) -> None:
    table = predictions(right)
    low, high = accuracy_interval(table)
    assert 0 <= low <= table["hit"].mean() <= high <= 1


def test_of_no_image_anything_is_possible() -> None:
    assert accuracy_interval(predictions([])) == (0.0, 1.0)


# Groups of several photographs, such as trips.


def trips(right: Sequence[int], group: Sequence[int]) -> pd.DataFrame:
    """A photograph for each of `right`, of the trip that `group` has in its place."""
    return predictions([[hit] for hit in right]).assign(group=[str(trip) for trip in group])


def test_trips_are_the_trials_of_the_interval() -> None:
    right, each = [1] * 30 + [0] * 10, [i // 10 for i in range(40)]
    by_trip = accuracy_interval(trips(right, each))
    assert by_trip == accuracy_interval(predictions([[1], [1], [1], [0]]))
    low, high = accuracy_interval(trips(right, range(40)))
    assert by_trip[0] < low < 0.75 < high < by_trip[1]


def test_a_difference_on_few_trips_is_not_real() -> None:
    one, other, each = [0] * 40, [1] * 40, [i // 10 for i in range(40)]
    found = difference(trips(one, each), trips(other, each))
    assert (found.groups, found.photographs, found.unit) == (4, 40, "group")
    assert found.p == pytest.approx(2 / 2**4)
    alone = difference(trips(one, range(40)), trips(other, range(40)))
    assert alone.unit == "photograph" and alone.p == mcnemar(0, 40)


@pytest.mark.parametrize("right", [[0, 0, 0, 1], [1, 1, 0, 0]])
def test_permuting_trips_of_one_photograph_is_mcnemars_test(right: Sequence[int]) -> None:
    counts = pd.DataFrame({"a": right * 3, "b": [1] * 12})
    wrong = right.count(0) * 3
    assert sign_flip(counts) == pytest.approx(mcnemar(0, wrong), rel=0.2)
    assert sign_flip(counts.assign(b=counts["a"])) == 1
