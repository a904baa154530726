"""Groups of images that no split may divide, and how they are dealt to the parts of one.

A group is all images that share a photograph or the value of another column, by any chain: two
trips that one day joins are one group. Then a group may hold several species, and no division need
be right for all of them: one that is near is looked for greedily, and made better by local search.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

GIVEN = "given_part"  # of the manifest: where somebody's split has a file
# Columns of the manifest that photographs cannot share, or that nobody should see more of.
NOT_SHARED = frozenset(
    "index width height mode sha256 confidence taken latitude longitude owner".split()
)
STARTS = 4  # of the local search: with many more, all seeds would end with the same best one
MOVES = 2000  # of each
ABSENT = 10.0  # what a species that a part lacks adds to the misfit; 1: all its images misplaced

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def images_to_split(manifest: pd.DataFrame, burst_seconds: float) -> pd.DataFrame:
    """What a split looks at: file, species, original, alike, part, and what photographs may share.

    Args:
        manifest: as `preprocess` writes it, metadata as texts.
        burst_seconds: see `bursts`.
    """
    own = [name for name in manifest if name not in NOT_SHARED]
    images = manifest[own].rename(columns={GIVEN: "part"})
    return images.assign(burst=bursts(manifest, burst_seconds))


def bursts(images: pd.DataFrame, seconds: float) -> pd.Series[str]:
    """A name for each burst: photographs by one camera, each within `seconds` of the one before.

    Args:
        images: columns taken and camera; a photograph whose time is not known is in no burst ("").
    """
    timed = images.loc[images["taken"] != "", ["camera", "taken"]].sort_values(["camera", "taken"])
    time, camera = pd.to_datetime(timed["taken"]).to_numpy(), timed["camera"].to_numpy()
    pause = np.timedelta64(round(1000 * seconds), "ms")
    follows = (np.diff(time) <= pause) & (camera[1:] == camera[:-1])
    first = np.r_[True, ~follows][: len(timed)]
    began = timed["taken"].where(first).ffill()
    names: pd.Series[str] = timed["camera"].str.cat(began, sep=" ").str.strip()
    return names.reindex(images.index, fill_value="")


def name_groups(images: pd.DataFrame, columns: Sequence[str]) -> pd.Series[str]:
    """The group of each image: the first, by name, of the photographs in it.

    Args:
        images: `original` and `columns`; an empty value is shared with no other image.
    """
    _, number = np.unique(images["original"].to_numpy(str), return_inverse=True)
    starts, ends, count = [], [], int(number.max(initial=-1)) + 1
    for column in columns:
        has = (images[column] != "").to_numpy()
        _, values = np.unique(images.loc[has, column].to_numpy(str), return_inverse=True)
        starts.append(number[has])
        ends.append(values + count)
        count += int(values.max(initial=-1)) + 1
    start, end = (np.concatenate([np.zeros(0, int), *some]) for some in (starts, ends))
    graph = coo_array((np.ones(len(start), bool), (start, end)), (count, count))
    joined = connected_components(graph, directed=False)[1][number]
    return images["original"].groupby(joined).transform("min")


def deal(images: pd.DataFrame, fractions: Floats, seed: int) -> pd.Series[int]:
    """A part for each image, so that groups stay whole and each species' shares come near.

    Args:
        images: columns group and species; and task, if the species of several are dealt together.
        fractions: (parts,), adding up to 1.

    Returns:
        The place of its part in `fractions`, of each image. A part lacks a species only where the
        species has fewer groups, or nothing else was found.
    """
    if (images.groupby("group")["species"].nunique() > 1).any():
        of_group = _deal_mixed(images, fractions, np.random.default_rng(seed))
    else:
        of_group = {}
        for _, task in images.groupby("task") if "task" in images else [("", images)]:
            rng = np.random.default_rng(seed)
            for _, groups in task.groupby("species", sort=True)["group"]:
                of_group |= _deal_one(groups.value_counts(sort=False).sort_index(), fractions, rng)
    return images["group"].map(of_group)


def _deal_one(sizes: pd.Series[int], fractions: Floats, rng: np.random.Generator) -> dict[str, int]:
    """A part for each group of one species.

    Groups in random order, larger ones first; each goes where most images are still wanted.
    """
    order = sizes.sample(frac=1, random_state=rng).sort_values(ascending=False, kind="stable")
    missing = fractions * sizes.sum()
    parts: dict[str, int] = {}
    for group, size in order.items():
        best = int(np.argmax(missing))
        missing[best] -= size
        parts[str(group)] = best
    for part in range(len(fractions)):  # with few groups it may have got none: give it a small one
        held = Counter(parts.values())
        donor = max(range(len(fractions)), key=lambda other: held[other])
        if part not in held and held[donor] > 1:
            parts[next(g for g in reversed(parts) if parts[g] == donor)] = part
    return parts


def _deal_mixed(
    images: pd.DataFrame, fractions: Floats, rng: np.random.Generator
) -> dict[str, int]:
    """A part for each group, where a group may hold several species."""
    sizes = images.groupby(["group", "species"], sort=True).size()
    names, group = np.unique(sizes.index.get_level_values("group"), return_inverse=True)
    _, species = np.unique(sizes.index.get_level_values("species"), return_inverse=True)
    count = np.asarray(sizes, np.int64)
    wanted = np.outer(np.bincount(species, count), fractions)  # (species, parts)
    problem = _Problem(group, species, count, wanted)
    parts = [problem.improved(problem.greedy(rng)) for _ in range(STARTS)]
    best = min(parts, key=problem.misfit)
    return dict(zip(names, best.tolist(), strict=True))


class _Problem:
    """Images of `species` in `group`, int (n,) each; `wanted` float (species, parts)."""

    def __init__(self, group: Ints, species: Ints, images: Ints, wanted: Floats) -> None:
        self.group, self.species, self.images, self.wanted = group, species, images, wanted
        self.total = wanted.sum(1)
        self.groups = int(group.max(initial=-1)) + 1

    def held(self, parts: Ints) -> Ints:
        """Images of each species in each part: (species, parts), if groups go to `parts`."""
        held = np.zeros(self.wanted.shape, np.int64)
        np.add.at(held, (self.species, parts[self.group]), self.images)
        return held

    def misfit(self, parts: Ints) -> float:
        return float(self._misfit(self.held(parts), np.arange(len(self.wanted))).sum())

    def _misfit(self, held: Ints, species: Ints) -> Floats:
        """Of each part of `species`: (n, parts), for `held` (n, parts)."""
        away = np.abs(held - self.wanted[species]) / self.total[species, None]
        misfit: Floats = away + ABSENT * (held == 0)
        return misfit

    def greedy(self, rng: np.random.Generator) -> Ints:
        """Groups in random order; each goes where most images are wanted."""
        missing, parts = self.wanted / self.total[:, None], np.zeros(self.groups, np.int64)
        first = np.searchsorted(self.group, np.arange(self.groups + 1))  # rows are by group
        # Not larger ones first: all seeds would give one division where no two are of a size.
        for one in rng.permutation(self.groups):
            rows = slice(first[one], first[one + 1])
            species, share = self.species[rows], self.images[rows] / self.total[self.species[rows]]
            parts[one] = int(np.argmax(share @ missing[species]))
            missing[species, parts[one]] -= share
        return parts

    def improved(self, parts: Ints) -> Ints:
        """`parts` after moves of one group each, the best first, until none makes it better."""
        parts, count = parts.copy(), self.wanted.shape[1]
        for _ in range(MOVES):
            held, here = self.held(parts), parts[self.group]  # (species, parts), (n,)
            before = self._misfit(held[self.species], self.species)  # (n, parts)
            less = held[self.species] - self.images[:, None]
            more = held[self.species] + self.images[:, None]
            rows = np.arange(len(here))
            left = (self._misfit(less, self.species) - before)[rows, here]  # (n,)
            gain = self._misfit(more, self.species) - before + left[:, None]  # (n, parts)
            gain[rows, here] = 0
            change = np.stack(
                [np.bincount(self.group, gain[:, part], self.groups) for part in range(count)], 1
            )
            best = int(change.argmin())
            if change.flat[best] > -1e-9:
                break
            parts[best // count] = best % count
        return parts
