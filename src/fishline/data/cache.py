"""The cache of photographs, or of their features, read: packed files that packing.py writes.

A photograph's row number counts through all files in their order, and is the same in both.
"""

from __future__ import annotations

import os
import resource
import weakref
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Records = npt.NDArray[np.void]
Rows = npt.NDArray[np.int64]


class Cache:
    """The packed records of the cache in `folder`; no folder is an empty cache.

    Args:
        field: what a record is about, and the folder of its files: pixels or features.

    Its memory does not grow with the number of photographs that are read. Pages of a map would
    count as this process's memory once touched, and an epoch touches all: so photographs are read,
    which is as quick, and files are mapped one after another for what is wanted of all records.

    Raises:
        ValueError, OSError: a file is damaged.
    """

    def __init__(self, folder: Path, field: str = "pixels") -> None:
        self._folder, self._field = folder, field
        self._paths = packed_files(folder / field)
        _allow_files(len(self._paths))
        maps = [np.load(path, mmap_mode="r") for path in self._paths]
        self._offsets = [records.offset for records in maps]  # of the first record, in bytes
        self._starts = np.cumsum([0, *map(len, maps)])
        self._record: np.dtype[np.void] = maps[0].dtype if maps else np.dtype([])
        if any(records.dtype != self._record for records in maps):
            raise ValueError("its files hold different records")
        # Kept open: a training goes on with the photographs that it began with, whatever replaces
        # them meanwhile.
        self._handles = [os.open(path, os.O_RDONLY) for path in self._paths]
        weakref.finalize(self, _close, self._handles)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled, it is opened where it lies: for other processes."""
        return _opened, (self._folder, self._field, self._folder.stat().st_mtime_ns)

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def size(self) -> int:
        """Edge of a photograph in pixels; 0 for an empty cache."""
        return int(self._record["pixels"].shape[0]) if self._paths else 0

    def take(self, rows: Rows, field: str = "") -> npt.NDArray[Any]:
        """What the records at `rows` (n,) are about, or another field, copied: (n, …).

        Pixels and thumbnails are uint8, features float32, width and height integers.
        """
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"a row is not among the {len(self)} photographs")
        files = np.searchsorted(self._starts, rows, side="right") - 1
        places = (rows - self._starts[files]) * self._record.itemsize  # bytes, of the record
        assert self._record.fields is not None
        kind, begin = self._record.fields[field or self._field][:2]
        out = np.empty((len(rows), *kind.shape), kind.base)
        for row, (file, place) in enumerate(zip(files.tolist(), places.tolist(), strict=True)):
            where, wanted = self._offsets[file] + place + begin, out[row : row + 1].data
            if os.preadv(self._handles[file], [wanted], where) < wanted.nbytes:
                raise OSError(f"{self._paths[file]} ends too early")
        return out

    def column(self, name: str) -> npt.NDArray[Any]:
        """`width`, `height` or `mode` of all records: (n,)."""
        columns = [np.load(path, mmap_mode="r")[name].copy() for path in self._paths]
        return np.concatenate(columns)

    def digests(self) -> list[str]:
        """The SHA-256 of each photograph's file, in hexadecimal."""
        maps = (np.load(path, mmap_mode="r") for path in self._paths)
        return [digest for records in maps for digest in digests_of(records)]


@lru_cache(maxsize=2)  # once in a process, not for each task; a cache that is made anew is another
def _opened(folder: Path, field: str, modified: int) -> Cache:
    return Cache(folder, field)


def _allow_files(count: int) -> None:
    """Have this process open so many files, and some more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count * 2 + 256
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _close(handles: list[int]) -> None:
    for handle in handles:
        os.close(handle)


def packed_files(folder: Path) -> list[Path]:
    """The packed files in `folder`, in their order."""
    return sorted(folder.glob("[0-9a-f]*.npy"))


def digests_of(records: Records) -> list[str]:
    """The SHA-256 of each record's file, in hexadecimal."""
    return [digest.tobytes().hex() for digest in records["sha256"]]
