"""What an image's colours give away: how well one does who only recognises pictures.

A classifier that knows nothing about fish: it gives an image the label of the training image with
the most similar colours. Where copies of test photographs stand in training, it is right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from fishline.data.cache import Cache

BINS = 6  # of a colour channel
BIN = (np.arange(256) * BINS // 256).astype(np.uint8)  # of each value; a triple's number fits, too
MOST = 20_000  # images: comparing all with all takes seconds

Features = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ColourBaseline:
    """Its accuracy on the test images: with the split as it is, and with images dealt by lot."""

    here: float
    at_random: float


def colour_baseline(table: pd.DataFrame, cache: Cache, seed: int) -> ColourBaseline:
    """How far recognising pictures gets.

    Args:
        table: a row per image: index (in `cache`), species and part.
    """
    if len(table) > MOST:
        table = table.sample(MOST, random_state=seed)
    features = colours(cache, table["index"].to_numpy(np.int64))
    species, subset = (table[column].to_numpy() for column in ("species", "part"))
    shuffled = np.random.default_rng(seed).permutation(subset)
    return ColourBaseline(
        _accuracy(species, subset, features), _accuracy(species, shuffled, features)
    )


def _accuracy(
    species: npt.NDArray[np.object_], subset: npt.NDArray[np.object_], features: Features
) -> float:
    return float((species[subset == "test"] == species[nearest(subset, features)]).mean())


def nearest(subset: npt.NDArray[np.object_], features: Features) -> npt.NDArray[np.int64]:
    """For each test image the position of the training image that is most like it."""
    from sklearn.neighbors import NearestNeighbors

    train = np.flatnonzero(subset == "train")
    index = NearestNeighbors(n_neighbors=1).fit(features[train])
    neighbours = index.kneighbors(features[subset == "test"], return_distance=False)
    return np.asarray(train[neighbours[:, 0]])


def colours(cache: Cache, rows: npt.NDArray[np.int64]) -> Features:
    """How often each colour occurs in the disc around the middle of an image, turned or not.

    Returns:
        float32 (n, BINS³), square roots of shares: their distance is Hellinger's.
    """
    y, x = np.mgrid[: cache.size, : cache.size] - (cache.size - 1) / 2
    disc = np.flatnonzero(np.hypot(x, y) <= 0.48 * cache.size)
    counts = np.empty((len(rows), BINS**3))
    for place in range(len(rows)):
        pixels = cache.take(rows[place : place + 1])[0].reshape(-1, 3)
        red, green, blue = BIN[pixels[disc]].T  # (pixels,) each
        counts[place] = np.bincount((red * BINS + green) * BINS + blue, minlength=BINS**3)
    return np.sqrt(counts / len(disc)).astype(np.float32)
