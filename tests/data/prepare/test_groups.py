"""Groups that a split keeps whole: trips, days, cameras, and how they are dealt."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import splits

from fishline.core.errors import UserError
from fishline.core.params import Split
from fishline.data.prepare.groups import deal, name_groups
from fishline.data.prepare.leaks import known_columns, shared
from fishline.data.prepare.splitting import audit, split

SETTINGS = splits.settings(by=("photograph", "trip"))
FRACTIONS = np.array([0.7, 0.1, 0.2])


def catches(trips: int, species: int, seed: int = 0, each: int = 12) -> pd.DataFrame:
    """Photographs of several species on each trip, two files of each photograph."""
    rng = np.random.default_rng(seed)
    rows = [
        (f"{kind}/{trip}-{number}-{copy}.jpg", f"S{kind}", f"{kind}/{trip}-{number}", f"T{trip}")
        for trip in range(trips)
        for kind in rng.choice(species, rng.integers(1, species + 1), replace=False)
        for number in range(rng.integers(1, each))
        for copy in range(2)
    ]
    table = pd.DataFrame(rows, columns=["file", "species", "original", "trip"])
    return table.assign(alike="", part="")


def settings(**changes: Any) -> Split:
    return SETTINGS.model_copy(update=changes)


def test_a_chain_of_shared_values_is_one_group() -> None:
    table = pd.DataFrame(
        {
            "original": ["a", "b", "b", "c", "d", "e", "f"],
            "trip": ["1", "1", "", "2", "2", "", ""],
            "day": ["", "", "x", "x", "", "", "y"],
        }
    )
    assert list(name_groups(table, [])) == list(table["original"])
    assert list(name_groups(table, ["trip"])) == ["a", "a", "a", "c", "c", "e", "f"]
    assert list(name_groups(table, ["trip", "day"])) == ["a"] * 5 + ["e", "f"]
    assert list(name_groups(table, ["day", "trip"])) == ["a"] * 5 + ["e", "f"]


@pytest.mark.parametrize("seed", range(4))
def test_trips_stay_whole_and_species_come_near_the_fractions(seed: int) -> None:
    table = split(catches(60, 5, seed), settings(seed=seed))
    for column in ("trip", "original", "group"):
        assert (table.groupby(column)["part"].nunique() == 1).all()
    assert (table.groupby("species")["part"].nunique() == 3).all()
    shares = table.groupby("species")["part"].value_counts(normalize=True).unstack()
    for part, fraction in zip(("train", "validation", "test"), FRACTIONS, strict=True):
        assert (shares[part] - fraction).abs().max() < 0.05
    audited = audit(table, settings(seed=seed))
    assert audited["test_images_that_share_with_train"] == {"trip": 0}


def test_the_local_search_finds_what_greed_alone_does_not() -> None:
    images = catches(7, 6, seed=3)
    images["group"] = name_groups(images, ["trip"])
    parts = deal(images, FRACTIONS, seed=0)
    assert (parts.groupby(images["species"]).nunique() == 3).all()
    assert (parts.groupby(images["group"]).nunique() == 1).all()


def test_seeds_divide_trips_differently() -> None:
    images = catches(20, 5)
    tables = [split(images, settings(seed=seed)) for seed in range(6)]
    assert len({tuple(table["part"]) for table in tables}) == 6


def test_the_order_of_the_rows_does_not_matter_to_trips() -> None:
    images = catches(20, 4)
    tables = [split(some, SETTINGS) for some in (images, images.sample(frac=1, random_state=5))]
    first, second = (dict(zip(t["file"], t["part"], strict=True)) for t in tables)
    assert first == second


def test_species_of_both_tasks_that_share_a_trip_stay_together() -> None:
    images = catches(30, 4)
    images["task"] = images["species"].map(lambda name: "base" if name < "S2" else "finetune")
    table = split(images, SETTINGS)
    assert (table.groupby("trip")["part"].nunique() == 1).all()
    assert table.groupby("trip")["task"].nunique().max() == 2


def test_tasks_that_share_no_group_are_split_as_if_they_were_alone() -> None:
    images = catches(30, 4).assign(trip="")
    images["trip"] = images["original"]
    images["task"] = images["species"].map(lambda name: "base" if name < "S2" else "finetune")
    whole = split(images, SETTINGS)
    for task, mine in images.groupby("task"):
        alone = split(mine.drop(columns="task"), SETTINGS)
        both = whole.loc[whole["task"] == task, "part"]
        assert list(alone["part"]) == list(both)


def test_too_few_trips_say_what_would_work() -> None:
    images = catches(40, 3)
    images = images[(images["species"] != "S0") | images["trip"].isin(["T0", "T1", "T2", "T3"])]
    images.loc[images["species"] == "S0", "trip"] = "T0"
    with pytest.raises(UserError, match="S0: 1 groups by photograph and trip cannot") as caught:
        split(images, SETTINGS)
    assert "without trip in split.by it has" in caught.value.message


def test_trips_that_cannot_be_divided_fairly() -> None:
    pairs = ["A1", "A2", "A3", "B1", "B2", "B4", "C1", "C3", "C4"]  # species and trip
    images = pd.DataFrame({"file": pairs, "original": pairs})
    images["species"], images["trip"] = images["file"].str[0], images["file"].str[1]
    with pytest.raises(UserError, match=r"no division by photograph and trip was found") as caught:
        split(images, SETTINGS)
    assert "without trip in split.by it has 3 groups" in caught.value.message


@pytest.mark.parametrize(
    ("by", "says"),
    [
        (("trp",), "known are photograph, trip"),
        (("photograph", "day"), "'day' is not known of any"),
    ],
)
def test_a_column_that_is_not_there_or_empty(by: tuple[str, ...], says: str) -> None:
    with pytest.raises(UserError, match=says):
        split(catches(9, 2).assign(day=""), settings(by=by))


def test_what_is_shared_with_training() -> None:
    table = pd.DataFrame(
        {
            "trip": ["1", "2", "", "1", "", "3", "2"],
            "part": ["train", "validation", "train", "test", "test", "test", "test"],
            "boat": "",
        }
    )
    assert list(shared(table, "trip")) == [False, False, False, True, False, False, False]
    assert known_columns(table) == ["trip"]
