"""Are a week's photographs still like those of a reference? All places are judged at once.

Three statistics for each place, each of its reference against its week:
    look    Hotelling's T² (1931) of what a model sees and says, within species: the difference
            between the means of photographs that are taken for the same species, over all species,
            by their common covariance (Ledoit & Wolf's). Another mix of species moves nothing.
    unsure  how many are answered with no species, within species, too
    mix     chi-squared of the likeliest species; where a place's own usual mix is known

Which photographs are the week's is drawn anew, by permutation, and the largest statistic of all
places is compared with the largest of each draw (Westfall & Young 1993, "max T"): the chance of a
false alarm anywhere is what was asked for, however many places there are and whatever the
distributions, if photographs come independently of each other. Gamma distributions of the same
mean and variance put the statistics on one scale; how well they fit moves power from place to
place, and not the rate.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy.stats import gamma
from sklearn.covariance import LedoitWolf

LOOK, UNSURE, MIX = "look", "unsure", "mix"
RATE = 0.01  # false alarms a week, of all places together
LOOKS = 7  # at a week, one a day, while it grows
DRAWS = 4999
MOST = (
    500  # photographs of either side that are compared: bounds time, and how small a change counts
)

Floats = npt.NDArray[np.float64]
Names = npt.NDArray[np.object_]
Place = TypeVar("Place", str, tuple[str, str])  # or a place and a week


@dataclass(frozen=True)
class Sample:
    """n photographs.

    numbers:  float64 (n, d), what the model sees and says of each
    species:  str (n,), the likeliest one, whatever was answered
    unsure:   bool (n,), whether the answer is none
    """

    numbers: Floats
    species: Names
    unsure: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.species)

    def some(self, rng: np.random.Generator) -> Sample:
        """At most `MOST` of them, drawn by lot."""
        if len(self) <= MOST:
            return self
        rows = np.sort(rng.choice(len(self), MOST, replace=False))
        return Sample(self.numbers[rows], self.species[rows], self.unsure[rows])


@dataclass(frozen=True)
class Pair:
    """A place's reference and its week; `usual`: whether the reference is of that very place."""

    reference: Sample
    week: Sample
    usual: bool = False


@dataclass(frozen=True)
class _Stratum:
    """Photographs of reference and week that are taken for one species.

    numbers: float64 (n, d), their mean is 0
    unsure:  bool (n,)
    is_new:  float32 (1 + `DRAWS`, n), 1 where one is the week's: really, then by permutation
    """

    numbers: Floats
    unsure: npt.NDArray[np.bool_]
    is_new: npt.NDArray[np.float32]

    @property
    def weight(self) -> float:
        """The precision of a difference between two means of so many."""
        new = float(self.is_new[0].sum())
        return new * (len(self.unsure) - new) / len(self.unsure)

    def shifts(self, scale: Floats) -> Floats:
        """`weight` times how far the week's mean is off (1 + `DRAWS`, d), by `scale` (d, d)."""
        shifts: Floats = self.is_new @ (self.numbers @ scale)  # their mean is 0
        return shifts


def p_values(pairs: Mapping[Place, Pair]) -> dict[tuple[Place, str], float]:
    """How often chance alone makes any statistic of any place as large, by place and statistic.

    The same samples give the same numbers. Below `RATE / LOOKS` is an alarm.
    """
    scores = {}
    for number, place in enumerate(sorted(pairs)):
        rng = np.random.default_rng(number)
        for name, drawn in _statistics(pairs[place], rng).items():
            scores[place, name] = _on_one_scale(drawn)
    if not scores:
        return {}
    largest = np.max(list(scores.values()), axis=0)
    return {key: float((largest >= score[0]).mean()) for key, score in scores.items()}


def _statistics(pair: Pair, rng: np.random.Generator) -> dict[str, Floats]:
    """Each statistic (1 + `DRAWS`,): the real one first, then those of permutations."""
    reference, week = pair.reference.some(rng), pair.week.some(rng)
    strata = list(_strata(reference, week, rng))
    made = {MIX: _chi_squared(reference.species, week.species, rng)} if pair.usual else {}
    if strata:
        made[LOOK] = _t_squared(strata)
        made[UNSURE] = np.sum([s.is_new @ s.unsure for s in strata], axis=0, dtype=np.float64)
    return made


def _strata(reference: Sample, week: Sample, rng: np.random.Generator) -> Iterator[_Stratum]:
    """One for each species that both have."""
    for name in sorted(set(reference.species) & set(week.species)):
        old, new = reference.species == name, week.species == name
        numbers = np.r_[reference.numbers[old], week.numbers[new]]
        real = np.repeat(np.array([0, 1], np.float32), [old.sum(), new.sum()])
        drawn = rng.permuted(np.tile(real, (DRAWS, 1)), axis=1)
        unsure = np.r_[reference.unsure[old], week.unsure[new]]
        yield _Stratum(numbers - numbers.mean(0), unsure, np.vstack([real, drawn]))


def _t_squared(strata: Sequence[_Stratum]) -> Floats:
    """Hotelling's, of the mean shift over the strata; permutations share the covariance."""
    numbers = np.vstack([stratum.numbers for stratum in strata])
    units = numbers.std(0)
    units[units == 0] = 1
    covariance = LedoitWolf(assume_centered=True).fit(numbers / units).covariance_
    values, directions = np.linalg.eigh(covariance)
    scale = directions / units[:, None] / np.sqrt(values.clip(np.finfo(float).tiny))
    shifts = np.sum([stratum.shifts(scale) for stratum in strata], axis=0)
    t_squared: Floats = (shifts**2).sum(1) / sum(stratum.weight for stratum in strata)
    return t_squared


def _chi_squared(old: Names, new: Names, rng: np.random.Generator) -> Floats:
    """Of the numbers of each species among the new, given those of both: real, then drawn ones."""
    names, codes = np.unique(np.r_[old, new].astype(str), return_inverse=True)
    both = np.bincount(codes)
    real = np.bincount(codes[len(old) :], minlength=len(names))
    drawn = rng.multivariate_hypergeometric(both, len(new), size=DRAWS)
    expected = both * len(new) / len(codes)
    chi_squared: Floats = ((np.vstack([real, drawn]) - expected) ** 2 / expected).sum(1)
    return chi_squared


def _on_one_scale(drawn: Floats) -> Floats:
    """−log p by the gamma distribution that has mean and variance of `drawn`."""
    mean, variance = drawn.mean(), drawn.var()
    if variance <= 1e-12 * mean**2 or mean <= 0:  # nothing to compare
        return np.zeros_like(drawn)
    scores: Floats = -gamma.logsf(drawn, mean**2 / variance, scale=variance / mean)
    return scores
