"""Which files show the same photograph.

A data set that was enlarged by rotating and mirroring its photographs holds many copies of each.
A split that puts copies of one photograph on both sides measures memory, not recognition.

So far the answer is read from a record that comes with the data: `originals.csv` in the data
folder, with the columns `file` (as in the manifest) and `original` (the photograph's name).
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from fishline.errors import UserError

RECORD = "originals.csv"


def find_originals(data_dir: Path, files: pd.Series[str]) -> pd.Series[str]:
    """The original of each of `files` (posix paths relative to `data_dir`).

    Returns:
        Strings, aligned with `files`: files of one species with the same string show the same
        photograph. Empty strings where there is no record.

    Raises:
        UserError: the record cannot be read, lacks a column, contradicts itself, or says nothing
            of one of the files.
    """
    path = data_dir / RECORD
    if not path.is_file():
        return pd.Series("", files.index)
    record = _read(path).drop_duplicates()
    twice = record.loc[record["file"].duplicated(), "file"]
    if len(twice):
        raise UserError(f"{path} gives {twice.iloc[0]} more than one original")
    originals = files.map(record.set_index("file")["original"])
    unknown = files[originals.isna() | (originals == "")]
    if len(unknown):
        raise UserError(
            f"{path} has no original for {len(unknown)} of {len(files)} files, "
            f"among them {unknown.iloc[0]}; add them or remove the record"
        )
    return originals


def _read(path: Path) -> pd.DataFrame:
    try:
        record = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (ValueError, OSError) as error:  # pandas' parser errors are ValueErrors
        raise UserError(f"{path} cannot be read as CSV: {error}") from None
    for column in ("file", "original"):
        if column not in record:
            raise UserError(f"{path} has no column '{column}'; it needs 'file' and 'original'")
    return record[["file", "original"]]
