"""Statistics of one model's predictions, and of two models' on the same photographs.

The trial is what the split keeps together (column `group`): the photograph, never the copy, or a
whole trip. Twenty turned copies of one picture are right or wrong together, so counting them as
twenty makes any difference look sure. Tables of before have no groups: `original` is theirs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import binomtest, bootstrap, permutation_test

Interval = tuple[float, float]
Floats = npt.NDArray[np.float64]

MEASURES = ("accuracy", "macro_f1", "worst_recall")  # of a model, that another is held against
RESAMPLES = 9999
SEED = 0
CELLS = 2_000_000  # resampled photographs held at a time: 16 MB a column


@dataclass(frozen=True)
class Difference:
    """Model B against model A on the same images.

    accuracy_a, accuracy_b: over images
    interval:   95 %, of accuracy_b − accuracy_a
    only_a, only_b: photographs that one model alone has right
    p:          two-sided, how often chance alone parts them as far: McNemar's exact test, or
                `sign_flip` where groups hold several photographs
    recalls:    of each species, its recall by A and by B, and how many images that is of
    """

    photographs: int
    groups: int
    images: int
    accuracy_a: float
    accuracy_b: float
    interval: Interval
    only_a: int
    only_b: int
    p: float
    recalls: tuple[Recall, ...]

    @property
    def change(self) -> float:
        """accuracy_b − accuracy_a"""
        return self.accuracy_b - self.accuracy_a

    @property
    def unit(self) -> str:
        """What the trials are."""
        return "photograph" if self.groups == self.photographs else "group"

    @property
    def is_real(self) -> bool:
        """Whether chance alone would part the models as far in fewer than 5 % of trials."""
        return self.p < 0.05


@dataclass(frozen=True)
class Recall:
    """The share of a species' images that each model names."""

    species: str
    a: float
    b: float
    images: int

    @property
    def change(self) -> float:
        return self.b - self.a


def accuracy_interval(predictions: pd.DataFrame) -> Interval:
    """The 95 % interval (Wilson) of the accuracy over images, with groups as trials.

    So many groups count as right as their images have right in all, rounded: the interval is of
    the accuracy that stands beside it, and errs to the wide side where images of one group fare
    differently.

    Args:
        predictions: columns group, species (true) and predicted; a row per image.
    """
    groups = group_of(predictions).nunique()
    right = round(float(_right(predictions).mean()) * groups) if groups else 0
    return wilson(right, groups)


def wilson(right: int, trials: int) -> Interval:
    """The 95 % interval of a share: `right` of `trials`, of which there may be none."""
    if not trials:
        return 0.0, 1.0
    interval = binomtest(right, trials).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def group_of(table: pd.DataFrame) -> pd.Series[str]:
    """What each image of `table` is kept together with."""
    return table["group" if "group" in table else "original"]


def difference(a: pd.DataFrame, b: pd.DataFrame) -> Difference:
    """What parts two models.

    Args:
        a, b: predictions (columns sha256, original, group, species, predicted) of the same images
            in the same order.

    Raises:
        ValueError: they are of different images, or of none.
    """
    same = ["sha256", "original", "species"]
    if len(a) == 0 or not np.array_equal(a[same].to_numpy(), b[same].to_numpy()):
        raise ValueError("predictions must be of the same images in the same order")
    right = pd.DataFrame({"a": _right(a).to_numpy(), "b": _right(b).to_numpy()})
    counts = _counts(right, b["original"])
    only_a, only_b = _discordant(counts)
    groups = _counts(right, group_of(b))
    return Difference(
        photographs=len(counts),
        groups=len(groups),
        images=len(a),
        accuracy_a=float(right["a"].mean()),
        accuracy_b=float(right["b"].mean()),
        interval=_interval(groups),
        only_a=only_a,
        only_b=only_b,
        p=mcnemar(only_a, only_b) if len(groups) == len(counts) else sign_flip(groups),
        recalls=_recalls(a, b),
    )


def mcnemar(only_a: int, only_b: int) -> float:
    """The exact two-sided p of McNemar's test: without a difference, either is as likely.

    Args:
        only_a, only_b: photographs that one of two models alone has right.
    """
    discordant = only_a + only_b
    return float(binomtest(only_a, discordant, 0.5).pvalue) if discordant else 1.0


def sign_flip(counts: pd.DataFrame) -> float:
    """The two-sided p of a permutation test: without a difference, either model of two might have
    answered each group as the other did. McNemar's is that of single photographs.

    All ways are tried where there are few (scipy's permutation_test), else 9,999 drawn ones.

    Args:
        counts: a row for each group, columns a and b: images that each model has right.
    """
    away = (counts["b"] - counts["a"]).to_numpy(np.float64)
    away = away[away != 0]
    if not len(away):
        return 1.0
    test = permutation_test(
        (away,),
        np.sum,
        permutation_type="samples",
        n_resamples=RESAMPLES,
        rng=np.random.default_rng(SEED),
    )
    return min(1.0, float(test.pvalue))


def _counts(right: pd.DataFrame, unit: pd.Series[str]) -> pd.DataFrame:
    """A row for each unit: images, and those that A and that B has right."""
    named = right.groupby(unit.to_numpy())
    return named.agg(a=("a", "sum"), b=("b", "sum"), images=("a", "size"))


def _right(predictions: pd.DataFrame) -> pd.Series[bool]:
    return predictions["species"] == predictions["predicted"]


def _discordant(counts: pd.DataFrame) -> tuple[int, int]:
    """Photographs that A, and that B alone has right: in more than half of its images.

    A tie counts as wrong: a photograph that a model knows as often as not, it does not know.
    """
    a, b = 2 * counts["a"] > counts["images"], 2 * counts["b"] > counts["images"]
    return int((a & ~b).sum()), int((b & ~a).sum())


def _interval(counts: pd.DataFrame) -> Interval:
    """The bootstrap interval (percentile) of the difference in accuracy, drawing whole groups.

    Of a single group nothing can be drawn: anything is possible then.
    """
    if len(counts) < 2:
        return -1.0, 1.0
    columns = [counts[name].to_numpy(np.float64) for name in ("a", "b", "images")]

    def change(a: Floats, b: Floats, images: Floats, axis: int = -1) -> Floats:
        drawn: Floats = (b.sum(axis=axis) - a.sum(axis=axis)) / images.sum(axis=axis)
        return drawn

    interval = bootstrap(
        columns,
        change,
        n_resamples=RESAMPLES,
        batch=max(1, min(RESAMPLES, math.ceil(CELLS / len(counts)))),
        paired=True,
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def _recalls(a: pd.DataFrame, b: pd.DataFrame) -> tuple[Recall, ...]:
    """Of each species among the images, by name."""
    truth = a["species"].to_numpy()
    right_a, right_b = _right(a).to_numpy(), _right(b).to_numpy()
    return tuple(
        Recall(
            str(species),
            float(right_a[truth == species].mean()),
            float(right_b[truth == species].mean()),
            int((truth == species).sum()),
        )
        for species in sorted(set(truth))
    )
