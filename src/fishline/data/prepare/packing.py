"""The cache of photographs, written: every distinct photograph once, in up to 256 packed files.

    pixels/00.npy … ff.npy   records (`record`) of the photographs whose SHA-256 starts with that
                             byte, in the order of the SHA-256
    made_by.json             what decides them: of pixels, image size, Pillow's version and a hash
                             of the decoding code

The features of photographs (models/features.py) are packed the same way.

Where a photograph stands depends on its content alone. The same set gives the same files, whatever
was there before, and one more photograph changes one file of 256: DVC stores only that one anew.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import PIL

from fishline.core.files import link_or_copy, read_json, write_json
from fishline.data import decode
from fishline.data.cache import Records, digests_of, packed_files
from fishline.data.decode import THUMBNAIL, Decoded

T = TypeVar("T")


@dataclass(frozen=True)
class Packing(Generic[T]):
    """What is packed of each photograph.

    field:   of a record, what it is about; and the folder of the files
    record:  begins with sha256 and ends with crc32, as `record` does
    made_by: what decides the records besides the photographs: others are not used again
    fill:    gives a record (all but those two fields) its content
    """

    field: str
    record: np.dtype[np.void]
    made_by: dict[str, Any]
    fill: Callable[[np.void, T], None]


def pixels_packing(size: int) -> Packing[Decoded]:
    """Photographs of `size` × `size` pixels."""
    return Packing("pixels", record(size), made_by(size), fill)


def record(size: int) -> np.dtype[np.void]:
    """One photograph of `size` × `size` pixels, and what its file said of itself."""
    return np.dtype(
        [
            ("sha256", "u1", (32,)),  # of the file
            ("width", "<u4"),  # pixels, upright
            ("height", "<u4"),
            ("mode", "S8"),  # of the file, as Pillow names it
            ("thumbnail", "u1", (THUMBNAIL, THUMBNAIL)),  # grey, squashed; copies are found by it
            ("pixels", "u1", (size, size, 3)),  # RGB, squashed
            ("crc32", "<u4"),  # of the bytes before
        ]
    )


def file_name(sha256: str) -> str:
    """The packed file that a photograph belongs to."""
    return f"{sha256[:2]}.npy"


def made_by(size: int) -> dict[str, Any]:
    """What decides the pixels besides the photographs: a cache made otherwise is not reused."""
    code = Path(decode.__file__).read_bytes()
    return {
        "image_size": size,
        "pillow": PIL.__version__,
        "code": hashlib.sha256(code).hexdigest()[:16],
    }


def earlier(folder: Path, packing: Packing[T]) -> dict[str, Records]:
    """What of the cache in `folder` can be used again, as `file_name: records`.

    Nothing if it was made otherwise, and no file that is damaged.
    """
    try:
        same = read_json(folder / "made_by.json") == packing.made_by
    except (OSError, ValueError):
        same = False
    usable = {}
    for path in packed_files(folder / packing.field) if same else ():
        try:
            records = np.load(path, mmap_mode="r")
        except Exception:  # a damaged header may raise anything
            continue
        if records.dtype == packing.record and all(_checksum(r) == r["crc32"] for r in records):
            usable[path.name] = records
    return usable


def write_file(path: Path, records: Records) -> None:
    """Write one packed file, through to the disk."""
    with path.open("wb") as file:
        np.save(file, records)
        file.flush()
        os.fsync(file.fileno())


def pack(
    wanted: Sequence[str],
    make_all: Callable[[Sequence[str]], Iterator[T | str]],
    packing: Packing[T],
    old: Path,
    new: Path,
) -> dict[str, str]:
    """Write the packed files of the cache `new`, with what can be used of the cache `old`.

    Args:
        wanted: the SHA-256 of each photograph's file, sorted.
        make_all: gives the contents for some SHA-256, in order, or why there is none.

    Returns:
        For the SHA-256 of each file that is no usable image, the reason.
    """
    reusable = earlier(old, packing)
    have = {digest for records in reusable.values() for digest in digests_of(records)}
    contents = make_all([digest for digest in wanted if digest not in have])
    (new / packing.field).mkdir()
    broken: dict[str, str] = {}
    for name, group in groupby(wanted, file_name):
        members = list(group)
        records, path = reusable.get(name, np.zeros(0, packing.record)), Path(packing.field, name)
        if digests_of(records) == members:
            link_or_copy(old / path, new / path)
            continue
        records = _collect(members, records, contents, packing, broken)
        if len(records):
            write_file(new / path, records)
    write_json(new / "made_by.json", packing.made_by)
    return broken


def _collect(
    wanted: list[str],
    reusable: Records,
    contents: Iterator[T | str],
    packing: Packing[T],
    broken: dict[str, str],
) -> Records:
    """The records of one packed file; `broken` is added to."""
    known = dict(zip(digests_of(reusable), reusable, strict=True))
    records = np.zeros(len(wanted), reusable.dtype)
    count = 0
    for digest in wanted:
        if digest in known:
            records[count] = known[digest]
        else:
            content = next(contents)
            if isinstance(content, str):
                broken[digest] = content
                continue
            slot = records[count]
            slot["sha256"] = np.frombuffer(bytes.fromhex(digest), np.uint8)
            packing.fill(slot, content)
            slot["crc32"] = _checksum(slot)
        count += 1
    return records[:count]


def fill(slot: np.void, image: Decoded) -> None:
    """Make the record `slot` that of `image`."""
    slot["width"], slot["height"], slot["mode"] = image.width, image.height, image.mode.encode()
    slot["thumbnail"], slot["pixels"] = image.thumbnail, image.pixels


def _checksum(slot: np.void) -> int:
    return zlib.crc32(memoryview(slot.tobytes())[:-4])
