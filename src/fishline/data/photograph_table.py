"""`photographs.csv`: what a user knows of photographs, such as trip, vessel, camera or day.

A row for each file (column `file`) or for each folder (column `folder`: all that lies below it; the
deepest folder that has a row), and any other columns. All values are texts.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterable
from datetime import datetime
from pathlib import Path, PurePosixPath

import pandas as pd

from fishline.core.errors import UserError
from fishline.core.paths import PART_NAMES
from fishline.core.text import many

NAME = "photographs.csv"
# What other columns of the manifest and of the split are called.
RESERVED = frozenset(
    "file folder species index width height mode sha256 original confidence alike group burst "
    "photograph given_part task".split()
)
_COLUMN = re.compile(r"\w[\w .-]{0,99}")  # it becomes part of a metric's name
_SHOWN = 5  # names in a message


def read_table(path: Path) -> pd.DataFrame:
    """The table at `path`, its first column `file` or `folder`, then all others.

    Raises:
        UserError: it cannot be read, has no or both of these columns, a column of a name that is
            taken, a row twice, or a `part` or `taken` that cannot be understood.
    """
    table = read_user_csv(path)
    keys = [name for name in ("file", "folder") if name in table]
    if len(keys) != 1:
        raise UserError(f"{path} needs a column 'file' or a column 'folder', and not both")
    key = keys[0]
    for name in table.columns.drop(key):
        if name in RESERVED or not _COLUMN.fullmatch(name):
            raise UserError(
                f"{path}: a column cannot be called '{name}'; take another name, of letters, "
                "digits, spaces, '.', '-' and '_'"
            )
    table[key] = table[key].map(_clean)
    if (twice := table[key].duplicated()).any():
        raise UserError(f"{path} has more than one row for {key} '{table.loc[twice, key].iloc[0]}'")
    for name in _KINDS.keys() & set(table):
        table[name] = [_understood(name, value, path) for value in table[name]]
    return table[[key, *table.columns.drop(key)]]


def read_user_csv(path: Path) -> pd.DataFrame:
    """The CSV file at `path` as it is, every value a text without blanks around it.

    Separated by commas or, as spreadsheets have it in some countries, by semicolons.

    Raises:
        UserError: it is not there, cannot be read, has two columns of one name, or a row of
            another length than its head.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            head = file.readline()
            file.seek(0)
            separator = ";" if ";" in head and "," not in head else ","
            rows = list(csv.reader(file, delimiter=separator, strict=True))
    except FileNotFoundError:
        raise UserError(f"there is no table {path}") from None
    except (OSError, ValueError, csv.Error) as error:  # no UTF-8: a ValueError
        raise UserError(f"{path} cannot be read as CSV in UTF-8: {error}") from None
    names = [name.strip() for name in rows[0]] if rows else []
    if len(set(names)) != len(names):
        raise UserError(f"{path} has two columns of one name")
    lines = [[value.strip() for value in row] for row in rows[1:] if any(row)]
    if wrong := [row for row in lines if len(row) != len(names)]:
        raise UserError(
            f"{path}: the row that begins with '{wrong[0][0]}' has {len(wrong[0])} fields, and "
            f"the head has {len(names)}"
        )
    return pd.DataFrame(lines, columns=names, dtype=str)


def _clean(place: str) -> str:
    """A path as other systems write it, too: `Trout\\1.jpg`, `./Trout/1.jpg`, `Trout/`."""
    return PurePosixPath(place.replace("\\", "/")).as_posix()


def _part(text: str) -> str:
    return PART_NAMES[text.lower()] if text else ""


def _time(text: str) -> str:
    moment = datetime.fromisoformat(text) if text else None
    return moment.replace(tzinfo=None).isoformat(timespec="seconds") if moment else ""


_KINDS = {  # column: how it is understood, and what it may be
    "part": (_part, f"one of {', '.join(PART_NAMES)}"),
    "taken": (_time, "a time such as 2026-05-31 14:03:59"),
}


def _understood(name: str, value: str, path: Path) -> str:
    understand, kind = _KINDS[name]
    try:
        return understand(value)
    except (KeyError, ValueError):
        raise UserError(f"{path}: {name} must be {kind}, or empty, and not '{value}'") from None


def match(table: pd.DataFrame, files: Collection[str], path: Path) -> pd.DataFrame:
    """What `table`, that `read_table` read, says of each of `files`: a row per file, by file.

    Files that it does not name are left out.

    Args:
        files: places below the folder that the table is of.
        path: the table's, for messages.

    Raises:
        UserError: a row names no file, or a folder without any.
    """
    key = str(table.columns[0])
    rows = table.set_index(key)
    places = {file: file for file in files} if key == "file" else _folders(files, set(rows.index))
    used = set(places.values())
    if stray := [place for place in rows.index if place not in used]:
        raise UserError(
            f"{path} has {many(len(stray), 'row')} for a {key} that is not among the photographs: "
            f"{_some(stray)}. Correct such rows, or take them out"
        )
    known = {file: place for file, place in places.items() if place in rows.index}
    return rows.loc[list(known.values())].set_axis(pd.Index(list(known), name="file"))


def _folders(files: Iterable[str], named: Collection[str]) -> dict[str, str]:
    """The deepest of the folders `named` that each file lies in, if in any."""
    of_folder: dict[PurePosixPath, str] = {}
    places = {}
    for file in files:
        folder = PurePosixPath(file).parent
        if folder not in of_folder:
            above = (str(f) for f in (folder, *folder.parents))
            of_folder[folder] = next((f for f in above if f in named), "")
        if of_folder[folder]:
            places[file] = of_folder[folder]
    return places


def require_rows(files: Iterable[str], known: pd.DataFrame, path: Path) -> None:
    """Refuse a table that says nothing of some files.

    Args:
        known: what `match` made of the table at `path`.

    Raises:
        UserError: a file has no row.
    """
    if missing := [file for file in files if file not in known.index]:
        raise UserError(
            f"{path} has no row for {many(len(missing), 'file')}: {_some(missing)}. Give each a "
            "row; what is not known of it stays empty"
        )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
