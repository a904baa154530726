"""Which pictures look alike: all are compared with all, a block of them with another at a time.

An index misses some: of 100,000 pictures, 18 of 152,696 pairs of copies (Faiss, IVFFlat, 8 probes),
in half the time. One that misses none saves nothing, as magnitudes vary in too many dimensions: of
1,024 cells (k-means), 930 can hold a picture within the search radius of another.

What saves is that one product of matrices is enough to rule out most pairs, by two upper bounds
(the Cauchy-Schwarz inequality, twice):

    correlation ≤ product of the magnitudes    which turning and mirroring do not change
                ≤ product of the projections   of these on the directions in which they vary most
                                               (PCA, not centred), and of the norms of what is left

So no pair that correlates by `ALIKE` is missed. The time grows with the square of the number of
pictures (`benchmarks/copies.py` measures it); the descriptors lie on the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from fishline.core.engine import map_on_engine
from fishline.data.prepare.copies.rings import (
    ALIKE,
    SHAPE,
    Floats,
    Floats64,
    Rings,
    Thumbnails,
    compare,
    describe,
)

Numbers = npt.NDArray[np.int64]
Take = Callable[[Numbers], Thumbnails]
Links = tuple[Numbers, Numbers, Floats]  # two pictures and how they correlate

BLOCK = 8192  # pictures; their descriptors take 13 MB
_STRIP = 8  # blocks that a job compares another with: less than a second
_ROWS = 256  # of a block at a time: with these the products stay in the processor's cache
_PAIRS = 1024  # likewise
_DIRECTIONS = 47  # of 192: with fewer, more pairs need a second look than is saved
_ROUNDING = 1e-4  # more than the error of a product in float32, some 1e-6


class _Block(NamedTuple):
    """Pictures from `start` on.

    rings: complex64 (n, rings, frequencies); magnitudes, projections: float32 (n, 192) and (n, 48)
    """

    start: int
    rings: Rings
    magnitudes: Floats
    projections: Floats


def find_links(
    take: Take, aspects: Floats64, reach: Floats64, group: Numbers, folder: Path
) -> Iterator[Links]:
    """Pairs of pictures in different groups that correlate by `ALIKE` or more, each pair once.

    Args:
        take: gives the thumbnails at some positions, uint8 (b, THUMBNAIL, THUMBNAIL), of at most
            `BLOCK` at once. On Ray it is pickled.
        aspects, reach: (n,), of `describe`.
        group: (n,), the group of each picture.
        folder: where descriptors may lie meanwhile, 1.5 KB for each picture; all machines see it.

    Yields:
        Positions of the two pictures and their correlation, each (pairs,), some pairs at a time.
    """
    divided = divide(len(aspects))
    strips = [
        (block, divided[first : first + _STRIP])
        for number, block in enumerate(divided)
        for first in range(number, len(divided), _STRIP)
    ]
    # One thread for each product: there are as many jobs at a time as processors.
    with TemporaryDirectory(dir=folder) as name, threadpool_limits(1, "blas"):
        describing = partial(_describe_block, take, aspects, reach, Path(name))
        moments = sum(map_on_engine(describing, divided, batch=1), np.zeros((1, 1), np.float32))
        directions = np.linalg.eigh(moments)[1][:, -_DIRECTIONS:]
        comparing = partial(_compare_strip, Path(name), directions, group)
        links = map_on_engine(comparing, strips, batch=1)
        yield from tqdm(links, "compare", len(strips), unit="strip", leave=False, disable=None)


def divide(count: int) -> list[range]:
    """The positions of `count` pictures as blocks."""
    return [range(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK)]


def concatenate(links: Iterable[Links]) -> Links:
    """All of `links`, of which there may be none."""
    none = np.zeros(0, np.int64)
    one, other, correlation = zip((none, none, np.zeros(0, np.float32)), *links, strict=True)
    return np.concatenate(one), np.concatenate(other), np.concatenate(correlation)


def _describe_block(
    take: Take, aspects: Floats64, reach: Floats64, folder: Path, block: range
) -> Floats:
    """Store the descriptors of a block; the second moments of its magnitudes."""
    rows = np.array(block)
    rings = describe(take(rows), aspects[rows], reach[rows])
    rings.tofile(_file(folder, block))
    magnitudes = _magnitudes(rings)
    return magnitudes.T @ magnitudes


def _file(folder: Path, block: range) -> Path:
    return folder / f"{block.start}.rings"


def _magnitudes(rings: Rings) -> Floats:
    """(n, rings · frequencies), of norm 1 or, without structure, 0."""
    return np.abs(rings).reshape(len(rings), -1) * np.float32(2**0.5)


def _read(folder: Path, directions: Floats, block: range) -> _Block:
    # No .npy: several threads that parse headers at once fail in CPython 3.11 (gh-106905).
    rings = np.fromfile(_file(folder, block), np.complex64).reshape(len(block), *SHAPE)
    magnitudes = _magnitudes(rings)
    along = magnitudes @ directions
    left = np.sum(magnitudes**2, axis=1) - np.sum(along**2, axis=1)
    projections = np.column_stack([along, np.sqrt(np.maximum(left, 0))])
    return _Block(block.start, rings, magnitudes, projections)


def _compare_strip(
    folder: Path, directions: Floats, group: Numbers, strip: tuple[range, list[range]]
) -> Links:
    """Links between the pictures of one block and those of others."""
    one = _read(folder, directions, strip[0])
    links = []
    for other in (_read(folder, directions, block) for block in strip[1]):
        for first, second in _candidates(one, other, group):
            correlation, _, _ = compare(one.rings[first], other.rings[second])
            near = correlation >= ALIKE
            links.append((one.start + first[near], other.start + second[near], correlation[near]))
    return concatenate(links)


def _candidates(one: _Block, other: _Block, group: Numbers) -> Iterator[tuple[Numbers, Numbers]]:
    """Rows of two blocks whose pictures are of different groups and may correlate by `ALIKE`."""
    least = np.float32(ALIKE - _ROUNDING)
    for top in range(0, len(one.rings), _ROWS):
        products = one.projections[top : top + _ROWS] @ other.projections.T
        first, second = np.divmod(np.flatnonzero(products > least), len(other.rings))
        first += top
        ours, theirs = one.start + first, other.start + second
        apart = np.flatnonzero((ours < theirs) & (group[ours] != group[theirs]))
        for some in np.array_split(apart, len(apart) // _PAIRS + 1):
            pairs = first[some], second[some]
            products = np.einsum("nd,nd->n", one.magnitudes[pairs[0]], other.magnitudes[pairs[1]])
            near = products > least
            yield pairs[0][near], pairs[1][near]
