"""What is in the data, as tables: how much of each species, and what was done to the pictures.

`explore` shows these numbers. All are computed from the cache's manifest, from the split and from
the small grey pictures (`thumbnail`) that the cache keeps of each file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fishline.core.errors import UserError
from fishline.data.prepare.copies.rings import ALIKE, compare, describe

Looks = npt.NDArray[np.uint8]
Take = Callable[[npt.NDArray[np.int64]], Looks]

DARK = 16  # grey levels, of 255: darker is called black
NEAR = 2.0  # degrees: `compare` tells angles to about one degree
EVEN = 1.1  # the most frequent over the rarest species: up to here a set is called balanced

_CORNER = 2  # pixels of a thumbnail
_BATCH = 1024
_STEPS = (180, 120, 90, 72, 60, 45, 40, 36, 30, 24, 20, 18, 15)  # degrees


def join(manifest: pd.DataFrame, splits: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The manifest with `task` and `part` of each file, of `{task: split}`.

    Raises:
        UserError: they are not about the same files.
    """
    split = pd.concat([table.assign(task=task) for task, table in splits.items()])
    joined = manifest.merge(split[["file", "task", "part"]], on="file")
    if not len(joined) == len(manifest) == len(split):
        raise UserError("the split is not that of the cache's images; run `dvc repro split`")
    return joined


def measure(images: pd.DataFrame, take: Take) -> pd.DataFrame:
    """`images` with what the pictures themselves tell.

    Args:
        images: the manifest's columns; every `original` is a `file` too.
        take: gives the thumbnails at some rows of the cache, uint8 (b, THUMBNAIL, THUMBNAIL).

    Returns:
        A copy with these columns:
        black       share of the picture's pixels that are (nearly) black
        corners     of the four corners, how many are black
        angle       degrees, clockwise, by which the file is its original turned; NaN for originals
                    and where the two are not alike enough to tell
        mirrored    whether it was turned upside down before; False where `angle` is NaN
    """
    table = images.reset_index(drop=True)
    index = table["index"].to_numpy()
    aspects = (table["width"] / table["height"]).to_numpy().round(2)
    black, corners = np.zeros(len(table)), np.zeros(len(table), np.int64)
    angle, mirrored = np.full(len(table), np.nan), np.zeros(len(table), bool)
    for rows in _batches(np.arange(len(table))):
        dark = take(index[rows]) < DARK
        black[rows] = dark.mean(axis=(1, 2))
        corners[rows] = _black_corners(dark)
    first = table["original"].map(pd.Series(table.index, table["file"])).to_numpy()
    for rows in _batches(np.flatnonzero(first != table.index)):
        pairs = (describe(take(index[some]), aspects[some]) for some in (first[rows], rows))
        likeness, turned, flipped = compare(*pairs)
        known = likeness >= ALIKE
        angle[rows] = np.where(known, turned, np.nan)
        mirrored[rows] = known & flipped
    return table.assign(black=black, corners=corners, angle=angle, mirrored=mirrored)


def _batches(rows: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    return [rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH)]


def _black_corners(dark: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    near, far = slice(None, _CORNER), slice(-_CORNER, None)
    patches = [dark[:, y, x].mean(axis=(1, 2)) for y in (near, far) for x in (near, far)]
    black: npt.NDArray[np.int64] = np.sum(np.array(patches) >= 0.75, axis=0)
    return black


def counts(images: pd.DataFrame, species: Sequence[str], subset: str | None = None) -> pd.DataFrame:
    """A row per species, in order: how many images and photographs there are, or in one subset."""
    some = images if subset is None else images[images["part"] == subset]
    numbers = some.groupby("species").agg(
        images=("original", "size"), photographs=("original", "nunique")
    )
    return numbers.reindex(list(species), fill_value=0)


def remedies(images: pd.Series[int]) -> pd.DataFrame:
    """What each value of `balance` makes of so many training images per species.

    Returns:
        Columns none, oversample and undersample: images of the species that an epoch shows;
        class_weights: the weight of each of its images in the loss, after an epoch as with none.
    """
    some = images > 0  # a species without any stays without
    return pd.DataFrame(
        {
            "none": images,
            "oversample": images.max() * some,
            "undersample": images[some].min() * some,
            "class_weights": images.sum() / (len(images) * images),
        }
    )


def unevenness(numbers: pd.Series[int]) -> float:
    """The largest over the smallest number; infinite if that is 0."""
    return float(numbers.max() / numbers.min()) if numbers.min() else float("inf")


def plain_mirrors(images: pd.DataFrame) -> int:
    """How many photographs have a file that is the first one mirrored and not turned otherwise."""
    # Upside down is left to right, turned by 180°.
    straight = images["mirrored"] & (np.abs((images["angle"] + 90) % 180 - 90) <= NEAR)
    return int(images.loc[straight, "original"].nunique())


def angle_step(angles: npt.NDArray[np.floating[Any]]) -> int | None:
    """The largest step, in degrees, of whose multiples nine angles in ten are; None without one.

    360: nothing was turned. Of fewer than ten angles nothing is said.
    """
    if len(angles) < 10:
        return None
    for step in (360, *_STEPS):
        off = np.abs((angles + step / 2) % step - step / 2)
        if np.mean(off <= NEAR) >= 0.9:
            return step
    return None


def expected_leak(images: pd.DataFrame) -> float:
    """The share of test images that a split of single images would leak, on average.

    An image of a photograph in n files escapes if its n - 1 copies all stay out of training.
    """
    share = (images["part"] == "train").mean()
    copies = images.groupby("original")["file"].transform("size")
    return float((1 - (1 - share) ** (copies - 1)).mean())


def look_alikes(images: pd.DataFrame) -> pd.DataFrame:
    """Pairs of different photographs that look alike, once each, the least clear first.

    Returns:
        A row of `images` for each (the file that was told apart with least confidence), and
        `other_part`, the part of the photograph that it looks like; only those of one task.
    """
    others = images.drop_duplicates("file").set_index("file")[["task", "part"]]
    pairs = images[images["alike"] != ""].join(others.add_prefix("other_"), on="alike")
    pairs = pairs[pairs["task"] == pairs["other_task"]]
    return _once(pairs)


def doubtful(images: pd.DataFrame) -> pd.DataFrame:
    """The images with a confidence below 1, the least clear first, one for each decision.

    Returns:
        Their rows, and `joined`: another file that is taken to show the same photograph, "" if
        there is none.
    """
    first = images["file"] == images["original"]
    copies = images[~first].sort_values(["confidence", "file"]).drop_duplicates("original")
    copy_of = dict(zip(copies["original"], copies["file"], strict=True))
    copy = images["original"].map(lambda name: copy_of.get(name, ""))
    return _once(images.assign(joined=images["original"].mask(first, copy)).query("confidence < 1"))


def _once(images: pd.DataFrame) -> pd.DataFrame:
    """The least certain image of each pair of photographs; copies rather than originals."""
    both = zip(images["original"], images["alike"], strict=True)
    pair = pd.Series([tuple(sorted(names)) for names in both], images.index, dtype=object)
    first = images["file"] == images["original"]
    ordered = images.assign(pair=pair, first=first).sort_values(["confidence", "first", "file"])
    return ordered.drop_duplicates("pair").drop(columns=["pair", "first"])
