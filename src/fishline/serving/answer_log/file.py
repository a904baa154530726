"""A file of the log of answers that grows, and the photographs that are kept beside it."""

from __future__ import annotations

import hashlib
import os
import platform
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fishline.core.errors import UserError
from fishline.core.files import replacing
from fishline.data.remote_files import is_url, open_files
from fishline.serving.answer_log.schema import DAY, PICTURES
from fishline.serving.photographs import ending

PART = 4096  # rows of a file
# Columns whose values come again and again.
REPEATED = [*"source place model model_sha256 answer rank".split(), "probabilities.key_value.key"]


@dataclass(frozen=True)
class Batch:
    """Answers of one moment.

    day:      as 2026-07-01
    size:     rows
    rows:     makes them, of `SCHEMA`, given what photographs were kept as, by SHA-256
    pictures: gives the content of each photograph that is to be kept, by SHA-256
    bytes:    that these need in memory
    room:     bytes that all kept ones together may have
    """

    day: str
    size: int
    rows: Callable[[Mapping[str, str]], pa.Table]
    pictures: Mapping[str, Callable[[], bytes]]
    bytes: int
    room: int


class File:
    """The newest file of this process: written anew as rows come, until it is full."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._name = f"{platform.node()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._number = 0
        self._day = ""
        self._pending: list[Batch] = []
        self._tables: list[pa.Table] = []
        self._rows = self._written = 0

    @property
    def unwritten(self) -> int:
        """Rows that it does not have yet."""
        return self._rows - self._written

    @property
    def full(self) -> bool:
        return self._rows >= PART

    def takes(self, batch: Batch) -> bool:
        """Have it written by the next `write`, if there is room; a file that is done has a next."""
        if (self.full or batch.day != self._day) and not self.unwritten:
            self._number += 1
            self._day, self._tables = batch.day, []
            self._rows = self._written = 0
        if self.full or batch.day != self._day:
            return False
        self._pending.append(batch)
        self._rows += batch.size
        return True

    def write(self) -> None:
        """Keep the photographs, and put a file with all rows where the one of before was.

        Raises:
            Exception: of whatever library the file system uses; nothing is lost, try again.
        """
        while self._pending:
            batch = self._pending[0]
            self._tables.append(batch.rows(self._keep(batch)))
            del self._pending[0]
        table, file = pa.concat_tables(self._tables).combine_chunks(), pa.BufferOutputStream()
        self._tables = [table]  # thousands of small ones take long to be freed
        pq.write_table(table, file, compression="zstd", use_dictionary=REPEATED)
        path = f"{DAY}{self._day}/{self._name}-{self._number:06}.parquet"
        _write(self._url, path, file.getvalue().to_pybytes())
        self._written = len(table)

    def _keep(self, batch: Batch) -> dict[str, str]:
        """Write photographs while there is room: what each is called, by SHA-256."""
        kept: dict[str, str] = {}
        used = _bytes_in(self._url, PICTURES) if batch.pictures else 0
        for digest, read in batch.pictures.items():
            content = _same(digest, read)
            if content is not None and used + len(content) <= batch.room:
                kept[digest] = digest + ending("", content)
                used += len(content)
                _write(self._url, f"{PICTURES}/{kept[digest]}", content)
        return kept


def _same(digest: str, read: Callable[[], bytes]) -> bytes | None:
    """The content of a photograph's file, None if it is gone or another one by now."""
    try:
        content = read()
    except (OSError, ValueError, UserError):
        return None
    return content if hashlib.sha256(content).hexdigest() == digest else None


def _write(url: str, path: str, content: bytes) -> None:
    """Write `path` below `url`, whole or not at all."""
    if is_url(url):
        files, root = open_files(url)
        files.pipe_file(f"{root.rstrip('/')}/{path}", content)  # a bucket has it whole or not
        return
    with replacing(Path(url, path)) as temporary:
        temporary.write_bytes(content)


def _bytes_in(url: str, folder: str) -> int:
    """How many bytes the files directly in `folder` below `url` have."""
    if is_url(url):
        files, root = open_files(url)
        try:
            return sum(entry["size"] for entry in files.ls(f"{root.rstrip('/')}/{folder}", True))
        except FileNotFoundError:
            return 0
    return sum(path.stat().st_size for path in Path(url, folder).glob("*"))
