"""What is known of each photograph besides its pixels: trip, vessel, camera, day, …

Two sources: the EXIF of its file, and the table `photographs.csv` in the data folder. What the
table says of `taken`, `camera` and `day` counts more than EXIF, and its column `part`, somebody's
split, more than the folders that a file lies in.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd

from fishline.data import exif, photograph_table
from fishline.data.photo_files import folder_part

GIVEN = "given_part"  # of the manifest: where somebody's split has a file
_NOT_SHARED = {*"index width height mode sha256 confidence taken".split(), *exif.PERSONAL}


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


def images_to_split(manifest: pd.DataFrame, burst_seconds: float) -> pd.DataFrame:
    """What a split looks at: file, species, original, alike, part, and what photographs may share.

    Args:
        manifest: as `preprocess` writes it, metadata as texts.
        burst_seconds: see `bursts`.
    """
    own = [name for name in manifest if name not in _NOT_SHARED]
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
