"""What is known of each photograph besides its pixels: trip, vessel, camera, day, …

Two sources: the EXIF of its file, and the table `photographs.csv` in the data folder. What the
table says of `taken`, `camera` and `day` counts more than EXIF, and its column `part`, somebody's
split, more than the folders that a file lies in.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pandas as pd

from fishline.data import exif, photograph_table
from fishline.data.photo_files import folder_part
from fishline.data.prepare.groups import GIVEN


def read_metadata(
    files: pd.DataFrame, names: Collection[str], root: Path, personal: bool
) -> pd.DataFrame:
    """What is known of each of `files`: a row for each, as texts, "" where nothing is.

    Args:
        files: columns file, species and those of `exif.COLUMNS`.
        names: every image file below `root`, as the manifest would name it.
        root: the data folder, which may hold a table.
        personal: whether position and owner are kept.

    Returns:
        The columns taken, camera, day, given_part and those of the table.

    Raises:
        UserError: the table cannot be read, or does not fit the files.
    """
    columns = [name for name in exif.COLUMNS if personal or name not in exif.PERSONAL]
    pairs = zip(files["file"], files["species"], strict=True)
    known = files[columns].assign(day=files["taken"].str[:10])
    known[GIVEN] = [folder_part(file, species) for file, species in pairs]
    path = root / photograph_table.NAME
    if not path.is_file():
        return known
    table = photograph_table.match(photograph_table.read_table(path), names, path)
    photograph_table.require_rows(files["file"], table, path)
    told = table.loc[files["file"]].set_axis(known.index)
    if "taken" in told and "day" not in told:
        told["day"] = told["taken"].str[:10]
    told = told.rename(columns={"part": GIVEN})
    before = known.reindex(columns=told.columns, fill_value="")
    known[told.columns] = told.where(told != "", before)
    return known
