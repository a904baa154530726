"""Which image serves for training, validation or test, and what leaks between them.

Strategies:
    grouped      whole photographs: all copies of one go to the same part (the honest one); and
                 whole trips, days, cameras … that `split.by` names
    stratified   single images, the same fractions of each species
    random       single images, whatever their species (the course notebook's)
    given        somebody else's split, see given_split.py
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from fishline.core.errors import UserError
from fishline.core.params import Split
from fishline.core.paths import SUBSETS
from fishline.data.prepare.given_split import copies_across, fill_validation, settle
from fishline.data.prepare.groups import deal, name_groups
from fishline.data.prepare.leaks import known_columns, leaked, look_alikes, shared

PHOTOGRAPH = "photograph"  # in `split.by`


def split(images: pd.DataFrame, settings: Split) -> pd.DataFrame:
    """Assign every image to a part.

    Args:
        images: columns file, species, original (which photograph a file shows), those that
            `settings.by` names, and part where one is given. Images of several tasks that are
            split together have a column task.
        settings: strategy, seed and fractions.

    Returns:
        A copy with `part`, one of `SUBSETS`, and `group`, what stays together. Of a given split it
        lacks the images that `settings.given_leaks` leaves out.

    Raises:
        UserError: a species has too few photographs or groups, there is no column that
            `settings.by` names, or a given split cannot be used.
    """
    table = images.reset_index(drop=True)
    columns = _columns(table, settings)
    table["group"] = name_groups(table, columns)
    if settings.strategy == "given":
        share = settings.validation / (settings.train + settings.validation)
        across = copies_across(table)
        table["part"] = fill_validation(table, share, settings.seed)
        return settle(table, across, settings.given_leaks)
    units = table[[name for name in ("task", "species", "group") if name in table]].copy()
    if settings.strategy != "grouped":
        units["group"] = table["file"]
    if settings.strategy == "random":
        units["species"] = "all"
    _require_three(units, table, columns, settings)
    fractions = np.array([getattr(settings, subset) for subset in SUBSETS])
    table["part"] = deal(units, fractions, settings.seed).map(dict(enumerate(SUBSETS)))
    _require_all(table, columns, settings)
    return table


def _columns(images: pd.DataFrame, settings: Split) -> list[str]:
    """Those of `split.by` besides the photograph, which is never divided.

    Raises:
        UserError: there is none of a name, or nothing in it.
    """
    if settings.strategy not in ("grouped", "given"):
        return []
    columns = [name for name in settings.by if name != PHOTOGRAPH]
    for name in columns:
        if name not in images:
            known = [PHOTOGRAPH, *known_columns(images)]
            raise UserError(
                f"split.by: of photographs '{name}' is not known; known are {', '.join(known)}. "
                "EXIF and photographs.csv in the data folder say more"
            )
        if not (images[name] != "").any():
            raise UserError(f"split.by: '{name}' is not known of any photograph")
    return columns


def _require_three(
    units: pd.DataFrame, images: pd.DataFrame, columns: Sequence[str], settings: Split
) -> None:
    counts = units.groupby("species", sort=True)["group"].nunique()
    few = counts[counts < len(SUBSETS)]
    if not len(few):
        return
    species, count = str(few.index[0]), int(few.iloc[0])
    what = "photographs" if settings.strategy == "grouped" else "images"
    if columns:
        what = f"groups by {' and '.join([PHOTOGRAPH, *columns])}"
    raise UserError(
        f"{species}: {count} {what} cannot be split into {', '.join(SUBSETS)}; "
        f"at least {len(SUBSETS)} are needed{_what_would_work(images, columns, species)}"
    )


def _require_all(table: pd.DataFrame, columns: Sequence[str], settings: Split) -> None:
    """Refuse a division by `columns` in which a species is not in every part."""
    if settings.strategy != "grouped":
        return
    parts = table.groupby("species", sort=True)["part"].agg(set)
    for species, has in parts[parts.map(len) < len(SUBSETS)].items():
        lacking = " and ".join(subset for subset in SUBSETS if subset not in has)
        raise UserError(
            f"{species}: no division by {' and '.join([PHOTOGRAPH, *columns])} was found that has "
            f"each species in each part; {lacking} would lack it"
            f"{_what_would_work(table, columns, str(species))}"
        )


def _what_would_work(images: pd.DataFrame, columns: Sequence[str], species: str) -> str:
    """How many groups of `species` there are with one of `columns` less."""
    mine = images["species"] == species
    hints = []
    for name in columns:
        others = [other for other in columns if other != name]
        count = name_groups(images, others)[mine].nunique()
        if count >= len(SUBSETS):
            hints.append(f"without {name} in split.by it has {count} groups")
    more = f"more photographs of it{', of other ' + columns[0] + 's' if columns else ''}"
    return f": {'; '.join([*hints, f'or add {more}'])}" if hints else f": add {more}"


def audit(table: pd.DataFrame, settings: Split) -> dict[str, Any]:
    """What stands in which part, and what leaks: in this split, and in a random one."""
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
        "test_images_that_share_with_train": {
            name: int(shared(table, name).sum()) for name in known_columns(table)
        },
        "random": {
            "test": int((by_chance["part"] == "test").sum()),
            "test_images_with_a_copy_in_train": leaked(by_chance),
        },
    }
