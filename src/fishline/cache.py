"""The cache of photographs, read: packed files that NumPy memory-maps (packing.py writes them).

A photograph's row number counts through all files in their order.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Records = npt.NDArray[np.void]
Rows = npt.NDArray[np.int64]


class Cache:
    """The packed photographs of the cache in `folder`; no folder is an empty cache.

    Raises:
        ValueError, OSError: a file is damaged.
    """

    def __init__(self, folder: Path) -> None:
        paths = [path for path in packed_files(folder) if path.is_file()]
        self._files: list[Records] = [np.load(path, mmap_mode="r") for path in paths]
        self._starts = np.cumsum([0, *map(len, self._files)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def size(self) -> int:
        """Edge of a photograph in pixels; 0 for an empty cache."""
        return int(self._files[0].dtype["pixels"].shape[0]) if self._files else 0

    def take(self, rows: Rows, field: str = "pixels") -> npt.NDArray[np.uint8]:
        """`pixels` or `look` of the records at `rows` (n,), copied into memory: uint8 (n, …)."""
        found = np.searchsorted(self._starts, rows, side="right") - 1
        out = np.empty((len(rows), *self._files[0].dtype[field].shape), np.uint8)
        for number in np.unique(found):
            here = found == number
            out[here] = self._files[number][field][rows[here] - self._starts[number]]
        return out

    def column(self, name: str) -> npt.NDArray[Any]:
        """`width`, `height` or `mode` of all records: (n,)."""
        return np.concatenate([records[name] for records in self._files])

    def digests(self) -> list[str]:
        """The SHA-256 of each photograph's file, in hexadecimal."""
        return [digest for records in self._files for digest in digests_of(records)]


def packed_files(folder: Path) -> list[Path]:
    """The packed files that the cache in `folder` may have, in their order."""
    return [folder / "pixels" / f"{byte:02x}.npy" for byte in range(256)]


def digests_of(records: Records) -> list[str]:
    """The SHA-256 of each record's file, in hexadecimal."""
    return [digest.tobytes().hex() for digest in records["sha256"]]
