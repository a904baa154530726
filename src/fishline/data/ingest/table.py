"""A table of what is known of the photographs of a source, made part of the data folder's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import pandas as pd

from fishline.core.errors import UserError
from fishline.core.files import write_csv
from fishline.data.photo_files import find_images
from fishline.data.photograph_table import NAME, match, read_table, require_rows


def match_source(path: Path, names: Mapping[str, str]) -> pd.DataFrame:
    """What the table at `path` says of each photograph, by its place in the data folder.

    It may name files as they are in the data folder, as in the source, or, where no two have the
    same, by their own names alone.

    Args:
        names: in the source, by place in the data folder.

    Raises:
        UserError: the table cannot be read, or lacks a photograph, or has a row for none.
    """
    table = read_table(path)
    own = Counter(PurePosixPath(name).name for name in names.values())
    namings = (
        {place: place for place in names},
        {PurePosixPath(name).name: place for place, name in names.items()}
        if set(own.values()) <= {1}
        else {},
        {name: place for place, name in names.items()},
    )
    for naming in namings:
        try:
            known = match(table, naming.keys(), path)
        except UserError as error:
            problem = error
        else:
            require_rows(naming, known, path)
            return known.set_axis(pd.Index(known.index.map(naming), name="file"))
    raise problem


def merge(known: pd.DataFrame, raw: Path) -> None:
    """Write `photographs.csv` of the folder `raw`: what it said, and `known`, which counts more.

    Photographs that neither says anything of get an empty row.

    Raises:
        UserError: the old table cannot be read.
    """
    path, files = raw / NAME, [file.relative_to(raw).as_posix() for file in find_images(raw)]
    old = pd.DataFrame(index=pd.Index(files, name="file"))
    if path.is_file():
        old = match(read_table(path), files, path).reindex(files)
    columns = [*old.columns, *known.columns.difference(old.columns, sort=False)]
    merged = known.reindex(files, columns=columns).fillna(old.reindex(columns=columns)).fillna("")
    write_csv(path, merged.reset_index())
