"""Which image serves for training, validation or test, and what leaks between them.

Strategies:
    grouped      whole photographs: all copies of one go to the same subset (the honest one)
    stratified   single images, the same fractions of each species
    random       single images, whatever their species (the course notebook's)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from fishline.core.errors import UserError
from fishline.core.params import Split
from fishline.core.paths import SUBSETS
from fishline.data.prepare.leaks import leaked, look_alikes


def split(images: pd.DataFrame, settings: Split) -> pd.DataFrame:
    """Assign every image to a subset.

    Args:
        images: columns file, species and original (which photograph a file shows).
        settings: strategy, seed and fractions.

    Returns:
        A copy with a column `part`, one of `SUBSETS`.

    Raises:
        UserError: a species has too few photographs for three subsets.
    """
    table = images.reset_index(drop=True)
    groups = table["original" if settings.strategy == "grouped" else "file"]
    strata = table["species"] if settings.strategy != "random" else pd.Series("all", table.index)
    fractions = np.array([getattr(settings, subset) for subset in SUBSETS])
    rng = np.random.default_rng(settings.seed)
    subset = pd.Series("", table.index)
    for stratum, members in groups.groupby(strata, sort=True):
        sizes = members.value_counts(sort=False).sort_index()
        _require_three(str(stratum), sizes, settings.strategy)
        subset[members.index] = members.map(_assign(sizes, fractions, rng))
    return table.assign(part=subset)


def _assign(
    sizes: pd.Series[int], fractions: np.ndarray, rng: np.random.Generator
) -> dict[str, str]:
    """A subset for each group so that the subsets' numbers of images come near `fractions`.

    Groups in random order, larger ones first; each goes where most images are still wanted.
    """
    order = sizes.sample(frac=1, random_state=rng).sort_values(ascending=False, kind="stable")
    missing = fractions * sizes.sum()
    subsets: dict[str, str] = {}
    for group, size in order.items():
        best = int(np.argmax(missing))
        missing[best] -= size
        subsets[str(group)] = SUBSETS[best]
    for subset in SUBSETS:  # with few groups a small subset may have got none: give it a small one
        if subset not in subsets.values():
            held = list(subsets.values())
            donor = max(SUBSETS, key=held.count)
            subsets[next(g for g in reversed(subsets) if subsets[g] == donor)] = subset
    return subsets


def _require_three(stratum: str, sizes: pd.Series[int], strategy: str) -> None:
    if len(sizes) < len(SUBSETS):
        what = "photographs" if strategy == "grouped" else "images"
        raise UserError(
            f"{stratum}: {len(sizes)} {what} cannot be split into {', '.join(SUBSETS)}; "
            f"at least {len(SUBSETS)} are needed"
        )


def audit(table: pd.DataFrame, settings: Split) -> dict[str, Any]:
    """What stands in which subset, and what leaks: in this split, and in a random one."""
    counts = table["part"].value_counts()
    copies = table.groupby("original").size()
    random = settings.model_copy(update={"strategy": "random"})
    by_chance = split(table.drop(columns="part"), random)
    return {
        **{subset: int(counts.get(subset, 0)) for subset in SUBSETS},
        "photographs": len(copies),
        "copies_per_photograph": {
            "fewest": int(copies.min()),
            "mean": round(float(copies.mean()), 2),
            "most": int(copies.max()),
        },
        "test_images_with_a_copy_in_train": leaked(table),
        "test_images_with_a_look_alike_in_train": look_alikes(table),
        "random": {
            "test": int((by_chance["part"] == "test").sum()),
            "test_images_with_a_copy_in_train": leaked(by_chance),
        },
    }
