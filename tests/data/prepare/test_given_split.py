"""Somebody else's split, taken as it is."""

from typing import Any

import pandas as pd
import pytest
import splits

from fishline.core.errors import UserError
from fishline.core.params import Split
from fishline.data.prepare.given_split import copies_across
from fishline.data.prepare.leaks import leaked
from fishline.data.prepare.splitting import audit, split

SETTINGS = splits.settings(strategy="given")


def settings(**changes: Any) -> Split:
    return SETTINGS.model_copy(update=changes)


def given(train: str, test: str, validation: str = "") -> pd.DataFrame:
    """An image for each letter, which is its photograph; capitals are of another species."""
    rows = [
        (f"{part}/{place}.jpg", "Crab, green" if letter.isupper() else "Dorée", letter, part)
        for part, letters in (("train", train), ("validation", validation), ("test", test))
        for place, letter in enumerate(letters)
    ]
    return pd.DataFrame(rows, columns=["file", "species", "original", "part"]).assign(alike="")


def test_parts_are_taken_as_they_are() -> None:
    images = given("abcABC", "xyX", "vV")
    table = split(images, SETTINGS)
    pd.testing.assert_frame_equal(table[list(images)], images)
    assert audit(table, SETTINGS)["test_images_with_a_copy_in_train"] == 0


def test_a_missing_validation_part_is_taken_from_training_by_photograph() -> None:
    images = given("aabbccddeeffgghhA", "xyX")
    table = split(images, SETTINGS)
    assert list(table.loc[images["part"] == "test", "part"]) == ["test"] * 3
    assert (table.groupby("original")["part"].nunique() == 1).all()
    moved = table[table["part"] == "validation"]
    assert set(moved["species"]) == {"Dorée"}  # of the other there is but one photograph
    assert len(moved) == 2  # an eighth of 16


def test_each_copy_across_it_is_named() -> None:
    images = given("abbcA", "bxAA", "cv")
    across = copies_across(images)
    assert across.to_numpy().tolist() == [
        ["train/1.jpg", "train", "test/0.jpg", "test"],
        ["train/2.jpg", "train", "test/0.jpg", "test"],
        ["train/3.jpg", "train", "validation/0.jpg", "validation"],
        ["train/4.jpg", "train", "test/2.jpg", "test"],
    ]
    with pytest.raises(UserError, match="4 images in one part") as caught:
        split(images, SETTINGS)
    for row in across.itertuples():
        assert f"{row.file} ({row.part}) and {row.copy} ({row.copy_part})" in caught.value.message


def test_copies_can_be_counted_or_left_out() -> None:
    images = given("abbcA", "bxX", "cv")
    table = split(images, settings(given_leaks="report"))
    assert len(table) == len(images) and leaked(table) == 1
    dropped = split(images, settings(given_leaks="drop"))
    assert set(images["file"]) - set(dropped["file"]) == {
        "train/1.jpg",
        "train/2.jpg",
        "train/3.jpg",
    }
    assert leaked(dropped) == 0


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (given("abc", ""), "no image is in the part test"),
        (given("", "abc"), "no image is in the part train"),
        (given("abc", "x").replace({"part": {"train": ""}}), r"3 of 4 images are in no part"),
    ],
)
def test_a_part_that_lacks(images: pd.DataFrame, says: str) -> None:
    with pytest.raises(UserError, match=says):
        split(images, SETTINGS)
