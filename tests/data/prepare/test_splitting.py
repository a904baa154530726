"""Which image serves for what: honest, repeatable, every species in every part."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import pytest
import splits

from fishline.core.errors import UserError
from fishline.core.params import Split
from fishline.data.prepare.leaks import leaked, look_alikes
from fishline.data.prepare.splitting import SUBSETS, audit, split

SETTINGS = splits.DEFAULT
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
    return SETTINGS.model_copy(update=changes)


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
    assert list(table["group"]) == list(images["original"])
    assert set(table["part"]) == set(SUBSETS)


@pytest.mark.parametrize("strategy", ["grouped", "stratified"])
@pytest.mark.parametrize("fractions", [(0.7, 0.1, 0.2), (0.5, 0.25, 0.25), (0.2, 0.2, 0.6)])
def test_fractions_hold_in_each_species(
    strategy: str, fractions: tuple[float, float, float]
) -> None:
    chosen = settings(strategy=strategy, **dict(zip(SUBSETS, fractions, strict=True)))
    table = split(photographs(Trout=[5] * 20, Shrimp=[2] * 40), chosen)
    for _, images in table.groupby("species"):
        shares = images["part"].value_counts(normalize=True)
        for subset, fraction in zip(SUBSETS, fractions, strict=True):
            assert shares[subset] == pytest.approx(fraction, abs=0.02)


def test_fractions_hold_over_all_at_random() -> None:
    table = split(photographs(Trout=[5] * 20, Shrimp=[2] * 50), settings(strategy="random"))
    counts = table["part"].value_counts()
    assert [counts[subset] for subset in SUBSETS] == [140, 20, 40]


def test_random_does_not_look_at_the_species() -> None:
    images = photographs(Trout=[1] * 40, Shrimp=[1] * 60)
    tables = [split(images, settings(strategy="random", seed=seed)) for seed in range(10)]
    shares = {(table[table["part"] == "test"]["species"] == "Trout").sum() for table in tables}
    assert len(shares) > 1  # stratified, it would be 8 each time
    few = split(photographs(Trout=[1], Shrimp=[1] * 9), settings(strategy="random"))
    assert set(few["part"]) == set(SUBSETS)


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
    assert (table.groupby("species")["part"].nunique() == len(SUBSETS)).all()


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


@pytest.mark.parametrize(
    ("train", "test", "expected"),
    [("ab", "cd", 0), ("ab", "bcb", 2), ("aab", "a", 1), ("a", "aaa", 3), ("ab", "", 0)],
)
def test_leaked_counts_test_images_with_a_copy_in_training(
    train: str, test: str, expected: int
) -> None:
    subsets = ["train"] * len(train) + ["test"] * len(test) + ["validation"] * 2
    table = pd.DataFrame({"species": "T", "original": [*train, *test, "a", "z"], "part": subsets})
    assert leaked(table) == expected


@pytest.mark.parametrize("strategy", ["stratified", "random"])
def test_single_images_leak(strategy: str) -> None:
    table = split(photographs(Trout=[10] * 4, Shrimp=[10] * 4), settings(strategy=strategy))
    assert leaked(table) == (table["part"] == "test").sum() == 16


def table_of(**subsets: str) -> pd.DataFrame:
    """A row per letter; "ab" is an image of photograph a that looks like b, "a" like none."""
    rows = [
        (*image.ljust(2), subset) for subset, images in subsets.items() for image in images.split()
    ]
    table = pd.DataFrame(rows, columns=["original", "alike", "part"])
    return table.assign(species="T", alike=table["alike"].str.strip())


@pytest.mark.parametrize(
    ("train", "test", "expected"),
    [
        ("a b", "c d", 0),
        ("a b", "ca cb cd c", 2),  # it looks like one in training
        ("ac b", "c c d", 2),  # one in training looks like it
        ("ac b", "ca", 1),  # both say so
        ("ac", "aa a ab", 0),  # a copy in training is more than a look-alike
        ("a bd", "ca d", 2),
        ("a", "", 0),
        ("", "ab", 0),
    ],
)
def test_look_alikes_are_counted_in_the_test_part(train: str, test: str, expected: int) -> None:
    for validation in ("", "e cd dc ee"):  # says nothing about training
        table = table_of(train=train, validation=validation, test=test)
        assert look_alikes(table) == expected


def test_an_image_that_looks_like_none_is_no_look_alike() -> None:
    assert look_alikes(table_of(train="a b c", validation="ad", test="d e f")) == 0


def test_audit_counts_parts_copies_and_leaks() -> None:
    table = table_of(train="a a a b c", validation="b d", test="a b e ea f")
    table["file"] = [f"{i}.png" for i in range(len(table))]
    found = audit(table, SETTINGS)
    random = found.pop("random")
    assert found == {
        "train": 5,
        "validation": 2,
        "test": 5,
        "photographs": 6,
        "copies_per_photograph": {"fewest": 1, "mean": 2.0, "most": 4},
        "test_images_with_a_copy_in_train": 2,
        "test_images_with_a_look_alike_in_train": 1,
        "test_images_that_share_with_train": {},
    }
    by_chance = split(table, settings(strategy="random"))
    assert random["test"] == (by_chance["part"] == "test").sum() == 3
    assert random["test_images_with_a_copy_in_train"] == leaked(by_chance)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_audit_tells_honest_splits_from_others(strategy: str) -> None:
    images = photographs(Trout=[10] * 6, Shrimp=[10] * 6).assign(alike="")
    chosen = settings(strategy=strategy)
    table = split(images, chosen)
    found = audit(table, chosen)
    assert found["test"] == (table["part"] == "test").sum()
    leaks = found["test_images_with_a_copy_in_train"]
    assert leaks == (0 if strategy == "grouped" else found["test"])
    assert found["random"] == {"test": 24, "test_images_with_a_copy_in_train": 24}
    if strategy == "random":
        assert leaked(split(images, chosen)) == found["random"]["test_images_with_a_copy_in_train"]


def test_audit_compares_with_a_split_that_does_not_look_at_the_species() -> None:
    images = photographs(Trout=[1] * 9 + [2] * 9, Shrimp=[1] * 5 + [3] * 8).assign(alike="")
    found, random, stratified = [], [], []
    for seed in range(8):
        chosen = settings(seed=seed)
        found.append(audit(split(images, chosen), chosen)["random"])
        tables = (
            split(images, chosen.model_copy(update={"strategy": s}))
            for s in ("random", "stratified")
        )
        for table, leaks in zip(tables, (random, stratified), strict=True):
            leaks.append(leaked(table))
    assert [one["test_images_with_a_copy_in_train"] for one in found] == random != stratified


def test_a_random_split_of_single_photographs_leaks_nothing() -> None:
    images = photographs(Trout=[1] * 20, Shrimp=[1] * 20).assign(alike="")
    random = audit(split(images, SETTINGS), SETTINGS)["random"]
    assert random == {"test": 8, "test_images_with_a_copy_in_train": 0}


@pytest.mark.parametrize("seed", range(3))
def test_audit_does_not_depend_on_the_order_of_the_rows(seed: int) -> None:
    images = photographs(Trout=[2] * 20, Shrimp=[1, 4, 3] * 5).assign(alike="")
    images.loc[::3, "alike"] = "Trout 1"
    table = split(images, SETTINGS)
    found = audit(table, SETTINGS)
    assert found == audit(table, SETTINGS)
    assert found == audit(table.sample(frac=1, random_state=seed), SETTINGS)
    others = [audit(table, settings(seed=other))["random"] for other in range(10, 20)]
    assert any(other != found["random"] for other in others)
