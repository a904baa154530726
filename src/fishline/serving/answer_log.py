"""The log of answers: a row for every answer that was given, in Parquet files.

`FISHLINE_LOG` names its place, a folder or a URL such as `s3://bucket/answers`; without it nothing
is logged. Below it lies a folder for each day, `day=2026-07-01`, as pandas, DuckDB and Spark know
it. Each process writes files of its own name. One that still grows is replaced by a longer one, as
a whole: whoever reads finds every row once, at any moment.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fishline.core.errors import UserError
from fishline.core.parallel import in_threads
from fishline.data.remote_files import RemoteFile, is_url, list_files

LOG = "FISHLINE_LOG"  # variable
PICTURES = "_pictures"  # folder of kept photographs; readers of Parquet pass over such a name
DAY = "day="  # how the name of a day's folder begins
DIMENSIONS = 32  # numbers that stand for a photograph's features

Floats = npt.NDArray[np.float32]

# time:          of the answer, in UTC
# source:        who was asked: predict, serve or app
# place:         that whoever asked named, such as a vessel; "" for none
# model:         the registered version, such as fish-finetuned/3, or the model's folder
# model_sha256:  of the model itself
# sha256:        of the photograph's file; null where it could not be had
# answer, rank, probability, probabilities: as of `Answer`; null where there is none, and so are
# distance:      from what is known, see novelty.py
# features:      what `project` makes of them
# seconds:       that went into this answer: reading, decoding, its share of the network's time
# picture:       name of the photograph that was kept in _pictures; "" for none
# error:         why there is no answer
SCHEMA = pa.schema(
    {
        "time": pa.timestamp("us", "UTC"),
        "source": pa.string(),
        "place": pa.string(),
        "model": pa.string(),
        "model_sha256": pa.string(),
        "sha256": pa.string(),
        "answer": pa.string(),
        "rank": pa.string(),
        "probability": pa.float64(),
        "probabilities": pa.map_(pa.string(), pa.float64()),
        "distance": pa.float64(),
        "features": pa.list_(pa.float32()),
        "seconds": pa.float64(),
        "picture": pa.string(),
        "error": pa.string(),
    }
)


def project(features: Floats) -> Floats:
    """Directions of features (n, d) as 32 numbers each, which keep how far apart they are.

    A fixed Gaussian random projection (Johnson and Lindenstrauss 1984): it needs no training, so
    that those of any time can be compared.

    Returns:
        float32 (n, 32)
    """
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    directions = features / np.maximum(lengths, np.finfo(np.float32).tiny)
    projected: Floats = directions @ _projection(features.shape[1])
    return projected.astype(np.float32)


@functools.cache
def _projection(size: int) -> Floats:
    drawn: Floats = np.random.default_rng(0).standard_normal((size, DIMENSIONS)).astype(np.float32)
    return drawn / np.float32(np.sqrt(DIMENSIONS))


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
