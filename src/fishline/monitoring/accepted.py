"""Weeks that somebody has accepted as what a place looks like: a table in the log's folder."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from fishline.core.errors import UserError
from fishline.core.files import write_text
from fishline.data.remote_files import explained, is_url, open_files
from fishline.monitoring.answers import monday

FILE = "_accepted.csv"  # readers of Parquet pass over such a name
HEAD = ["place", "week"]


def read_accepted(log: str) -> dict[str, list[str]]:
    """The accepted weeks of each place, the earliest first.

    Raises:
        UserError: the table cannot be read, or is not one.
    """
    rows = [row for row in csv.reader(io.StringIO(_read(log), newline="")) if row]
    if (rows and rows[0] != HEAD) or any(len(row) != 2 for row in rows):
        raise UserError(f"{log}/{FILE} is no table of accepted weeks: it needs {','.join(HEAD)}")
    weeks: dict[str, list[str]] = {}
    for place, week in sorted(rows[1:], key=lambda row: monday(row[1])):
        weeks.setdefault(place, []).append(week)
    return weeks


def accept(log: str, week: str, places: Iterable[str]) -> None:
    """Add `week` to the accepted ones of `places`.

    Raises:
        UserError: as of `read_accepted`; or the table cannot be written.
    """
    known = read_accepted(log)
    rows = [(place, one) for place, weeks in known.items() for one in weeks]
    rows += [(place, week) for place in places if week not in known.get(place, [])]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([HEAD, *rows])
    _write(log, text.getvalue())


def _read(log: str) -> str:
    """The table as it is; "" if there is none."""
    try:
        if is_url(log):
            return _content(log).decode("utf-8-sig")
        file = Path(log) / FILE
        return file.read_text(encoding="utf-8-sig") if file.is_file() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{log}/{FILE} cannot be read: {error}") from None


def _content(url: str) -> bytes:
    files, path = open_files(f"{url.rstrip('/')}/{FILE}")
    try:
        content: bytes = files.cat_file(path)
    except FileNotFoundError:
        return b""
    except Exception as error:  # of whatever library the file system uses
        raise explained(url, error) from None
    return content


def _write(log: str, text: str) -> None:
    if is_url(log):
        files, path = open_files(f"{log.rstrip('/')}/{FILE}")
        try:
            files.pipe_file(path, text.encode())
        except Exception as error:  # of whatever library the file system uses
            raise explained(log, error) from None
        return
    try:
        write_text(Path(log) / FILE, text)
    except OSError as error:
        raise UserError(f"{log}/{FILE} cannot be written: {error.strerror}") from None
