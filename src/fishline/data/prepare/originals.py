"""Which photograph each file shows: what its pixels tell, and what a record adds.

Pixels cannot tell that two photographs are of one animal, one haul or one film. Who knows it says
so in `originals.csv` in the data folder, with the columns `file` (as in the manifest) and
`original` (any name that such files of a species share). The record only ever joins files: those
that look like copies stay together, whatever it says.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from fishline.core.errors import UserError

RECORD = "originals.csv"


def name_originals(manifest: pd.DataFrame, root: Path) -> pd.DataFrame:
    """`manifest` with `original`, the first file (by name) that shows the same photograph.

    Args:
        manifest: columns file, species, group and alike (numbers of photographs, -1 for none).
        root: the data folder, which may hold a record.

    Returns:
        A copy in which `alike` is an original too, "" for none.

    Raises:
        UserError: the record cannot be read, lacks a column or contradicts itself.
    """
    joined = _joined(manifest["group"].to_numpy(), _recorded(manifest, root))
    original = manifest["file"].groupby(joined).transform("min")
    of_group = dict(zip(manifest["group"], original, strict=True))
    alike = manifest["alike"].map(of_group).fillna("")
    return manifest.assign(original=original, alike=alike.where(alike != original, ""))


def _joined(group: npt.NDArray[np.int64], recorded: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """Numbers that files share which share a group or a record (-1: none), by any chain."""
    files = np.arange(len(group))
    known = recorded >= 0
    first = len(files)
    second = first + group.max(initial=-1) + 1
    ends = np.concatenate([first + group, second + recorded[known]])
    starts = np.concatenate([files, files[known]])
    count = int(second + recorded.max(initial=-1) + 1)
    graph = coo_array((np.ones(len(starts), bool), (starts, ends)), (count, count))
    numbers: npt.NDArray[np.int32] = connected_components(graph, directed=False)[1][: len(files)]
    return numbers


def _recorded(manifest: pd.DataFrame, root: Path) -> npt.NDArray[np.int64]:
    """The number of the original that the record gives each file, -1 where it says nothing."""
    path = root / RECORD
    if not path.is_file():
        return np.full(len(manifest), -1, np.int64)
    names = manifest["file"].map(read_record(path)).replace("", None)
    number = manifest.groupby(["species", names]).ngroup().fillna(-1)
    return np.asarray(number, np.int64)


def read_record(path: Path) -> pd.Series[str]:
    """The original of each file in the record at `path`, by file.

    Raises:
        UserError: it cannot be read, lacks a column or contradicts itself.
    """
    try:
        record = pd.read_csv(path, dtype=str, keep_default_na=False)
        if not isinstance(record.index, pd.RangeIndex):  # pandas took the first field for it
            raise ValueError("its lines have more fields than its head has columns")
    except (ValueError, OSError) as error:  # pandas' parser errors are ValueErrors
        raise UserError(f"{path} cannot be read as CSV: {error}") from None
    for column in ("file", "original"):
        if column not in record:
            raise UserError(f"{path} has no column '{column}'; it needs 'file' and 'original'")
    record = record[["file", "original"]].drop_duplicates()
    twice = record.loc[record["file"].duplicated(), "file"]
    if len(twice):
        raise UserError(f"{path} gives {twice.iloc[0]} more than one original")
    return record.set_index("file")["original"]
