"""Which image serves for what: honest, repeatable, every species in every part."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from fishline.errors import UserError
from fishline.params import Split
from fishline.split import PARTS, leaked, split, summary

SETTINGS = Split(strategy="grouped", seed=1, train=0.7, validation=0.1, test=0.2)
STRATEGIES = ["grouped", "stratified", "random"]


def photographs(**copies: Sequence[int]) -> pd.DataFrame:
    """Images of each species: so many copies of each of its photographs."""
    rows = [
        (f"{species}/{number}-{copy}.png", species, f"{species} {number}")
        for species, counts in copies.items()
        for number, count in enumerate(counts)
        for copy in range(count)
    ]
    return pd.DataFrame(rows, columns=["file", "species", "original"])


def settings(**changes: Any) -> Split:
    return replace(SETTINGS, **changes)


def parts_of(table: pd.DataFrame) -> dict[str, str]:
    return dict(zip(table["file"], table["part"], strict=True))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_image_gets_a_part_and_nothing_else_changes(strategy: str) -> None:
    images = photographs(Trout=[3] * 6, Shrimp=[2] * 9)
    images.index = images.index + 10
    before = images.copy()
    table = split(images, settings(strategy=strategy))
    pd.testing.assert_frame_equal(images, before)
    pd.testing.assert_frame_equal(table[list(images)], images.reset_index(drop=True))
    assert set(table["part"]) == set(PARTS)


@pytest.mark.parametrize("strategy", ["grouped", "stratified"])
@pytest.mark.parametrize("fractions", [(0.7, 0.1, 0.2), (0.5, 0.25, 0.25), (0.2, 0.2, 0.6)])
def test_fractions_hold_in_each_species(
    strategy: str, fractions: tuple[float, float, float]
) -> None:
    chosen = settings(strategy=strategy, **dict(zip(PARTS, fractions, strict=True)))
    table = split(photographs(Trout=[5] * 20, Shrimp=[2] * 40), chosen)
    for _, images in table.groupby("species"):
        shares = images["part"].value_counts(normalize=True)
        for part, fraction in zip(PARTS, fractions, strict=True):
            assert shares[part] == pytest.approx(fraction, abs=0.02)


def test_fractions_hold_over_all_at_random() -> None:
    table = split(photographs(Trout=[5] * 20, Shrimp=[2] * 50), settings(strategy="random"))
    counts = table["part"].value_counts()
    assert [counts[part] for part in PARTS] == [140, 20, 40]


def test_random_does_not_look_at_the_species() -> None:
    images = photographs(Trout=[1] * 40, Shrimp=[1] * 60)
    tables = [split(images, settings(strategy="random", seed=seed)) for seed in range(10)]
    shares = {(table[table["part"] == "test"]["species"] == "Trout").sum() for table in tables}
    assert len(shares) > 1  # stratified, it would be 8 each time
    few = split(photographs(Trout=[1], Shrimp=[1] * 9), settings(strategy="random"))
    assert set(few["part"]) == set(PARTS)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_seed_decides(strategy: str) -> None:
    images = photographs(Trout=[2] * 20, Shrimp=[3] * 15)
    first, again = (split(images, settings(strategy=strategy)) for _ in range(2))
    other = split(images, settings(strategy=strategy, seed=2))
    assert parts_of(first) == parts_of(again)
    assert parts_of(first) != parts_of(other)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_order_of_the_rows_does_not_matter(strategy: str) -> None:
    images = photographs(Trout=[2] * 20, Shrimp=[1, 4, 3] * 5)
    mixed = images.sample(frac=1, random_state=3)
    chosen = settings(strategy=strategy)
    assert parts_of(split(images, chosen)) == parts_of(split(mixed, chosen))


@pytest.mark.parametrize("strategy", ["grouped", "stratified"])
def test_a_species_does_not_disturb_those_before_it(strategy: str) -> None:
    alone = parts_of(split(photographs(Shrimp=[2] * 9), settings(strategy=strategy)))
    both = parts_of(split(photographs(Shrimp=[2] * 9, Trout=[3] * 6), settings(strategy=strategy)))
    assert alone.items() <= both.items()


@pytest.mark.parametrize("seed", range(10))
def test_grouped_never_divides_a_photograph(seed: int) -> None:
    images = photographs(Trout=[1, 7, 2, 30, 3, 1, 1], Shrimp=[12, 1, 1], Bream=[5] * 8)
    table = split(images, settings(seed=seed))
    assert (table.groupby("original")["part"].nunique() == 1).all()
    assert leaked(table) == 0


@pytest.mark.parametrize("strategy", ["grouped", "stratified"])
@pytest.mark.parametrize(
    "copies", [[1, 1, 1], [4, 4, 4], [50, 1, 1], [1, 50, 50], [9, 1, 1, 1], [3] * 11, [100, 2, 1]]
)
@pytest.mark.parametrize("seed", range(3))
def test_every_species_is_in_every_part(strategy: str, copies: list[int], seed: int) -> None:
    images = photographs(Trout=copies, Shrimp=[2] * 20)
    table = split(images, settings(strategy=strategy, seed=seed))
    assert (table.groupby("species")["part"].nunique() == len(PARTS)).all()


@pytest.mark.parametrize(
    ("strategy", "copies", "says"),
    [
        ("grouped", [40, 40], "Trout: 2 photographs"),
        ("grouped", [9], "Trout: 1 photographs"),
        ("stratified", [1, 1], "Trout: 2 images"),
    ],
)
def test_too_few_photographs(strategy: str, copies: list[int], says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        split(photographs(Shrimp=[2] * 9, Trout=copies), settings(strategy=strategy))
    assert "Shrimp" not in caught.value.message


def test_grouped_needs_originals() -> None:
    images = photographs(Trout=[2] * 9, Shrimp=[2] * 9)
    images.loc[4, "original"] = ""
    with pytest.raises(UserError, match=r"originals\.csv"):
        split(images, SETTINGS)


@pytest.mark.parametrize("strategy", ["stratified", "random"])
def test_single_images_are_split_without_originals(strategy: str) -> None:
    images = photographs(Trout=[1] * 10, Shrimp=[1] * 10).assign(original="")
    table = split(images, settings(strategy=strategy))
    assert leaked(table) is None
    assert table["part"].value_counts().to_dict() == {"train": 14, "test": 4, "validation": 2}


@pytest.mark.parametrize(
    ("train", "test", "expected"),
    [("ab", "cd", 0), ("ab", "bcb", 2), ("aab", "a", 1), ("a", "aaa", 3), ("ab", "", 0)],
)
def test_leaked_counts_test_images_with_a_copy_in_training(
    train: str, test: str, expected: int
) -> None:
    parts = ["train"] * len(train) + ["test"] * len(test) + ["validation"] * 2
    table = pd.DataFrame({"species": "T", "original": [*train, *test, "a", "z"], "part": parts})
    assert leaked(table) == expected


def test_photographs_of_two_species_may_have_the_same_name() -> None:
    table = photographs(Trout=[2] * 5, Shrimp=[2] * 5)
    table["original"] = table["original"].str[-1]
    counts = summary(split(table, SETTINGS))
    assert counts["photographs"] == 10
    assert counts["test_images_with_a_copy_in_train"] == 0


@pytest.mark.parametrize("strategy", ["stratified", "random"])
def test_single_images_leak(strategy: str) -> None:
    table = split(photographs(Trout=[10] * 4, Shrimp=[10] * 4), settings(strategy=strategy))
    assert leaked(table) == (table["part"] == "test").sum() == 16


def test_summary() -> None:
    table = pd.DataFrame(
        {
            "species": "T",
            "original": list("aabcd"),
            "part": ["train", "test", "train", "train", "validation"],
        }
    )
    expected = {"train": 3, "validation": 1, "test": 1}
    assert summary(table) == expected | {"photographs": 4, "test_images_with_a_copy_in_train": 1}
    unknown = table.assign(original=[*"aabc", ""])
    assert summary(unknown) == expected | {
        "photographs": None,
        "test_images_with_a_copy_in_train": None,
    }
