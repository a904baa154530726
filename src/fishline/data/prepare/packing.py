"""The cache of photographs, written: every distinct photograph once, in 256 packed files or 4,096.

    pixels/00.npy … ff.npy   records (pixels.py) of the photographs whose SHA-256 starts with these
                             digits, in the order of the SHA-256
    made_by.json             what decides them: of pixels, image size, Pillow's version and a hash
                             of the decoding code

The features of photographs (models/features.py) are packed the same way.

Where a photograph stands depends on its content alone. The same set gives the same files, whatever
was there before, and one more photograph changes one file: DVC stores only that one anew. Each file
is a job of its own (core/engine.py), written by whoever makes its records, one record at a time.
"""

from __future__ import annotations

import string
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar

import numpy as np
from tqdm import tqdm

from fishline.core.engine import map_on_engine
from fishline.core.files import link_or_copy, read_json, replacing, write_json
from fishline.data.cache import digests_of

LARGE = 2**18  # photographs from which a file's name has three digits: 37 MB at 224 pixels

# Several threads that parse headers of .npy at once fail in CPython 3.11 (gh-106905).
_PARSING = threading.Lock()

In = TypeVar("In")
T = TypeVar("T")


@dataclass(frozen=True)
class Packing(Generic[T]):
    """What is packed of each photograph.

    field:   of a record, what it is about; and the folder of the files
    record:  begins with sha256 and ends with crc32, as in pixels.py
    made_by: what decides the records besides the photographs: others are not used again
    fill:    gives a record (all but those two fields) its content
    """

    field: str
    record: np.dtype[np.void]
    made_by: dict[str, Any]
    fill: Callable[[np.void, T], None]


@dataclass
class Packed:
    """What was packed: how many contents were made, not taken over, and which could not be.

    broken: for the SHA-256 of each file that is no usable image, the reason
    """

    made: int = 0
    broken: dict[str, str] = field(default_factory=dict)


def file_name(sha256: str, photographs: int = 0) -> str:
    """The packed file that a photograph belongs to, in a cache of so many."""
    return f"{sha256[: 2 if photographs < LARGE else 3]}.npy"


def pack(
    wanted: Mapping[str, In],
    make: Callable[[Sequence[In]], Iterator[T | str]],
    packing: Packing[T],
    old: Path,
    new: Path,
    gpus: int = 0,
) -> Packed:
    """Write the packed files of the cache `new`, with what can be used of the cache `old`.

    Args:
        wanted: by the SHA-256 of each photograph's file, what its content is made of.
        make: gives the contents of some of these, in order, or why there is none; called for each
            packed file, from several threads or processes.
        gpus: that `make` uses, see `map_on_engine`.
    """
    folder = new / packing.field
    folder.mkdir()
    names = groupby(sorted(wanted), partial(file_name, photographs=len(wanted)))
    jobs = ((name, [(digest, wanted[digest]) for digest in group]) for name, group in names)
    work = partial(_pack_file, make, packing, old, new)
    packed = Packed()
    with tqdm(total=len(wanted), desc=packing.field, unit="image", disable=None) as bar:
        for count, done in map_on_engine(work, jobs, batch=1, gpus=gpus):
            bar.update(count)
            packed.made += done.made
            packed.broken |= done.broken
    for unfinished in folder.glob(".*"):  # of workers that died
        unfinished.unlink()
    write_json(new / "made_by.json", packing.made_by)
    return packed


def _pack_file(
    make: Callable[[Sequence[In]], Iterator[T | str]],
    packing: Packing[T],
    old: Path,
    new: Path,
    job: tuple[str, list[tuple[str, In]]],
) -> tuple[int, Packed]:
    """Write one packed file; how many photographs were wanted in it, and what was packed."""
    name, members = job
    path = Path(packing.field, name)
    known = earlier(old, packing, name)
    if list(known) == [digest for digest, _ in members] and (old / path).is_file():
        link_or_copy(old / path, new / path)
        return len(members), Packed()
    packed = Packed()
    contents = make([source for digest, source in members if digest not in known])
    records = _records([digest for digest, _ in members], known, contents, packing, packed)
    write_file(new / path, packing.record, records)
    return len(members), packed


def earlier(folder: Path, packing: Packing[T], name: str) -> dict[str, np.void]:
    """What of the cache in `folder` can be used again for the file `name`, by SHA-256.

    Nothing if it was made otherwise, and nothing of a file that is damaged.
    """
    try:
        same = read_json(folder / "made_by.json") == packing.made_by
    except (OSError, ValueError):
        same = False
    usable: dict[str, np.void] = {}
    digits = Path(name).stem
    # The old cache may have been of the other size.
    stems = sorted({digits[:2], digits, *(digits + more for more in string.hexdigits[:16])})
    for path in (folder / packing.field / f"{stem}.npy" for stem in stems if same):
        try:
            with _PARSING:
                records = np.load(path, mmap_mode="r")
        except Exception:  # none there, or damaged: a header may raise anything
            continue
        if records.dtype == packing.record and all(_checksum(r) == r["crc32"] for r in records):
            usable |= zip(digests_of(records), records, strict=True)
    return usable


def _records(
    wanted: list[str],
    known: dict[str, np.void],
    contents: Iterator[T | str],
    packing: Packing[T],
    packed: Packed,
) -> Iterator[np.void]:
    """The records of one packed file; `packed` is added to."""
    for digest in wanted:
        if digest in known:
            yield known[digest]
            continue
        content = next(contents)
        packed.made += 1
        if isinstance(content, str):
            packed.broken[digest] = content
            continue
        slot = np.zeros(1, packing.record)[0]
        slot["sha256"] = np.frombuffer(bytes.fromhex(digest), np.uint8)
        packing.fill(slot, content)
        slot["crc32"] = _checksum(slot)
        yield slot


def write_file(path: Path, record: np.dtype[np.void], records: Iterable[np.void]) -> None:
    """Write one packed file, as `numpy.save` would; none if there are no records."""
    count = 0
    with replacing(path) as temporary, temporary.open("wb") as file:
        _write_header(file, record, count)
        for slot in records:
            file.write(slot.tobytes())
            count += 1
        file.seek(0)
        _write_header(file, record, count)
    if not count:
        path.unlink()


def _write_header(file: BinaryIO, record: np.dtype[np.void], count: int) -> None:
    # Its length does not depend on the count: NumPy leaves room for a longer one.
    descr = np.lib.format.dtype_to_descr(record)
    header = {"descr": descr, "fortran_order": False, "shape": (count,)}
    np.lib.format.write_array_header_1_0(file, header)


def _checksum(slot: np.void) -> int:
    return zlib.crc32(memoryview(slot.tobytes())[:-4])
