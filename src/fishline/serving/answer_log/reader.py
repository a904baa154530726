"""The log of answers, read: its rows as one table."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fishline.core.errors import UserError
from fishline.core.parallel import in_threads
from fishline.data.remote_files import RemoteFile, is_url, list_files
from fishline.serving.answer_log.schema import DAY, LOG, SCHEMA


def read_log(
    url: str,
    since: datetime | None = None,
    until: datetime | None = None,
    columns: Sequence[str] | None = None,
) -> pa.Table:
    """The rows of the log at `url`, by time; see `SCHEMA`.

    Args:
        url: a folder or URL, as `FISHLINE_LOG` names it.
        since, until: with a time zone; rows from the one to before the other.
        columns: all if None.

    Raises:
        UserError: there is no log, or a file of it cannot be read.
    """
    wanted = SCHEMA.names if columns is None else list(columns)
    read = functools.partial(
        _rows, since=since, until=until, columns=list(dict.fromkeys(["time", *wanted]))
    )
    tables = list(in_threads(read, _files(url, since, until)))
    rows = pa.concat_tables(tables) if tables else SCHEMA.empty_table()
    return rows.sort_by("time").select(wanted)


def _files(url: str, since: datetime | None, until: datetime | None) -> Iterator[Path | RemoteFile]:
    """The files that may have such rows."""
    first, last = (time and f"{DAY}{time.astimezone(UTC):%F}" for time in (since, until))
    for path, file in _listed(url):
        day = path.partition("/")[0]
        named = path.endswith(".parquet") and not path.startswith(("_", "."))
        known = day.startswith(DAY)
        if named and not (known and ((first and day < first) or (last and day > last))):
            yield file


def _listed(url: str) -> Iterator[tuple[str, Path | RemoteFile]]:
    """Path below `url`, and the file itself."""
    if is_url(url):
        yield from ((file.path, RemoteFile(file.url)) for file in list_files(url))
        return
    root = Path(url)
    if not root.is_dir():
        raise UserError(f"{url}: there is no log of answers; {LOG}={url} has one written")
    for path in sorted(root.rglob("*.parquet")):
        yield path.relative_to(root).as_posix(), path


def _rows(
    file: Path | RemoteFile, since: datetime | None, until: datetime | None, columns: list[str]
) -> pa.Table:
    """Those of one file, which is read at once: the next moment it may be another."""
    try:
        content = file.read() if isinstance(file, RemoteFile) else file.read_bytes()
        rows = pq.read_table(pa.BufferReader(content), columns=columns).select(columns)
    except (pa.ArrowException, KeyError, OSError, ValueError) as error:
        raise UserError(f"{file} is no file of a log of answers: {error}") from None
    if since:
        rows = rows.filter(pc.greater_equal(rows["time"], pa.scalar(since)))
    if until:
        rows = rows.filter(pc.less(rows["time"], pa.scalar(until)))
    return rows
