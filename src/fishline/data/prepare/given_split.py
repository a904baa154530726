"""Somebody else's split: parts that folders or a table give, taken as they are."""

from __future__ import annotations

import numpy as np
import pandas as pd

from fishline.core.errors import UserError
from fishline.core.paths import SUBSETS
from fishline.data.prepare.groups import deal

_SHOWN = 100  # copies in a message
_RANK = {subset: rank for rank, subset in enumerate(SUBSETS)}  # what of two copies is kept


def fill_validation(images: pd.DataFrame, share: float, seed: int) -> pd.Series[str]:
    """The part of each image; without a given validation part, one is taken from training.

    Args:
        images: columns file, species, group and part, as given.
        share: of the training images, that validation gets.

    Raises:
        UserError: an image is in no part, or there is no training or no test part.
    """
    part = images["part"]
    if (missing := part == "").any():
        names = ", ".join(images.loc[missing, "file"].head(3))
        raise UserError(
            f"split.strategy: given, and {missing.sum():,} of {len(images):,} images are in no "
            f"part, such as {names}. Give each a folder train, validation or test, or a row with "
            "a column 'part' in photographs.csv"
        )
    for needed in ("train", "test"):
        if not (part == needed).any():
            raise UserError(f"split.strategy: given, and no image is in the part {needed}")
    train = images[part == "train"]
    if (part == "validation").any():
        return part
    taken = deal(train, np.array([1 - share, share]), seed) == 1
    return part.mask(taken.reindex(part.index, fill_value=False), "validation")


def copies_across(table: pd.DataFrame) -> pd.DataFrame:
    """Images whose photograph is in another part, too: file, part, copy (there), copy_part.

    Of the parts that have a photograph the last one, in the order of `SUBSETS`, is where it
    belongs: named here are the images of the others.

    Args:
        table: columns file, original and part, "" for none.
    """
    table = table[table["part"] != ""]
    rank = table["part"].map(_RANK)
    last = rank.groupby(table["original"]).transform("max")
    kept = table[rank == last].drop_duplicates("original").set_index("original")
    across = table[rank < last]
    return pd.DataFrame(
        {
            "file": across["file"],
            "part": across["part"],
            "copy": across["original"].map(kept["file"]),
            "copy_part": across["original"].map(kept["part"]),
        }
    ).reset_index(drop=True)


def settle(table: pd.DataFrame, across: pd.DataFrame, choice: str) -> pd.DataFrame:
    """`table` without the images that `across` names, if `choice` is `drop`.

    Raises:
        UserError: there are such images and `choice` is `fail`.
    """
    if choice == "fail" and len(across):
        named = "".join(
            f"\n  {row.file} ({row.part}) and {row.copy} ({row.copy_part})"
            for row in across.head(_SHOWN).itertuples()
        )
        more = f"\n  … and {len(across) - _SHOWN:,} more" if len(across) > _SHOWN else ""
        raise UserError(
            f"the given split has {len(across):,} images in one part that show the photograph of "
            f"an image in another:{named}{more}\nSet split.given_leaks to drop, to leave them out "
            "of training and validation, or to report, to count them."
        )
    return table[~table["file"].isin(across["file"])] if choice == "drop" else table
